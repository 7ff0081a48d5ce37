# SPDX-License-Identifier: Apache-2.0
"""The ``wmi`` stand-in: the rules of oswin-surface.md, section 2."""

import datetime
from unittest import mock

import ddt

from compute_hyperv.sim import errors
from compute_hyperv.sim.wmi import engine
from compute_hyperv.sim.wmi import registry
from tests.unit.sim import simcase

V2 = 'root/virtualization/v2'
RASD = 'Msvm_ResourceAllocationSettingData'
GUID = '00000000-0000-4000-8000-00000000AB00'
VM_PATH = (r'\\HV1\root\virtualization\v2:Msvm_ComputerSystem.'
           f'CreationClassName="Msvm_ComputerSystem",Name="{GUID}"')


class FaceTestCase(simcase.SimTestCase):
    """Methods registered by a test are gone after it."""

    def setUp(self):
        super().setUp()
        methods = mock.patch.dict(registry._methods)
        methods.start()
        self.addCleanup(methods.stop)
        self.calls = []

    def answer(self, namespace, cls, name, **out):
        """Let a method note its call and give *out*."""
        @engine.method(namespace, cls, name)
        def handler(call):
            self.calls.append(call)
            return dict(out)


@ddt.ddt
class MonikerTest(FaceTestCase):
    """Section 2.1."""

    @ddt.data('//./root/virtualization/v2', r'\\.\root\virtualization\v2',
              'winmgmts://hv1/ROOT/virtualization/V2',
              r'root\virtualization\v2', '//HV1.example.org/'
              'root/virtualization/v2')
    def test_spellings_of_a_namespace(self, moniker):
        self.add_vm('a')
        conn = self.wmi.WMI(moniker, privileges=['Shutdown'])
        self.assertEqual(1, len(conn.Msvm_ComputerSystem(ElementName='a')))

    def test_default_namespace(self):
        self.assertEqual(1, len(self.wmi.WMI().Win32_OperatingSystem()))

    def test_unknown_namespace(self):
        self.assert_hresult(errors.WBEM_E_INVALID_NAMESPACE,
                            self.wmi.WMI, '//./root/nothing')

    def test_unknown_host(self):
        self.assert_hresult(errors.RPC_S_SERVER_UNAVAILABLE,
                            self.wmi.WMI, '//HV9/root/cimv2')

    def test_path_gives_the_instance(self):
        self.add_vm('a')
        self.assertEqual('a', self.wmi.WMI(VM_PATH).ElementName)

    def test_missing_instance(self):
        exc = self.assert_hresult(errors.WBEM_E_NOT_FOUND,
                                  self.wmi.WMI, VM_PATH)
        self.assertEqual(0x80041002, exc.com_error.excepinfo[5] % (1 << 32))

    def test_class_without_keys_fails_as_in_pymi(self):
        self.assertRaises(AttributeError, self.wmi.WMI,
                          f'//./{V2}:Msvm_ComputerSystem')

    def test_escaped_backslashes_of_a_key_arrive(self):
        rec = self.store.add(RASD, InstanceID='Microsoft:A\\B')
        self.assertEqual('Microsoft:A\\B', self.wmi.WMI(rec.path).InstanceID)

    def test_path_with_slashes_as_os_win_makes_it_of_a_job(self):
        rec = self.store.add('Msvm_ConcreteJob', InstanceID='a\\b')
        self.assertEqual('a\\b', self.wmi.WMI(
            rec.path.replace('\\', '/')).InstanceID)

    def test_single_backslash_in_a_key_is_lost(self):
        self.store.add(RASD, InstanceID='Microsoft:A\\B')
        self.assert_hresult(
            errors.WBEM_E_NOT_FOUND, self.wmi.WMI,
            f'//./{V2}:{RASD}.InstanceID="Microsoft:A\\B"')

    def test_comma_in_a_key_is_not_understood(self):
        rec = self.store.add(RASD, InstanceID='Microsoft:A,B')
        self.assertRaises(self.wmi.x_wmi, self.wmi.WMI, rec.path)


