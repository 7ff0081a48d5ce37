# SPDX-License-Identifier: Apache-2.0
"""Feature letter B, row 7: rescue and unrescue."""

from compute_hyperv.sim import guestdisks
from tests.functional import base

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
OFFSET = 9 << 20
DATA = b'written by the guest'


class RescueTest(base.TestCase):

    def setUp(self):
        super().setUp()
        self.rescue_ids = {
            'vhdx': self.glance.add_disk('vhdx', seed=2),
            'vhd': self.glance.add_disk('vhd', seed=2)}

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
            self.assertFalse([
                path for path in self.host.storage.drive('C').listing()
                if 'rescue' in path])
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
        self.assertFalse([
            path for path in self.host.storage.drive('C').listing()
            if 'rescue' in path])
        self.fabric.faults.clear()
        self.api.post_server_action(server['id'],
                                    {'os-resetState': {'state': 'active'}})
        self.api.post_server_action(server['id'],
                                    {'reboot': {'type': 'HARD'}})
        self._wait_for_state_change(server, 'ACTIVE')
        self.until(lambda: self.vm(server).state == 'running', 'running')
