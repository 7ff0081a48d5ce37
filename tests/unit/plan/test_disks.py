# SPDX-License-Identifier: Apache-2.0
"""Drives: their slots, formats, sizes and order."""

import unittest

import ddt
from nova import exception

from compute_hyperv import model
from compute_hyperv.plan import disks
from compute_hyperv.plan import volumes
from tests.unit.plan import factories
from tests.unit.plan.factories import DIR
from tests.unit.plan.factories import GEN1
from tests.unit.plan.factories import GEN2

GIB = model.GIB


def slots_of(plan):
    """``{path or volume id: 'bus controller:lun'}``."""
    result = {}
    for drive in plan.disks + plan.volumes:
        name = getattr(drive, 'path', None) or drive.volume_id
        slot = drive.slot
        result[name.rpartition('\\')[2]] = (
            f'{slot.bus.value} {slot.controller}:{slot.lun}')
    return result


@ddt.ddt
class SlotsTest(unittest.TestCase):

    @ddt.data((GEN1, 'ide 0:0'), (GEN2, 'scsi 0:0'))
    @ddt.unpack
    def test_root_takes_the_boot_slot(self, generation, expected):
        plan = factories.plan_disks(factories.ask(), generation=generation)
        self.assertEqual({'root.vhdx': expected}, slots_of(plan))

    @ddt.data(
        (GEN1, {'root.vhdx': 'ide 0:0', 'eph0.vhdx': 'scsi 0:0',
                'eph1.vhdx': 'scsi 0:1', 'swap.vhdx': 'scsi 0:2',
                'configdrive.iso': 'ide 1:1', 'vol': 'scsi 0:3'}),
        (GEN2, {'root.vhdx': 'scsi 0:0', 'configdrive.iso': 'scsi 0:1',
                'eph0.vhdx': 'scsi 0:2', 'eph1.vhdx': 'scsi 0:3',
                'swap.vhdx': 'scsi 0:4', 'vol': 'scsi 0:5'}))
    @ddt.unpack
    def test_every_drive_has_a_slot_of_its_own(self, generation, expected):
        """L032: gen 1 has the config drive on the second IDE controller.

        Gen 2 has it on SCSI.
        """
        plan = factories.plan_disks(
            factories.ask(),
            factories.bdi(
                ephemerals=[factories.ephemeral(), factories.ephemeral(2)],
                swap={'swap_size': 512, 'device_name': '/dev/sdd'},
                volumes=[factories.volume()]),
            generation=generation, config_drive=True,
            config_drive_cdrom=True)
        self.assertEqual(expected, slots_of(plan))

    def test_volume_boot_and_ephemeral_share_no_ide_slot(self):
        """L036: root volume and ephemeral of gen 1 get different slots."""
        plan = factories.plan_disks(
            factories.ask(), factories.bdi(
                ephemerals=[factories.ephemeral(disk_bus='ide')],
                volumes=[factories.volume(mount_device='/dev/sda')]),
            generation=GEN1)
        self.assertEqual({'vol': 'ide 0:0', 'eph0.vhdx': 'ide 0:1'},
                         slots_of(plan))

    def test_config_drive_keeps_its_slot_from_ide_disks(self):
        """L032: the slot is reserved when slots are given out."""
        plan = factories.plan_disks(
            factories.ask(), factories.bdi(
                ephemerals=[factories.ephemeral(disk_bus='ide')] * 2),
            generation=GEN1, config_drive=True)
        self.assertEqual(
            {'root.vhdx': 'ide 0:0', 'eph0.vhdx': 'ide 0:1',
             'eph1.vhdx': 'ide 1:0', 'configdrive.vhd': 'ide 1:1'},
            slots_of(plan))

    @ddt.data((True, 2), (False, 3))
    @ddt.unpack
    def test_ide_slots_run_out(self, config_drive, fitting):
        """L037: more devices than slots are refused, all counted."""
        def plan(count):
            return factories.plan_disks(
                factories.ask(), factories.bdi(ephemerals=[
                    factories.ephemeral(disk_bus='ide')] * count),
                generation=GEN1, config_drive=config_drive)
        self.assertEqual(fitting + 1 + config_drive, len(plan(fitting).disks))
        with self.assertRaisesRegex(
                exception.TooManyDiskDevices,
                f'ide slot.*ephemeral disk {fitting}.*generation 1'):
            plan(fitting + 1)

    def test_scsi_slots_run_out(self):
        """L037: root, config drive and volumes are counted together."""
        def plan(count):
            return factories.plan_disks(
                factories.ask(), factories.bdi(volumes=[
                    factories.volume(f'v{n}') for n in range(count)]),
                config_drive=True)
        self.assertEqual(62, len(plan(62).volumes))
        with self.assertRaisesRegex(exception.TooManyDiskDevices,
                                    'generation 2 VM has 64'):
            plan(63)


