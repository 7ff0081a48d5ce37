# SPDX-License-Identifier: Apache-2.0
"""Feature letter C: the hardware that flavor and image ask for."""

from tests.functional import base

GEN2 = {'hw_machine_type': 'hyperv-gen2'}


class HardwareCase(base.TestCase):

    #: Options of [hyperv].
    OPTIONS = {}

    def _set_flags(self):
        super()._set_flags()
        self.flags(group='hyperv', **self.OPTIONS)

    def boot_vm(self, flavor=None, disk_format='vhdx', **properties):
        """The VM of a new server."""
        image_id = self.glance.add_disk(disk_format, **properties)
        return self.vm(self.boot(image_id,
                                 flavor_id=self.flavor(**(flavor or {}))))

    def assert_refused(self, *words, flavor=None, **properties):
        """A server goes to ERROR, *words* tell why, the host is untouched.

        A refusal of this host only lets Nova look for others first; then
        the words are in the log of the compute service.
        """
        before = self.fabric.recorder.counts('HV1')['method']
        image_id = self.glance.add_disk(**properties)
        server = self.boot(image_id, state='ERROR',
                           flavor_id=self.flavor(**(flavor or {})))
        told = self.fault(server) + self.stdlog.logger.output
        for word in words:
            self.assertIn(word, told)
        self.assertEqual([], self.view().vm_names)
        self.assertEqual(before, self.fabric.recorder.counts('HV1')['method'])
        self.assertFalse(self.glance.downloads)


class GenerationTest(HardwareCase):
    """C1: the generation that the image was prepared for."""

    def test_image_chooses(self):
        for properties, expected in (
                ({}, 1), ({'hw_machine_type': 'hyperv-gen1'}, 1), (GEN2, 2),
                ({'hw_firmware_type': 'uefi'}, 2),
                ({'hw_firmware_type': 'bios'}, 1)):
            self.assertEqual(expected, self.boot_vm(**properties).generation,
                             properties)

    def test_what_hyper_v_does_not_have_is_refused(self):
        self.assert_refused(
            'hw_machine_type=hyperv-gen1', 'hw_firmware_type=uefi',
            hw_machine_type='hyperv-gen1', hw_firmware_type='uefi')
        self.assert_refused('hw_machine_type=pc-q35',
                            'allowed: hyperv-gen1, hyperv-gen2',
                            hw_machine_type='pc-q35')


class SecureBootTest(HardwareCase):
    """C2: UEFI secure boot."""

    def template(self, name):
        """Id of the template that Hyper-V calls *name*."""
        return self.host.v2.find_one(
            'Msvm_VirtualSystemSettingData',
            ElementName=name)['SecureBootTemplateId']

    def test_flavor_and_image_decide(self):
        """L042, L043: off unless requested; os_type chooses templates."""
        windows = 'MicrosoftWindows'
        linux = 'MicrosoftUEFICertificateAuthority'
        for flavor, image, os_type, expected in (
                (None, 'required', 'windows', windows),
                (None, 'required', 'linux', linux),
                ('required', None, 'windows', windows),
                (None, 'optional', 'windows', None),
                (None, None, None, None)):
            specs = {'os__secure_boot': flavor} if flavor else {}
            properties = {'os_secure_boot': image, 'os_type': os_type}
            vm = self.boot_vm(specs, **GEN2, **{
                name: value for name, value in properties.items() if value})
            self.assertEqual(expected is not None,
                             bool(vm.settings['SecureBootEnabled']))
            if expected:
                self.assertEqual(self.template(expected),
                                 vm.settings['SecureBootTemplateId'])

    def test_contradiction_is_refused(self):
        """L042: flavor required and image disabled is refused.

        Nova 34's scheduler does it, before any host is asked, and for it
        'optional' contradicts too.
        """
        for image in ('disabled', 'optional'):
            self.assert_refused(
                'os:secure_boot',
                f'os_secure_boot explicitly set to {image}',
                flavor={'os__secure_boot': 'required'},
                os_secure_boot=image, os_type='linux', **GEN2)

    def test_generation_1_or_no_os_type_is_refused(self):
        """L042: generation 1, or a missing os_type, is refused."""
        self.assert_refused('hw_machine_type=hyperv-gen2',
                            os_secure_boot='required', os_type='windows')
        self.assert_refused('os_type', 'linux, windows',
                            os_secure_boot='required', **GEN2)


