# SPDX-License-Identifier: Apache-2.0
"""Field knowledge turned over: each [F] of hyperv-semantics.md is a switch.

Here are those that no test of the rule itself turns; the last class checks
that none is missing.
"""

import dataclasses
import pathlib
import re

import ddt

from compute_hyperv.sim import profiles
from compute_hyperv.sim.wmi import storage as sim_storage
from tests.unit.sim import hypervcase
from tests.unit.sim import test_export
from tests.unit.sim import test_migration_rules

INVALID_PARAMETER, INVALID_STATE = 32773, 5
RASD = hypervcase.RASD
ACL = 'Msvm_EthernetSwitchPortExtendedAclSettingData'
PIPE = r'\\.\pipe\serial'


class QuirkCase(hypervcase.HyperVTestCase):

    def quirk(self, **changes):
        for name, value in changes.items():
            setattr(self.host.quirks, name, value)

    def both(self, name, off, action, expected):
        """*action* as believed, then with the belief turned over."""
        first = action()
        self.quirk(**{name: off})
        self.assertEqual(expected, (first, action()))

    def memory(self, **changes):
        return self.modify(self.resources(
            cls='Msvm_MemorySettingData')[0], **changes)[2]

    def processor(self, **changes):
        return self.modify(self.resources(
            cls='Msvm_ProcessorSettingData')[0], **changes)[2]


@ddt.ddt
class MachineTest(QuirkCase):
    """Power, jobs, memory, processors (sections 2 to 5)."""

    @ddt.data(('running', 2, 0), ('paused', 11, 32775), ('saved', 6, 0))
    @ddt.unpack
    def test_power_answers(self, state, requested, code):
        """Section 2: the matrix is [F], cell by cell."""
        self.create_vm()
        self.bring_to(state)
        cell = '%d:%d' % (hypervcase.STATES[state], requested)
        self.quirk(power_answers={cell: code})
        self.assertEqual(code, self.request_state(requested))
        self.assertEqual(hypervcase.STATES[state], self.state())

    def test_default_actions(self):
        """Section 4 [F]: startup action 3, shutdown action 3."""
        self.service.DefineSystem()
        self.quirk(default_startup_action=2, default_shutdown_action=4)
        self.service.DefineSystem()
        self.assertEqual([(3, 3), (2, 4)], [
            (vm.settings['AutomaticStartupAction'],
             vm.settings['AutomaticShutdownAction'])
            for vm in self.host.vms])

    @ddt.data((True, 1, 4), (False, 0, 8))
    @ddt.unpack
    def test_jobs_end_only_if_cancellable(self, only, code, state):
        """Section 3 [F]: only when Cancellable."""
        self.quirk(jobs_end_only_if_cancellable=only)
        self.create_vm()
        with self.host.jobs.held(12):
            job = self.job(self.system().RequestStateChange(2)[0])
            self.assertEqual(code, job.RequestStateChange(4)[0])
            self.assertEqual(state, self.job(job.path_()).JobState)

    def test_out_of_memory_code(self):
        """Section 5 [F]: job 10, ErrorCode 32778."""
        self.quirk(out_of_memory_code=32768)
        self.create_vm(memory_mib=self.host.spec.memory_mib * 2)
        self.assert_job_failed(self.system().RequestStateChange(2)[0],
                               '0x800705AA', code=32768)

    @ddt.data(('memory_step_mib', 1, 513), ('memory_minimum_mib', 8, 16))
    @ddt.unpack
    def test_memory_numbers(self, name, off, mib):
        """Section 5 [F]: even values, lower bound 32 MiB."""
        self.create_vm()
        self.both(name, off, lambda: self.memory(
            VirtualQuantity=mib, Reservation=mib, Limit=mib),
            (INVALID_PARAMETER, 0))

    @ddt.data({'Weight': 10001},
              {'DynamicMemoryEnabled': True, 'Reservation': 1024,
               'VirtualQuantity': 512, 'Limit': 2048})
    def test_memory_values(self, changes):
        """Section 5 [F]: minimum <= startup <= maximum; Weight."""
        self.create_vm()
        self.both('memory_values_checked', False,
                  lambda: self.memory(**changes), (INVALID_PARAMETER, 0))

    def test_dynamic_memory_only_widens(self):
        """Section 4 [F]: lower minimum, raise maximum."""
        self.create_vm()
        self.assertEqual(0, self.memory(
            DynamicMemoryEnabled=True, Reservation=256,
            VirtualQuantity=512, Limit=1024))
        self.start()
        self.both('dynamic_memory_only_widens', False,
                  lambda: self.memory(Limit=512), (INVALID_STATE, 0))

    def test_vcpus_within_host(self):
        """In no document."""
        self.create_vm()
        self.both('vcpus_within_host', False, lambda: self.processor(
            VirtualQuantity=self.host.spec.cpus + 1),
            (INVALID_PARAMETER, 0))


