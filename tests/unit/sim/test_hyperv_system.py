# SPDX-License-Identifier: Apache-2.0
"""Defining, changing, destroying VMs (hyperv-semantics.md section 4)."""

import ddt

from compute_hyperv.sim import profiles
from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import HV
from tests.unit.sim.hypervcase import RASD
from tests.unit.sim.hypervcase import STARTED

INVALID_PARAMETER = 32773
INVALID_STATE = 5

#: ResourceSubTypes of a new VM besides memory and processor (section 4).
COMMON = {'Serial Controller', 'Serial Port', 'Synthetic Mouse',
          'Synthetic Display Controller'}
DEVICES = {
    1: COMMON | {'Emulated IDE Controller', 'Diskette Controller',
                 'Synthetic Diskette Drive', 'Emulated Keyboard',
                 'Emulated Mouse', 'S3 Display Controller'},
    2: COMMON,
}


@ddt.ddt
class DefineSystemTest(hypervcase.HyperVTestCase):
    """What DefineSystem makes."""

    def _subtypes(self):
        return {one['ResourceSubType'][len(HV):]
                for one in self.record().resources(
                    'CIM_ResourceAllocationSettingData')
                if one['ResourceSubType']} - {'Memory', 'Processor'}

    @ddt.data(*((windows, generation) for windows in hypervcase.WINDOWS
                for generation in (1, 2)))
    @ddt.unpack
    def test_default_devices(self, windows, generation):
        """Section 4: devices of generation 1 and 2."""
        self.make_host(windows)
        self.create_vm(generation=generation)
        self.assertEqual(DEVICES[generation], self._subtypes())

    def test_generation_1_has_two_ide_controllers_by_address(self):
        """Section 4: 2 IDE controllers (Address "0", "1")."""
        self.create_vm(generation=1)
        self.assertEqual(['0', '1'], [one.Address for one in self.resources(
            subtype='Emulated IDE Controller')])

    @ddt.data(1, 2)
    def test_no_scsi_controller_from_bare_wmi(self, generation):
        """Section 4: SCSI controllers only when added."""
        self.create_vm(generation=generation)
        self.assertIsNone(self.vmutils.get_vm_scsi_controller('vm'))

    @ddt.data(*((windows, generation) for windows in hypervcase.WINDOWS
                for generation in (1, 2)))
    @ddt.unpack
    def test_two_serial_ports_in_configuration(self, windows, generation):
        """Section 4 and 15: two ports, a class of their own from 2016."""
        self.make_host(windows)
        self.create_vm(generation=generation)
        self.vmutils.set_vm_serial_port_connection(
            'vm', 2, r'\\.\pipe\second')
        self.assertEqual([r'\\.\pipe\second'],
                         self.vmutils.get_vm_serial_port_connections('vm'))

    @ddt.data(('2012R2', 512), ('2016', 1024), ('2025', 1024))
    @ddt.unpack
    def test_default_memory(self, windows, memory_mib):
        """Section 4 [F]: 512 MB on 2012 R2, 1024 MB from 2016."""
        self.make_host(windows)
        self.vmutils.create_vm('vm', False, 2, 'C:\\VMs')
        memory = self.record().memory
        self.assertEqual(
            (memory_mib, False),
            (memory['VirtualQuantity'], memory['DynamicMemoryEnabled']))

    @ddt.data(*hypervcase.WINDOWS)
    def test_version_is_the_hosts_default(self, windows):
        """Section 18: default configuration version per Windows."""
        self.make_host(windows)
        self.create_vm()
        self.assertEqual(profiles.profile(windows).default_vm_version,
                         self.settings().Version)

    @ddt.data(('2012R2', 1, ['.xml']), ('2016', 2, ['.vmcx', '.vmrs']),
              ('2022', 1, ['.vmcx', '.vmrs']),
              ('2022', 2, ['.vmcx', '.vmgs', '.vmrs']))
    @ddt.unpack
    def test_configuration_files(self, windows, generation, suffixes):
        """Section 4: .xml (5.0), .vmcx + .vmrs (6.2), .vmgs."""
        self.make_host(windows)
        guid = self.create_vm(generation=generation).Name
        self.assertEqual([guid + one for one in suffixes], sorted(
            self.files.list_dir('C:\\VMs\\vm\\Virtual Machines')))

    def test_configuration_files_are_in_use(self):
        """Section 4: the management service keeps them open (32)."""
        guid = self.create_vm().Name
        path = 'C:\\VMs\\vm\\Virtual Machines\\%s.vmcx' % guid
        with self.assertRaises(OSError) as caught:
            self.files.remove(path)
        self.assertEqual(32, caught.exception.winerror)

    def test_identities(self):
        """Section 1: GUID in upper case, InstanceIDs, ConfigurationID."""
        system = self.create_vm()
        settings = self.settings()
        self.assertEqual(system.Name.upper(), system.Name)
        self.assertEqual(
            ('Microsoft:' + system.Name, system.Name, system.Name),
            (settings.InstanceID, settings.ConfigurationID,
             settings.VirtualSystemIdentifier))

    def test_secure_boot_is_on_for_generation_2(self):
        """Section 4: Secure Boot default on."""
        settings = self.wmi.Msvm_VirtualSystemSettingData.new()
        settings.ElementName = 'bare'
        settings.VirtualSystemSubType = HV + 'SubType:2'
        self.service.DefineSystem(ResourceSettings=[], SystemSettings=(
            settings.GetText_(1)), ReferenceConfiguration=None)
        self.assertTrue(self.settings('bare').SecureBootEnabled)

    def _define(self, resources=(), **settings):
        given = self.wmi.Msvm_VirtualSystemSettingData.new()
        for name, value in dict({'ElementName': 'new'}, **settings).items():
            setattr(given, name, value)
        return self.service.DefineSystem(
            ResourceSettings=[one.GetText_(1) for one in resources],
            ReferenceConfiguration=None, SystemSettings=given.GetText_(1))

    def test_resources_of_the_call_are_added(self):
        """Section 4: serialized VSSD + RASDs."""
        controller = self.template(RASD, 'Synthetic SCSI Controller')
        self.assertEqual(0, self._define([controller] * 2)[2])
        self.assertEqual(2, len(self.resources(
            'new', subtype='Synthetic SCSI Controller')))

    def test_bad_resource_refuses_the_definition(self):
        """20.3: nothing is left behind."""
        before = self.everything()
        controller = self.template(RASD, 'Synthetic SCSI Controller')
        self.assertEqual(INVALID_PARAMETER,
                         self._define([controller] * 5)[2])
        self.assert_unchanged(before)

    def test_root_that_cannot_be_written(self):
        """Section 3: what needs host work surfaces as a failed job."""
        before = self.everything()
        job, _system, code = self._define(ConfigurationDataRoot='Q:\\x')
        self.assertEqual(STARTED, code)
        self.assert_job_failed(job, '0x80070003')
        self.assert_unchanged(before)

    def test_settings_may_be_missing(self):
        """Section 4: unspecified properties take defaults."""
        self.service.DefineSystem(ResourceSettings=[], SystemSettings=None,
                                  ReferenceConfiguration=None)
        self.assertEqual(1, self.record('New Virtual Machine').generation)

    def test_identity_that_is_taken(self):
        """Section 1: the GUID is the key of a VM."""
        self.create_vm()
        before = self.everything()
        settings = self.wmi.Msvm_VirtualSystemSettingData.new()
        settings.VirtualSystemIdentifier = self.system().Name.lower()
        self.assertEqual(
            (None, None, INVALID_PARAMETER), self.service.DefineSystem(
                ResourceSettings=[], ReferenceConfiguration=None,
                SystemSettings=settings.GetText_(1)))
        self.assert_unchanged(before)

    @ddt.data({'VirtualSystemSubType': HV + 'SubType:3'},
              {'Version': '4.0'}, {'VirtualSystemIdentifier': 'no guid'},
              {'Version': '8.0', 'EnableHibernation': True},
              {'AutomaticStartupAction': 1},
              {'VirtualSystemSubType': HV + 'SubType:1',
               'SecureBootEnabled': True})
    def test_impossible_settings_leave_nothing_behind(self, wrong):
        """Section 3/4: parameter errors are immediate codes."""
        before = self.everything()
        settings = self.wmi.Msvm_VirtualSystemSettingData.new()
        for name, value in wrong.items():
            setattr(settings, name, value)
        code = self.service.DefineSystem(
            ResourceSettings=[], ReferenceConfiguration=None,
            SystemSettings=settings.GetText_(1))[2]
        self.assertEqual(INVALID_PARAMETER, code)
        self.assert_unchanged(before)


