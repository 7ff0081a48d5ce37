# SPDX-License-Identifier: Apache-2.0
"""What a rescue does with the drives of a VM, and how they come back."""

import ntpath

import ddt
from nova import exception
from nova import objects

from compute_hyperv import model
from compute_hyperv import rescuedrives
from compute_hyperv.sim import devices
from tests.unit import opscase

ONE, TWO = model.Generation.ONE, model.Generation.TWO


class RescueCase(opscase.OpsTestCase):
    """A VM of generation 2 with a root disk and one more."""

    GENERATION = TWO

    def setUp(self):
        super().setUp()
        self.define(generation=self.GENERATION)
        self.name = self.instance.name
        self.drives = self.ops.rescue._drives
        bus = rescuedrives.boot_slot(self.GENERATION).bus
        self.add('root.vhdx', model.Slot(bus=bus, controller=0, lun=0))
        self.add('eph0.vhdx', model.Slot(bus=model.Bus.SCSI, controller=0,
                                         lun=3))
        self.usual = self.places()

    def path(self, name):
        return ntpath.join(self.paths.instance_dir(self.name), name)

    def make(self, name):
        self.win.vhd.create_dynamic_vhd(self.path(name), 1 << 20)
        return self.path(name)

    def add(self, name, slot):
        self.win.attach_drive(
            self.name, self.make(name), slot,
            rescuedrives.Medium(path=name, slot=slot).kind)

    def places(self):
        return {ntpath.basename(medium.path):
                (medium.slot.bus.value, medium.slot.lun)
                for medium in self.drives.media(self.name)}

    def order(self):
        return list(self.vm().settings['BootSourceOrder'])

    def put_back(self):
        self.drives.put_back(self.instance, {})


class DrivesTest(RescueCase):

    def test_in_front(self):
        """L098: the rescue disk in the root's slot, the root beside it."""
        self.drives.put_in_front(self.instance,
                                 self.make('root-rescue.vhdx'), {})
        self.assertEqual({'root-rescue.vhdx': ('scsi', 0),
                          'root.vhdx': ('scsi', 1),
                          'eph0.vhdx': ('scsi', 3)}, self.places())
        self.put_back()
        self.assertEqual(self.usual, self.places())
        self.assertFalse(self.paths.exists(self.path('root-rescue.vhdx')))

    def test_beside(self):
        """A stable rescue moves nothing, and the old order comes back."""
        before = self.order()
        self.drives.add(self.instance, self.make('root-rescue.vhdx'))
        self.assertEqual(self.usual | {'root-rescue.vhdx': ('scsi', 1)},
                         self.places())
        self.assertEqual(before, self.order()[1:])
        self.put_back()
        self.assertEqual(self.usual, self.places())
        self.assertEqual(before, self.order())

    def test_config_drive(self):
        self.add('configdrive.vhdx', model.Slot(
            bus=model.Bus.SCSI, controller=0, lun=1))
        usual = self.places()
        self.drives.exchange(self.name, self.path('configdrive.vhdx'),
                             self.make('configdrive-rescue.vhdx'))
        self.assertEqual(('scsi', 1),
                         self.places()['configdrive-rescue.vhdx'])
        self.put_back()
        self.assertEqual(usual, self.places())

    def test_back_from_anywhere(self):
        """A return can stop after any of its changes, and begin anew."""
        for number in range(1, 7):
            self.drives.put_in_front(self.instance,
                                     self.make('root-rescue.vhdx'), {})
            with self.fabric.faults.failing(kind='method', nth=number):
                try:
                    self.put_back()
                except Exception:       # whatever it was, the next one works
                    self.put_back()
            self.assertEqual(self.usual, self.places(), number)

    def test_nothing_to_put_back(self):
        self.put_back()
        self.assertEqual(self.usual, self.places())

    def test_rest_of_an_interrupted_config_drive_goes(self):
        self.paths.make_dir(self.path('configdrive-rescue.vhdx.iso.files'))
        self.put_back()
        self.assertEqual([], self.drives.own_files(self.name))

    def test_exchange_of_what_is_not_there(self):
        self.assertRaises(exception.DiskNotFound, self.drives.exchange,
                          self.name, self.path('other.vhdx'), 'x.vhdx')


class GenerationOneTest(RescueCase):

    GENERATION = ONE

    def boot_order(self):
        return list(self.vm().settings['BootOrder'])

    def test_dvd_is_booted_first(self):
        before = self.boot_order()
        with self.paths.open(self.path('root-rescue.iso'), 'wb') as stream:
            stream.write(bytes(2048))
        self.drives.add(self.instance, self.path('root-rescue.iso'))
        self.assertEqual(('ide', 1), self.places()['root-rescue.iso'])
        self.assertEqual([1, 2, 3, 0], self.boot_order())
        self.put_back()
        self.assertEqual(self.usual, self.places())
        self.assertEqual([2, 1, 3, 0], self.boot_order())
        self.assertEqual(sorted(before), sorted(self.boot_order()))

    def test_disk_takes_the_only_slot_that_boots(self):
        self.drives.put_in_front(self.instance,
                                 self.make('root-rescue.vhdx'), {})
        self.assertEqual(('ide', 0), self.places()['root-rescue.vhdx'])
        self.assertEqual(('scsi', 0), self.places()['root.vhdx'])
        self.assertEqual(1, len(self.vm().resources(
            devices.RASD, devices.SCSI_CONTROLLER)))
        self.put_back()
        self.assertEqual(self.usual, self.places())


@ddt.ddt
class WayTest(RescueCase):
    """L099: what cannot be done is refused before anything is touched."""

    def choose(self, **properties):
        return self.ops.rescue._choose_way(
            self.instance, objects.ImageMeta.from_dict(
                {'properties': properties}), {})

    @ddt.data(({}, True, False), ({'hw_rescue_device': 'disk'}, False, False),
              ({'hw_rescue_bus': 'scsi'}, False, False),
              ({'hw_rescue_device': 'cdrom', 'hw_rescue_bus': 'scsi'}, False,
               True))
    @ddt.unpack
    def test_way(self, properties, in_front, is_dvd):
        way = self.choose(**properties)
        self.assertEqual((in_front, is_dvd), (way.in_front, way.is_dvd))

    @ddt.data(({'hw_rescue_device': 'lun'}, 'cdrom, disk'),
              ({'hw_rescue_device': 'disk', 'hw_rescue_bus': 'ide'},
               'generation 2: scsi'))
    @ddt.unpack
    def test_refusal(self, properties, words):
        with self.assertRaisesRegex(exception.InstanceNotRescuable, words):
            self.choose(**properties)

    def test_nothing_that_could_give_way(self):
        self.win.vm.detach_vm_disk(self.name, self.path('root.vhdx'),
                                   is_physical=False)
        self.assertRaises(exception.InstanceNotRescuable, self.choose)
        self.choose(hw_rescue_device='disk')
