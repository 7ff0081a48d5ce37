# SPDX-License-Identifier: Apache-2.0
"""Whole plans: order of booting, NICs, and the image's part."""

import unittest

import ddt
from nova import exception

from compute_hyperv import model
from compute_hyperv.plan import nics
from compute_hyperv.plan import request
from compute_hyperv.plan import slots
from compute_hyperv.plan import volumes
from tests.unit.plan import factories


def plan(info=None, *, config_drive=False, vifs=(), disk_format='vhdx',
         **properties):
    """Plan with the planner of a 2022 host."""
    instance = factories.instance(properties=properties)
    planner = factories.planner(
        disks=factories.disks.DiskOptions(
            volumes=volumes.Protocols(
                known=frozenset({'iscsi'})), config_drive_cdrom=True))
    return planner.instance(
        instance, factories.image_meta(disk_format, **properties),
        info if info is not None else factories.bdi(), vifs,
        factories.layout(), config_drive=config_drive)


def names(drives):
    return [getattr(drive, 'volume_id', None)
            or drive.path.rpartition('\\')[2] for drive in drives]


@ddt.ddt
class BootOrderTest(unittest.TestCase):

    def test_boot_index_decides_then_the_rest(self):
        """L041: drives without an index come after all indexed ones."""
        found = plan(
            factories.bdi(
                ephemerals=[factories.ephemeral()],
                volumes=[factories.volume('v2', boot_index=2),
                         factories.volume('v', boot_index=-1),
                         factories.volume('v1', boot_index=1)]),
            config_drive=True, hw_machine_type='hyperv-gen2')
        self.assertEqual(
            ['root.vhdx', 'v1', 'v2', 'eph0.vhdx', 'v', 'configdrive.iso'],
            names(found.boot_drives))

    @ddt.data(('iso', [model.BootDevice.CDROM, model.BootDevice.HARD_DISK]),
              ('vhdx', [model.BootDevice.HARD_DISK, model.BootDevice.CDROM]))
    @ddt.unpack
    def test_generation_1_boots_the_cd_only_from_iso(self, disk_format,
                                                     expected):
        """L040: an ISO image puts CD-ROM first, otherwise the disk."""
        found = plan(disk_format=disk_format, config_drive=True)
        self.assertEqual(expected, list(found.boot_devices[:2]))
        self.assertEqual(set(model.BootDevice), set(found.boot_devices))

    def test_iso_boots_before_the_blank_disk(self):
        found = plan(disk_format='iso', hw_machine_type='hyperv-gen2')
        self.assertEqual(['root.iso', 'root.vhdx'],
                         names(found.boot_drives))


class PlanTest(unittest.TestCase):

    def test_plan_carries_name_and_uuid(self):
        found = plan()
        self.assertEqual(('instance-00000001', factories.UUID),
                         (found.vm_name, found.uuid))

    def test_image_completes_the_root_disk_only(self):
        before = plan(factories.bdi(ephemerals=[factories.ephemeral()]))
        image = model.CachedImage(path=r'C:\b\i.vhd', virtual_size_bytes=512,
                                  format=model.DiskFormat.VHD)
        after = factories.planner().with_image(before, image,
                                               factories.layout())
        self.assertEqual(['root.vhd', 'eph0.vhdx'], names(after.disks))
        self.assertEqual(r'C:\b\i.vhd', after.root.parent_path)
        self.assertEqual(before.disks[1], after.disks[1])

    def test_root_of_a_volume_is_no_local_disk(self):
        found = plan(factories.bdi(
            volumes=[factories.volume(mount_device='/dev/sda')]))
        self.assertIsNone(found.root)
        self.assertEqual(0, found.volumes[0].boot_index)

    def test_config_drive_is_found(self):
        self.assertIsNone(plan().config_drive)
        self.assertEqual(model.DiskRole.CONFIG,
                         plan(config_drive=True).config_drive.role)

    def test_too_many_drives_are_no_fault_of_this_host(self):
        """L037: refused for good, with the reason."""
        with self.assertRaisesRegex(exception.InvalidInput,
                                    'No free scsi slot'):
            plan(factories.bdi(volumes=[
                factories.volume(f'v{n}') for n in range(65)]))

    def test_slot_is_reserved_once(self):
        free = slots.Slots(model.Generation.ONE, factories.caps())
        slot = free.reserve(factories.slot('ide 1:1'))
        for taken in (slot, factories.slot('scsi 1:0')):
            with self.assertRaises(KeyError):
                free.reserve(taken)

    def test_properties_unknown_to_nova_are_read(self):
        asked = request.Request(
            factories.instance(properties={'os_vtpm': 'optional'}),
            factories.image_meta())
        self.assertEqual('optional', asked.find_property('os_vtpm'))


@ddt.ddt
class NicsTest(unittest.TestCase):

    @ddt.data('hyperv', 'ovs')
    def test_port_becomes_a_nic(self, vif_type):
        nic, = nics.plan_nics([factories.vif(type=vif_type)], 'external')
        self.assertEqual(
            model.NicSpec(port_id='port-1', mac='fa:16:3e:00:00:01',
                          vif_type=vif_type, switch='external', mtu=1450),
            nic)

    @ddt.data('direct', 'direct-physical', 'macvtap', 'vdpa')
    def test_port_that_would_be_a_plain_nic_is_refused(self, vnic_type):
        """C9 without SR-IOV: what is left out is not left out in silence."""
        with self.assertRaisesRegex(
                exception.VirtualInterfaceCreateException,
                f'port-1.*binding:vnic_type={vnic_type}; allowed: normal'):
            nics.plan_nics([factories.vif(vnic_type=vnic_type)], 'external')

    def test_open_vswitch_without_a_switch_is_refused(self):
        with self.assertRaisesRegex(
                exception.VirtualInterfaceCreateException,
                r'port-1.*vif_type=ovs.*\[hyperv\] vswitch_name'):
            nics.plan_nics([factories.vif(type='ovs')], None)
        self.assertEqual(
            1, len(nics.plan_nics([factories.vif(type='hyperv')], None)))

    @ddt.data('binding_failed', 'unbound', 'bridge', None)
    def test_port_that_is_not_for_hyper_v_is_refused(self, vif_type):
        """L126: the refusal names the usual causes."""
        with self.assertRaisesRegex(
                exception.VirtualInterfaceCreateException,
                'port-1.*mechanism driver.*L2 agent'):
            nics.plan_nics([factories.vif(type=vif_type)], None)

    def test_no_ports_no_nics(self):
        self.assertEqual((), nics.plan_nics(None, None))