@ddt.ddt
class DestroySystemTest(hypervcase.HyperVTestCase):
    """DestroySystem (section 4)."""

    @ddt.data('running', 'paused')
    def test_refused_unless_off_or_saved(self, state):
        """Section 4: VM must be off or saved, else invalid state."""
        system = self.create_vm()
        self.bring_to(state)
        self.assertEqual((None, INVALID_STATE),
                         self.service.DestroySystem(system.path_()))
        self.assertEqual(hypervcase.STATES[state], self.state())

    @ddt.data('current', 'snapshot', 'none')
    def test_settings_are_no_system(self, which):
        """Section 4: a checkpoint's path must not cost the whole VM."""
        self.host.quirks.wrong_reference_hresult = 0
        self.create_vm()
        self.attach_disk()
        self.vmutils.take_vm_snapshot('vm')
        path = {'current': self.settings().path_(), 'none': None,
                'snapshot': self.vmutils.get_vm_snapshots('vm')[0]}[which]
        before = self.everything()
        self.assertEqual((None, INVALID_PARAMETER),
                         self.service.DestroySystem(AffectedSystem=path))
        self.assert_unchanged(before)

    @ddt.data('off', 'saved')
    def test_removes_everything_but_disks(self, state):
        """Section 4: configuration and state go, disks are kept; 20.2."""
        before = self.everything()
        system = self.create_vm()
        disk = self.attach_disk()
        self.add_nic()
        self.connect()
        self.net.set_vswitch_port_vlan_id(7, 'nic')
        self.bring_to(state)
        self.assertEqual(STARTED,
                         self.service.DestroySystem(system.path_())[1])
        self.assert_unchanged(before)
        self.assertTrue(self.files.exists(disk))
        self.assertEqual([], self.files.list_dir(
            'C:\\VMs\\vm\\Virtual Machines'))

    def test_path_of_a_destroyed_vm_is_not_found(self):
        """Section 19: missing object, 0x80041002."""
        system = self.create_vm()
        path = system.path_()
        self.vmutils.destroy_vm('vm')
        with self.assertRaises(self.x_wmi) as caught:
            self.service.DestroySystem(path)
        self.assertEqual(0x80041002,
                         caught.exception.com_error.hresult & 0xFFFFFFFF)


