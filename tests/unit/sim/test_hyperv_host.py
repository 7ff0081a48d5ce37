# SPDX-License-Identifier: Apache-2.0
"""The host itself: cimv2, StandardCimv2, storage, SMB, HGS, topology."""

import ddt

from compute_hyperv.sim import profiles
from compute_hyperv.sim.wmi import network
from compute_hyperv.sim.wmi import smb
from compute_hyperv.sim.wmi import storage
from compute_hyperv.sim.wmi import virtualization
from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import GIB

OS_VERSIONS = {'2012R2': '6.3.9600', '2016': '10.0.14393',
               '2019': '10.0.17763', '2022': '10.0.20348',
               '2025': '10.0.26100'}
#: section 18, "Exact supported lists".
LISTS = {
    '2012R2': '5.0', '2016': '5.0 6.2 7.0 7.1 8.0',
    '2019': '5.0 6.2 7.0 7.1 8.0 8.1 8.2 8.3 9.0',
    '2022': '8.0 8.1 8.2 8.3 9.0 9.1 9.2 9.3 10.0',
    '2025': '8.0 8.1 8.2 8.3 9.0 9.1 9.2 9.3 10.0 11.0 12.0',
}


@ddt.ddt
class ProfileTest(hypervcase.HyperVTestCase):
    """Versions and limits (section 18)."""

    @ddt.data(*hypervcase.WINDOWS)
    def test_windows_version(self, windows):
        """Section 18: Win32_OperatingSystem.Version."""
        self.make_host(windows)
        host = self.bound.utilsfactory.get_hostutils()
        self.assertEqual(OS_VERSIONS[windows], host.get_windows_version())
        self.assertEqual(['hyperv-gen1', 'hyperv-gen2'],
                         host.get_supported_vm_types())

    @ddt.data(*hypervcase.WINDOWS)
    def test_vm_configuration_versions(self, windows):
        """Section 18: exact supported lists, default within them."""
        profile = profiles.profile(windows)
        self.assertEqual(LISTS[windows], ' '.join(profile.vm_versions))
        self.assertIn(profile.default_vm_version, profile.vm_versions)

    @ddt.data(('2012R2', 1), ('2016', 12), ('2019', 12), ('2022', 240),
              ('2025', 240))
    @ddt.unpack
    def test_memory_per_vm(self, windows, tib):
        """Section 18: memory per VM gen2 / gen1."""
        profile = profiles.profile(windows)
        self.assertEqual([1 << 20, tib << 20], [
            profile.max_memory_mib(generation) for generation in (1, 2)])

    def test_unknown_release(self):
        with self.assertRaises(KeyError):
            profiles.profile('2008')

    @ddt.data(('2012R2', False), ('2016', True))
    @ddt.unpack
    def test_classes_follow_the_version(self, windows, there):
        """Section 18: SerialPortSettingData, SecurityService: 2016+."""
        self.make_host(windows)
        for cls in ('Msvm_SerialPortSettingData', 'Msvm_SecurityService',
                    'Msvm_AssignableDeviceService'):
            with self.subTest(cls):
                self.assertEqual(there, bool(
                    self.host.v2.classes.find(cls)))

    @ddt.data('2012R2', '2016')
    def test_old_vm_versions_do_not_start_on_newer_hosts(self, windows):
        """Section 18: visible but cannot start."""
        self.make_host('2022')
        self.create_vm()
        old = profiles.profile(windows).vm_versions[0]
        self.host.v2.update(self.record().settings, Version=old)
        job = self.system().RequestStateChange(2)[0]
        self.assert_job_failed(job, old, code=32770)


