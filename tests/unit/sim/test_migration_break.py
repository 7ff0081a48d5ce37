# SPDX-License-Identifier: Apache-2.0
"""Migrations that break: the source goes on, nothing is left elsewhere.

hyperv-semantics.md section 11: failure or cancel: source keeps running,
destination planned VM removed; section 20, 5.
"""

import ddt

from compute_hyperv.sim import disks
from compute_hyperv.sim import jobs
from tests.unit.sim import test_migration
from tests.unit.sim import twohosts

PERCENTS = (0, 1, 5, 30, 50, 69, 70, 82, 95, 96, 99, 100)


class BreakCase(test_migration.MoveCase):
    """A running VM, and what both hosts were like before."""

    def setUp(self):
        super().setUp()
        self.make_machine()
        self.write('C:\\VMs\\vm\\console.log', b'text')
        self.start()
        self.fabric.mark()
        self.there_before = self.everything_there()
        self.content_before = self.content(self.host)

    def everything_there(self):
        return {one.path: dict(one.props) for one in self.other.v2.all()}

    def assert_as_before(self):
        """The VM runs on HV1; HV2 is as it was, its files too."""
        vm = self.record()
        self.assertEqual((2, (2,)), (
            vm.state, vm.system['OperationalStatus']))
        self.assertEqual('running', vm.worker.guest.state)
        self.assertEqual(self.content_before, self.content(self.host))
        self.assertEqual(self.there_before, self.everything_there())
        self.assertEqual([], [
            line for line in self.fabric.problems()
            if 'HV2' in line or 'left behind' in line])
        with self.assertRaises(OSError):
            self.files.remove(test_migration.ROOT)  # the VM has it open

    def ask(self, kind=32771, **settings):
        """MigrateVirtualSystemToHost: the job."""
        template = self.wmi.Msvm_VirtualSystemMigrationSettingData(
            MigrationType=kind)[0]
        for name, value in settings.items():
            setattr(template, name, value)
        service = self.wmi.Msvm_VirtualSystemMigrationService()[0]
        job, code = service.MigrateVirtualSystemToHost(
            ComputerSystem=self.system().path_(), DestinationHost='HV2',
            MigrationSettingData=template.GetText_(1))
        self.assertEqual(4096, code)
        return self.job(job)


@ddt.ddt
class BreakTest(BreakCase):
    """The fault plan breaks the job at some percentage."""

    @ddt.data(*PERCENTS)
    def test_at(self, percent):
        """At every phase, the last moment included."""
        self.fabric.faults.add(host='HV1', match='Moving *',
                               at_percent=percent)
        with self.assertRaisesRegex(twohosts.exceptions.WMIJobFailed,
                                    'broke off at %d %%' % percent):
            self.move()
        self.assert_as_before()
        self.assertEqual(2, self.move().state)      # the fault was once

    def test_with_a_planned_vm(self):
        """Staged before: none is left after success or failure."""
        self.migration2.create_planned_vm('vm', 'HV1', {})
        self.assertTrue(self.migration2.planned_vm_exists('vm'))
        self.fabric.faults.add(match='Moving *', at_percent=50)
        self.assertRaises(twohosts.exceptions.WMIJobFailed, self.move)
        self.assert_as_before()

    def test_calls_are_not_struck(self):
        """A fault of jobs does nothing to calls of clients."""
        fault = self.fabric.faults.add(at_percent=50)
        self.assertEqual(2, self.state())
        self.assertEqual((0, 'breaks the job off at 50 %'),
                         (fault.hits, fault.effect('')))


