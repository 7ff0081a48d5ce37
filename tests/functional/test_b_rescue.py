# SPDX-License-Identifier: Apache-2.0
"""Feature letter B, row 7: rescue and unrescue."""

import ddt
from nova.tests.functional.api import client

from compute_hyperv.sim import guestdisks
from tests.functional import base
from tests.functional import exports
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
OFFSET = 9 << 20
DATA = b'written by the guest'


class RescueCase(base.TestCase):

    def rescue(self, server, image_id, status='RESCUE'):
        self.api.post_server_action(
            server['id'], {'rescue': {'rescue_image_ref': image_id}})
        return self._wait_for_server_parameter(
            server, {'status': status, 'OS-EXT-STS:task_state': None})

    def unrescue(self, server):
        self.api.post_server_action(server['id'], {'unrescue': None})
        self._wait_for_state_change(server, 'ACTIVE')

    def places(self, server):
        return [(drive.name, drive.bus, drive.controller, drive.lun)
                for drive in self.vm(server).drives]

    def boot_order(self, server):
        """What the firmware looks at, generation 1's in its own numbers."""
        settings = self.vm(server).settings
        return list(settings['BootSourceOrder'] or settings['BootOrder'])

    def rescue_files(self):
        return [path for path in self.host.storage.drive('C').listing()
                if 'rescue' in path]