@ddt.ddt
class BusTest(unittest.TestCase):

    @ddt.data((GEN2, 'ide', 'scsi'), (GEN2, 'virtio', 'scsi'),
              (GEN1, 'virtio', 'ide, scsi'), (GEN1, 'usb', 'ide, scsi'))
    @ddt.unpack
    def test_bus_that_the_generation_lacks_is_refused(self, generation, bus,
                                                      allowed):
        """L037: a bus the generation does not have is refused."""
        device = {'disk_bus': bus}
        for info in (
                factories.bdi(ephemerals=[factories.ephemeral(**device)]),
                factories.bdi(volumes=[factories.volume(**device)])):
            with self.assertRaisesRegex(
                    exception.InvalidInput,
                    f'disk_bus={bus} of .*: {allowed}$'):
                factories.plan_disks(factories.ask(), info,
                                     generation=generation)

    @ddt.data((GEN1, 'scsi', 'ide'), (GEN2, 'ide', 'scsi'),
              (GEN2, 'virtio', 'scsi'))
    @ddt.unpack
    def test_root_bus_must_boot(self, generation, bus, allowed):
        with self.assertRaisesRegex(exception.InvalidInput,
                                    f'the root disk.*: {allowed}'):
            factories.plan_disks(factories.ask(),
                                 factories.bdi(image={'disk_bus': bus}),
                                 generation=generation)
        with self.assertRaisesRegex(
                exception.ImageUnacceptable,
                f'hw_disk_bus={bus}; allowed: {allowed}'):
            factories.plan_disks(factories.ask(hw_disk_bus=bus),
                                 generation=generation)

    @ddt.data((GEN1, 'ide'), (GEN2, 'scsi'))
    @ddt.unpack
    def test_bus_that_boots_may_be_asked_for(self, generation, bus):
        for info, asked in (
                (factories.bdi(image={'disk_bus': bus}), factories.ask()),
                (factories.bdi(), factories.ask(hw_disk_bus=bus)),
                (factories.bdi(), factories.ask(disk_format='iso',
                                                hw_cdrom_bus=bus))):
            plan = factories.plan_disks(asked, info, generation=generation)
            self.assertEqual(bus, plan.disks[0].slot.bus.value)

    @ddt.data('cdrom', 'lun', 'floppy')
    def test_device_types_without_a_drive_are_refused(self, device_type):
        """L037: cdrom, lun and floppy devices are refused."""
        device = {'device_type': device_type}
        for info in (
                factories.bdi(ephemerals=[factories.ephemeral(**device)]),
                factories.bdi(volumes=[factories.volume(**device)])):
            with self.assertRaisesRegex(exception.InvalidInput,
                                        f'device_type={device_type}'):
                factories.plan_disks(factories.ask(), info)

    def test_encrypted_local_disk_is_refused(self):
        with self.assertRaisesRegex(exception.InvalidInput, 'encrypt'):
            factories.plan_disks(factories.ask(), factories.bdi(
                ephemerals=[factories.ephemeral(encrypted=True)]))


