# SPDX-License-Identifier: Apache-2.0
import errno
import json
from unittest import mock
import uuid

import ddt

from compute_hyperv.sim import vm as sim_vm
from tests import factories
from tests.unit import opscase

from compute_hyperv import checkpoints  # noqa: I100
from compute_hyperv import locks


@ddt.ddt
class RecoveryTest(opscase.OpsTestCase):

    def run_recovery(self):
        with self.assertLogs('compute_hyperv.recovery', 'WARNING') as logs:
            self.run_all()
        return '\n'.join(logs.output)

    def run_all(self, *known):
        """As the driver does, with the instances that Nova has here."""
        self.ops.recovery.run()
        self.ops.recovery.end_snapshots(known or [self.instance.uuid])

    def write(self, name):
        path = f'{self.paths.instance_dir(self.instance.name)}\\{name}'
        self.paths.make_dir(path.rpartition('\\')[0])
        with self.paths.open(path, 'w') as stream:
            stream.write('x')
        return path

    def test_half_built_vm_is_removed(self):
        """A9: defined, but without drives and NICs."""
        self.define()
        self.assertIn(self.instance.uuid, self.run_recovery())
        self.assertEqual([], self.vm_names)
        self.assertFalse(self.paths.exists(
            self.paths.instance_dir(self.instance.name)))

    def test_vm_whose_disks_cannot_be_read_is_kept(self):
        """A9, L086: a share that does not answer is not an empty one."""
        self.define()
        files = self.ops.recovery._paths._files
        list_dir = files.list_dir

        def unreachable(path):
            if path.endswith(self.instance.name):
                raise OSError(errno.EHOSTUNREACH, 'no answer', path)
            return list_dir(path)

        with mock.patch.object(files, 'list_dir', unreachable):
            self.assertIn('no answer', self.run_recovery())
        self.assertEqual([self.instance.name], self.vm_names)

    def test_vm_with_a_nic_or_a_disk_is_kept(self):
        self.define()
        self.win.vm.create_nic(self.instance.name, str(uuid.uuid4()),
                               'fa:16:3e:00:00:01')
        self.ops.recovery.run()
        other = factories.instance()
        self.define(other)
        self.write('x')
        with self.paths.open(self.paths.root_path(other.name, 'vhdx'), 'w'):
            self.ops.recovery.run()
        self.assertEqual(sorted((self.instance.name, other.name)),
                         self.vm_names)

    @ddt.data('eph0.vhdx', 'swap.vhdx', 'eph0_0C9A.avhdx')
    def test_disks_from_before_are_kept(self, name):
        """A9, B8, B10: of an instance of a volume, on shared storage.

        It was being evacuated, or brought back to where its files had stayed.
        """
        self.define()
        self.write('configdrive.vhd')
        path = self.write(name)
        self.ops.recovery.run()
        self.assertTrue(self.paths.exists(path))
        self.paths.remove(path)
        self.assertIn(self.instance.uuid, self.run_recovery())

    def test_half_built_vm_of_somebody_else_is_kept(self):
        """L071: VMs with free-text notes are none of ours."""
        self.win.vm.create_vm('theirs', False, 1, None, notes=['wip'])
        self.win.vm.create_vm('bare', False, 1, None)
        self.ops.recovery.run()
        self.assertEqual(['bare', 'theirs'], self.vm_names)

    def test_running_vm_has_its_console_again(self):
        """L062: running VMs that carry a Nova uuid get readers."""
        self.define()
        self.win.request_state(self.instance.name, self.running)
        self.ops.recovery.run()
        self.ops.recovery._thread.join(60)
        self.assertEqual([self.instance.name],
                         list(self.ops.console._handlers))
        self.ops.recovery.stop()
        self.ops.recovery.stop()

    @property
    def running(self):
        return type(self.win.state(self.instance.name)).RUNNING

    # Snapshots.

    def take_checkpoint(self, name):
        self.win.vm.take_vm_snapshot(self.instance.name, name)

    def checkpoint_names(self):
        return sorted(
            settings.ElementName for settings in
            self.win.vm._conn.Msvm_VirtualSystemSettingData()
            if 'Snapshot' in (settings.VirtualSystemType or ''))

    def run_with_disk(self):
        """A VM that runs from a disk of its own."""
        path = self.write('root.vhdx')
        self.paths.remove(path)
        self.win.vhd.create_dynamic_vhd(path, 1 << 26)
        self.define()
        self.win.vm.attach_scsi_drive(self.instance.name, path)
        self.win.request_state(self.instance.name, self.running)
        return path

    def merged(self):
        self.run_recovery()
        with self.ops.recovery._locks.held(
                locks.instance(self.instance.uuid), timeout_s=60):
            return self.win.vm.get_vm_storage_paths(self.instance.name)[0]

    def test_checkpoint_of_a_snapshot_is_merged(self):
        """A9, L102: and what it had copied is deleted."""
        path = self.run_with_disk()
        self.take_checkpoint('OpenStack snapshot 1')
        export = self.paths.export_dir(self.instance.name)
        self.paths.make_dir(export)
        self.assertEqual([path], self.merged())
        self.assertEqual([], self.checkpoint_names())
        self.assertFalse(self.paths.exists(export))

    def test_checkpoint_without_its_name_yet_is_merged(self):
        path = self.run_with_disk()
        export = self.paths.export_dir(self.instance.name)
        self.paths.make_dir(export)
        with self.paths.open(f'{export}\\{checkpoints.NOTE}', 'w') as stream:
            stream.write(self.ops.snapshots._checkpoints.note(
                self.instance.name, False))
        self.take_checkpoint('as Hyper-V calls it')
        self.assertEqual([path], self.merged())
        self.assertEqual([], self.checkpoint_names())

    @ddt.data('', '["cut o', '{}', '7', '\ufffd')
    def test_note_that_makes_no_sense(self, text):
        """A9: what is named as ours is merged, and the export deleted."""
        path = self.run_with_disk()
        export = self.paths.export_dir(self.instance.name)
        self.paths.make_dir(export)
        with self.paths.open(f'{export}\\{checkpoints.NOTE}', 'w',
                             'utf-16') as stream:
            stream.write(text)
        self.take_checkpoint('OpenStack snapshot 1')
        self.assertEqual([path], self.merged())
        self.assertEqual([], self.checkpoint_names())
        self.assertFalse(self.paths.exists(export))

    def test_type_of_checkpoints_is_as_before(self):
        """A9, L103: a quiesced snapshot changes it for a moment."""
        self.run_with_disk()
        taken = self.ops.snapshots._checkpoints
        self.win.vm._lookup_vm_check(self.instance.name)
        export = self.paths.export_dir(self.instance.name)
        self.paths.make_dir(export)
        with self.paths.open(f'{export}\\{checkpoints.NOTE}', 'w') as stream:
            stream.write(taken.note(self.instance.name, True))
        usual = taken._usual_type(self.instance.name)
        taken._set_type(self.instance.name, 4)
        self.assertNotEqual(usual, taken._usual_type(self.instance.name))
        self.merged()
        self.assertEqual(usual, taken._usual_type(self.instance.name))

    def test_note_that_cannot_be_read_keeps_none_but_its_own(self):
        """A9: the next server's snapshot is ended all the same."""
        self.define(factories.instance(id=1))
        path = self.run_with_disk()
        self.take_checkpoint('OpenStack snapshot 1')
        with self.fabric.faults.failing(
                kind='file', match='open *instance-00000001*checkpoints.json',
                times=None) as fault:
            self.ops.recovery.end_snapshots(self.win.uuids().values())
        self.assertTrue(fault.hits)
        with self.ops.recovery._locks.held(
                locks.instance(self.instance.uuid), timeout_s=60):
            self.assertEqual([path], self.win.vm.get_vm_storage_paths(
                self.instance.name)[0])

    def test_checkpoints_of_administrators_stay(self):
        self.run_with_disk()
        self.take_checkpoint('before the upgrade')
        self.take_checkpoint('OpenStack snapshot 1')
        disk, = self.merged()
        self.assertEqual(['before the upgrade'], self.checkpoint_names())
        self.assertTrue(disk.endswith('.avhdx'))
        self.assertEqual({}, self.ops.snapshots._checkpoints.left())

    def test_snapshot_of_what_was_evacuated_is_another_host_s(self):
        """A9, L166: on shared storage it may be under way."""
        self.run_with_disk()
        self.take_checkpoint('OpenStack snapshot 1')
        export = self.paths.export_dir(self.instance.name)
        self.paths.make_dir(export)
        self.run_all('of another instance')
        self.assertEqual(['OpenStack snapshot 1'], self.checkpoint_names())
        self.assertTrue(self.paths.exists(export))

    def test_note_of_another_host_tells_nothing_of_this_one(self):
        """A9: the instance was evacuated from there."""
        self.run_with_disk()
        export = self.paths.export_dir(self.instance.name)
        self.paths.make_dir(export)
        note = json.loads(self.ops.snapshots._checkpoints.note(
            self.instance.name, True))
        with self.paths.open(f'{export}\\{checkpoints.NOTE}', 'w') as stream:
            stream.write(json.dumps(note | {'host': 'HV7', 'type': 4}))
        self.take_checkpoint('before the upgrade')
        self.merged()
        self.assertEqual(['before the upgrade'], self.checkpoint_names())
        self.assertEqual(note['type'],
                         self.ops.snapshots._checkpoints._usual_type(
                             self.instance.name))
        self.assertFalse(self.paths.exists(export))

    def test_export_without_a_checkpoint_is_deleted(self):
        self.define()
        export = self.paths.export_dir(self.instance.name)
        self.paths.make_dir(export)
        theirs = self.paths.export_dir('instance-ffffffff')
        self.paths.make_dir(theirs)     # of another host, on a share
        self.ops.recovery.end_snapshots([self.instance.uuid])
        self.assertFalse(self.paths.exists(export))
        self.assertTrue(self.paths.exists(theirs))

    def test_partial_file_in_use_does_not_keep_the_others(self):
        busy, free = self.write('eph0.vhdx.part'), self.write('root.vhdx.part')
        self.ops.recovery._paths._busy_timeout_s = 0
        with self.paths.open(busy, 'r'):
            self.assertIn(busy, self.run_recovery())
        self.assertTrue(self.paths.exists(busy))
        self.assertFalse(self.paths.exists(free))

    def test_partial_files_are_deleted(self):
        partial, whole = self.write('root.vhdx.part'), self.write('eph0.vhdx')
        self.ops.recovery.run()
        self.assertFalse(self.paths.exists(partial))
        self.assertTrue(self.paths.exists(whole))

    def test_partial_files_of_others_stay(self):
        theirs = self.write('backup of root.vhdx.part')
        self.ops.recovery.run()
        self.assertTrue(self.paths.exists(theirs))

    def test_one_bad_vm_does_not_stop_the_others(self):
        """L126: the service starts all the same."""
        self.define()
        bad = factories.instance(id=1)
        self.define(bad)
        with self.fabric.faults.failing(
                kind='query',
                match='SELECT [*] FROM Msvm_StorageAllocationSettingData*'):
            self.assertIn(bad.name, self.run_recovery())
        self.assertEqual([bad.name], self.vm_names)

    def test_host_without_vms(self):
        self.ops.recovery.run()
        self.assertEqual([], self.vm_names)
        self.assertTrue(self.paths.is_dir(self.paths.instances_dir))

    def test_vm_states_are_left_alone(self):
        self.define()
        self.win.vm.create_nic(self.instance.name, str(uuid.uuid4()),
                               'fa:16:3e:00:00:01')
        self.ops.power.start(self.instance)
        self.ops.power.suspend(self.instance)
        self.ops.recovery.run()
        self.assertEqual(sim_vm.SAVED, self.vm().state)