class RescueTest(RescueCase):

    def setUp(self):
        super().setUp()
        self.rescue_ids = {
            'vhdx': self.glance.add_disk('vhdx', seed=2),
            'vhd': self.glance.add_disk('vhd', seed=2)}

    def test_rescue_image_boots_and_the_root_is_beside_it(self):
        """L098; L020: the rescue image is not resized."""
        for fmt, machine in (('vhdx', 'hyperv-gen2'), ('vhd', 'hyperv-gen1')):
            server = self.boot(
                self.glance.add_disk(fmt, hw_machine_type=machine),
                networks='auto', config_drive=True,
                flavor_id=self.flavor(ephemeral_gib=1))
            before = self.places(server)
            boot = next(disk for disk in guestdisks.of(self.vm(server).vm)
                        if 'root' in disk.path)
            boot.write(OFFSET, DATA)

            self.rescue(server, self.rescue_ids[fmt])
            self.check_rescued(server, fmt)
            self.unrescue(server)

            self.assertEqual(sorted(before), sorted(self.places(server)))
            if machine == 'hyperv-gen2':
                self.assertEqual('root.vhdx',
                                 self.vm(server).boot_order[0])
            self.assertEqual('running', self.vm(server).state)
            self.assertEqual([], self.rescue_files())
            self._delete_server(server)
            self.fabric.assert_clean()

    def check_rescued(self, server, fmt):
        vm = self.vm(server)
        self.assertEqual('running', vm.state)
        rescue = vm.drive(f'root-rescue.{fmt}')
        self.assertEqual((0, 0), (rescue.controller, rescue.lun))
        if fmt == 'vhdx':
            self.assertEqual(rescue.name, vm.boot_order[0])
        self.assertEqual(16 << 20, self.disk_size(rescue.path))
        names = [drive.name for drive in vm.drives]
        self.assertEqual(4, len(names), names)
        self.assertTrue([name for name in names
                         if name.startswith('configdrive-rescue.')])
        root = next(disk for disk in guestdisks.of(vm.vm)
                    if disk.path.endswith(f'root.{fmt}'))
        self.assertEqual(DATA, root.read(OFFSET, len(DATA)))

    def test_rescue_that_cannot_be_or_fails_changes_nothing(self):
        """L099: refused or undone; L020: no image beyond the flavor."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2),
                           config_drive=True)
        before = self.places(server)
        large = self.glance.add_disk('vhdx', size_bytes=2 << 30)
        for image_id in (self.rescue_ids['vhd'], large):
            self.check_refused(server, image_id, before)
        # The power on; the first one is the power off.
        self.fabric.faults.add(host='HV1', kind='method',
                               match='*.RequestStateChange', nth=2)
        self.check_refused(server, self.rescue_ids['vhdx'], before)

    def check_refused(self, server, image_id, before):
        self.rescue(server, image_id, status='ERROR')
        self.assertEqual(sorted(before), sorted(self.places(server)))
        self.assertEqual([], self.rescue_files())
        self.fabric.faults.clear()
        self.api.post_server_action(server['id'],
                                    {'os-resetState': {'state': 'active'}})
        self.api.post_server_action(server['id'],
                                    {'reboot': {'type': 'HARD'}})
        self._wait_for_state_change(server, 'ACTIVE')
        self.until(lambda: self.vm(server).state == 'running', 'running')


def _rescued_by(device, bus):
    return {'hw_rescue_device': device, 'hw_rescue_bus': bus}


@ddt.ddt
class VolumeRescueTest(RescueCase, volumecase.VolumeTestCase):

    @ddt.data((2, 'disk', 'scsi'), (2, 'cdrom', 'scsi'), (1, 'disk', 'ide'),
              (1, 'cdrom', 'ide'))
    @ddt.unpack
    def test_server_of_a_volume(self, generation, device, bus):
        """B7: the rescue medium comes beside the volumes, which stay."""
        properties = {'hw_machine_type': f'hyperv-gen{generation}'}
        volumes = [self.cinder.add_volume(content=DATA, shown={
            'volume_image_metadata': properties}),
            self.cinder.add_volume(content=DATA[::-1])]
        server = self.boot_from(*volumes, config_drive=True)
        slots = [self.slot(server, volume) for volume in volumes]
        before = self.places(server), self.boot_order(server)

        self.rescue(server, self.rescue_image(device, bus))
        self.check_rescued(server, volumes, slots, generation, device)
        # Disks get other numbers.
        self.reboot_host()
        self.unrescue(server)

        self.assertEqual(before, (self.places(server),
                                  self.boot_order(server)))
        self.assertEqual(slots, [self.slot(server, volume)
                                 for volume in volumes])
        for number, volume in enumerate(volumes):
            self.assert_same_bytes(server, volume, b'after %d' % number)
        self.assertEqual([], self.rescue_files())
        self._delete_server(server)
        self.fabric.assert_clean()

    def rescue_image(self, device, bus):
        properties = _rescued_by(device, bus)
        if device == 'cdrom':
            return self.glance.add_iso(**properties)
        return self.glance.add_disk('vhdx', seed=2, **properties)

    def check_rescued(self, server, volumes, slots, generation, device):
        vm = self.vm(server)
        self.assertEqual('running', vm.state)
        for number, volume in enumerate(volumes):
            self.assert_same_bytes(server, volume, b'rescued %d' % number)
        rescue = next(drive for drive in vm.drives
                      if drive.name.startswith('root-rescue.'))
        self.assertEqual(device == 'cdrom', rescue.is_dvd)
        now = [self.slot(server, volume) for volume in volumes]
        if generation == 2:
            self.assertEqual(rescue.name, vm.boot_order[0])
        elif device == 'cdrom':
            self.assertEqual(1, self.boot_order(server)[0])
        if (generation, device) == (1, 'disk'):
            self.assertEqual(('ide', 0, 0), (rescue.bus, rescue.controller,
                                             rescue.lun))
            self.assertEqual(slots[1:], now[1:])
        else:
            self.assertEqual(slots, now)

    def test_root_of_a_file(self):
        """The same with a volume that is a file on a share."""
        self.fabric.shares.add(exports.SHARE, 100 << 30)
        volume = self.cinder.add_volume(kind=exports.SMB, content=DATA)
        server = self.boot_from(volume)
        before = self.places(server)
        self.rescue(server, self.rescue_image('disk', 'ide'))
        self.assert_same_bytes(server, volume, b'rescued')
        self.unrescue(server)
        self.assertEqual(before, self.places(server))
        self.assert_same_bytes(server, volume, b'after')

    def test_local_root_and_a_volume(self):
        """The volume is there before, during and after a rescue."""
        server = self.boot(self.glance.add_disk(**GEN2))
        volume = self.cinder.add_volume(content=DATA)
        self.attach(server, volume)
        slot, before = self.slot(server, volume), self.places(server)
        for properties in ({}, _rescued_by('disk', 'scsi')):
            self.rescue(server, self.glance.add_disk(seed=2, **properties))
            self.assertEqual(slot, self.slot(server, volume))
            if properties:
                self.assertLessEqual(set(before), set(self.places(server)))
            self.unrescue(server)
            self.assertEqual(slot, self.slot(server, volume))
            self.assertEqual(before, self.places(server))

    def test_what_cannot_be_is_refused(self):
        """With the property and its allowed values; nothing is touched."""
        volume = self.cinder.add_volume(content=DATA, shown={
            'volume_image_metadata': GEN2})
        server = self.boot_from(volume)
        before = self.places(server), self.boot_order(server)
        self.assertRaises(client.OpenStackApiException, self.rescue, server,
                          self.glance.add_disk(seed=2))
        for image_id, words in (
                (self.rescue_image('disk', 'virtio'), 'allowed for '
                 'generation 2: scsi'),
                (self.glance.add_disk(seed=2, **_rescued_by('lun', 'scsi')),
                 'allowed: cdrom, disk'),
                (self.glance.add_disk(seed=2, **_rescued_by('cdrom',
                                                            'scsi')),
                 'format vhdx from a cdrom')):
            self.rescue(server, image_id, status='ERROR')
            self.assertIn(words, self.fault(server))
            self.assertEqual(before, (self.places(server),
                                      self.boot_order(server)))
        self.assertEqual([], self.rescue_files())