@ddt.ddt
class ClassTest(FaceTestCase):
    """Sections 2.2 and 2.3."""

    def test_unknown_class_is_x_wmi(self):
        conn = self.connect()
        self.assert_hresult(errors.WBEM_E_INVALID_CLASS,
                            lambda: conn.Msvm_Nothing)

    @ddt.data({'EnabledState': 3}, {'EnabledState': '3'},
              {'elementname': 'A'}, {'EnabledState': 3, 'ElementName': 'a'})
    def test_values_are_quoted_and_coerced(self, where):
        self.add_vm('a')
        self.assertEqual(['a'], [
            one.ElementName
            for one in self.connect().Msvm_ComputerSystem(**where)])

    def test_booleans_arrive_as_text(self):
        self.store.add(RASD, InstanceID='x', AutomaticAllocation=True)
        conn = self.connect()
        found = {value: [one.InstanceID for one in conn.query(
            f"select * from {RASD} where InstanceID = 'x' and "
            f"AutomaticAllocation = '{value}'")] for value in (True, False)}
        self.assertEqual({True: ['x'], False: []}, found)

    @ddt.data((['Name'], ['Name']), ('Name',))
    def test_fields_are_one_list(self, args):
        self.assertRaises(ValueError,
                          self.connect().Msvm_ComputerSystem, *args)

    def test_quotes_are_not_escaped(self):
        self.assert_hresult(
            errors.WBEM_E_INVALID_QUERY, self.connect().Msvm_ComputerSystem,
            ElementName="o'brien")

    def test_new_takes_no_argument(self):
        self.assertRaises(TypeError, self.connect().Msvm_ComputerSystem.new,
                          ElementName='a')

    @ddt.data('instances', 'references', 'derivation')
    def test_what_classes_do_not_have(self, name):
        self.assertFalse(hasattr(self.connect().Msvm_ComputerSystem, name))


