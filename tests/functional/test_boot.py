# SPDX-License-Identifier: Apache-2.0
"""A server boots: the way through everything, once per kind of VM."""

from tests.functional import base


class BootTest(base.TestCase):

    def test_generation_2_server_boots_from_vhdx_and_is_deleted(self):
        image_id = self.glance.add_disk('vhdx', hw_machine_type='hyperv-gen2')

        server = self.boot(image_id, flavor_id=self.flavor(
            memory_mib=1024, vcpus=2, disk_gib=2))

        vm = self.vm(server)
        self.assertEqual('running', vm.state)
        self.assertEqual((2, 1024, 2),
                         (vm.generation, vm.memory_mib, vm.vcpus))
        root = vm.drive('root.vhdx')
        self.assertEqual(('scsi', 0, 0), (root.bus, root.controller, root.lun))
        self.assert_disk_begins_like_image(root.path, image_id, disk_gib=2)

        self._delete_server(server)
        self.assertEqual([], self.view().vm_names)
        self.fabric.assert_clean()

    def test_generation_1_server_boots_from_vhd(self):
        image_id = self.glance.add_disk('vhd')

        server = self.boot(image_id)

        vm = self.vm(server)
        self.assertEqual(('running', 1), (vm.state, vm.generation))
        root = vm.drive('root.vhd')
        self.assertEqual(('ide', 0, 0), (root.bus, root.controller, root.lun))
        self.assert_disk_begins_like_image(root.path, image_id, disk_gib=1)

    def test_server_has_its_port_on_the_virtual_switch(self):
        server = self.boot(networks='auto')

        port, = self.neutron.ports(server['id'])
        nic, = self.vm(server).nics
        self.assertEqual(port['id'], nic.port_id)
        self.assertEqual(port['mac_address'].replace(':', '').upper(),
                         nic.mac)
        self.assertEqual(base.SWITCH, nic.switch)

    def test_image_larger_than_the_flavor_is_refused_before_any_change(self):
        image_id = self.glance.add_disk('vhdx', size_bytes=2 << 30)

        server = self.boot(image_id, flavor_id=self.flavor(disk_gib=1),
                           state='ERROR')

        self.assertEqual([], self.view().vm_names)
        self.assertIn('too small', self.fault(server))
        self.fabric.assert_clean()


class ActivationTest(base.TestCase):
    """Ports come up only when somebody brings them up."""

    NEUTRON = {'active': False}

    def test_server_starts_after_its_port_is_up(self):
        server = self.boot(networks='auto', state='BUILD')
        port_id = self.until(self._connected_port, 'the vNIC on the switch')
        self.assertEqual('off', self._only_vm().state)

        self.neutron.activate(port_id)

        server = self._wait_for_state_change(server, 'ACTIVE')
        self.assertEqual('running', self.vm(server).state)

    def _only_vm(self):
        name, = self.view().vm_names
        return self.view().vm(name)

    def _connected_port(self):
        """Like an L2 agent: what vNIC has come to the switch?"""
        nics = self._only_vm().nics if self.view().vm_names else ()
        return next((nic.port_id for nic in nics if nic.switch), None)