#: Settings with a value that differs from the default, and whether they
#: may change while running or saved (R) or only when off (O).
SYSTEM_RULES = (
    ('ElementName', 'other', 'R'), ('Notes', ['x'], 'R'),
    ('AutomaticStartupAction', 4, 'R'),
    ('AutomaticShutdownAction', 2, 'R'),
    ('AutomaticRecoveryAction', 2, 'R'), ('UserSnapshotType', 5, 'R'),
    ('SnapshotDataRoot', 'C:\\x', 'O'), ('SwapFileDataRoot', 'C:\\x', 'O'),
    ('SecureBootEnabled', True, 'O'), ('ConsoleMode', 1, 'O'),
    ('VirtualNumaEnabled', True, 'O'), ('ChassisAssetTag', 'tag', 'O'),
    ('LockOnDisconnect', True, 'O'), ('LowMmioGapSize', 256, 'O'),
    ('GuestControlledCacheTypes', True, 'O'),
)


@ddt.ddt
class ModifySystemSettingsTest(hypervcase.HyperVTestCase):
    """Which setting may be changed when (section 4, the table)."""

    @ddt.data(*((name, value, rule, state)
                for name, value, rule in SYSTEM_RULES
                for state in ('off', 'running', 'saved')))
    @ddt.unpack
    def test_setting(self, name, value, rule, state):
        """Section 4: R also while running, O off only; saved is not off."""
        self.create_vm()
        self.bring_to(state)
        before = self.everything()
        code = self.modify_settings(**{name: value})
        if rule == 'O' and state != 'off':
            self.assertEqual(INVALID_STATE, code)
            self.assert_unchanged(before)
        else:
            self.assertEqual(0, code)
            self.assertNotEqual(before, self.everything())

    def test_rule_is_switchable(self):
        """style.md 12: field knowledge can be switched off."""
        self.host.quirks.enforce_off_only = False
        self.create_vm()
        self.start()
        self.assertEqual(0, self.modify_settings(ChassisAssetTag='tag'))

    @ddt.data([2, 1, 3], [2, 2, 3, 0], [2, 1, 3, 9])
    def test_boot_order_needs_four_distinct_classes(self, order):
        """Section 4: 4 distinct values of 0 floppy ... 4 SCSI."""
        self.create_vm(generation=1)
        self.assertEqual(INVALID_PARAMETER,
                         self.modify_settings(BootOrder=order))

    def test_renaming_changes_the_system_too(self):
        """Section 1: ElementName is the display name."""
        self.create_vm()
        self.modify_settings(ElementName='renamed')
        self.assertEqual(['renamed'], self.vmutils.list_instances())
        self.assertEqual('renamed', self.system('renamed').ElementName)

    @ddt.data('VirtualSystemSubType', 'Version', 'ConfigurationID')
    def test_fixed_settings(self, name):
        """Section 4: the generation is fixed for life, so is identity."""
        self.create_vm()
        self.assertEqual(INVALID_PARAMETER,
                         self.modify_settings(**{name: 'x'}))

    def test_unknown_secure_boot_template(self):
        """Section 7: templates are discoverable; others do not exist."""
        self.create_vm()
        self.assertEqual(INVALID_PARAMETER, self.modify_settings(
            SecureBootTemplateId='00000000-0000-0000-0000-000000000000'))

    @ddt.data('2016', '2019', '2022', '2025')
    def test_linux_secure_boot_template(self, windows):
        """Section 7: the UEFI CA template from 2016 on."""
        self.make_host(windows)
        self.create_vm()
        self.vmutils.enable_secure_boot('vm', msft_ca_required=True)
        self.assertEqual('272e7447-90a4-4563-a4b9-8e4ab00526ce',
                         self.settings().SecureBootTemplateId)

    def test_configuration_moves_with_its_root(self):
        """Section 4: files under ConfigurationDataRoot."""
        guid = self.create_vm().Name
        self.assertEqual(0, self.modify_settings(
            ConfigurationDataRoot='C:\\moved'))
        self.assertIn(guid + '.vmcx', self.files.list_dir(
            'C:\\moved\\Virtual Machines'))
        self.assertEqual([], self.files.list_dir(
            'C:\\VMs\\vm\\Virtual Machines'))


