# SPDX-License-Identifier: Apache-2.0
"""B10: [hyperv] move_disks_on_cold_migration switched off."""

import ntpath
import os

from compute_hyperv.sim import guestdisks
from tests.functional import base
from tests.functional import test_b_resize

SHARE = r'\\nas\instances'


class StayingCase(test_b_resize.MoveTest):

    def _set_flags(self):
        super()._set_flags()
        self.flags(move_disks_on_cold_migration=False, group='hyperv')

    def copied(self, server, operation):
        """Names of the instance's files that are copied or renamed."""
        with self.fabric.recorder.recording() as calls:
            result = operation()
        name = server['OS-EXT-SRV-ATTR:instance_name']
        return result, [call.label for call in calls
                        if name in call.label and 'root.vhdx' in call.label
                        and ('opy' in call.label or 'rename' in call.label)]

    def root(self, server):
        """The system disk as the running guest has it."""
        path = self.vm(server).drive('root.vhdx').path
        return next(disk for disk in guestdisks.of(self.vm(server).vm)
                    if disk.path == path)

    def assert_reads(self, server, text):
        self.assertEqual(text, self.root(server).read(
            test_b_resize.MARK_AT, len(text)))

    def overwrite(self, server, text):
        """What the guest does to its disk after the move."""
        self.root(server).write(test_b_resize.MARK_AT, text)


class SharedStorageTest(base.OwnPaths, StayingCase):

    PATHS = {'HV1': SHARE, 'HV2': SHARE}

    def on_share(self, path=SHARE):
        storage = self.fabric.host('HV1').storage
        return sorted(name for name in os.listdir(storage.local(path))
                      if name not in ('_base', 'locks'))

    def test_disks_stay_where_they_are(self):
        """L074, L085: without a copy; a return keeps what was written."""
        server = self.boot(flavor_id=self.flavor(disk_gib=1))
        self.write_as_guest(server)
        path = self.vm(server).drive('root.vhdx').path
        name = server['OS-EXT-SRV-ATTR:instance_name']

        server, copied = self.copied(server, lambda: self.migrate(server))
        self.assertEqual(('HV2', [], path), (
            self.host_of(server), copied,
            self.vm(server).drive('root.vhdx').path))
        self.assert_written(server)
        self.overwrite(server, b'changed by the guest')
        server = self.revert(server)
        self.assertEqual('HV1', self.host_of(server))
        self.assert_reads(server, b'changed by the guest')
        self.assertEqual([name], self.on_share())

        server = self.confirm(self.migrate(server))
        self.assertEqual([name], self.on_share())
        self.assert_reads(server, b'changed by the guest')
        self._reboot_server(server, hard=True)
        self._delete_server(server)
        self.assertEqual([], self.on_share())

    def test_resize_that_changes_disks_copies_them(self):
        """L085: what cannot be undone in place is done to a copy."""
        server = self.boot(flavor_id=self.flavor(disk_gib=1))
        self.write_as_guest(server)
        server, copied = self.copied(server, lambda: self.resize(
            server, self.flavor(disk_gib=2)))
        self.assertNotEqual([], copied)
        self.assert_written(server)
        server = self.revert(server)
        path = self.vm(server).drive('root.vhdx').path
        self.assertLess(self.disk_size(path), 1 << 30)
        self.assert_written(server)

    def test_arrival_that_fails_leaves_the_disks(self):
        """L085, L086: the source takes the server back."""
        server = self.boot()
        self.write_as_guest(server)
        with self.fabric.faults.failing(host='HV2', kind='method',
                                        match='*RealizePlannedSystem'):
            self.api.post_server_action(server['id'], {'migrate': {}})
            server = self._wait_for_state_change(server, 'ERROR')
        name = server['OS-EXT-SRV-ATTR:instance_name']
        self.assertEqual([name, f'{name}_revert'], self.on_share())
        self.assertEqual([], self.view('HV2').vm_names)
        home = ntpath.join(SHARE, name)
        self.assertFalse(self.view('HV1').exists(home + r'\import'))
        with self.open_disk(home + r'\root.vhdx') as disk:
            self.assertEqual(test_b_resize.MARK, disk.read(
                test_b_resize.MARK_AT, len(test_b_resize.MARK)))


class TwoPathsTest(SharedStorageTest):
    """The target has another instances_path on storage that both see."""

    OTHER = r'\\nas\others'
    PATHS = {'HV1': SHARE, 'HV2': OTHER}

    def test_disks_stay_where_they_are(self):
        """L074, L085: they are copied, and go when that is confirmed."""
        server = self.boot(flavor_id=self.flavor(disk_gib=1))
        self.write_as_guest(server)
        name = server['OS-EXT-SRV-ATTR:instance_name']

        server = self.migrate(server)
        self.assert_reads(server, test_b_resize.MARK)
        self.assertTrue(self.vm(server).drive('root.vhdx').path.startswith(
            self.OTHER))
        self.assertEqual([name, f'{name}_revert'], self.on_share())
        self.overwrite(server, b'changed by the guest')
        server = self.revert(server)
        self.assert_reads(server, test_b_resize.MARK)
        self.assertEqual(([name], []), (self.on_share(),
                                        self.on_share(self.OTHER)))
        server = self.confirm(self.migrate(server))
        self.assertEqual(([], [name]), (self.on_share(),
                                        self.on_share(self.OTHER)))
        self.assert_reads(server, test_b_resize.MARK)
        self._delete_server(server)
        self.assertEqual([], self.on_share(self.OTHER))

    test_resize_that_changes_disks_copies_them = None
    test_arrival_that_fails_leaves_the_disks = None


class LocalDiskTest(StayingCase):

    def test_files_of_a_drive_are_copied_with_a_warning(self):
        """L095: other hosts do not see them by that path."""
        server = self.boot()
        self.write_as_guest(server)
        server = self.confirm(self.migrate(server))
        self.assertIn('copied although', self.stdlog.logger.output)
        self.assert_written(server)
        self.assertTrue(self.vm(server).drive(
            'root.vhdx').path.startswith(base.INSTANCES_DIR))
        self._delete_server(server)
        self.fabric.assert_clean()