@ddt.ddt
class LocalDisksTest(unittest.TestCase):

    @ddt.data((True, model.DiskSource.IMAGE_CHILD),
              (False, model.DiskSource.IMAGE_COPY))
    @ddt.unpack
    def test_root_is_a_child_or_a_copy(self, cow, source):
        root, = factories.plan_disks(factories.ask(),
                                     use_cow_images=cow).disks
        self.assertEqual(
            (source, 20 * GIB, DIR + r'\root.vhdx', 0),
            (root.source, root.size_bytes, root.path, root.boot_index))

    @ddt.data((GEN1, 'ide'), (GEN2, 'scsi'))
    @ddt.unpack
    def test_iso_comes_with_a_blank_disk(self, generation, bus):
        iso, root = factories.plan_disks(
            factories.ask(disk_format='iso'), generation=generation).disks
        self.assertEqual(
            [(model.DiskRole.ISO, DIR + r'\root.iso', 0,
              factories.slot(f'{bus} 0:0')),
             (model.DiskRole.ROOT, DIR + r'\root.vhdx', 20 * GIB,
              factories.slot(f'{bus} 0:1'))],
            [(disk.role, disk.path, disk.size_bytes, disk.slot)
             for disk in (iso, root)])
        self.assertEqual(model.DiskSource.BLANK, root.source)

    def test_iso_is_copied_even_with_cow_images(self):
        """L040: the server gets its own copy of the ISO."""
        iso = factories.plan_disks(factories.ask(disk_format='iso'),
                                   use_cow_images=True).disks[0]
        self.assertEqual(model.DiskSource.IMAGE_COPY, iso.source)

    def test_iso_with_a_diskless_flavor_has_no_disk(self):
        plan = factories.plan_disks(
            factories.ask({'root_gb': 0}, disk_format='iso'))
        self.assertEqual(['root.iso'], list(slots_of(plan)))

    def test_ephemerals_and_swap_have_their_sizes(self):
        plan = factories.plan_disks(factories.ask(), factories.bdi(
            ephemerals=[factories.ephemeral(1), factories.ephemeral(3)],
            swap={'swap_size': 512}))
        self.assertEqual(
            [(DIR + r'\eph0.vhdx', GIB), (DIR + r'\eph1.vhdx', 3 * GIB),
             (DIR + r'\swap.vhdx', 512 * model.MIB)],
            [(disk.path, disk.size_bytes) for disk in plan.disks[1:]])

    @ddt.data((GEN1, False, 'vhd'), (GEN2, False, 'vhdx'),
              (GEN1, True, 'iso'), (GEN2, True, 'iso'))
    @ddt.unpack
    def test_config_drive_is_a_cd_or_a_disk(self, generation, cdrom, suffix):
        """L032: the config drive is a DVD or a disk as configured."""
        config = factories.plan_disks(
            factories.ask(), generation=generation, config_drive=True,
            config_drive_cdrom=cdrom).disks[-1]
        self.assertEqual((f'{DIR}\\configdrive.{suffix}', suffix),
                         (config.path, config.format.value))

    def test_other_config_drive_format_is_refused(self):
        """L031: a format other than iso9660 fails with a clear error."""
        with self.assertRaisesRegex(
                exception.InvalidInput,
                'config_drive_format=vfat; allowed.*iso9660'):
            factories.plan_disks(factories.ask(), config_drive=True,
                                 config_drive_format='vfat')

    def test_blank_disk_without_a_size_is_refused(self):
        with self.assertRaisesRegex(exception.InvalidInput,
                                    'ephemeral disk 0 has no size'):
            factories.plan_disks(factories.ask(), factories.bdi(
                ephemerals=[factories.ephemeral(0)]))

    def test_file_goes_into_the_drive_that_reads_it(self):
        self.assertEqual(
            {'vhd': model.DriveType.DISK, 'vhdx': model.DriveType.DISK,
             'iso': model.DriveType.DVD},
            {item.value: item.drive_type for item in model.DiskFormat})

    def test_unknown_image_format_is_refused(self):
        """L024: a format the driver cannot use is a visible error."""
        with self.assertRaisesRegex(
                exception.InvalidDiskFormat,
                'ploop .allowed: iso, qcow2, raw, vhd, vhdx, vmdk'):
            factories.plan_disks(factories.ask(disk_format='ploop'))


@ddt.ddt
class VolumesTest(unittest.TestCase):

    def test_root_volume_is_found_by_its_device_name(self):
        """L039: decided by the device name, not by order or image."""
        plan = factories.plan_disks(factories.ask(), factories.bdi(volumes=[
            factories.volume('data', '/dev/sdb'),
            factories.volume('root', '/dev/sda', boot_index=0)]))
        self.assertEqual({'root': 'scsi 0:0', 'data': 'scsi 0:1'},
                         slots_of(plan))
        self.assertEqual([0, None],
                         [volume.boot_index for volume in plan.volumes])

    def test_data_volume_leaves_the_image_its_place(self):
        """L039: a data volume is not taken for the root."""
        plan = factories.plan_disks(factories.ask(), factories.bdi(
            volumes=[factories.volume('data', '/dev/sdb', boot_index=-1)]))
        self.assertEqual({'root.vhdx': 'scsi 0:0', 'data': 'scsi 0:1'},
                         slots_of(plan))
        self.assertIsNone(plan.volumes[0].boot_index)

    def test_unknown_protocol_is_refused(self):
        with self.assertRaisesRegex(exception.VolumeDriverNotFound,
                                    r'iscsi \(allowed: rbd, smbfs\)'):
            factories.plan_disks(
                factories.ask(), factories.bdi(volumes=[factories.volume()]),
                volumes=volumes.Protocols(
                    known=frozenset(('smbfs', 'rbd'))))


