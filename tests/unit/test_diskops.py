# SPDX-License-Identifier: Apache-2.0
"""Disks of a plan, made by the real os-win as real files."""

import ddt

from compute_hyperv import diskops
from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv.sim import disks as sim_disks
from tests.unit import hostcase

MIB = model.MIB
GIB = model.GIB
DIR = hostcase.INSTANCES_DIR + r'\vm'
BASE = hostcase.INSTANCES_DIR + r'\_base'
SLOT = model.Slot(bus=model.Bus.SCSI, controller=0, lun=0)


class DiskCase(hostcase.HostTestCase):

    def setUp(self):
        super().setUp()
        self.disks = diskops.DiskOps(self.win, self.paths)
        self.paths.make_dir(DIR)
        self.paths.make_dir(BASE)

    def base_disk(self, disk_format='vhdx', size_bytes=64 * MIB):
        """A cached image; its path."""
        path = fr'{BASE}\image.{disk_format}'
        self.win.vhd.create_dynamic_vhd(path, size_bytes)
        return path

    def root(self, parent_path, source=model.DiskSource.IMAGE_CHILD,
             size_bytes=GIB):
        disk_format = model.DiskFormat(parent_path.rpartition('.')[2])
        return model.DiskSpec(
            role=model.DiskRole.ROOT, source=source, slot=SLOT,
            path=fr'{DIR}\root.{disk_format.value}', format=disk_format,
            size_bytes=size_bytes, parent_path=parent_path)

    def create(self, *disks):
        with self.undo() as undo:
            self.disks.create(disks, undo)


@ddt.ddt
class CreateTest(DiskCase):

    def test_child_of_vhdx_grows_after_it_was_made(self):
        """L027: created with its parent's size, resized afterwards."""
        parent_path = self.base_disk()
        with self.fabric.recorder.recording() as calls:
            self.create(self.root(parent_path))
        names = [call.label.split()[0].partition('.')[2] for call in calls]
        self.assertLess(names.index('CreateVirtualDisk'),
                        names.index('ResizeVirtualDisk'))
        info = self.disks.info(DIR + r'\root.vhdx')
        self.assertEqual(model.DiskType.DIFFERENCING, info.type)
        self.assertEqual(BASE + r'\image.vhdx', info.parent_path)
        self.assertTrue(64 * MIB < info.virtual_size_bytes <= GIB)

    @ddt.data('vhd', 'vhdx')
    def test_written_file_stays_within_the_flavor(self, disk_format):
        """L025: the fully written file never exceeds the flavor's size."""
        self.create(self.root(self.base_disk(disk_format, 4 * MIB),
                              model.DiskSource.IMAGE_COPY, 72 * MIB))
        path = fr'{DIR}\root.{disk_format}'
        info = self.disks.info(path)
        local = self.host.storage.local(path)
        with sim_disks.open_disk(local, writable=True, win_path=path,
                                 resolve=self.host.storage.local) as disk:
            for offset in range(0, info.virtual_size_bytes, MIB):
                disk.write(offset, b'x' * min(
                    MIB, info.virtual_size_bytes - offset))
        self.assertLessEqual(self.paths.size_bytes(path), 72 * MIB)
        self.assertGreater(info.virtual_size_bytes, 4 * MIB)

    def test_snapshot_boots_with_its_own_flavor(self):
        """L026: an image of the size that a disk got needs no resize."""
        self.create(self.root(self.base_disk(), model.DiskSource.IMAGE_COPY))
        grown_bytes = self.disks.info(DIR + r'\root.vhdx').virtual_size_bytes
        self.paths.rename(DIR + r'\root.vhdx', BASE + r'\snapshot.vhdx')
        self.create(self.root(BASE + r'\snapshot.vhdx'))
        self.assertEqual(
            grown_bytes,
            self.disks.info(DIR + r'\root.vhdx').virtual_size_bytes)

    @ddt.data('vhd', 'vhdx')
    def test_image_as_large_as_the_flavor_keeps_its_size(self, disk_format):
        """L026: no resize error for an image of the flavor's size."""
        self.create(self.root(self.base_disk(disk_format),
                              model.DiskSource.IMAGE_COPY, 64 * MIB))
        self.assertEqual(64 * MIB, self.disks.info(
            fr'{DIR}\root.{disk_format}').virtual_size_bytes)

    def test_child_of_vhd_has_its_parents_size(self):
        """L018: a VHD's size comes from its resized parent."""
        self.create(self.root(self.base_disk('vhd')))
        info = self.disks.info(DIR + r'\root.vhd')
        self.assertEqual((model.DiskType.DIFFERENCING, 64 * MIB),
                         (info.type, info.virtual_size_bytes))

    @ddt.data(16, 1024, 20480)
    def test_largest_vhd_is_found(self, size_mib):
        """L025: not a block more would fit."""
        path = self.base_disk('vhd')
        fitting_bytes = self.disks.fitting_size_bytes(path, size_mib * MIB)
        bookkeeping_bytes = 2048 + size_mib // 2 * (512 + 4)
        lost_bytes = size_mib * MIB - bookkeeping_bytes - fitting_bytes
        self.assertTrue(-1024 <= lost_bytes <= 2 * MIB, lost_bytes)

    def test_diskless_flavor_keeps_the_images_size(self):
        self.create(self.root(self.base_disk(), size_bytes=0))
        self.assertEqual(64 * MIB, self.disks.info(
            DIR + r'\root.vhdx').virtual_size_bytes)

    def test_blank_disk_is_dynamic(self):
        self.create(model.DiskSpec(
            role=model.DiskRole.EPHEMERAL, source=model.DiskSource.BLANK,
            path=DIR + r'\eph0.vhdx', format=model.DiskFormat.VHDX,
            size_bytes=5 * GIB, slot=SLOT))
        info = self.disks.info(DIR + r'\eph0.vhdx')
        self.assertEqual((model.DiskType.DYNAMIC, 5 * GIB, None),
                         (info.type, info.virtual_size_bytes,
                          info.parent_path))
        self.assertLess(info.file_size_bytes, 16 * MIB)

    def test_failure_removes_what_was_made(self):
        good = self.root(self.base_disk())
        bad = self.root(BASE + r'\missing.vhd')
        with self.assertRaises(errors.OS_WIN_ERRORS):
            self.create(good, bad)
        self.assertEqual([], self.paths.list_dir(DIR))