class OldSecureBootTest(HardwareCase):

    HOSTS = ({'name': 'HV1', 'windows': '2012R2'},)

    def test_linux_needs_windows_2016(self):
        """L043: an OS that cannot do Linux secure boot refuses."""
        self.assert_refused('Windows Server 2016', os_secure_boot='required',
                            os_type='linux', **GEN2)


class BootOrderTest(HardwareCase):
    """C4: what a VM boots from."""

    def boot_with_everything(self, image_id):
        return self.vm(self.boot(
            image_id, networks='auto', config_drive=True,
            flavor_id=self.flavor(ephemeral_gib=1, swap_mib=64)))

    def test_generation_2_boots_root_or_iso_first(self):
        """L041: root, other disks; network devices come after."""
        vm = self.boot_with_everything(self.glance.add_disk(**GEN2))
        self.assertEqual(
            ['root.vhdx', 'eph0.vhdx', 'swap.vhdx', 'configdrive.vhdx', ''],
            vm.boot_order)
        vm = self.boot_with_everything(self.glance.add_iso(**GEN2))
        self.assertEqual(['root.iso', 'root.vhdx'], vm.boot_order[:2])
        self.assertEqual('', vm.boot_order[-1])

    def test_generation_1_boots_disk_or_iso_first(self):
        """L040: an ISO image puts CD-ROM first, otherwise the disk.

        The server's own copy of the ISO is attached.
        """
        vm = self.boot_with_everything(self.glance.add_disk())
        self.assertEqual([2, 1, 3, 0], list(vm.settings['BootOrder']))
        vm = self.boot_with_everything(self.glance.add_iso())
        self.assertEqual([1, 2, 3, 0], list(vm.settings['BootOrder']))
        dvd, = [drive for drive in vm.drives if drive.is_dvd]
        self.assertEqual('root.iso', dvd.name)
        self.assertNotIn('_base', dvd.path)


class MemoryTest(HardwareCase):
    """C5: dynamic memory and virtual NUMA."""

    HOSTS = ({'name': 'HV1', 'cpus': 8, 'memory_mib': 32768,
              'numa_nodes': 2},)
    OPTIONS = {'dynamic_memory_ratio': 1.3}

    def test_dynamic_memory_starts_with_a_part_but_not_with_numa(self):
        """L049: startup = minimum = RAM / r, rounded down to even.

        L050: vNUMA forces the ratio to 1; L052: symmetric nodes.
        """
        memory = self.boot_vm({'memory_mib': 1024}).vm.memory
        self.assertEqual(
            (True, 786, 786, 1024),
            (memory['DynamicMemoryEnabled'], memory['VirtualQuantity'],
             memory['Reservation'], memory['Limit']))
        vm = self.boot_vm({'memory_mib': 2048, 'vcpus': 4,
                           'hw__numa_nodes': '2'})
        memory, processor = vm.vm.memory, vm.vm.processor
        self.assertEqual(
            (False, 2048, 1024, 2, True),
            (memory['DynamicMemoryEnabled'], memory['VirtualQuantity'],
             memory['MaxMemoryBlocksPerNumaNode'],
             processor['MaxProcessorsPerNumaNode'],
             vm.settings['VirtualNumaEnabled']))

    def test_asymmetric_numa_is_refused(self):
        """L052: asymmetric NUMA topologies are refused."""
        self.assert_refused(
            'hw:numa_nodes', 'symmetric',
            flavor={'memory_mib': 2048, 'vcpus': 3, 'hw__numa_nodes': '2',
                    'hw__numa_cpus.0': '0', 'hw__numa_cpus.1': '1,2',
                    'hw__numa_mem.0': '1024', 'hw__numa_mem.1': '1024'})


class SerialPortsTest(HardwareCase):
    """C12: which COM port is for whom."""

    def test_ports_have_pipes(self):
        """L064: image properties choose COM1 and COM2."""
        for properties, expected in (
                ({}, [True, False]),
                ({'interactive_serial_port': '2'}, [False, True]),
                ({'logging_serial_port': '2'}, [True, True])):
            pipes = self.boot_vm(**properties).serial_pipes
            self.assertEqual(expected, [bool(pipe) for pipe in pipes])

    def test_other_numbers_are_refused(self):
        """L064: other numbers are refused."""
        for name in ('interactive_serial_port', 'logging_serial_port'):
            self.assert_refused(f'{name}=3; allowed: 1, 2', **{name: '3'})