@ddt.ddt
class InstanceTest(FaceTestCase):
    """Section 2.4."""

    def setUp(self):
        super().setUp()
        self.record = self.add_vm('a', OperationalStatus=[2, 3],
                                  InstallDate='20260102030405.000000+060')
        self.conn = self.connect()
        self.vm = self.conn.Msvm_ComputerSystem(ElementName='a')[0]

    def test_properties_ignore_case(self):
        self.assertEqual(('a', GUID), (self.vm.ELEMENTNAME, self.vm.name))

    def test_unknown_attribute_is_attributeerror_when_read(self):
        self.assertRaises(AttributeError, lambda: self.vm.Colour)

    def test_unknown_attribute_is_x_wmi_when_written(self):
        self.assert_hresult(errors.WBEM_E_NOT_FOUND, setattr, self.vm,
                            'Colour', 'red')

    def test_it_is_a_snapshot(self):
        self.store.update(self.record, EnabledState=2)
        self.assertEqual(3, self.vm.EnabledState)

    def test_arrays_are_tuples_and_null_is_none(self):
        self.assertEqual((2, 3), self.vm.OperationalStatus)
        self.assertIsNone(self.vm.StatusDescriptions)

    def test_date_is_naive(self):
        self.assertEqual(datetime.datetime(2026, 1, 2, 3, 4, 5),
                         self.vm.InstallDate)

    def test_interval_is_a_timedelta(self):
        self.store.add('Msvm_ConcreteJob', InstanceID='J',
                       TimeBeforeRemoval='00000000000500.000000:000')
        job, = self.conn.Msvm_ConcreteJob(InstanceID='J')
        self.assertEqual(datetime.timedelta(minutes=5),
                         job.TimeBeforeRemoval)

    def test_date_cannot_be_written(self):
        self.assertRaises(TypeError, setattr, self.vm, 'InstallDate',
                          datetime.datetime.now())

    @ddt.data(('ElementName', 5, '5'), ('EnabledState', '7', 7),
              ('EnabledState', None, None), ('OperationalStatus', ['4'],
                                             (4,)))
    @ddt.unpack
    def test_conversion_on_write(self, name, value, read):
        setattr(self.vm, name, value)
        self.assertEqual(read, getattr(self.vm, name))

    @ddt.data((True, True), (0, False), ('yes', True), ('TRUE', True),
              ('no', False), ('2', False))
    @ddt.unpack
    def test_conversion_to_boolean(self, value, read):
        new = self.conn.Msvm_VirtualSystemSettingData.new()
        new.VirtualNumaEnabled = value
        self.assertIs(read, new.VirtualNumaEnabled)

    @ddt.data('many', '1.5', [1], 1 << 20)
    def test_garbage_for_an_integer(self, value):
        with self.assertRaises((TypeError, ValueError)):
            self.vm.EnabledState = value

    def test_boolean_for_an_integer_is_a_type_mismatch(self):
        self.assert_hresult(errors.WBEM_E_TYPE_MISMATCH, setattr, self.vm,
                            'EnabledState', True)

    def test_writes_are_local(self):
        self.vm.ElementName = 'b'
        self.assertEqual(('b', 'a'), (self.vm.ElementName,
                                      self.record['ElementName']))

    def test_set_writes_several(self):
        self.vm.set(ElementName='b', enabledstate=2)
        self.assertEqual(('b', 2), (self.vm.ElementName,
                                    self.vm.EnabledState))

    def test_path_in_one_piece_and_in_parts(self):
        self.assertEqual(VM_PATH, self.vm.path_())
        path = self.vm.path()
        self.assertEqual(
            (VM_PATH, VM_PATH.partition(':')[2], 'Msvm_ComputerSystem',
             r'root\virtualization\v2', 'HV1'),
            (path.Path, path.RelPath, path.Class, path.Namespace,
             path.Server))

    def test_new_instance_has_no_path(self):
        self.assertEqual('', self.conn.Msvm_ComputerSystem.new().path_())

    def test_path_of_a_class_without_keys_is_an_error(self):
        self.host.stores['root/wmi'].add('ISCSI_IP_Address', Type=1)
        one, = self.connect('root/wmi').ISCSI_IP_Address()
        self.assertRaises(self.wmi.x_wmi, one.path_)

    def test_equality_is_identity(self):
        again = self.conn.Msvm_ComputerSystem(ElementName='a')[0]
        self.assertNotEqual(self.vm, again)

    def test_text_holds_local_changes(self):
        self.vm.ElementName = 'b'
        parsed = self.store.parse_text(self.vm.GetText_(1))
        self.assertEqual(('b', GUID), (parsed['ElementName'],
                                       parsed['Name']))

    @ddt.data('put_', 'Put_', 'references', 'keys', 'properties')
    def test_what_instances_do_not_have(self, name):
        self.assertFalse(hasattr(self.vm, name))


class ReferenceTest(FaceTestCase):
    """References are followed when they are read (2.4)."""

    def setUp(self):
        super().setUp()
        self.vm = self.add_vm('a')
        self.job = self.store.add('Msvm_ConcreteJob', InstanceID='J')
        self.store.add('Msvm_AffectedJobElement', AffectedElement=self.vm,
                       AffectingElement=self.job)
        self.conn = self.connect()

    def test_reading_gives_the_target_as_it_is_now(self):
        link, = self.conn.Msvm_AffectedJobElement()
        self.store.update(self.vm, EnabledState=2)
        self.assertEqual(2, link.AffectedElement.EnabledState)

    def test_vanished_target_is_not_found_when_read(self):
        self.store.delete(self.vm)
        link, = self.conn.Msvm_AffectedJobElement()
        self.assert_hresult(errors.WBEM_E_NOT_FOUND,
                            lambda: link.AffectedElement)

    def test_written_path_must_exist(self):
        new = self.conn.Msvm_AffectedJobElement.new()
        new.AffectedElement = self.vm.path
        self.assertEqual('a', new.AffectedElement.ElementName)
        self.assert_hresult(errors.WBEM_E_NOT_FOUND, setattr, new,
                            'AffectedElement',
                            VM_PATH.replace('AB00', 'FFFF'))

    def test_associators(self):
        system = self.conn.Msvm_ComputerSystem(ElementName='a')[0]
        for args in (('Msvm_AffectedJobElement',), (),
                     ('', 'Msvm_ConcreteJob'),
                     ('Msvm_AffectedJobElement', 'CIM_ConcreteJob')):
            self.assertIn('J', [one.InstanceID for one
                                in system.associators(*args)], args)
        self.assertEqual([], system.associators(
            wmi_result_class='Msvm_VirtualEthernetSwitch'))