class ResizeTest(DiskCase):

    def test_same_size_changes_nothing(self):
        """L029: resizing to the same size does nothing."""
        path = self.base_disk()
        before = self.paths.read_bytes(path)
        self.disks.resize(path, 64 * MIB)
        self.assertEqual(before, self.paths.read_bytes(path))

    def test_shrinking_is_refused_before_the_file_is_touched(self):
        """L029: a smaller size is refused before touching the file."""
        path = self.base_disk()
        before = self.paths.read_bytes(path)
        with self.assertRaisesRegex(errors.DiskOperationFailed,
                                    'image.vhdx has 67108864 bytes'):
            self.disks.resize(path, 32 * MIB)
        self.assertEqual(before, self.paths.read_bytes(path))

    def test_disk_grows(self):
        path = self.base_disk('vhd')
        self.disks.resize(path, 128 * MIB)
        self.assertEqual(128 * MIB, self.disks.info(path).virtual_size_bytes)


class FlattenTest(DiskCase):
    """A differencing VHD that grows: a resize on a host."""

    def child(self):
        parent_path = self.base_disk('vhd')
        self.create(self.root(parent_path, size_bytes=0))
        return DIR + r'\root.vhd', parent_path

    def test_failed_merge_leaves_the_child_with_its_parent(self):
        """L030: the temporary copy is removed; the data is intact."""
        path, parent_path = self.child()
        with self.opened(path) as disk:
            disk.write(MIB, b'of the guest')
        with self.fabric.recorder.recording() as calls:
            self.assertRaises(errors.OS_WIN_ERRORS, self.fail_at, path,
                              'virtdisk.MergeVirtualDisk')
        self.assertIn('virtdisk.MergeVirtualDisk',
                      [call.label.split()[0] for call in calls])
        self.assertEqual(['root.vhd'], self.paths.list_dir(DIR))
        info = self.disks.info(path)
        self.assertEqual((model.DiskType.DIFFERENCING, parent_path, 64 * MIB),
                         (info.type, info.parent_path,
                          info.virtual_size_bytes))
        self.disks.grow_to_flavor(path, 1)
        self.assertEqual(model.DiskType.DYNAMIC, self.disks.info(path).type)
        with self.opened(path) as disk:
            self.assertEqual(b'of the guest', disk.read(MIB, 12))

    def opened(self, path):
        storage = self.host.storage
        return sim_disks.open_disk(storage.local(path), writable=True,
                                   resolve=storage.local, win_path=path)

    def fail_at(self, path, function):
        with self.fabric.faults.failing(kind='dll', match=f'{function}*'):
            self.disks.grow_to_flavor(path, 1)