@ddt.ddt
class ServicesTest(hypervcase.HyperVTestCase):
    """Objects that every host has."""

    @ddt.data(*((windows, cls) for windows in ('2012R2', '2022')
                for cls in virtualization.SERVICES))
    @ddt.unpack
    def test_services_are_singletons(self, windows, cls):
        """oswin-surface.md 3.2: `()[0]`."""
        self.make_host(windows)
        if self.host.v2.classes.find(cls):
            self.assertEqual(1, len(getattr(self.wmi, cls)()))

    def test_host_system_is_running(self):
        """Section 1: the host is a Msvm_ComputerSystem, EnabledState 2."""
        found = self.wmi.Msvm_ComputerSystem(Name='HV1')
        self.assertEqual([2], [one.EnabledState for one in found])
        self.assertEqual([], self.vmutils.list_instances())

    def test_host_system_takes_no_power_requests(self):
        """Section 2 is about virtual machines."""
        self.assertEqual(32770, self.wmi.Msvm_ComputerSystem(
            Name='HV1')[0].RequestStateChange(3)[1])

    def test_migration_templates(self):
        """oswin-surface.md 3.4: one template per migration type."""
        for number in (32768, 32769, 32770, 32771):
            self.assertEqual(1, len(
                self.wmi.Msvm_VirtualSystemMigrationSettingData(
                    MigrationType=number)))

    def test_vmconnect_port(self):
        """Section 15 [F]: 2179."""
        rdp = self.bound.utilsfactory.get_rdpconsoleutils()
        self.assertEqual(2179, rdp.get_rdp_console_port())
        self.make_host('2022', quirks={'vmconnect_port': 3000})
        rdp = self.bound.utilsfactory.get_rdpconsoleutils()
        self.assertEqual(3000, rdp.get_rdp_console_port())

    def test_host_is_not_guarded_unless_told(self):
        """Section 13: IsHostGuarded."""
        self.assertFalse(self.bound.utilsfactory.get_hostutils(
        ).is_host_guarded())
        self.make_host('2022', extra={'guarded': True})
        self.assertTrue(self.bound.utilsfactory.get_hostutils(
        ).is_host_guarded())

    def test_method_that_is_not_simulated(self):
        """simulator.md 11: a named error, recorded."""
        with self.assertRaises(Exception) as caught:   # noqa: H202
            self.service.GenerateWwpn(NumberOfWwpns=1)
        self.assertIn('GenerateWwpn', str(caught.exception))
        self.assertTrue(self.fabric.not_simulated)


class HardwareTest(hypervcase.HyperVTestCase):
    """Processors, memory, NUMA, drives, adapters."""

    HOST = {'cpus': 6, 'memory_mib': 10240, 'numa_nodes': 2,
            'volumes': {'C': 20, 'D': 5},
            'extra': {'cpu_name': 'Test CPU', 'cpu_mhz': 3000,
                      'features': (20, 57)}}

    def setUp(self):
        super().setUp()
        self.hostutils = self.bound.utilsfactory.get_hostutils()

    def test_processors(self):
        """oswin-surface.md 3.9: Win32_Processor, one per socket."""
        self.assertEqual(
            [('Test CPU', 3000, 3)] * 2,
            [(one['Name'], one['MaxClockSpeed'],
              one['NumberOfLogicalProcessors'])
             for one in self.hostutils.get_cpus_info()])

    def test_numa_nodes(self):
        """oswin-surface.md 3.9: nodes with memory and processors."""
        nodes = self.hostutils.get_numa_nodes()
        self.assertEqual([('0', 5120, {'0', '1', '2'}),
                          ('1', 5120, {'3', '4', '5'})],
                         [(one['id'], one['memory'], one['cpuset'])
                          for one in nodes])

    def test_memory(self):
        """oswin-surface.md 3.9: KiB; the host keeps a part."""
        total_kib, free_kib = self.hostutils.get_memory_info()
        self.assertEqual(10 << 20, total_kib)
        self.assertEqual(self.host.quirks.host_reserve_mib << 10,
                         total_kib - free_kib)

    def test_drives(self):
        """oswin-surface.md 3.9: Win32_LogicalDisk, bytes."""
        self.assertEqual(5 * GIB, self.hostutils.get_volume_info('D:')[0])

    def test_free_space_follows_files(self):
        """simulator.md 5: sizes are those of real files."""
        before = self.hostutils.get_volume_info('C:')[1]
        with self.files.open('C:\\big', 'wb') as stream:
            stream.write(b'x' * (1 << 20))
        self.assertLessEqual(1 << 20, before - self.hostutils
                             .get_volume_info('C:')[1])

    def test_server_features(self):
        """oswin-surface.md 3.9: Win32_ServerFeature by id."""
        self.assertEqual([True, False], [
            self.hostutils.check_server_feature(number)
            for number in (57, 322)])

    def test_adapter_below_the_switch(self):
        """oswin-surface.md 3.9: MSFT_NetAdapter by description."""
        found = self.hostutils._conn_scimv2.MSFT_NetAdapter(
            InterfaceDescription=network.adapter_name(
                self.host, self.host.spec.switches[0]))
        self.assertEqual(1, len(found))
        self.assertIn('VEN_', found[0].PnPDeviceID)

    def test_address_of_the_hosts_own_adapter(self):
        """oswin-surface.md 3.8: MSFT_NetIPAddress, family 2."""
        adapter = self.hostutils._conn_scimv2.MSFT_NetAdapter(
            Name='vEthernet (external)')[0]
        found = self.hostutils._conn_scimv2.MSFT_NetIPAddress(
            InterfaceIndex=adapter.InterfaceIndex, AddressFamily=2)
        self.assertTrue(found[0].IPAddress.startswith('127.'))