@ddt.ddt
class DeviceTest(QuirkCase):
    """Storage, adapters, ports (sections 6, 15 and 16)."""

    def test_file_errors_are_jobs(self):
        """Section 6 [F]: a missing file ends in a job."""
        self.create_vm()
        controller = self.add_controller()[1][0]
        drive = self.add_drive(controller, 0)[1][0]
        self.both('file_errors_are_jobs', False, lambda: self.add_medium(
            drive, 'C:\\missing.vhdx')[2], (4096, 32768))

    def test_scsi_dvd_needs_generation_2(self):
        """In no document."""
        self.create_vm(generation=1)
        controller = self.add_controller()[1][0]
        self.both('scsi_dvd_needs_generation_2', False,
                  lambda: self.add_drive(
                      controller, 0, subtype='Synthetic DVD Drive')[2],
                  (INVALID_PARAMETER, 0))

    def test_saved_keeps_storage(self):
        """Section 4: saved counts as not off."""
        self.create_vm()
        controller = self.add_controller()[1][0]
        self.bring_to('saved')
        self.both('saved_keeps_storage', False, lambda: self.add_drive(
            controller, 0)[2], (INVALID_STATE, 0))

    def test_passthrough_needs_offline(self):
        """Section 6 [F]: the host disk must be offline."""
        number = sim_storage.add_disk(self.host, sim_storage.HostDisk(
            location='bus', size_bytes=1 << 30, bus_type=9, offline=False))
        self.create_vm()
        drive = self.template(RASD, 'Physical Disk Drive')
        drive.Parent = self.add_controller()[1][0]
        drive.AddressOnParent = 0
        drive.HostResource = [
            self.vmutils.get_mounted_disk_by_drive_number(number)]
        self.both('passthrough_needs_offline', False,
                  lambda: self.add(drive)[2], (4096, 0))

    def test_mac_fixed_unless_off(self):
        """In no document."""
        self.create_vm()
        nic = self.add_nic()
        self.start()
        self.both('mac_fixed_unless_off', False, lambda: self.modify(
            nic, Address='02155D0000FF')[2], (INVALID_STATE, 0))

    def test_mac_at_first_start(self):
        """Section 16: 000000000000 until the first start."""
        self.create_vm()
        cls = 'Msvm_SyntheticEthernetPortSettingData'
        self.both('mac_at_first_start', False, lambda: self.add(
            self.template(cls))[2], (0, 0))
        self.assertEqual([False, True], [
            int(one.Address or '0', 16) > 0
            for one in self.resources(cls=cls)])

    def test_equal_macs_allowed(self):
        """Section 16 [F]: duplicate static addresses are allowed."""
        self.create_vm()
        self.add_nic(nic='one')
        nic = self.template('Msvm_SyntheticEthernetPortSettingData')
        nic.StaticMacAddress, nic.Address = True, '02155D000001'
        self.both('equal_macs_allowed', False,
                  lambda: self.add(nic)[2], (0, INVALID_PARAMETER))

    def test_acl_weights_unique(self):
        """Section 16: Weight unique per direction."""
        self.create_vm()
        self.add_nic()
        port = self.connect().path_()
        acl = self.template(ACL)
        acl.Direction, acl.Action, acl.Weight = 1, 1, 7
        self.quirk(acl_weights_unique=False)
        self.assertEqual([0, 0], [self.service.AddFeatureSettings(
            port, [acl.GetText_(1)])[2] for _ in range(2)])

    def test_offload_settings_stay(self):
        """In no document."""
        self.create_vm()
        self.add_nic()
        self.connect()
        cls = 'Msvm_EthernetSwitchPortOffloadSettingData'
        path = self.resources(cls=cls)[0].path_()
        self.both('offload_settings_stay', False,
                  lambda: self.service.RemoveFeatureSettings([path])[1],
                  (32770, 0))

    @ddt.data(True, False)
    def test_port_only_while_running(self, only):
        """Section 16 [F]: a VM's port only while it runs."""
        self.fabric.mark()
        self.quirk(port_only_while_running=only)
        self.create_vm()
        self.add_nic()
        self.connect()
        before = len(self.host.v2.find('Msvm_EthernetSwitchPort'))
        counts = []
        for change in (self.start, self.turn_off):
            change()
            counts.append(len(self.host.v2.find(
                'Msvm_EthernetSwitchPort')) - before)
        self.assertEqual([1, 0] if only else [0, 0], counts)
        self.assertEqual([], [line for line in self.host.vms.problems()
                              if 'port' in line])
        self.vmutils.destroy_vm('vm')
        self.assertEqual(before - (not only), len(
            self.host.v2.find('Msvm_EthernetSwitchPort')))
        self.assertEqual([], self.host.vms.problems())

    @ddt.data(True, False)
    def test_pipe_only_while_running(self, only):
        """Section 15 [F]: the pipe exists only while the VM runs."""
        self.quirk(pipe_only_while_running=only)
        self.create_vm()
        self.vmutils.set_vm_serial_port_connection('vm', 1, PIPE)
        counts = [len(self.host.pipes.problems())]
        for change in (self.start, self.turn_off):
            change()
            counts.append(len(self.host.pipes.problems()))
        self.assertEqual([0, 1, 0] if only else [1, 1, 1], counts)
        self.vmutils.destroy_vm('vm')
        self.assertEqual([], self.host.pipes.problems())

    def test_pipes_end_with_the_host(self):
        self.quirk(pipe_only_while_running=False)
        self.create_vm()
        self.vmutils.set_vm_serial_port_connection('vm', 1, PIPE)
        self.host.power_off()
        self.assertEqual([], self.host.pipes.problems())