class CpuTest(HardwareCase):
    """C13: limits of virtual processors."""

    OPTIONS = {'limit_cpu_features': True}

    def test_features_quota_and_shares_are_set(self):
        """L053: the processor-compatibility flag is set at creation."""
        processor = self.boot_vm({
            'vcpus': 2, 'quota__cpu_quota': '25000',
            'quota__cpu_period': '100000', 'quota__cpu_shares': '4096',
            'hw__cpu_threads': '1'}).vm.processor
        self.assertEqual(
            (2, 25000, 200, 1, True),
            tuple(processor[name] for name in (
                'VirtualQuantity', 'Limit', 'Weight', 'HwThreadsPerCore',
                'LimitProcessorFeatures')))


class LaterOptionTest(HardwareCase):

    def test_servers_made_before_the_option_are_named(self):
        """L053: existing VMs are reported to lack the flag."""
        old = self.boot()
        self.flags(limit_cpu_features=True, group='hyperv')
        self.restart_compute('HV1')
        new = self.boot()
        told = [line for line in self.stdlog.logger.output.splitlines()
                if 'limit_cpu_features acts on new' in line]
        self.assertEqual(1, len(told))
        self.assertIn(old['OS-EXT-SRV-ATTR:instance_name'], told[0])
        self.assertNotIn(new['OS-EXT-SRV-ATTR:instance_name'], told[0])


class NestedTest(HardwareCase):
    """C6, as far as the planner goes."""

    OPTIONS = {'dynamic_memory_ratio': 2.0}

    def test_vmx_exposes_extensions_and_makes_memory_static(self):
        """L051: and without vmx nested virtualization stays off."""
        vm = self.boot_vm(hw_cpu_features='vmx', **GEN2).vm
        self.assertTrue(vm.processor['ExposeVirtualizationExtensions'])
        self.assertFalse(vm.memory['DynamicMemoryEnabled'])
        vm = self.boot_vm(**GEN2).vm
        self.assertFalse(vm.processor['ExposeVirtualizationExtensions'])


class DefaultsTest(HardwareCase):
    """C11, C15, and what a VM has when nothing special is asked."""

    def test_disks_are_limited_and_devices_described(self):
        """L056: root and ephemerals, bytes counted in units of 8 KiB.

        L123: untagged devices have addresses too.  L049: with a ratio of
        1.0 dynamic memory is off.
        """
        server = self.boot(
            self.glance.add_disk(**GEN2), networks='auto', config_drive=True,
            flavor_id=self.flavor(
                memory_mib=1024, ephemeral_gib=1,
                **{'quota__disk_total_bytes_sec': str(10 * 8192 + 1)}))
        vm = self.vm(server).vm
        self.assertEqual(
            {'root.vhdx': 10, 'eph0.vhdx': 10, 'configdrive.vhdx': 0},
            {medium['HostResource'][0].rpartition('\\')[2]:
             medium['IOPSLimit'] for medium in vm.media()})
        self.assertEqual(
            (False, 1024, 1024),
            (vm.memory['DynamicMemoryEnabled'],
             vm.memory['VirtualQuantity'], vm.memory['Reservation']))
        port, = self.neutron.ports(server['id'])
        self.assertEqual(
            [('nic', port['mac_address']), ('disk', '0:0:0:0'),
             ('disk', '0:0:0:2')],
            [(device['type'], device.get('mac') or device['address'])
             for device in self.told_devices(server)])

    def test_hard_reboot_plugs_its_ports_again(self):
        """L157: doing so twice is harmless; L129: one name of the host."""
        server = self.boot(networks='auto')
        port, = self.neutron.ports(server['id'])
        self.assertEqual('HV1', port['binding:host_id'])
        self.driver()._win.net.remove_switch_port(port['id'])
        self.assertEqual('', self.vm(server).nics[0].switch)
        for _unused in range(2):
            self.api.post_server_action(server['id'],
                                        {'reboot': {'type': 'HARD'}})
            self._wait_for_server_parameter(
                server, {'status': 'ACTIVE', 'OS-EXT-STS:task_state': None})
            nic, = self.vm(server).nics
            self.assertEqual((port['id'], base.SWITCH),
                             (nic.port_id, nic.switch))