class PciTest(hypervcase.HyperVTestCase):
    """Discrete device assignment (section 14)."""

    HOST = {'extra': {'pci': [
        {'vendor_id': '10de', 'product_id': '1eb8',
         'address': '0000:04:00.0'}]}}

    def setUp(self):
        super().setUp()
        self.create_vm(AutomaticShutdownAction=2)
        self.hostutils = self.bound.utilsfactory.get_hostutils()

    def test_device_is_reported(self):
        """oswin-surface.md 9.25: address from three integers."""
        self.assertEqual(
            [('0000:04:00.0', '10DE', '1EB8')],
            [(one['address'], one['vendor_id'], one['product_id'])
             for one in self.hostutils.get_pci_passthrough_devices()])

    def test_device_has_one_owner(self):
        """Section 14: a device has one owner."""
        self.vmutils.add_pci_device('vm', '10DE', '1EB8')
        self.assertEqual(1, len(
            self.hostutils.get_pci_passthrough_devices()))
        with self.assertRaises(hypervcase.exceptions.PciDeviceNotFound):
            self.vmutils.add_pci_device('vm', '10DE', '1EB8')
        self.vmutils.remove_all_pci_devices('vm')
        self.vmutils.add_pci_device('vm', '10DE', '1EB8')

    def test_saving_is_impossible(self):
        """Section 2 and 14: no save with DDA devices."""
        self.vmutils.add_pci_device('vm', '10DE', '1EB8')
        self.start()
        self.assertEqual(32775, self.request_state(6))

    def test_automatic_shutdown_action_must_be_turn_off(self):
        """Section 14 [F]: must be turn off, VM off for assignment."""
        self.modify_settings(AutomaticShutdownAction=4)
        with self.assertRaises(hypervcase.exceptions.HyperVException):
            self.vmutils.add_pci_device('vm', '10DE', '1EB8')

    def test_rules_hold_after_the_assignment(self):
        """Section 14: no dynamic memory, and turning off, all the time."""
        self.vmutils.add_pci_device('vm', '10DE', '1EB8')
        before = self.everything()
        memory = self.resources(cls='Msvm_MemorySettingData')[0]
        self.assertEqual((32773, 32773), (
            self.modify(memory, DynamicMemoryEnabled=True)[2],
            self.modify_settings(AutomaticShutdownAction=3)))
        self.assert_unchanged(before)
        self.vmutils.remove_all_pci_devices('vm')
        self.assertEqual((0, 0), (
            self.modify(memory, DynamicMemoryEnabled=True)[2],
            self.modify_settings(AutomaticShutdownAction=3)))

    def test_destroying_the_vm_frees_the_device(self):
        """20.2: nothing of the VM is left."""
        self.vmutils.add_pci_device('vm', '10DE', '1EB8')
        self.vmutils.destroy_vm('vm')
        self.assertEqual(1, len(self.wmi.Msvm_PciExpress()))


