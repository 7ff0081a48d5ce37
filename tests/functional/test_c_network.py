# SPDX-License-Identifier: Apache-2.0
"""NICs that come and go, and what the guest is told about them."""

from nova import context
from nova import objects
from nova.tests.functional.api import client

from compute_hyperv.sim import vm as sim_vm
from tests.functional import base


class NicCase(base.TestCase):

    def setUp(self):
        super().setUp()
        self.port = self.neutron.port_2
        self.neutron.create_port({'port': self.port})

    def server(self, generation=2, **body):
        return self.boot(self.glance.add_disk(
            'vhdx', hw_machine_type=f'hyperv-gen{generation}'),
            networks=[{'port': self.neutron.port_1['id']}], **body)

    def port_ids(self, server):
        return sorted(nic.port_id for nic in self.vm(server).nics)

    def attach(self, server, **fields):
        body = {'interfaceAttachment': {'port_id': self.port['id'], **fields}}
        return self.api.attach_interface(server['id'], body)

    def detach(self, server):
        self.api.detach_interface(server['id'], self.port['id'])
        self.until(lambda: self.port['id'] not in self.port_ids(server),
                   'the NIC is gone')

    def metadata(self, server):
        """MAC → tags of the NICs that the metadata service tells of."""
        instance = objects.Instance.get_by_uuid(
            context.get_admin_context(), server['id'],
            expected_attrs=['device_metadata'])
        return {device.mac: device.tags
                for device in instance.device_metadata.devices
                if isinstance(device, objects.NetworkInterfaceMetadata)}

    def stop(self, server):
        self.api.post_server_action(server['id'], {'os-stop': None})
        self._wait_for_state_change(server, 'SHUTOFF')


class HotTest(NicCase):

    def test_nic_comes_and_goes_while_the_server_runs(self):
        """C10, L127: generation 2 on 2016 or later; tags."""
        server = self.server()
        first, = self.port_ids(server)

        self.attach(server, tag='backup')
        self.assertEqual(sorted([first, self.port['id']]),
                         self.port_ids(server))
        nic = next(nic for nic in self.vm(server).nics
                   if nic.port_id == self.port['id'])
        self.assertEqual(base.SWITCH, nic.switch)
        self.assertEqual(['backup'],
                         self.metadata(server)[self.port['mac_address']])

        self.detach(server)
        self.assertEqual([first], self.port_ids(server))
        self.until(lambda: (self.port['mac_address']
                            not in self.metadata(server)),
                   'no metadata of the NIC')
        self.assertEqual('running', self.vm(server).state)

    def test_nic_of_an_interrupted_attach_is_added_anew(self):
        """nova-compute went down before Nova heard of it: no second NIC."""
        server = self.server()
        before = self.port_ids(server)
        self.driver()._win.vm.create_nic(
            self.vm(server).vm.name, self.port['id'], '02:00:00:00:00:01')

        self.attach(server)

        self.assertEqual(sorted([*before, self.port['id']]),
                         self.port_ids(server))
        self.assertIn(self.port['mac_address'].replace(':', '').upper(),
                      [nic.mac for nic in self.vm(server).nics])
        self.detach(server)
        self.assertEqual(before, self.port_ids(server))

    def test_generation_1_must_be_stopped(self):
        """L127: otherwise refused with nothing changed."""
        server = self.server(generation=1)
        before = self.port_ids(server)

        self.assertRaises(client.OpenStackApiException, self.attach, server)

        self.assertEqual(before, self.port_ids(server))
        self.stop(server)
        self.attach(server)
        self.assertIn(self.port['id'], self.port_ids(server))
        self.detach(server)
        self.assertEqual(before, self.port_ids(server))

    def test_nic_of_a_running_generation_1_server_stays(self):
        """L127: Neutron's port is kept."""
        server = self.server(generation=1)
        port_id, = self.port_ids(server)

        self.api.detach_interface(server['id'], port_id)

        self.notifier.wait_for_versioned_notifications('compute.exception')
        self.assertEqual([port_id], self.port_ids(server))
        self.assertEqual([port_id],
                         [port['id'] for port in
                          self.neutron.ports(server['id'])])