class MethodTest(FaceTestCase):
    """Section 2.6."""

    def setUp(self):
        super().setUp()
        self.msps = self.connect('root/msps')

    def test_positional_arguments_bind_in_sorted_order(self):
        self.answer('root/msps', 'Msps_ProvisioningService',
                    'ProvisionMachine')
        self.msps.Msps_ProvisioningService.ProvisionMachine(
            'fsk', 'machine', 'pdk')
        self.assertEqual({'FSKPath': 'fsk', 'MachineID': 'machine',
                          'PDKPath': 'pdk'}, self.calls[0].args)

    def test_results_are_all_and_sorted_by_name(self):
        self.answer('root/cimv2', 'Win32_PnPEntity', 'GetDeviceProperties')
        self.host.stores['root/cimv2'].add(
            'Win32_PnPEntity', DeviceID='D')
        device, = self.connect('root/cimv2').Win32_PnPEntity(DeviceID='D')
        # 'R' sorts before 'd'.
        self.assertEqual((0, None), device.GetDeviceProperties(['k']))

    def test_void_method_gives_no_return_value(self):
        self.answer('root/wmi', 'WT_Snapshot', 'Create', Id='7')
        self.assertEqual(('7',), self.connect(
            'root/wmi').WT_Snapshot.Create(WTD=1))

    def test_keywords_ignore_case_and_missing_ones_are_null(self):
        self.answer('root/msps', 'Msps_ProvisioningService',
                    'ProvisionMachine')
        self.msps.Msps_ProvisioningService.provisionmachine(machineid='m')
        self.assertEqual({'FSKPath': None, 'MachineID': 'm',
                          'PDKPath': None}, self.calls[0].args)

    def test_unknown_keyword_is_x_wmi(self):
        self.assertRaises(
            self.wmi.x_wmi,
            self.msps.Msps_ProvisioningService.ProvisionMachine, Colour=1)

    def test_operation_options_are_accepted(self):
        self.answer('root/wmi', 'WT_Snapshot', 'Create')
        self.connect('root/wmi').WT_Snapshot.Create(
            WTD=1, operation_options={'operation_timeout': 5})
        self.assertEqual({'WTD': 1}, self.calls[0].args)

    def test_instances_go_in_and_out(self):
        vsc = self.msps.Msps_VSC.new()
        processor = 'Msps_ProvisioningFileProcessor'
        self.answer('root/msps', processor, 'PdkVscApplicabilityCheck',
                    Applicable=True)
        self.assertEqual(
            (True, 0), getattr(self.msps, processor).PdkVscApplicabilityCheck(
                Vsc=vsc, Pdk=self.msps.Msps_PDK.new()))
        self.assertEqual('Msps_VSC', self.calls[0].args['Vsc'].cls.name)

    def test_embedded_result_is_an_instance(self):
        made = self.host.stores['root/msps'].embedded(
            'Msps_ProvisioningFile')
        self.answer('root/msps', 'Msps_ProvisioningFileProcessor',
                    'PopulateFromFile', ProvisioningFile=made)
        out, code = (self.msps.Msps_ProvisioningFileProcessor
                     .PopulateFromFile('x'))
        self.assertEqual(0, code)
        self.assertEqual('', out.path_())

    def test_reference_parameter_is_resolved_first(self):
        self.answer(V2, 'Msvm_VirtualSystemManagementService',
                    'DestroySystem')
        service = self.connect().Msvm_VirtualSystemManagementService()[0]
        vm = self.add_vm('a')
        service.DestroySystem(vm.path)
        self.assertIs(vm, self.calls[0].args['AffectedSystem'])
        self.assertEqual(1, self.fabric.recorder.counts('HV1')['ref'])
        self.store.delete(vm)
        self.assert_hresult(errors.WBEM_E_NOT_FOUND, service.DestroySystem,
                            vm.path)
        self.assertEqual(1, len(self.calls))

    def test_reference_result_is_a_path(self):
        job = self.store.add('Msvm_ConcreteJob', InstanceID='J')
        self.answer(V2, 'Msvm_VirtualSystemManagementService',
                    'DestroySystem', Job=job, ReturnValue=4096)
        service = self.connect().Msvm_VirtualSystemManagementService()[0]
        self.assertEqual((job.path, 4096), service.DestroySystem(
            AffectedSystem=self.add_vm('a').path))

    def test_what_is_not_simulated_says_so_and_is_recorded(self):
        with self.assertRaises(errors.NotSimulated):
            self.msps.Msps_ProvisioningService.PrepareSpecializedMachine()
        self.assertRaises(AssertionError, self.fabric.assert_clean)
        self.assertIn('PrepareSpecializedMachine',
                      self.fabric.not_simulated[0])

    def test_unknown_result_of_a_provider_is_an_error(self):
        self.answer('root/wmi', 'WT_Snapshot', 'Create', Colour='red')
        self.assertRaises(errors.SchemaError,
                          self.connect('root/wmi').WT_Snapshot.Create)