@ddt.ddt
class RemoteFxTest(hypervcase.HyperVTestCase):
    """RemoteFX adapters (section 14)."""

    GPU = {'gpus': [{'name': 'Test GPU', 'memory_bytes': GIB}]}

    @ddt.data(('2012R2', 1, True), ('2012R2', 2, False), ('2016', 1, True),
              ('2016', 2, True), ('2019', 1, False), ('2022', 2, False))
    @ddt.unpack
    def test_which_windows_and_generation(self, windows, generation,
                                          possible):
        """Section 14: 2012 R2 gen 1; 2016 both; removed later."""
        self.make_host(windows, extra=self.GPU)
        self.create_vm(generation=generation)
        kinds = ('Synthetic 3D Display Controller',
                 'Synthetic Display Controller')
        try:
            self.vmutils.enable_remotefx_video_adapter(
                'vm', 1, '1024x768')
        except hypervcase.exceptions.HyperVException:
            self.assertFalse(possible)
            return
        self.assertTrue(possible)
        self.assertEqual([1, 0], [len(self.record().resources(
            'CIM_ResourceAllocationSettingData', hypervcase.HV + kind))
            for kind in kinds])
        self.vmutils.disable_remotefx_video_adapter('vm')
        self.assertEqual([0, 1], [len(self.record().resources(
            'CIM_ResourceAllocationSettingData', hypervcase.HV + kind))
            for kind in kinds])

    def test_host_without_gpu(self):
        """Section 14: IsGPUCapable."""
        self.make_host('2016')
        self.create_vm()
        host = self.bound.utilsfactory.get_hostutils()
        self.assertEqual([], host.get_remotefx_gpu_info())
        with self.assertRaises(hypervcase.exceptions.HyperVRemoteFXException):
            host.verify_host_remotefx_capability()
        with self.assertRaises(hypervcase.exceptions.HyperVException):
            self.vmutils.enable_remotefx_video_adapter('vm', 1, '1024x768')

    def test_gpu_is_reported(self):
        """oswin-surface.md 3.9: Msvm_Physical3dGraphicsProcessor."""
        self.make_host('2016', extra=self.GPU)
        host = self.bound.utilsfactory.get_hostutils()
        host.verify_host_remotefx_capability()
        self.assertEqual([('Test GPU', GIB)], [
            (one['name'], one['total_video_ram'])
            for one in host.get_remotefx_gpu_info()])

    def test_too_many_monitors(self):
        """Section 14: monitors by resolution."""
        self.make_host('2016', extra=self.GPU)
        self.create_vm()
        self.remove(self.resources(cls='Msvm_SyntheticDisplayController'
                                   'SettingData')[0])
        adapter = self.template('Msvm_Synthetic3DDisplayControllerSetting'
                                'Data')
        adapter.MaximumMonitors, adapter.MaximumScreenResolution = 3, 4
        self.assertEqual(32773, self.add(adapter)[2])