@ddt.ddt
class LinkTest(BreakCase):
    """The connection or a host goes away; cancelling; by the clock."""

    CLOCK = 'stepped'

    def start(self, name='vm'):
        self.system(name).RequestStateChange(2)
        self.fabric.clock.advance(60)

    def run_to(self, percent):
        job = self.ask()
        while self.job(job.path_()).PercentComplete < percent:
            self.fabric.clock.advance(0.02)
        return job

    @ddt.data(10, 50, 90)
    def test_network_is_cut(self, percent):
        """The connection breaks: 0x80072746."""
        job = self.run_to(percent)
        self.assertEqual(1, len(self.other.vms.planned()))
        self.fabric.cut('HV1', 'HV2')
        self.fabric.clock.advance(60)
        self.assert_job_failed(job.path_(), '0x80072746')
        self.assert_as_before()

    @ddt.data(4, 5)
    def test_cancelled(self, state):
        """RequestStateChange of the job, 4 terminate or 5 kill."""
        job = self.run_to(40)
        self.assertTrue(job.Cancellable)
        self.assertEqual((0,), job.RequestStateChange(state))
        self.assertEqual({4: 8, 5: 9}[state],
                         self.job(job.path_()).JobState)
        self.assert_as_before()
        self.fabric.clock.advance(60)
        self.assert_as_before()

    def test_destination_loses_power(self):
        """The planned VM is gone after its boot; the source goes on."""
        job = self.run_to(50)
        self.other.power_off()
        self.fabric.clock.advance(60)
        self.assert_job_failed(job.path_(), '0x80072746')
        self.assertEqual(2, self.state())
        self.other.power_on()
        self.assertEqual([], self.other.vms.problems())

    def test_source_loses_power(self):
        """The VM is off on the source, nothing is at the destination."""
        self.run_to(50)
        self.host.power_off()
        self.assertEqual([], self.other.vms.planned())
        self.host.power_on()
        self.assertEqual([], [line for line in self.fabric.problems()
                              if 'HV2' in line])
        self.assertEqual(1, len(self.vmutils.list_instances()))

    def test_nothing_else_meanwhile(self):
        """A VM that is being moved takes no other requests: 32775."""
        job = self.run_to(50)
        self.assertEqual((32775, 5), (
            self.request_state(3),
            self.service.DestroySystem(self.system().path_())[1]))
        job.RequestStateChange(4)
        self.assertEqual(4096, self.request_state(3))

    @ddt.data(True, False)
    def test_settings_stay_meanwhile(self, fixed):
        """Nothing of a VM that is being moved changes (field knowledge)."""
        self.host.quirks.fixed_while_moving = fixed
        code = 32775 if fixed else 0
        self.run_to(50)
        self.assertEqual([code] * 3, [
            self.modify_settings(Notes=['x']),
            self.add(self.template(
                'Msvm_SyntheticEthernetPortSettingData'))[2],
            self.modify(self.resources(
                cls='Msvm_ProcessorSettingData')[0], Weight=300)[2]])
        self.fabric.clock.advance(60)
        self.assertEqual(100 if fixed else 300, self.other.vms.named(
            'vm').processor['Weight'])

    @ddt.data(True, False)
    def test_features_stay_meanwhile(self, fixed):
        """VLANs and the like too: Add-, Modify-, RemoveFeatureSettings."""
        self.host.quirks.fixed_while_moving = fixed
        self.net.set_vswitch_port_vlan_id(5, 'nic')
        vlan = 'Msvm_EthernetSwitchPortVlanSettingData'
        self.run_to(50)
        port = self.wmi.Msvm_EthernetPortAllocationSettingData(
            ElementName='nic')[0]
        mine = [one for one in getattr(self.wmi, vlan)()
                if 'Definition' not in one.InstanceID][0]
        mine.AccessVlanId = 6
        acl = self.template('Msvm_EthernetSwitchPortAclSettingData')
        acl.Direction = acl.Action = acl.AclType = acl.Applicability = 1
        code = 32775 if fixed else 0
        self.assertEqual([code] * 3, [
            self.service.AddFeatureSettings(
                port.path_(), [acl.GetText_(1)])[2],
            self.service.ModifyFeatureSettings([mine.GetText_(1)])[2],
            self.service.RemoveFeatureSettings([mine.path_()])[1]])
        self.fabric.clock.advance(60)
        self.assertEqual([5] if fixed else [], [
            one['AccessVlanId'] for one in self.other.v2.find(vlan)
            if 'Definition' not in one['InstanceID']])

    def test_guest_that_shuts_down_meanwhile(self):
        """The VM that the memory was copied of is no more."""
        self.host.vms.behaviours.behave('vm', shutdown_s=0.1)
        job = self.run_to(50)
        self.record().worker.guest.shut_down()
        self.fabric.clock.advance(60)
        self.assert_job_failed(job.path_(), 'state', code=32775)
        self.assertEqual(3, self.state())
        self.assertEqual([], self.other.vms.problems())

    def test_disk_that_changes_meanwhile(self):
        """What the guest writes while its disk is copied arrives."""
        self.run_to(60)
        with disks.open_disk(
                self.host.storage.local(test_migration.ROOT), writable=True,
                resolve=self.host.storage.local) as disk:
            disk.write(1 << 20, b'written late'.ljust(512))
        content = self.content(self.host)
        self.fabric.clock.advance(60)
        self.assertEqual(content, self.content(self.other))

    def test_guest_that_shuts_down_after_the_switch(self):
        """What it had begun it ends at the destination."""
        self.run_to(90)
        self.record().worker.guest.shut_down()
        self.fabric.clock.advance(1)
        self.assertEqual(2, self.other.vms.named('vm').state)
        self.fabric.clock.advance(60)
        self.assertEqual(3, self.other.vms.named('vm').state)


class HeldTest(BreakCase):
    """With an instant clock a test holds a job at a percentage."""

    def test_held(self):
        with self.host.jobs.held(jobs.MOVE_ALL, 60):
            job = self.ask()
            self.assertEqual((4, 60), (
                job.JobState, self.job(job.path_()).PercentComplete))
            self.assertTrue(self.other.storage.exists(test_migration.ROOT))
            self.assertEqual(2, self.state())
        self.assertEqual(7, self.job(job.path_()).JobState)
        self.assertEqual(2, self.other.vms.named('vm').state)
