# SPDX-License-Identifier: Apache-2.0
"""B10: the VM that moves stays the same machine, except for its flavor."""

from compute_hyperv.sim import devices
from tests.functional import test_b_resize

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
SECURITY = 'Msvm_SecuritySettingData'


def identity(vm):
    """What a guest, or who sealed its disks, knows a machine by."""
    settings = vm.settings
    return {
        'guid': vm.vm.guid, 'version': vm.vm.version,
        'firmware': [settings[name] for name in (
            'BIOSGUID', 'BIOSSerialNumber', 'BaseBoardSerialNumber',
            'ChassisSerialNumber', 'CreationTime')],
        'security': [(item['TpmEnabled'], item['KsdEnabled'])
                     for item in vm.vm.resources(SECURITY)],
        'nics': [(nic['InstanceID'], nic['Address'])
                 for nic in vm.vm.resources(devices.NIC)],
        'controllers': [item['InstanceID'] for item in vm.vm.resources(
            devices.RASD, devices.SCSI_CONTROLLER)]}


class MachineTest(test_b_resize.MoveTest):

    def seal(self, server):
        """Give a VM a TPM, as far as the simulator has one."""
        vm = self.vm(server).vm
        vm.host.v2.update(vm.resources(SECURITY)[0], TpmEnabled=True)

    def boot_sealed(self, **kwargs):
        server = self.boot(self.glance.add_disk(**GEN2), networks='auto',
                           **kwargs)
        self.seal(server)
        return server

    def roots(self, vm):
        return {vm.settings[name + 'DataRoot'] for name in (
            'Configuration', 'Log', 'Snapshot', 'Suspend', 'SwapFile',
            'GuestState')}


class OtherHostTest(MachineTest):

    def test_machine_stays_the_same_there_and_back(self):
        """L048: GUID, firmware, TPM, NICs; L085, L090."""
        server = self.boot_sealed(flavor_id=self.flavor(disk_gib=1))
        before = identity(self.vm(server))
        self.assertEqual([(True, False)], before['security'])
        ports = self.vm(server).nics

        server = self.resize(server, self.flavor(
            memory_mib=1024, vcpus=2, disk_gib=2))

        vm = self.vm(server)
        self.assertEqual('HV2', self.host_of(server))
        self.assertEqual(before, identity(vm))
        self.assertEqual(('running', 1024, 2, ports),
                         (vm.state, vm.memory_mib, vm.vcpus, vm.nics))
        home = vm.settings['ConfigurationDataRoot']
        self.assertEqual({home}, self.roots(vm))
        self.assertFalse(self.view('HV2').exists(home + r'\import'))
        server = self.revert(server)
        vm = self.vm(server)
        self.assertEqual(before, identity(vm))
        self.assertEqual(('running', 512, 1, ports),
                         (vm.state, vm.memory_mib, vm.vcpus, vm.nics))
        self._delete_server(server)
        self.fabric.assert_clean()


class SameHostTest(MachineTest):

    HOSTS = ({'name': 'HV1', 'cpus': 16, 'memory_mib': 32768,
              'numa_nodes': 2},)

    def _set_flags(self):
        super()._set_flags()
        self.flags(allow_resize_to_same_host=True)

    def test_what_the_old_flavor_asked_for_goes(self):
        """L048, L052, L094: on one host, where GUIDs could collide."""
        image_id = self.glance.add_disk(os_type='linux', **GEN2)
        plain = self.flavor(memory_mib=1024, vcpus=2)
        special = self.flavor(
            memory_mib=2048, vcpus=2, quota__cpu_shares='4096',
            hw__numa_nodes='2', hw__cpu_max_threads='2',
            os__secure_boot='required')
        server = self.boot(image_id, flavor_id=plain, networks='auto')
        self.seal(server)
        before, as_made = identity(self.vm(server)), self.asked(server)

        server = self.confirm(self.resize(server, special))

        self.assertEqual(before, identity(self.vm(server)))
        self.assertEqual((True, True, False, 200), self.asked(server)[:4])
        # Nova's API knows no extra spec for it.
        vm = self.vm(server).vm
        vm.host.v2.update(vm.processor, ExposeVirtualizationExtensions=True)
        server = self.confirm(self.resize(server, plain))
        self.assertEqual(before, identity(self.vm(server)))
        self.assertEqual(as_made, self.asked(server))
        self.assertEqual((False, False, False, 100), as_made[:4])
        self._delete_server(server)
        self.fabric.assert_clean()

    def asked(self, server):
        vm = self.vm(server)
        cpu = vm.vm.processor
        return (vm.settings['VirtualNumaEnabled'],
                vm.settings['SecureBootEnabled'],
                bool(cpu['ExposeVirtualizationExtensions']),
                int(cpu['Weight']), cpu['HwThreadsPerCore'], vm.memory_mib)


class NewerHostTest(MachineTest):

    HOSTS = ({'name': 'HV1', 'windows': '2016'},
             {'name': 'HV2', 'windows': '2022'})

    def test_older_machine_stays_as_it_is_on_a_newer_host(self):
        server = self.boot_sealed()
        before = identity(self.vm(server))
        self.assertEqual('8.0', before['version'])
        server = self.confirm(self.migrate(server))
        self.assertEqual(before, identity(self.vm(server)))
        self._delete_server(server)
        self.fabric.assert_clean()


class OlderHostTest(MachineTest):
    """A host whose Windows does not know the VM's configuration version."""

    HOSTS = ({'name': 'HV1', 'windows': '2022'},
             {'name': 'HV2', 'windows': '2016'})

    def test_machine_is_made_anew_unless_it_has_keys(self):
        server = self.boot(self.glance.add_disk(**GEN2), networks='auto')
        self.write_as_guest(server)
        before = identity(self.vm(server))
        server = self.migrate(server)
        vm = self.vm(server)
        self.assertEqual(('running', '8.0'), (vm.state, vm.vm.version))
        self.assert_written(server)
        self.assertIn('made anew', self.stdlog.logger.output)
        # It comes back as what it was.
        server = self.revert(server)
        self.assertEqual(before, identity(self.vm(server)))
        self.seal(server)
        self.api.post_server_action(server['id'], {'migrate': {}})
        server = self._wait_for_state_change(server, 'ERROR')
        self.assertIn('keys that would be lost', self.fault(server))
        self.assertEqual([], self.view('HV2').vm_names)
        self.assertIn('root.vhdx', self.files('HV1', server, '_revert'))
