# SPDX-License-Identifier: Apache-2.0
"""Feature letter A: the host and the service."""

import json

import ddt

from compute_hyperv.sim import vm as sim_vm
from tests.functional import base


class ResourcesTest(base.TestCase):
    """A5, A6: what placement and the API learn about a node."""

    HOSTS = ({'name': 'HV1', 'cpus': 16, 'memory_mib': 32768,
              'numa_nodes': 2, 'volumes': {'C': 200}},)

    def _set_flags(self):
        super()._set_flags()
        self.flags(reserved_host_memory_mb=2048, reserved_host_disk_mb=10240,
                   reserved_host_cpus=1, initial_cpu_allocation_ratio=4.0)

    def _provider(self):
        return self._get_provider_uuid_by_host('HV1')

    def test_inventory_is_the_hosts_with_reservations_and_ratios(self):
        inventory = self._get_provider_inventory(self._provider())

        figures = {name: (record['total'], record['reserved'],
                          record['allocation_ratio'])
                   for name, record in inventory.items()}
        self.assertEqual({'VCPU': (16, 1, 4.0),
                          'MEMORY_MB': (32768, 2048, 1.0),
                          'DISK_GB': (200, 10, 1.0)}, figures)

    def test_traits_tell_what_the_driver_can_do(self):
        traits = self._get_provider_traits(self._provider())

        self.assertLessEqual(
            {'COMPUTE_IMAGE_TYPE_VHD', 'COMPUTE_IMAGE_TYPE_VHDX',
             'COMPUTE_IMAGE_TYPE_ISO', 'COMPUTE_SECURITY_UEFI_SECURE_BOOT',
             'COMPUTE_STORAGE_BUS_SCSI', 'COMPUTE_NET_ATTACH_INTERFACE',
             'COMPUTE_TRUSTED_CERTS', 'COMPUTE_VOLUME_EXTEND',
             'COMPUTE_VOLUME_MULTI_ATTACH', 'COMPUTE_RESCUE_BFV'},
            set(traits))
        self.assertNotIn('COMPUTE_SAME_HOST_COLD_MIGRATE', traits)

    def test_a_server_uses_what_its_flavor_says(self):
        flavor_id = self.flavor(memory_mib=1024, vcpus=2, disk_gib=3)

        self.boot(flavor_id=flavor_id)

        self.assertEqual({'VCPU': 2, 'MEMORY_MB': 1024, 'DISK_GB': 3},
                         self._get_provider_usages(self._provider()))

    def test_hypervisor_is_described(self):
        summary, = self.admin_api.api_get(
            '/os-hypervisors/detail').body['hypervisors']

        self.assertEqual(('hyperv', 10000, 'HV1', 'up'), (
            summary['hypervisor_type'], summary['hypervisor_version'],
            summary['hypervisor_hostname'], summary['state']))
        self.assertIn(' up ', summary['uptime'])

    def test_image_may_require_a_version_of_the_hypervisor(self):
        """A6, L148: version filters match.

        Nova compares versions of images that name the hypervisor or the
        architecture, too.
        """
        required = {
            version: self.glance.add_disk(
                img_hv_type='hyperv', hw_architecture='x86_64',
                img_hv_requested_version=version)
            for version in ('>=10.0,<11.0', '>=10.1')}

        server = self.boot(required['>=10.0,<11.0'])
        self.assertEqual('running', self.vm(server).state)
        server = self.boot(required['>=10.1'], state='ERROR')
        self.assertIn('No valid host', self.fault(server))

    def test_cpu_and_numa_are_described(self):
        resource = self.driver().get_available_resource('HV1')

        cpu = json.loads(resource['cpu_info'])
        self.assertEqual('x86_64', cpu['arch'])
        topology = cpu['topology']
        self.assertEqual(16, topology['sockets'] * topology['cores']
                         * topology['threads'])
        cells = json.loads(resource['numa_topology'])[
            'nova_object.data']['cells']
        self.assertEqual(2, len(cells))


@ddt.ddt
class VersionsTest(base.TestCase):
    """A4: every supported Windows runs both generations."""

    HOSTS = ()

    @ddt.data(('2012R2', 6003), ('2016', 10000), ('2019', 10000),
              ('2022', 10000), ('2025', 10000))
    @ddt.unpack
    def test_both_generations_boot_on(self, windows, version):
        fabric = self._new_fabric([{'name': 'HV1', 'windows': windows}])
        self.fabric = fabric
        self.start_compute('HV1')

        for generation in (1, 2):
            image_id = self.glance.add_disk(
                'vhdx', hw_machine_type=f'hyperv-gen{generation}')
            server = self.boot(image_id, networks='auto')
            vm = self.vm(server)
            self.assertEqual((generation, 'running'),
                             (vm.generation, vm.state))
            self._delete_server(server)
        resource = self.driver().get_available_resource('HV1')
        self.assertEqual(version, resource['hypervisor_version'])


@ddt.ddt
class PowerEventsTest(base.TestCase):
    """A8: what an administrator does to a VM is seen, without polling."""

    # Nova only takes note of a pause, and stops what was saved behind it.
    @ddt.data((sim_vm.OFF, {'status': 'SHUTOFF'}),
              (sim_vm.PAUSED, {'OS-EXT-STS:power_state': 3}),
              (sim_vm.SAVED, {'status': 'SHUTOFF'}))
    @ddt.unpack
    def test_state_changed_outside_nova_is_seen(self, state, expected):
        server = self.boot()

        # Nova's own look at the states of all servers is switched off.
        self.view().request_state(self.vm(server), state)
        self._wait_for_server_parameter(server, expected)

    def test_server_started_outside_nova_is_stopped_again_by_nova(self):
        server = self.boot()
        self._stop_server(server)
        vm = self.vm(server)

        # Nova's rule for a stopped server that turns out to run.
        with self.fabric.recorder.recording() as calls:
            self.view().request_state(vm, sim_vm.RUNNING)
            self.until(lambda: vm.state == 'off' and calls, 'stopped again')

        self.assertEqual('SHUTOFF', self._show_server(server)['status'])


class RestartTest(base.TestCase):
    """A9: nova-compute comes back to what is there."""

    def test_servers_survive_a_restart_of_the_service(self):
        running = self.boot()
        stopped = self.boot()
        self._stop_server(stopped)

        self.restart_compute('HV1')

        self.assertEqual('running', self.vm(running).state)
        self.assertEqual('off', self.vm(stopped).state)
        self._stop_server(running)
        self._delete_server(running)
        self._delete_server(stopped)
        self.fabric.assert_clean()


class ResumeTest(base.TestCase):

    def _set_flags(self):
        super()._set_flags()
        self.flags(resume_guests_state_on_host_boot=True)

    def test_running_servers_are_started_when_the_host_comes_back(self):
        server = self.boot()
        self.computes['HV1'].stop()
        self.view().request_state(self.vm(server), sim_vm.OFF)

        self.start_compute('HV1')

        self.until(lambda: self.vm(server).state == 'running',
                   'the VM runs again')


class HostActionsTest(base.TestCase):
    """A7, as far as one host goes."""

    def test_startup_is_refused_clearly(self):
        error = self.assertRaises(
            NotImplementedError, self.driver().host_power_action, 'startup')
        self.assertIn('shutdown', str(error))
