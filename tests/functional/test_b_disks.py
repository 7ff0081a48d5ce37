# SPDX-License-Identifier: Apache-2.0
"""Feature letter B, rows 1 and 2: local disks of new servers."""

import ntpath

from compute_hyperv import model
from compute_hyperv.sim import disks
from tests.functional import base

GIB = model.GIB
MIB = model.MIB
GEN2 = {'hw_machine_type': 'hyperv-gen2'}


class DisksCase(base.TestCase):

    COW = True

    def _set_flags(self):
        super()._set_flags()
        self.flags(use_cow_images=self.COW, max_local_block_devices=-1)

    def disk(self, path):
        """An open virtual disk of the host."""
        return self.enterContext(self.open_disk(path))

    def assert_has_image(self, path, image_id):
        """A guest reads the image's bytes there, then zeros."""
        disk = self.disk(path)
        with disks.open_disk(self.glance.path(image_id), writable=False,
                             resolve=str) as image:
            size_bytes = image.size_bytes
            for offset in range(0, size_bytes, MIB):
                length = min(MIB, size_bytes - offset)
                self.assertEqual(image.read(offset, length),
                                 disk.read(offset, length), hex(offset))
        if disk.size_bytes > size_bytes:
            self.assertEqual(bytes(4096),
                             disk.read(disk.size_bytes - 4096, 4096))


class CowTest(DisksCase):
    """B1 with use_cow_images."""

    def test_root_is_a_child_of_the_cached_image(self):
        """L018, L025: it is grown to what fits into the flavor.

        L026: an image of the flavor's own size boots as it is.
        """
        for disk_format in ('vhd', 'vhdx'):
            image_id = self.glance.add_disk(disk_format)
            vm = self.vm(self.boot(image_id,
                                   flavor_id=self.flavor(disk_gib=2)))
            drive = vm.drive(f'root.{disk_format}')
            disk = self.disk(drive.path)
            self.assertEqual('differencing', disk.kind)
            self.assertIn('_base', disk.parent_path)
            self.assertTrue(2 * GIB - 64 * MIB < disk.size_bytes <= 2 * GIB)
            self.assert_has_image(drive.path, image_id)
        image_id = self.glance.add_disk('vhdx', size_bytes=GIB)
        drive = self.vm(self.boot(image_id)).drive('root.vhdx')
        self.assertEqual(GIB, self.disk(drive.path).size_bytes)

    def test_flavors_of_two_sizes_share_one_download(self):
        """L018: each size of VHD has its own parent, made once."""
        image_id = self.glance.add_disk('vhd')
        parents = []
        for size in (1, 2, 2):
            vm = self.vm(self.boot(image_id,
                                   flavor_id=self.flavor(disk_gib=size)))
            parents.append(
                self.disk(vm.drive('root.vhd').path).parent_path)
        self.assertEqual(2, len(set(parents)))
        self.assertEqual(parents[1], parents[2])
        self.assertEqual(1, self.glance.downloads[image_id])

    def test_image_over_the_flavors_size_is_refused(self):
        """L019: refused with that error; no VM, file or port is left."""
        image_id = self.glance.add_disk('vhdx', size_bytes=2 * GIB)
        server = self.boot(image_id, networks='auto', state='ERROR')
        self.assertIn("Flavor's disk is too small for requested image",
                      self.fault(server))
        self.assertEqual([], self.view().vm_names)
        self.assertFalse(self.view().exists(ntpath.join(
            base.INSTANCES_DIR, server['OS-EXT-SRV-ATTR:instance_name'])))

    def test_vhd_is_refused_for_generation_2(self):
        server = self.boot(self.glance.add_disk('vhd', **GEN2),
                           state='ERROR')
        self.assertIn('hyperv-gen2 needs vhdx', self.fault(server))
        self.assertEqual([], self.view().vm_names)


