# SPDX-License-Identifier: Apache-2.0
"""What a resize makes of the disks that an instance has."""

import unittest

import ddt
from nova import exception
from nova import objects

from compute_hyperv import model
from compute_hyperv.plan import moves
from tests.unit.plan import factories
from tests.unit.plan.factories import DIR
from tests.unit.plan.factories import slot

GIB, MIB = model.GIB, model.MIB
SOURCE = r'D:\Instances\instance-00000001_revert'

ROOT, CONFIG = 'root.vhdx', 'configdrive.iso'
EPHEMERAL, SECOND, SWAP = 'eph0.vhdx', 'eph1.vhdx', 'swap.vhdx'


def flavor(root=20, ephemeral=0, swap=0):
    """Sizes in GiB, the swap's in MiB."""
    return objects.Flavor(root_gb=root, ephemeral_gb=ephemeral, swap=swap)


def disks(*names):
    """Disks of those names in the first slots."""
    return tuple(model.MovedDisk(file_name=name, slot=slot(f'scsi 0:{lun}'))
                 for lun, name in enumerate(names))


def move(names, old, new, info=None, volume_slots=None, config_drive=False,
         specs=None):
    """Plan the move of an instance of generation 2 with those disks."""
    planner = factories.planner(disks=factories.disks.DiskOptions(
        volumes=factories.volumes.Protocols(known=frozenset({'iscsi'})),
        config_drive_cdrom=True))
    instance = factories.instance(
        {'root_gb': new.root_gb, 'ephemeral_gb': new.ephemeral_gb,
         'swap': new.swap}, specs)
    image = factories.image_meta(hw_machine_type='hyperv-gen2')
    layout = factories.layout()
    plan = planner.instance(instance, image, info or factories.bdi(), (),
                            layout, config_drive=config_drive)
    record = model.MoveRecord(
        host='HV1', directory=SOURCE, unc='', disks=disks(*names),
        volumes=volume_slots or {})
    return planner.moved(plan, instance, image, record, old, layout)


def named(drives):
    """``{file name: slot}``."""
    return {drive.path.rpartition('\\')[2]: drive.slot for drive in drives}


