# SPDX-License-Identifier: Apache-2.0
"""Two hosts in one cloud: each keeps to itself."""

from nova.tests import fixtures as nova_fixtures

from tests.functional import base


class TwoHostsTest(base.TestCase):

    HOSTS = ('HV1', {'name': 'HV2', 'windows': '2016', 'cpus': 4})

    def setUp(self):
        # The scheduler prefers HV1.
        self.useFixture(nova_fixtures.HostNameWeigherFixture(
            weights={'HV1': 100, 'HV2': 50}))
        super().setUp()

    def test_servers_run_where_nova_says_and_nowhere_else(self):
        image_id = self.glance.add_disk()

        one = self.boot(image_id, host='HV1')
        other = self.boot(image_id, host='HV2')

        self.assertEqual([one['OS-EXT-SRV-ATTR:instance_name']],
                         self.view('HV1').vm_names)
        self.assertEqual([other['OS-EXT-SRV-ATTR:instance_name']],
                         self.view('HV2').vm_names)
        # Each host has a cache of its own.
        self.assertEqual(2, self.glance.downloads[image_id])
        self._delete_server(one)
        self.assertEqual('running', self.vm(other).state)

    def test_nodes_are_told_apart(self):
        nodes = self.admin_api.api_get(
            '/os-hypervisors/detail').body['hypervisors']

        self.assertEqual({'HV1', 'HV2'},
                         {node['hypervisor_hostname'] for node in nodes})
        self.assertEqual(2, len({node['id'] for node in nodes}))
        cpus = {host: self._get_provider_inventory(
            self._get_provider_uuid_by_host(host))['VCPU']['total']
            for host in ('HV1', 'HV2')}
        self.assertEqual({'HV1': 8, 'HV2': 4}, cpus)

    def test_build_that_fails_on_one_host_goes_to_the_other(self):
        fault = self.fabric.faults.add(host='HV1', kind='method',
                                       match='*.DefineSystem', times=None)

        server = self.boot()

        self.assertEqual(1, fault.hits)
        self.assertEqual('HV2', server['OS-EXT-SRV-ATTR:host'])
        self.assertEqual([], self.view('HV1').vm_names)
        self._delete_server(server)
        self.fabric.faults.clear()
        self.fabric.assert_clean()

    def test_restart_of_one_service_leaves_the_other_host_alone(self):
        one = self.boot(host='HV1')
        other = self.boot(host='HV2')
        before = self.vm(other).boot

        self.restart_compute('HV1')

        self.assertEqual('running', self.vm(one).state)
        self.assertEqual(before, self.vm(other).boot)
        self._stop_server(other)
        self.assertEqual('off', self.vm(other).state)

    def test_event_of_one_host_changes_only_its_own_server(self):
        one = self.boot(host='HV1')
        other = self.boot(host='HV2')

        self.view('HV2').turn_off(self.vm(other))

        self._wait_for_state_change(other, 'SHUTOFF')
        self.assertEqual('ACTIVE', self._show_server(one)['status'])