@ddt.ddt
class CheckpointTest(QuirkCase):
    """Section 8."""

    def take(self):
        job = self.wmi.Msvm_VirtualSystemSnapshotService()[
            0].CreateSnapshot(AffectedSystem=self.system().path_(),
                              SnapshotType=2)[0]
        return self.job(job).JobState

    def test_assigned_device(self):
        """Not with a device assigned while it runs [F]."""
        self.make_host('2022', extra={'pci': [{
            'vendor_id': '10DE', 'product_id': '13F2',
            'address': '0000:04:00.0'}]})
        self.create_vm(AutomaticShutdownAction=2)
        self.vmutils.add_pci_device('vm', '10DE', '13F2')
        self.start()
        self.both('checkpoint_refused_by', (), self.take, (10, 7))

    def test_shared_disk(self):
        """Not with shared disks [D,F]."""
        self.create_vm()
        self.attach_disk()
        medium = self.resources(cls=hypervcase.SASD)[0]
        self.modify(medium, PersistentReservationsSupported=True)
        self.both('checkpoint_refused_by', (), self.take, (10, 7))

    def test_physical_disk(self):
        """Not with disks of the host [D,F]."""
        number = sim_storage.add_disk(self.host, sim_storage.HostDisk(
            location='bus', size_bytes=1 << 30, bus_type=9, offline=True))
        self.create_vm()
        self.vmutils.create_scsi_controller('vm')
        self.vmutils.attach_volume_to_controller(
            'vm', self.vmutils.get_vm_scsi_controller('vm'), 0,
            self.vmutils.get_mounted_disk_by_drive_number(number))
        self.both('checkpoint_refused_by', (), self.take, (10, 7))

    @ddt.data('running', 'paused')
    def test_apply_needs_off(self, state):
        """Off or saved, else 5 [D code, F]."""
        self.create_vm()
        self.attach_disk()
        self.take()
        self.bring_to(state)
        path = self.vmutils.get_vm_snapshots('vm')[0]
        service = self.wmi.Msvm_VirtualSystemSnapshotService()[0]
        self.both('apply_needs_off', False,
                  lambda: service.ApplySnapshot(Snapshot=path)[1],
                  (INVALID_STATE, 4096))
        self.assertEqual(3, self.state())
        self.assertEqual({}, self.host.vms.workers)

    def test_merge_blocks(self):
        """Destroying is refused until the merge ends [F]."""
        self.create_vm()
        self.attach_disk()
        self.take()
        path = self.vmutils.get_vm_snapshots('vm')[0]
        service = self.wmi.Msvm_VirtualSystemSnapshotService()[0]
        with self.host.jobs.held(72):
            service.DestroySnapshot(AffectedSnapshot=path)
            self.both('merge_blocks', False,
                      lambda: self.service.DestroySystem(
                          self.system().path_())[1], (INVALID_STATE, 4096))


class PlannedTest(test_export.ExportCase):
    """Section 10."""

    def test_planned_lost_at_restart(self):
        """They do not survive the management service [F]."""
        self.other.quirks.planned_lost_at_restart = False
        self.export()
        self.send()
        self.bring_in()
        self.other.power_off()
        self.other.power_on()
        self.assertEqual(1, len(self.other.vms.planned()))

    def test_import_refuses_known_guid(self):
        """Same GUID already registered: fails [F]; else a new one."""
        self.host.quirks.import_refuses_known_guid = False
        self.export()
        self.bring_in(self.migration)
        planned = self.host.vms.planned()[0]
        self.assertNotEqual(self.guid, planned.guid)