@ddt.ddt
class QosTest(unittest.TestCase):

    @ddt.data(
        ({}, None),
        ({'quota:disk_total_iops_sec': '500'}, 500),
        ({'quota:disk_total_bytes_sec': '81920'}, 10),
        ({'quota:disk_total_bytes_sec': '16383'}, 1),
        ({'quota:disk_total_bytes_sec': '1'}, 1),
        ({'quota:disk_total_iops_sec': '7',
          'quota:disk_total_bytes_sec': '81920'}, 7),
        ({'quota:disk_total_iops_sec': '0',
          'quota:disk_total_bytes_sec': '0'}, None))
    @ddt.unpack
    def test_limits_are_normalised_operations(self, specs, expected):
        """L056: IOPS win; bytes become 8 KiB units and never 0."""
        qos = disks.plan_qos(factories.ask(specs=specs))
        self.assertEqual(expected, qos and qos.max_iops)

    @ddt.data('quota:disk_total_iops_sec', 'quota:disk_total_bytes_sec')
    def test_more_than_windows_counts_is_refused(self, name):
        with self.assertRaisesRegex(exception.InvalidInput,
                                    f'{name}=9+; allowed: 0 to 9223'):
            disks.plan_qos(factories.ask(specs={name: '9' * 20}))

    def test_every_local_data_disk_is_limited(self):
        """L056: limits apply to root and ephemerals, not to volumes."""
        plan = factories.plan_disks(
            factories.ask(specs={'quota:disk_total_iops_sec': '9'}),
            factories.bdi(ephemerals=[factories.ephemeral()],
                          swap={'swap_size': 1},
                          volumes=[factories.volume()]), config_drive=True)
        self.assertEqual(
            {'root.vhdx': True, 'eph0.vhdx': True, 'swap.vhdx': True,
             'configdrive.vhdx': False},
            {disk.path.rpartition('\\')[2]: disk.qos is not None
             for disk in plan.disks})


@ddt.ddt
class SizesTest(unittest.TestCase):

    @ddt.data(({'root_gb': 65537}, 'root'), ({}, 'ephemeral'))
    @ddt.unpack
    def test_disk_that_no_vhdx_holds_is_refused(self, flavor, name):
        info = factories.bdi(ephemerals=[factories.ephemeral(
            1 if flavor else 65537)])
        with self.assertRaisesRegex(
                exception.InvalidInput,
                f'{name} disk .* 65537 GiB; allowed for vhdx: up to 65536'):
            factories.plan_disks(factories.ask(flavor), info)

    @ddt.data(('vhd', GEN1, 2040, None), ('vhdx', GEN1, 2041, None),
              ('vhd', GEN1, 2041, 'vhd: up to 2040'),
              ('vhd', GEN2, 20, 'hyperv-gen2 needs vhdx'))
    @ddt.unpack
    def test_image_is_refused_before_it_is_fetched(
            self, disk_format, generation, size_gib, refusal):
        """B1: by what Glance says of it."""
        root = factories.plan_disks(factories.ask({'root_gb': size_gib}),
                                    generation=generation).disks[0]
        if refusal is None:
            disks.check_image(root, disk_format, generation)
            return
        with self.assertRaisesRegex(exception.NovaException, refusal):
            disks.check_image(root, disk_format, generation)


@ddt.ddt
class FitImageTest(unittest.TestCase):

    @staticmethod
    def fit(content, size_bytes=GIB, generation=GEN1, **asked):
        root = factories.plan_disks(factories.ask(**asked),
                                    generation=generation).disks[0]
        image = model.CachedImage(
            path=fr'C:\base\i.{content}',
            format=model.DiskFormat(content),
            virtual_size_bytes=size_bytes)
        return disks.fit_image(root, image, generation, factories.layout())

    @ddt.data('vhd', 'vhdx')
    def test_content_decides_the_format(self, disk_format):
        """L024: the format on disk is decided from the file's content."""
        root = self.fit(disk_format, disk_format='vhd')
        self.assertEqual(
            (f'{DIR}\\root.{disk_format}', disk_format,
             fr'C:\base\i.{disk_format}'),
            (root.path, root.format.value, root.parent_path))

    def test_image_of_the_flavors_size_fits(self):
        """L026: an image as large as the flavor boots."""
        self.assertEqual(20 * GIB, self.fit('vhdx', 20 * GIB).size_bytes)

    def test_image_over_the_flavors_size_is_refused(self):
        """L019: refused as 'flavor disk smaller than image'."""
        with self.assertRaises(exception.FlavorDiskSmallerThanImage):
            self.fit('vhdx', 20 * GIB + 512)

    def test_diskless_flavor_takes_the_images_size(self):
        root = self.fit('vhdx', 20 * GIB, flavor={'root_gb': 0})
        self.assertEqual(0, root.size_bytes)

    @ddt.data(('vhd', GEN2, 'vhdx'), ('iso', GEN1, 'vhd'),
              ('vhdx', GEN1, 'iso'))
    @ddt.unpack
    def test_wrong_content_is_refused(self, content, generation, registered):
        with self.assertRaises(exception.InvalidDiskFormat):
            self.fit(content, generation=generation,
                     disk_format=registered)
