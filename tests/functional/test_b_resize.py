# SPDX-License-Identifier: Apache-2.0
"""B10: resize and cold migration."""

import ntpath
import os

from nova.tests import fixtures as nova_fixtures

from compute_hyperv.sim import disks
from compute_hyperv.sim import vm as sim_vm
from tests.functional import base

#: What a guest wrote onto its root disk, and where.
MARK = b'written by the guest' * 200
MARK_AT = 15 << 20


class MoveTest(base.TestCase):
    """Servers that move between HV1 and HV2."""

    HOSTS = ('HV1', 'HV2')

    def setUp(self):
        self.useFixture(nova_fixtures.HostNameWeigherFixture(
            weights={'HV1': 100, 'HV2': 50}))
        super().setUp()

    def host_of(self, server):
        return self._show_server(server)['OS-EXT-SRV-ATTR:host']

    def write_as_guest(self, server, file_name='root.vhdx'):
        """Let the guest write; the VM is off for that long."""
        vm = self.vm(server)
        was = vm.vm.state
        view = self.view(server['OS-EXT-SRV-ATTR:host'])
        view.request_state(vm, sim_vm.OFF)
        path = vm.drive(file_name).path
        storage = view.host.storage
        with disks.open_disk(storage.local(path), writable=True,
                             resolve=storage.local, win_path=path) as disk:
            disk.write(MARK_AT, MARK)
        view.request_state(vm, was)
        self._wait_for_server_parameter(
            server, {'OS-EXT-STS:power_state':
                     1 if was == sim_vm.RUNNING else 4})

    def assert_written(self, server, file_name='root.vhdx'):
        server = self._show_server(server)
        host = server['OS-EXT-SRV-ATTR:host']
        path = self.vm(server).drive(file_name).path
        with self.open_disk(path, host) as disk:
            self.assertEqual(MARK, disk.read(MARK_AT, len(MARK)))

    def resize(self, server, flavor_id, state='VERIFY_RESIZE'):
        self.api.post_server_action(
            server['id'], {'resize': {'flavorRef': flavor_id}})
        return self._wait_for_state_change(server, state)

    def migrate(self, server, host=None):
        self.api.post_server_action(server['id'],
                                    {'migrate': {'host': host}})
        return self._wait_for_state_change(server, 'VERIFY_RESIZE')

    def confirm(self, server):
        self.api.post_server_action(server['id'], {'confirmResize': None})
        return self._wait_for_state_change(server, 'ACTIVE')

    def revert(self, server):
        self.api.post_server_action(server['id'], {'revertResize': None})
        return self._wait_for_state_change(server, 'ACTIVE')

    def files(self, host, server, suffix=''):
        name = server['OS-EXT-SRV-ATTR:instance_name'] + suffix
        storage = self.fabric.host(host).storage
        directory = ntpath.join(base.INSTANCES_DIR, name)
        if not storage.exists(directory):
            return None
        return {entry for entry in os.listdir(storage.local(directory))
                if '.' in entry}


class OtherHostTest(MoveTest):

    def test_resize_to_another_host_and_confirm(self):
        """L023, L033, L038, L076, L085, L087, L088, L090, L096."""
        image_id = self.glance.add_disk(hw_machine_type='hyperv-gen2')
        small = self.flavor(disk_gib=1)
        large = self.flavor(memory_mib=1024, vcpus=2, disk_gib=2,
                            ephemeral_gib=1, swap_mib=64)
        server = self.boot(image_id, flavor_id=small, networks='auto',
                           config_drive=True)
        self.write_as_guest(server)
        before = self.vm(server)
        nics, slots = before.nics, {
            drive.name: (drive.bus, drive.controller, drive.lun)
            for drive in before.drives}

        server = self.resize(server, large)

        self.assertEqual('HV2', self.host_of(server))
        vm = self.vm(server)
        self.assertEqual(('running', 1024, 2),
                         (vm.state, vm.memory_mib, vm.vcpus))
        self.assertEqual(nics, vm.nics)
        now = {drive.name: (drive.bus, drive.controller, drive.lun)
               for drive in vm.drives}
        self.assertEqual(slots, {name: now[name] for name in slots})
        self.assertEqual({'eph0.vhdx', 'swap.vhdx'}, now.keys() - slots)
        self.assert_written(server)
        root = vm.drive('root.vhdx').path
        self.assertTrue(0 <= (2 << 30) - self.disk_size(root, 'HV2')
                        <= 16 << 20)
        self.assertEqual('root.vhdx', vm.boot_order[0])
        # The source can take it back, and runs nothing.
        self.assertEqual([], self.view('HV1').vm_names)
        self.assertIn('root.vhdx', self.files('HV1', server, '_revert'))

        self.confirm(server)

        self.assertEqual('running', self.vm(server).state)
        self.assertIsNone(self.files('HV1', server, '_revert'))
        self._delete_server(server)
        self.fabric.assert_clean()
