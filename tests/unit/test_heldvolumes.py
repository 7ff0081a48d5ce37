# SPDX-License-Identifier: Apache-2.0
import json
import threading
from unittest import mock

from nova.compute import vm_states
from nova import objects

from compute_hyperv import hostnotes
from compute_hyperv import locks
from compute_hyperv import operation
from compute_hyperv.sim import vm as sim_vm
from tests.unit import opscase

#: Only a failure waits that long.
_TIMEOUT_S = 100


class TakeUpTest(opscase.OpsTestCase):
    """A later attempt meets operations of this service.

    It reads a note of one that runs, and has its locks when that is over.
    """

    def setUp(self):
        super().setUp()
        self.define()
        self.ops.power.start(self.instance)

    def reading(self, note, *then):
        return mock.patch.object(
            self.ops.held_volumes._notes, 'read', autospec=True,
            side_effect=[note, *then])

    def test_power_state_is_that_of_the_operation_that_ran(self):
        """A9: only what a killed service had taken is given back."""
        note = {'volume': 'v', 'path': 'x.vhdx', 'state': 'PAUSED',
                'limits': {}, 'merge': None}
        with self.reading(note, None):
            self.ops.held_volumes.take_up(self.instance)
        self.assertEqual(sim_vm.RUNNING, self.vm().state)

    def test_snapshot_that_ran_has_told_cinder_itself(self):
        note = {'volume': 'v', 'snapshot': 's', 'new_file': 'new.vhdx'}
        with self.reading(note, None):
            self.assertIsNone(self.ops.volume_snapshots.take_up(
                None, self.instance))

    def test_snapshot_that_came_in_between_is_not_given_up(self):
        """A9: the file that the VM has by then is the newer one's."""
        note = {'volume': 'v', 'snapshot': 's', 'new_file': 'new.vhdx'}
        with self.reading(None), mock.patch.object(
                objects.Instance, 'save', autospec=True):
            self.assertIsNone(self.ops.volume_snapshots._give_up(
                None, self.instance, note))

    @mock.patch.object(objects.Instance, 'get_by_uuid', autospec=True)
    @mock.patch.object(objects.MigrationList, 'get_by_filters', autospec=True,
                       return_value=())
    @mock.patch.object(objects.BlockDeviceMappingList, 'get_by_instance_uuid',
                       autospec=True, return_value=())
    def test_service_that_starts_waits_for_no_merge(self, _bdms, _migrations,
                                                    get_instance):
        """A9: one of checkpoints holds the lock of its server for hours."""
        self.instance.vm_state = vm_states.ACTIVE
        self.instance.task_state = None
        get_instance.return_value = self.instance
        self.ops.held_volumes._notes.write(
            self.instance.name, hostnotes.RELEASED,
            {'volume': 'v', 'path': 'x.vhdx', 'state': 'PAUSED',
             'limits': {}, 'merge': None})
        self.addCleanup(self.ops.interrupted.stop)
        start = threading.Thread(
            target=self.ops.interrupted.process,
            args=(None, 'HV1', [self.instance]))
        with self.ops.vms._locks.held(locks.instance(self.instance.uuid)):
            start.start()
            start.join(_TIMEOUT_S)
            self.assertFalse(start.is_alive())
            self.assertEqual(sim_vm.RUNNING, self.vm().state)
        operation.until(lambda: self.vm().state == sim_vm.PAUSED,
                        what='the later attempt', timeout_s=_TIMEOUT_S)

    def test_file_that_is_on_top_of_nothing_is_not_given_up(self):
        """A9: there is nothing that it could be merged into."""
        path = rf'{self.INSTANCES_DIR}\new.vhdx'
        self.win.vhd.create_dynamic_vhd(path, 1 << 26)
        note = {'volume': 'v', 'snapshot': 's', 'new_file': 'new.vhdx'}
        snapshots = self.ops.volume_snapshots
        snapshots._notes.write(self.instance.name, hostnotes.SNAPSHOT, note)
        with (mock.patch.object(objects.Instance, 'save', autospec=True),
              mock.patch.object(self.ops.held_volumes, 'path',
                                return_value=path)):
            snapshots._give_up(None, self.instance, note)
        self.assertIsNone(snapshots._notes.read(
            self.instance.name, hostnotes.SNAPSHOT))
        self.assertTrue(self.paths.exists(path))


class NotesTest(opscase.OpsTestCase):
    """Notes of a killed service, which have come from another host."""

    NOTE = {'volume': 'v', 'path': 'x.vhdx', 'state': 'PAUSED',
            'limits': {}, 'merge': None}

    def notes(self, host_name):
        return hostnotes.HostNotes(self.paths, host_name)

    def take_up(self, host_name):
        self.define()
        self.ops.power.start(self.instance)
        self.notes(host_name).write(self.instance.name, hostnotes.RELEASED,
                                    self.NOTE)
        self.ops.held_volumes.take_up(self.instance)

    def test_own_one_is_followed(self):
        self.take_up('HV1')
        self.assertEqual(sim_vm.PAUSED, self.vm().state)

    def test_that_of_another_host_is_not(self):
        """A9: the server has moved or was evacuated since."""
        self.take_up('HV2')
        self.assertEqual(sim_vm.RUNNING, self.vm().state)

    def test_own_one_ends_with_the_vm_that_lent_the_volume(self):
        """A9: it was evacuated, has come back, and its user stopped it."""
        self.define()
        self.notes('HV1').write(self.instance.name, hostnotes.RELEASED,
                                self.NOTE)
        self.ops.live.settle(self.instance, [])
        self.assertIsNone(self.notes('HV1').read(self.instance.name,
                                                 hostnotes.RELEASED))

    def test_that_of_an_earlier_version_is_read(self):
        path = self.notes('HV1')._path('name', hostnotes.RELEASED)
        self.paths.make_dir(path.rpartition('\\')[0])
        hostnotes.write_whole(self.paths, path,
                              json.dumps(self.NOTE).encode())
        self.assertEqual(self.NOTE, self.notes('HV2').read(
            'name', hostnotes.RELEASED))