class ServiceSettingsTest(hypervcase.HyperVTestCase):
    """Settings of the whole host."""

    def test_numa_spanning(self):
        """Section 5: NumaSpanningEnabled."""
        cls = 'Msvm_VirtualSystemManagementServiceSettingData'
        settings = getattr(self.wmi, cls)()[0]
        settings.NumaSpanningEnabled = False
        self.assertEqual(0, self.service.ModifyServiceSettings(
            SettingData=settings.GetText_(1))[1])
        self.assertFalse(self.host.v2.find(cls)[0]['NumaSpanningEnabled'])

    def test_something_else(self):
        self.create_vm()
        self.assertEqual(INVALID_PARAMETER,
                         self.service.ModifyServiceSettings(
                             SettingData=self.settings().GetText_(1))[1])

    def test_snapshot_root_is_fixed_by_checkpoints(self):
        """Section 4 [F]: not when snapshots exist."""
        self.create_vm()
        self.assertEqual(0, self.modify_settings(SnapshotDataRoot='C:\\a'))
        self.vmutils.take_vm_snapshot('vm')
        self.assertEqual(INVALID_PARAMETER,
                         self.modify_settings(SnapshotDataRoot='C:\\b'))


#: Properties of the processor: value and rule (section 4 and 5).
PROCESSOR_RULES = (
    ('VirtualQuantity', 2, 'O'), ('LimitProcessorFeatures', True, 'O'),
    ('LimitCPUID', True, 'O'), ('MaxProcessorsPerNumaNode', 2, 'O'),
    ('ExposeVirtualizationExtensions', True, 'O'),
    ('Reservation', 10, 'R'), ('Limit', 50000, 'R'), ('Weight', 200, 'R'),
)


