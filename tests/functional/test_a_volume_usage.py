# SPDX-License-Identifier: Apache-2.0
"""Nova's audit of what servers read from their volumes, and wrote."""

from nova import context

from tests.functional import exports
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}


class VolumeUsageTest(volumecase.VolumeTestCase):

    def _set_flags(self):
        super()._set_flags()
        self.flags(volume_usage_poll_interval=3600)

    def setUp(self):
        super().setUp()
        self.fabric.shares.add(exports.SHARE, 10 << 30)
        self.server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        self.volumes = [self.cinder.add_volume(kind=kind)
                        for kind in (exports.ISCSI, exports.SMB)]
        for volume in self.volumes:
            self.attach(self.server, volume)

    def work(self):
        """4 KiB are read in two operations, 512 bytes are written."""
        for volume in self.volumes:
            disk = self.drive_of(self.server, volume)
            disk.read(0, 1024)
            disk.read(8192, 3072)
            disk.write(0, bytes(512))

    def poll(self):
        """Nova's audit now; (reads, bytes, writes, bytes) by volume."""
        self.notifier.reset()
        manager = self.computes['HV1'].manager
        manager._last_vol_usage_poll = 0
        manager._poll_volume_usage(context.get_admin_context())
        return self.told()

    def told(self):
        """What Nova's notifications say of the volumes."""
        found = {}
        for note in self.notifier.notifications:
            if note.event_type == 'volume.usage':
                usage = note.payload
                found[usage['volume_id']] = tuple(
                    usage[name] for name in (
                        'reads', 'read_bytes', 'writes', 'write_bytes'))
        return found

    def test_figures_are_those_of_the_guest(self):
        """A10: of a disk that is passed through, and of a file."""
        self.work()
        expected = dict.fromkeys(
            (volume.id for volume in self.volumes), (2, 4096, 1, 512))
        self.assertEqual(expected, self.poll())
        self.work()
        expected = {key: tuple(2 * value for value in figures)
                    for key, figures in expected.items()}
        self.assertEqual(expected, self.poll())

    def test_figures_go_on_after_a_restart(self):
        """A10: counters begin anew with the VM; the sums do not."""
        self.work()
        self.poll()
        self._stop_server(self.server)
        smb = self.volumes[1]
        self.assertNotIn(smb.id, self.poll())
        self._start_server(self.server)
        # Fewer than before: that is how Nova sees that they began anew.
        self.drive_of(self.server, smb).read(0, 1024)
        self.assertEqual((3, 5120, 1, 512), self.poll()[smb.id])

    def test_last_figures_are_told_at_the_detach(self):
        """A10: what was read since the last audit is not lost."""
        self.work()
        self.notifier.reset()
        for volume in self.volumes:
            self.detach(self.server, volume)
        self.assertEqual(
            dict.fromkeys((volume.id for volume in self.volumes),
                          (2, 4096, 1, 512)), self.told())

    def test_lost_disk_hides_no_other_server(self):
        """A10: one server's trouble is not that of all."""
        other = self.boot(self.glance.add_disk('vhdx', **GEN2))
        volume = self.cinder.add_volume(kind=exports.SMB)
        self.attach(other, volume)
        self.drive_of(other, volume).read(0, 1024)
        with self.fabric.faults.failing(match='*Msvm_DiskDrive*',
                                        times=None):
            self.assertEqual({volume.id: (1, 1024, 0, 0)}, self.poll())

    def test_detach_does_not_depend_on_it(self):
        """A10: counters that cannot be read stop nothing."""
        with self.fabric.faults.failing(match='*Win32_PerfRawData*',
                                        times=None):
            for volume in self.volumes:
                self.detach(self.server, volume)
        self.assertEqual({}, self.told())