class CopyTest(DisksCase):
    """B1 without use_cow_images."""

    COW = False

    def test_root_is_a_copy_of_its_own(self):
        """L025: the virtual size leaves room for the format's metadata."""
        for disk_format in ('vhd', 'vhdx'):
            image_id = self.glance.add_disk(disk_format)
            vm = self.vm(self.boot(image_id,
                                   flavor_id=self.flavor(disk_gib=2)))
            drive = vm.drive(f'root.{disk_format}')
            disk = self.disk(drive.path)
            self.assertEqual(('dynamic', None),
                             (disk.kind, disk.parent_path))
            self.assertTrue(2 * GIB - 64 * MIB < disk.size_bytes <= 2 * GIB)
            self.assert_has_image(drive.path, image_id)


class ManyDisksTest(DisksCase):
    """B2: ISO, blank, ephemeral and swap disks."""

    def test_iso_boots_beside_a_blank_disk(self):
        """L040: the server gets its own copy of the ISO."""
        for generation, bus in ((1, 'ide'), (2, 'scsi')):
            image_id = self.glance.add_iso(
                hw_machine_type=f'hyperv-gen{generation}')
            vm = self.vm(self.boot(image_id,
                                   flavor_id=self.flavor(disk_gib=3)))
            self._check_iso_and_blank(vm, bus, image_id)

    def _check_iso_and_blank(self, vm, bus, image_id):
        self.assertEqual(
            [('root.iso', bus, 0, True), ('root.vhdx', bus, 1, False)],
            [(drive.name, drive.bus, drive.lun, drive.is_dvd)
             for drive in vm.drives])
        blank = self.disk(vm.drive('root.vhdx').path)
        self.assertEqual((3 * GIB, bytes(4096)),
                         (blank.size_bytes, blank.read(0, 4096)))
        local = self.host.storage.local(vm.drive('root.iso').path)
        with (open(local, 'rb') as copy,
              open(self.glance.path(image_id), 'rb') as image):
            self.assertEqual(image.read(), copy.read())

    def test_several_ephemerals_and_swap(self):
        image_id = self.glance.add_disk(**GEN2)
        vm = self.vm(self.boot(
            image_id, flavor_id=self.flavor(ephemeral_gib=3, swap_mib=128),
            block_device_mapping_v2=[
                {'source_type': 'image', 'uuid': image_id, 'boot_index': 0,
                 'destination_type': 'local'},
                *({'source_type': 'blank', 'destination_type': 'local',
                   'boot_index': -1, 'volume_size': size}
                  for size in (1, 2)),
                {'source_type': 'blank', 'destination_type': 'local',
                 'guest_format': 'swap', 'boot_index': -1,
                 'volume_size': 128}]))
        self.assertEqual(
            [('root.vhdx', 0), ('eph0.vhdx', 1), ('eph1.vhdx', 2),
             ('swap.vhdx', 3)],
            [(drive.name, drive.lun) for drive in vm.drives])
        self.assertEqual(
            [GIB, 2 * GIB, 128 * MIB],
            [self.disk(drive.path).size_bytes for drive in vm.drives[1:]])

    def test_bus_that_the_generation_lacks_is_refused(self):
        """L037: refused before the VM is defined."""
        image_id = self.glance.add_disk(**GEN2)
        server = self.boot(
            image_id, state='ERROR',
            flavor_id=self.flavor(ephemeral_gib=1), block_device_mapping_v2=[
                {'source_type': 'image', 'uuid': image_id, 'boot_index': 0,
                 'destination_type': 'local'},
                {'source_type': 'blank', 'destination_type': 'local',
                 'boot_index': -1, 'volume_size': 1, 'disk_bus': 'ide'}])
        self.assertIn('disk_bus=ide', self.fault(server))
        self.assertFalse(self.glance.downloads)

    def test_more_devices_than_slots_are_refused(self):
        """L037: more devices than a controller has slots."""
        image_id = self.glance.add_disk()
        server = self.boot(
            image_id, state='ERROR',
            flavor_id=self.flavor(ephemeral_gib=4), block_device_mapping_v2=[
                {'source_type': 'image', 'uuid': image_id, 'boot_index': 0,
                 'destination_type': 'local'},
                *({'source_type': 'blank', 'destination_type': 'local',
                   'boot_index': -1, 'volume_size': 1, 'disk_bus': 'ide'}
                  for _unused in range(4))])
        self.assertIn('No free ide slot', self.fault(server))
        self.assertEqual([], self.view().vm_names)
        self.assertFalse(self.glance.downloads, server)