@ddt.ddt
class ProcessorTest(hypervcase.HyperVTestCase):
    """Virtual processors (sections 4, 5 and 18)."""

    HOST = {'cpus': 128, 'numa_nodes': 2}

    def _modify(self, **changes):
        return self.modify(self.resources(
            cls='Msvm_ProcessorSettingData')[0], **changes)[2]

    @ddt.data(*((name, value, rule, state)
                for name, value, rule in PROCESSOR_RULES
                for state in ('off', 'running')))
    @ddt.unpack
    def test_when_it_may_change(self, name, value, rule, state):
        """Section 4: vCPU count and NUMA off only, limits any time."""
        self.create_vm()
        self.bring_to(state)
        code = self._modify(**{name: value})
        refused = rule == 'O' and state != 'off'
        self.assertEqual(INVALID_STATE if refused else 0, code)
        now = self.record().processor[name]
        self.assertEqual(not refused, now == value)

    @ddt.data(('2012R2', 1, 64), ('2012R2', 2, 64), ('2016', 1, 64),
              ('2022', 1, 64))
    @ddt.unpack
    def test_maximum_per_generation(self, windows, generation, limit):
        """Section 18: vCPU per VM gen2 / gen1; 20.6."""
        self.make_host(windows)
        self.create_vm(generation=generation)
        self.assertEqual(0, self._modify(VirtualQuantity=limit))
        self.assertEqual(INVALID_PARAMETER,
                         self._modify(VirtualQuantity=limit + 1))

    @ddt.data(('2016', 240), ('2019', 240), ('2022', 1024), ('2025', 2048))
    @ddt.unpack
    def test_maximum_of_generation_2(self, windows, limit):
        """Section 18: the profile's limit for generation 2."""
        self.assertEqual(limit, profiles.profile(windows).max_vcpus(2))

    @ddt.data(('7.1', 64, 1 << 20), ('8.0', 240, 12 << 20))
    @ddt.unpack
    def test_large_vms_need_version_8(self, version, vcpus, memory_mib):
        """Section 18: minimum VM version of large VMs."""
        profile = profiles.profile('2016')
        self.assertEqual((vcpus, memory_mib), (
            profile.max_vcpus(2, version),
            profile.max_memory_mib(2, version)))

    def test_old_vm_is_no_large_vm(self):
        """Section 18: the version of the VM counts, not the host's."""
        self.make_host('2016', cpus=128)
        settings = self.wmi.Msvm_VirtualSystemSettingData.new()
        settings.ElementName, settings.Version = 'vm', '5.0'
        settings.VirtualSystemSubType = HV + 'SubType:2'
        self.service.DefineSystem(ResourceSettings=[], SystemSettings=(
            settings.GetText_(1)), ReferenceConfiguration=None)
        self.assertEqual((0, INVALID_PARAMETER), (
            self._modify(VirtualQuantity=64),
            self._modify(VirtualQuantity=65)))

    @ddt.data(('8.0', INVALID_PARAMETER), ('9.0', 0))
    @ddt.unpack
    def test_performance_monitor_needs_version_9(self, version, code):
        """Section 18: PMU 9.0."""
        settings = self.wmi.Msvm_VirtualSystemSettingData.new()
        settings.ElementName, settings.Version = 'vm', version
        self.service.DefineSystem(ResourceSettings=[], SystemSettings=(
            settings.GetText_(1)), ReferenceConfiguration=None)
        self.assertEqual(code, self._modify(EnablePerfmonPmu=True))

    @ddt.data({'Reservation': 100001}, {'Weight': 10001},
              {'Limit': 10, 'Reservation': 20}, {'VirtualQuantity': 0},
              {'MaxProcessorsPerNumaNode': 0})
    def test_value_ranges(self, wrong):
        """Section 5: thousandths of a percent 0..100000, weight."""
        self.create_vm()
        self.assertEqual(INVALID_PARAMETER, self._modify(**wrong))

    def test_nested_virtualization_needs_version_8(self):
        """Section 5 and 18: version >= 8.0, VM off."""
        self.make_host('2016')
        settings = self.wmi.Msvm_VirtualSystemSettingData.new()
        settings.ElementName = 'old'
        settings.Version = '7.1'
        self.service.DefineSystem(ResourceSettings=[], SystemSettings=(
            settings.GetText_(1)), ReferenceConfiguration=None)
        processor = self.resources('old', 'Msvm_ProcessorSettingData')[0]
        self.assertEqual(INVALID_PARAMETER, self.modify(
            processor, ExposeVirtualizationExtensions=True)[2])
        self.create_vm('new')
        self.vmutils.set_nested_virtualization('new', True)
        self.assertTrue(self.record('new').processor[
            'ExposeVirtualizationExtensions'])


