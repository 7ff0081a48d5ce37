# SPDX-License-Identifier: Apache-2.0
"""What a host tells Nova of itself, read through the real os-win."""

import json

import ddt
from nova.compute import provider_tree
from nova import objects
from nova.virt import hardware
import os_traits

from compute_hyperv import hostops
from tests.unit import hostcase

RATIOS = {'VCPU': 1.0, 'MEMORY_MB': 1.0, 'DISK_GB': 1.0}


class HostCase(hostcase.HostTestCase):

    HOST = {'cpus': 16, 'memory_mib': 32768, 'numa_nodes': 2,
            'volumes': {'C': 100, 'D': 300}}

    def setUp(self):
        super().setUp()
        self.ops = hostops.HostOps(
            self.win, self.paths, my_ip='192.0.2.7', reserved_cpus=1,
            reserved_memory_mib=512)

    def resource(self):
        return self.ops.get_available_resource('HV1')


class ResourceTest(HostCase):

    def test_figures_are_the_hosts(self):
        """L150: vCPUs are all logical processors of all sockets."""
        resource = self.resource()
        self.assertEqual(
            (16, 32768, 'HV1', 'hyperv'),
            tuple(resource[name] for name in (
                'vcpus', 'memory_mb', 'hypervisor_hostname',
                'hypervisor_type')))
        self.assertEqual([resource['hypervisor_hostname']],
                         self.ops.get_available_nodes())

    def test_supported_instances_are_a_native_list(self):
        """L148: types are a list of tuples, not JSON."""
        self.assertEqual(
            [('x86_64', 'hyperv', 'hvm'), ('i686', 'hyperv', 'hvm')],
            self.resource()['supported_instances'])

    def test_disk_is_the_volume_of_the_instances_path(self):
        """L149: the space really free now is the least available."""
        resource = self.resource()
        self.assertEqual(100, resource['local_gb'])
        self.assertEqual(
            self.host.storage.volume('C')[1] >> 30,
            resource['disk_available_least'])

    def test_cpu_info_has_canonical_names(self):
        """L150: architecture, vendor, model, topology, features."""
        info = json.loads(self.resource()['cpu_info'])
        self.assertEqual('x86_64', info['arch'])
        self.assertEqual({'arch', 'vendor', 'model', 'topology', 'features'},
                         set(info))
        topology = info['topology']
        self.assertEqual(16, topology['sockets'] * topology['cores']
                         * topology['threads'])
        self.assertIn('sse2', info['features'])

    def test_load_average_is_not_queried(self):
        """L150: the query asks only for needed columns."""
        self.resource()
        asked = [str(call) for call in self.fabric.recorder.trace('HV1')
                 if 'Win32_Processor' in str(call)]
        self.assertTrue(asked)
        self.assertEqual([], [text for text in asked if '*' in text])

    def test_numa_cells_let_nova_fit_instances(self):
        """L150: Nova's own fitting runs on the published topology."""
        host = objects.NUMATopology.obj_from_primitive(
            json.loads(self.resource()['numa_topology']))
        self.assertEqual([8, 8], [len(cell.cpuset) for cell in host.cells])
        asked = objects.InstanceNUMATopology(cells=[
            objects.InstanceNUMACell(id=n, cpuset={n}, pcpuset=set(),
                                     memory=1024) for n in (0, 1)])
        fitted = hardware.numa_fit_instance_to_host(host, asked, None)
        self.assertEqual({0, 1}, {cell.id for cell in fitted.cells})

    def test_facts_that_cannot_change_are_read_once(self):
        self.resource()
        before = len(self.fabric.recorder.trace('HV1'))
        self.resource()
        again = self.fabric.recorder.trace('HV1')[before:]
        self.assertEqual(['query', 'dll'], [call.kind for call in again])


class OtherVolumeTest(HostCase):

    INSTANCES_DIR = r'D:\VMs'

    def test_other_drive_is_counted(self):
        """L149: totals come from the instances' drive, not from C:."""
        self.assertEqual(300, self.resource()['local_gb'])


class ShareTest(HostCase):

    SHARES = {r'\\SRV\vms': 700}
    INSTANCES_DIR = r'\\SRV\vms\instances'

    def test_share_is_counted(self):
        """L149: totals come from a UNC share too."""
        self.assertEqual(700, self.resource()['local_gb'])


class ClusterSharedVolumeTest(HostCase):

    CSVS = {'Volume1': 900}
    INSTANCES_DIR = r'C:\ClusterStorage\Volume1\instances'

    def test_mounted_volume_is_counted(self):
        """L149: a mount point or CSV counts, not the drive it is below."""
        self.assertEqual(900, self.resource()['local_gb'])


@ddt.ddt
class ProviderTreeTest(HostCase):

    def setUp(self):
        super().setUp()
        self.tree = provider_tree.ProviderTree()
        self.tree.new_root('HV1', '9fb2d0e6-5f8f-4d0c-8b9a-1f2f3c1f7f10')
        self.tree.add_traits('HV1', 'CUSTOM_OPERATOR',
                             os_traits.HW_CPU_X86_AVX512F)
        self.ops.update_provider_tree(self.tree, 'HV1', RATIOS, 5)

    def test_inventory_has_reservations(self):
        """L151: reserved amounts are honoured."""
        found = self.tree.data('HV1').inventory
        self.assertEqual(
            {'VCPU': (16, 1), 'MEMORY_MB': (32768, 512),
             'DISK_GB': (100, 5)},
            {name: (record['total'], record['reserved'])
             for name, record in found.items()})

    @ddt.data('CUSTOM_OPERATOR', os_traits.HW_CPU_X86_AVX512F,
              os_traits.HW_CPU_X86_SSE2, os_traits.COMPUTE_STORAGE_BUS_SCSI)
    def test_traits_are_added_and_those_of_others_stay(self, trait):
        self.assertIn(trait, self.tree.data('HV1').traits)


@ddt.ddt
class PowerTest(HostCase):

    def test_uptime_has_the_form_of_the_command(self):
        self.assertRegex(
            self.ops.get_host_uptime(),
            r'^\d\d:\d\d:\d\d up \d+ days, \d\d:\d\d, 0 users, load')

    def test_startup_is_not_implemented(self):
        """L154: power-on is refused, not a false success."""
        with self.assertRaisesRegex(NotImplementedError,
                                    'startup; allowed: shutdown, reboot'):
            self.ops.host_power_action('startup')

    @ddt.data('shutdown', 'reboot')
    def test_host_goes_down(self, action):
        """L154: host shutdown and reboot work."""
        self.assertEqual(action, self.ops.host_power_action(action))
        self.assertTrue([
            call for call in self.fabric.recorder.trace('HV1')
            if 'Win32Shutdown' in str(call)])

    def test_address_is_the_configured_one(self):
        self.assertEqual('192.0.2.7', self.ops.get_host_ip_addr())