@ddt.ddt
class MigrationTest(test_migration_rules.RuleCase):
    """Section 11: preconditions, one by one."""

    def without(self, *names):
        for host in (self.host, self.other):
            host.quirks.migration_needs = tuple(
                one for one in host.quirks.migration_needs
                if one not in names)

    def test_enabled_and_address(self):
        self.make_machine()
        self.other.v2.update(self.service_settings(self.other),
                             EnableVirtualSystemMigration=False)
        self.assert_refused('not enabled', code=32770)
        self.without('enabled')
        self.assert_refused('does not listen')
        self.without('enabled', 'address')
        self.assertEqual(3, self.move().state)

    def test_maximum(self):
        self.make_machine()
        self.host.v2.update(self.service_settings(self.host),
                            MaximumActiveVirtualSystemMigration=0)
        self.assert_refused('as many', code=32774)
        self.without('maximum')
        self.assertEqual(3, self.move().state)

    @ddt.data(('switch', {'switches': ['other']}, 'could not find'),
              ('memory', {'memory_mib': 1400}, '0x800705AA'))
    @ddt.unpack
    def test_found_out_later(self, what, there, text):
        """Not looked at first, it breaks the migration at its end."""
        self.OTHER = there
        self.make_host('2022')
        self.make_machine()
        self.start()
        self.without(what)
        with self.host.jobs.held(306, 60):
            job = self.ask()[0]
            self.assertEqual(4, self.job(job).JobState)
        self.assertEqual(10, self.job(job).JobState)
        self.assertIn(text, self.job(job).ErrorDescription)
        self.assertEqual(2, self.state())
        self.assertEqual([], self.other.vms.problems())

    def test_files(self):
        self.make_machine()
        iso = self.write('C:\\VMs\\vm\\disc.iso', b'iso')
        self.vmutils.attach_drive('vm', iso, self.vmutils.
                                  get_vm_scsi_controller('vm'), 5, 'DVD')
        self.assert_refused('0x80070002')
        self.without('files')
        self.assertEqual(3, self.move().state)

    def test_paused(self):
        """Paused ones cannot [F]."""
        self.make_machine()
        self.bring_to('paused')
        self.assertEqual(32775, self.ask()[1])
        self.without('not paused')
        self.assertEqual(9, self.move().state)

    def test_remotefx(self):
        """RemoteFX needs equal capability."""
        self.HOST = {'windows': '2016', 'extra': {'live_migration': True}}
        self.OTHER = {}
        self.make_host('2016', extra={'live_migration': True, 'gpus': [
            {'name': 'GPU', 'memory_bytes': 1 << 30}]})
        self.make_machine()
        self.vmutils.enable_remotefx_video_adapter('vm', 1, '1024x768')
        self.assert_refused('RemoteFX', code=32770)
        self.without('remotefx')
        self.assertEqual(3, self.move().state)

    def test_metrics_move(self):
        """Section 12 [F]: collection continues across migration."""
        self.host.quirks.metrics_move = False
        vm = self.make_machine()
        metrics = self.bound.utilsfactory.get_metricsutils()
        metrics.enable_vm_metrics_collection('vm')
        self.assertTrue(self.host.v2.under(vm.instance_id,
                                           'CIM_BaseMetricValue'))
        self.move()
        self.assertEqual([], self.other.v2.under(vm.instance_id,
                                                 'CIM_BaseMetricValue'))


class EveryFieldTest(hypervcase.HyperVTestCase):
    """No switch without effect, none that no test turns."""

    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(__file__).parents[3]
        self.fields = [field.name for field in dataclasses.fields(
            profiles.FieldKnowledge)]

    def text(self, folder):
        return '\n'.join(path.read_text(encoding='utf-8') for path in sorted(
            (self.root / folder).rglob('*.py')))

    def test_is_read(self):
        text = self.text('compute_hyperv/sim')
        self.assertEqual([], [
            name for name in self.fields
            if not re.search(r'quirks\s*\.%s\b' % name, text)])

    def test_is_turned(self):
        text = self.text('tests/unit/sim')
        self.assertEqual([], [
            name for name in self.fields if not re.search(
                r"\b%s\s*=(?!=)|'%s'[,:]" % (name, name), text)])

    def test_is_explained(self):
        """A comment of its own or of the group above it."""
        text = (self.root / 'compute_hyperv/sim/profiles.py').read_text(
            encoding='utf-8')
        body = text.split('class FieldKnowledge')[1].split('@dataclasses')[0]
        first = re.search(r'(?m)^    (#: .|\w+: )', body).group(1)
        self.assertEqual('#:', first[:2])
        self.assertEqual(self.fields, re.findall(r'(?m)^    (\w+): ', body))