class OldHostTest(NicCase):

    HOSTS = ({'name': 'HV1', 'windows': '2012R2'},)

    def test_running_server_is_refused(self):
        """L127: Windows Server 2012 R2 has no hot NICs."""
        server = self.server()
        self.assertRaises(client.OpenStackApiException, self.attach, server)
        self.assertEqual(1, len(self.port_ids(server)))

    def test_more_nics_than_a_vm_has_are_refused(self):
        """hyperv-semantics.md 18: 8, before anything exists."""
        network = self.neutron.network_1['id']
        server = self.boot(networks=[{'uuid': network}] * 9, state='ERROR')
        self.assertIn('a VM has at most 8 NICs on this host',
                      self.stdlog.logger.output)
        self.assertEqual([], self.view().vm_names)
        self._delete_server(server)
        self.fabric.assert_clean()
        self.boot(networks=[{'uuid': network}] * 8)


class RestartTest(NicCase):

    def test_nics_are_connected_again(self):
        """L157: start re-plugs ports; doing so twice is harmless."""
        server = self.server()
        self.stop(server)
        self.driver()._win.net.remove_switch_port(self.port_ids(server)[0])
        self.assertEqual('', self.vm(server).nics[0].switch)

        self.api.post_server_action(server['id'], {'os-start': None})
        self._wait_for_state_change(server, 'ACTIVE')

        self.assertEqual(base.SWITCH, self.vm(server).nics[0].switch)
        self.assertEqual(sim_vm.RUNNING, self.vm(server).vm.state)
        self.restart_compute('HV1')
        self.assertEqual(base.SWITCH, self.vm(server).nics[0].switch)
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_missing_switch_does_not_stop_the_service(self):
        """L126: one bad port does not stop the service at start."""
        server = self.server()
        self.driver()._win.net.remove_switch_port(self.port_ids(server)[0])
        self.flags(vswitch_name='gone', group='hyperv')
        self.restart_compute('HV1')
        self.assertEqual('ERROR', self.api.get_server(server['id'])['status'])
        self.assertEqual('running', self.vm(server).state)


class DetailsTest(NicCase):
    """What Neutron's mechanism driver wrote into the port."""

    def hard_reboot_with(self, server, **details):
        port, = self.neutron.ports(server['id'])
        port['binding:vif_details'] = details
        self.api.post_server_action(server['id'],
                                    {'reboot': {'type': 'HARD'}})
        self._wait_for_server_parameter(
            server, {'status': 'ACTIVE', 'OS-EXT-STS:task_state': None})
        nic, = self.vm(server).nics
        return nic.may_spoof, nic.limit_bps

    def test_changes_come_with_a_hard_reboot(self):
        """C9: port security and bandwidth, there and back."""
        server = self.server()
        for details, expected in (
                ({}, (False, 0)),
                ({'port_security_enabled': False,
                  'qos': {'max_kbps': 20000}}, (True, 20000 << 10)),
                ({'qos': {'max_kbps': 30000}}, (True, 30000 << 10)),
                ({}, (True, 30000 << 10)),      # an agent may have set it
                ({'port_security_enabled': True, 'qos': {}}, (False, 0))):
            self.assertEqual(expected,
                             self.hard_reboot_with(server, **details),
                             details)


class MissingSwitchTest(NicCase):

    def _set_flags(self):
        super()._set_flags()
        self.flags(vswitch_name='nowhere', group='hyperv')

    def test_spawn_names_it(self):
        """L128: a missing vSwitch gives a specific error naming it."""
        server = self.server(state='ERROR')
        self.assertEqual([], self.view().vm_names)
        self.fabric.assert_clean()
        self.assertIsNotNone(server)