class PutTest(FaceTestCase):
    """``put`` and ``Delete_`` reach the provider (2.4)."""

    def setUp(self):
        super().setUp()
        for table in (registry._puts, registry._deletes):
            patch = mock.patch.dict(table)
            patch.start()
            self.addCleanup(patch.stop)

    def test_new_instance_is_created(self):
        @engine.on_put('root/wmi', 'WT_IDMethod')
        def create(call):
            self.assertIsNone(call.target)
            return call.store.add('WT_IDMethod', **call.args)
        new = self.connect('root/wmi').WT_IDMethod.new()
        new.set(HostName='h', Method=4, Value='iqn')
        new.put()
        self.assertTrue(new.path_())
        self.assertEqual('iqn', new.Value)

    def test_change_sends_only_what_was_written(self):
        @engine.on_put(V2, 'Msvm_ComputerSystem')
        def change(call):
            self.calls.append(call)
            call.store.update(call.target, **call.args)
        self.add_vm('a')
        vm = self.connect().Msvm_ComputerSystem(ElementName='a')[0]
        vm.Description = 'x'
        vm.put()
        self.assertEqual({'Description': 'x'}, self.calls[0].args)
        self.assertEqual('x', vm.Description)

    def test_delete(self):
        @engine.on_delete(V2, 'Msvm_ComputerSystem')
        def delete(call):
            call.store.delete(call.target)
        record = self.add_vm('a')
        self.connect().Msvm_ComputerSystem(ElementName='a')[0].Delete_()
        self.assertIsNone(self.store.by_path(record.path))


class ErrorTest(FaceTestCase):
    """Section 2.5."""

    def test_shape_of_x_wmi(self):
        exc = errors.wmi_error(0x80041002)
        self.assertEqual(-2147217406, exc.com_error.hresult)
        self.assertEqual(-2147217406, exc.com_error.excepinfo[5])
        self.assertEqual(6, len(exc.com_error.excepinfo))
        self.assertIn('Not found', exc.com_error.excepinfo[2])

    def test_code_is_in_the_text(self):
        # networkutils looks for it.
        self.assertIn('0x80070057', str(errors.wmi_error(0x80070057)))

    def test_timeout_is_its_own_class(self):
        self.assertIsInstance(errors.wmi_error(errors.WBEM_E_TIMED_OUT),
                              self.wmi.x_wmi_timed_out)
