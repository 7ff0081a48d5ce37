# SPDX-License-Identifier: Apache-2.0
"""Metering and summaries (hyperv-semantics.md sections 2 and 12)."""

import ddt

from tests.unit.sim import hypervcase

FAILED = 2


@ddt.ddt
class MetricsTest(hypervcase.HyperVTestCase):
    """ControlMetrics and values; time stands still."""

    CLOCK = 'stepped'

    def setUp(self):
        super().setUp()
        self.create_vm(memory_mib=2048, vcpus=2)
        self.disk = self.attach_disk()
        self.add_nic()
        self.connect()
        self.metrics = self.bound.utilsfactory.get_metricsutils()

    def run_vm(self, seconds):
        self.request_state(2)
        self.fabric.clock.advance(seconds)

    def _control(self, subject, definition=None, request=2):
        return self.wmi.Msvm_MetricService()[0].ControlMetrics(
            Subject=subject, Definition=definition,
            MetricCollectionEnabled=request)[0]

    def _definition(self, name):
        return self.wmi.CIM_BaseMetricDefinition(ElementName=name)[0]

    def test_nothing_before_metering_is_enabled(self):
        """Section 12: values exist only while metering is enabled."""
        self.run_vm(100)
        self.assertEqual(0, self.metrics.get_memory_metrics('vm'))
        self.assertEqual([], self.wmi.Msvm_MetricForME())

    def test_values_of_a_running_vm(self):
        """Section 12: CPU in MHz, memory in MB, MetricValue a string."""
        self.metrics.enable_vm_metrics_collection('vm')
        self.run_vm(100)
        cpu, vcpus, uptime_ms = self.metrics.get_cpu_metrics('vm')
        self.assertEqual((2048, 2), (
            self.metrics.get_memory_metrics('vm'), vcpus))
        self.assertGreater(cpu, 0)
        self.assertGreater(uptime_ms, 90000)

    def test_disk_values_grow_while_it_runs(self):
        """Section 12: disk in MB since enabling."""
        self.metrics.enable_vm_metrics_collection('vm')
        seen = []
        for _ in range(3):
            self.run_vm(1000)
            seen.append(next(self.metrics.get_disk_metrics('vm'))[
                'read_mb'])
        self.assertEqual(sorted(set(seen)), seen)
        self.request_state(3)
        self.fabric.clock.advance(5000)
        self.assertEqual(seen[-1], next(self.metrics.get_disk_metrics(
            'vm'))['read_mb'])

    def test_latency_and_iops(self):
        """Section 12: latency 1/100 ms, IOPS normalized."""
        self.metrics.enable_disk_metrics_collection(self.disk)
        self.run_vm(10)
        self.assertGreater(next(self.metrics.get_disk_latency_metrics(
            'vm'))['disk_latency'], 0)
        self.assertGreater(next(self.metrics.get_disk_iops_count(
            'vm'))['iops_count'], 0)

    def test_network_needs_metering_acls(self):
        """Section 12: ACLs with Action 3 per direction."""
        self.run_vm(60)
        self.metrics.enable_port_metrics_collection('nic')
        self.fabric.clock.advance(10000)
        self.assertEqual([(0, 0)], [
            (one['rx_mb'], one['tx_mb'])
            for one in self.metrics.get_vnic_metrics('vm')])
        self.net.add_metrics_collection_acls('nic')
        self.metrics.enable_port_metrics_collection('nic')
        self.fabric.clock.advance(10000)
        values = next(self.metrics.get_vnic_metrics('vm'))
        self.assertGreater(values['rx_mb'], values['tx_mb'])
        self.assertGreater(values['tx_mb'], 0)

    @ddt.data((None, None, 2), ('vm', 'Disk Data Read', 2),
              ('vm', None, 9), (None, 'Disk Data Read', 9))
    @ddt.unpack
    def test_refused_requests(self, subject, definition, request):
        """Section 12: both null, no association, unknown -> fails."""
        self.assertEqual(FAILED, self._control(
            self.system().path_() if subject else None,
            self._definition(definition).path_() if definition else None,
            request))

    def test_disable_and_reset(self):
        """Section 12: 3 disable, 4 reset."""
        disk = self.resources(cls=hypervcase.SASD)[0].path_()
        self._control(disk)
        self.run_vm(10000)
        self.assertGreater(next(self.metrics.get_disk_metrics('vm'))[
            'read_mb'], 100)
        self._control(disk, request=4)
        self.assertEqual(0, next(self.metrics.get_disk_metrics('vm'))[
            'read_mb'])
        self._control(disk, request=3)
        self.assertEqual([], self.wmi.Msvm_MetricForME())

    def test_values_go_with_the_vm(self):
        """20.2: metrics links too are gone."""
        before = len(self.everything())
        self.metrics.enable_vm_metrics_collection('vm')
        self.net.add_metrics_collection_acls('nic')
        self.metrics.enable_port_metrics_collection('nic')
        self.vmutils.detach_vm_disk('vm', self.disk, is_physical=False)
        self.vmutils.destroy_nic('vm', 'nic')
        left = self.wmi.Msvm_MetricForME()
        self.assertEqual({self.system().path_()}, {
            one.Antecedent.path_() for one in left})
        self.service.DestroySystem(self.system().path_())
        self.fabric.clock.advance(60)
        self.assertEqual([], self.wmi.Msvm_MetricForME())
        self.assertLess(len(self.everything()), before)
        self.assertEqual({}, self.host.vms.meters)


@ddt.ddt
class SummaryTest(hypervcase.HyperVTestCase):
    """GetSummaryInformation."""

    def _summary(self, *numbers):
        return self.service.GetSummaryInformation(
            list(numbers), [self.settings().path_()])[1][0]

    @ddt.data('off', 'running', 'paused', 'saved')
    def test_state_agrees_everywhere(self, state):
        """20.1: VM object, VSSD and summary agree on state."""
        self.create_vm()
        self.bring_to(state)
        number = hypervcase.STATES[state]
        self.assertEqual((number, number, state == 'saved'), (
            self._summary(100).EnabledState, self.state(),
            self.settings().IsSaved))

    @ddt.data(('off', None), ('running', 512), ('paused', 512),
              ('saved', None))
    @ddt.unpack
    def test_memory_usage(self, state, memory_mib):
        """Section 2: memory while a worker exists."""
        self.create_vm(memory_mib=512)
        self.bring_to(state)
        self.assertEqual(memory_mib, self._summary(103).MemoryUsage)

    def test_fields_that_were_not_asked_are_null(self):
        """Microsoft: RequestedInformation names the fields."""
        self.create_vm()
        summary = self._summary(4)
        self.assertEqual((1, None), (summary.NumberOfProcessors,
                                     summary.EnabledState))

    def test_every_simulated_field(self):
        """Each field has a value that its class takes."""
        from compute_hyperv.sim.wmi import virtualization_summary
        self.create_vm()
        self.add_nic()
        self.connect()
        self.start()
        summary = self._summary(*virtualization_summary.FIELDS)
        self.assertEqual(('vm', ('external',), '10.0', False), (
            summary.ElementName, summary.VirtualSwitchNames,
            summary.Version, summary.Shielded))

    def test_all_vms(self):
        """Microsoft: null SettingData means every VM."""
        for name in 'abc':
            self.create_vm(name)
        self.assertEqual(3, len(self.service.GetSummaryInformation(
            [0], None)[1]))

    def test_thumbnails_are_not_simulated(self):
        """simulator.md 11."""
        self.create_vm()
        with self.assertRaises(hypervcase.errors.NotSimulated):
            self._summary(5)