@ddt.ddt
class DisksTest(unittest.TestCase):

    @ddt.data(
        # names of before, old flavor, new flavor, kept, created, grown
        ((ROOT,), flavor(), flavor(), {ROOT}, {}, {}),
        ((ROOT,), flavor(), flavor(root=40), {ROOT}, {}, {ROOT: 40}),
        ((ROOT,), flavor(), flavor(ephemeral=2), {ROOT},
         {EPHEMERAL: 2 * GIB}, {}),
        ((ROOT, EPHEMERAL), flavor(ephemeral=1), flavor(ephemeral=3),
         {ROOT, EPHEMERAL}, {}, {EPHEMERAL: 3}),
        ((ROOT, EPHEMERAL, SECOND), flavor(ephemeral=2),
         flavor(ephemeral=4), {ROOT, EPHEMERAL, SECOND}, {}, {}),
        ((ROOT, EPHEMERAL, SECOND), flavor(ephemeral=2), flavor(), {ROOT},
         {}, {}),
        ((ROOT, SWAP), flavor(swap=512), flavor(swap=512), {ROOT, SWAP}, {},
         {}),
        ((ROOT, SWAP), flavor(swap=512), flavor(swap=64), {ROOT},
         {SWAP: 64 * MIB}, {}),
        ((ROOT, SWAP), flavor(swap=512), flavor(), {ROOT}, {}, {}))
    @ddt.unpack
    def test_disks_become_what_the_new_flavor_says(
            self, names, old, new, kept, created, grown):
        """B7: the table of the module."""
        found = move(names, old, new)
        self.assertEqual(kept, found.kept_names)
        self.assertEqual(created, {
            disk.path.rpartition('\\')[2]: disk.size_bytes
            for disk in found.created})
        self.assertEqual({f'{DIR}\\{name}': size
                          for name, size in grown.items()}, found.grown_gib)
        self.assertEqual(kept | set(created), set(named(found.plan.disks)))

    def test_kept_disks_keep_their_slots_and_new_ones_take_free_ones(self):
        found = move((ROOT, CONFIG, EPHEMERAL), flavor(ephemeral=1),
                     flavor(ephemeral=1, swap=64), config_drive=True)
        self.assertEqual(
            {ROOT: slot('scsi 0:0'), CONFIG: slot('scsi 0:1'),
             EPHEMERAL: slot('scsi 0:2'), SWAP: slot('scsi 0:3')},
            named(found.plan.disks))

    def test_every_disk_keeps_its_slot_and_its_name_in_nova(self):
        """C15, L123: the user's tags go by these names."""
        info = factories.bdi(
            ephemerals=[factories.ephemeral(device_name=f'/dev/sd{letter}')
                        for letter in 'bc'],
            swap={'device_name': '/dev/sdd', 'swap_size': 64,
                  'device_type': None, 'disk_bus': None})
        names = (SWAP, ROOT, SECOND, EPHEMERAL)
        found = move(names, flavor(ephemeral=2, swap=512),
                     flavor(ephemeral=2, swap=64), info)
        self.assertEqual(
            {ROOT: '/dev/sda', EPHEMERAL: '/dev/sdb', SECOND: '/dev/sdc',
             SWAP: '/dev/sdd'},
            {disk.path.rpartition('\\')[2]: disk.device_name
             for disk in found.plan.disks})
        self.assertEqual({disk.file_name: disk.slot
                          for disk in disks(*names)},
                         named(found.plan.disks))

    def test_limits_are_for_disks_only(self):
        """L056: also those that moved."""
        found = move((ROOT, CONFIG), flavor(), flavor(), config_drive=True,
                     specs={'quota:disk_total_iops_sec': '100'})
        self.assertEqual(
            {ROOT: model.QosSpec(max_iops=100), CONFIG: None},
            {disk.path.rpartition('\\')[2]: disk.qos
             for disk in found.plan.disks})

    @ddt.data(((), False), ((ROOT,), True))
    @ddt.unpack
    def test_what_the_instance_must_have_is_not_made_anew(self, names,
                                                          config_drive):
        """An empty disk in its place would look like success."""
        self.assertRaises(exception.DiskNotFound, move, names, flavor(),
                          flavor(), config_drive=config_drive)

    def test_volumes_keep_their_slots_too(self):
        """L092."""
        info = factories.bdi(volumes=[
            factories.volume('known'),
            factories.volume('new', mount_device='/dev/sdd')])
        found = move((ROOT,), flavor(), flavor(), info,
                     {'known': slot('scsi 0:9')})
        self.assertEqual(
            {'known': slot('scsi 0:9'), 'new': slot('scsi 0:1')},
            {volume.volume_id: volume.slot for volume in found.plan.volumes})


@ddt.ddt
class RefusalTest(unittest.TestCase):

    @ddt.data(
        ((ROOT,), flavor(root=20), flavor(root=10), 'from 20 to 10'),
        ((ROOT, EPHEMERAL), flavor(ephemeral=4), flavor(ephemeral=2),
         'from 4 to 2'),
        (('root_1A2B.avhdx',), flavor(), flavor(), 'checkpoint'))
    @ddt.unpack
    def test_loss_of_data_is_refused_while_the_server_runs(
            self, names, old, new, reason):
        """L089."""
        with self.assertRaisesRegex(exception.ResizeError, reason):
            moves.refuse_shrinking(disks(*names), old, new)

    @ddt.data(
        ((), flavor(root=20), flavor(root=10)),     # boots from a volume
        ((ROOT, EPHEMERAL), flavor(ephemeral=4), flavor()),
        ((ROOT, EPHEMERAL, SECOND), flavor(ephemeral=4),
         flavor(ephemeral=2)),
        ((ROOT, SWAP), flavor(swap=512), flavor(swap=64)))
    @ddt.unpack
    def test_the_rest_is_fine(self, names, old, new):
        """L089: a server's volume does not shrink with the flavor."""
        moves.refuse_shrinking(disks(*names), old, new)

    @ddt.data((flavor(), flavor(), True), (flavor(), flavor(root=21), False),
              (flavor(), flavor(ephemeral=1), False),
              (flavor(), flavor(swap=1), False))
    @ddt.unpack
    def test_unchanged_disks_are_told(self, old, new, expected):
        self.assertIs(expected, moves.keeps_disks(old, new))