@ddt.ddt
class DiskTest(hypervcase.HyperVTestCase):
    """Disks of the host (oswin-surface.md 3.11)."""

    def setUp(self):
        super().setUp()
        self.diskutils = self.bound.utilsfactory.get_diskutils()

    @ddt.data((1, False, False), (2, True, False), (3, True, True),
              (4, False, True))
    @ddt.unpack
    def test_san_policy_decides_about_new_disks(self, policy, shared,
                                                internal):
        """oswin-surface.md 3.11: NewDiskPolicy of MSFT_StorageSetting."""
        self.diskutils.set_new_disk_policy(policy)
        self.assertEqual(policy, self.diskutils.get_new_disk_policy())
        for bus_type, offline in ((storage.ISCSI, shared), (17, internal)):
            number = self.add_host_disk(bus_type)
            self.assertEqual(offline, self.diskutils._get_disk_by_number(
                number).IsOffline)

    def test_impossible_policy(self):
        """Microsoft: NewDiskPolicy is 1..4."""
        setting = self.diskutils._conn_storage.Msft_StorageSetting
        self.assertEqual(5, setting.Set(NewDiskPolicy=9)[0])

    def test_online_offline_read_only(self):
        """oswin-surface.md 3.11: Online, Offline, SetAttributes."""
        number = self.add_host_disk()
        self.diskutils.set_disk_online(number)
        self.assertFalse(self.diskutils._get_disk_by_number(
            number).IsOffline)
        self.diskutils.set_disk_offline(number)
        self.diskutils.set_disk_readonly_status(number, read_only=True)
        disk = self.diskutils._get_disk_by_number(number)
        self.assertEqual((True, True), (disk.IsOffline, disk.IsReadOnly))

    def test_system_disk_stays_online(self):
        """A host cannot run without the disk that Windows is on."""
        with self.assertRaises(hypervcase.exceptions.OSWinException):
            self.diskutils.set_disk_offline(0)

    def test_numbers_are_reused(self):
        """A disk, its Win32_DiskDrive and Msvm_DiskDrive go together."""
        first = self.add_host_disk()
        self.assertIsNotNone(
            self.vmutils.get_mounted_disk_by_drive_number(first))
        storage.remove_disk(self.host, first)
        self.assertIsNone(
            self.vmutils.get_mounted_disk_by_drive_number(first))
        self.assertEqual(first, self.add_host_disk())

    def test_attached_image_is_a_file_backed_disk(self):
        """oswin-surface.md 3.11: BusType 15, Location = path."""
        path = self.make_disk('C:\\image.vhdx')
        self.vhd.attach_virtual_disk(path)
        disk = self.diskutils._conn_storage.Msft_Disk(BusType=15)[0]
        self.assertEqual((path, False), (disk.Location, disk.IsOffline))
        self.vhd.detach_virtual_disk(path)
        self.assertEqual([], self.diskutils._conn_storage.Msft_Disk(
            BusType=15))


class SmbTest(hypervcase.HyperVTestCase):
    """Shares and mappings (oswin-surface.md 3.12)."""

    def setUp(self):
        super().setUp()
        self.smbutils = self.bound.utilsfactory.get_smbutils()
        self.fabric.shares.add('\\\\FILER\\vms', 10 * GIB)

    def test_mapping_comes_and_goes(self):
        """oswin-surface.md 3.12: Create, Remove."""
        share = '\\\\FILER\\vms'
        self.assertFalse(self.smbutils.check_smb_mapping(share))
        self.smbutils.mount_smb_share(share)
        self.assertTrue(self.smbutils.check_smb_mapping(share))
        self.smbutils.unmount_smb_share(share)
        self.assertFalse(self.smbutils.check_smb_mapping(share))

    def test_share_that_does_not_exist(self):
        """Section 19: inner 0x8007xxxx code."""
        with self.assertRaises(hypervcase.exceptions.SMBException):
            self.smbutils.mount_smb_share('\\\\FILER\\none')

    def test_own_shares(self):
        """oswin-surface.md 3.12: Msft_SmbShare R Path."""
        smb.add_share(self.host, 'images', 'C:\\images')
        self.assertEqual('C:\\images', self.smbutils.get_smb_share_path(
            'images'))