@ddt.ddt
class MemoryTest(hypervcase.HyperVTestCase):
    """Memory settings (sections 4, 5 and 18)."""

    def _modify(self, **changes):
        return self.modify(self.resources(
            cls='Msvm_MemorySettingData')[0], **changes)[2]

    @ddt.data({'VirtualQuantity': 513}, {'VirtualQuantity': 30},
              {'TargetMemoryBuffer': 4}, {'TargetMemoryBuffer': 2001},
              {'Weight': 10001},
              {'DynamicMemoryEnabled': True, 'Reservation': 1024},
              {'DynamicMemoryEnabled': True, 'Limit': 256},
              {'DynamicMemoryEnabled': True, 'Limit': (240 << 20) + 2})
    def test_refused_values(self, wrong):
        """Section 5: even MiB, 32 MiB, minimum <= startup <= maximum."""
        self.create_vm()
        before = self.everything()
        self.assertEqual(INVALID_PARAMETER, self._modify(**wrong))
        self.assert_unchanged(before)

    def test_static_memory_has_one_size(self):
        """Section 5: minimum and maximum equal startup when static."""
        self.create_vm()
        self._modify(VirtualQuantity=2048)
        memory = self.record().memory
        self.assertEqual([2048] * 3, [memory[name] for name in (
            'Reservation', 'VirtualQuantity', 'Limit')])

    @ddt.data(('2012R2', INVALID_STATE, 512), ('2016', 0, 1024),
              ('2022', 0, 1024))
    @ddt.unpack
    def test_static_memory_while_running(self, windows, code, memory_mib):
        """Section 4: hot memory from 2016 for version >= 6.2."""
        self.make_host(windows)
        self.create_vm(memory_mib=512)
        self.start()
        self.assertEqual(code, self._modify(VirtualQuantity=1024))
        self.assertEqual(memory_mib, self.vmutils.get_vm_summary_info(
            'vm')['MemoryUsage'])

    @ddt.data(({'Reservation': 256}, 0), ({'Reservation': 512}, 5),
              ({'Limit': 4096}, 0), ({'Limit': 1024}, 5),
              ({'Weight': 6000}, 0), ({'TargetMemoryBuffer': 30}, 0),
              ({'VirtualQuantity': 1024}, 5),
              ({'DynamicMemoryEnabled': False}, 5))
    @ddt.unpack
    def test_dynamic_memory_while_running(self, changes, code):
        """Section 4: lower minimum, raise maximum, weight, buffer."""
        self.create_vm()
        self.assertEqual(0, self._modify(
            DynamicMemoryEnabled=True, Reservation=384,
            VirtualQuantity=512, Limit=2048))
        self.start()
        self.assertEqual(code, self._modify(**changes))

    @ddt.data((1, 1 << 20), (2, 1 << 20))
    @ddt.unpack
    def test_maximum_of_2012_r2(self, generation, limit_mib):
        """Section 18: 1 TB per VM; 20.6."""
        self.make_host('2012R2')
        self.create_vm(generation=generation)
        self.assertEqual(0, self._modify(VirtualQuantity=limit_mib))
        self.assertEqual(INVALID_PARAMETER,
                         self._modify(VirtualQuantity=limit_mib + 2))


class BootSourceTest(hypervcase.HyperVTestCase):
    """The boot order of generation 2 (section 7)."""

    def _kinds(self):
        order = self.settings().BootSourceOrder
        return [self.host.v2.by_path(path)['BootSourceType']
                for path in order]

    def test_entries_come_and_go_with_devices(self):
        """Section 7: one boot source per drive and NIC."""
        self.create_vm()
        self.assertEqual((), self.settings().BootSourceOrder or ())
        disk = self.attach_disk()
        nic = self.add_nic()
        self.assertEqual([1, 2], self._kinds())
        self.vmutils.detach_vm_disk('vm', disk, is_physical=False)
        self.assertEqual([2], self._kinds())
        self.remove(nic)
        self.assertEqual([], self._kinds())

    def test_order_is_set_in_any_spelling_of_paths(self):
        """oswin-surface.md 9.13: os-win writes paths in upper case."""
        self.create_vm()
        self.add_nic()
        disk = self.attach_disk()
        self.assertEqual([2, 1], self._kinds())
        self.vmutils.set_boot_order('vm', [disk])
        self.assertEqual([1, 2], self._kinds())

    def test_foreign_path_is_refused(self):
        """Section 7: paths of Msvm_BootSourceSettingData."""
        self.create_vm()
        self.assertEqual(INVALID_PARAMETER, self.modify_settings(
            BootSourceOrder=[self.settings().path_()]))

    def test_generation_1_has_none(self):
        """Section 7: generation 1 boots by device class."""
        self.create_vm(generation=1)
        self.attach_disk()
        self.assertEqual([], self.wmi.Msvm_BootSourceSettingData())
        self.assertEqual([], self.resources(cls=RASD, subtype='nothing'))
