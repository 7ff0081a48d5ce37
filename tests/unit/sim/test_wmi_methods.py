# SPDX-License-Identifier: Apache-2.0
"""Calling methods: oswin-surface.md, sections 2.5 and 2.6."""

from unittest import mock

from compute_hyperv.sim import errors
from compute_hyperv.sim.wmi import engine
from compute_hyperv.sim.wmi import registry
from tests.unit.sim import simcase

V2 = 'root/virtualization/v2'


class MethodTest(simcase.FaceTestCase):
    """Section 2.6."""

    HOSTS = ({'name': 'HV1', 'features': [
        'shielding', 'iscsi-target']},)

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

    def test_instances_go_in(self):
        processor = 'Msps_ProvisioningFileProcessor'
        self.answer('root/msps', processor, 'SerializeToFile')
        getattr(self.msps, processor).SerializeToFile(
            'C:\\f', self.msps.Msps_ProvisioningFile.new())
        self.assertEqual(
            'Msps_ProvisioningFile',
            self.calls[0].args['ProvisioningFile'].cls.name)

    def test_method_of_instances_cannot_be_called_on_the_class(self):
        self.assert_hresult(
            errors.WBEM_E_INVALID_METHOD,
            self.connect().Msvm_ComputerSystem.RequestStateChange, 2)

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
            self.msps.Msps_ProvisioningService.ProvisionMachine()
        self.assertRaises(AssertionError, self.fabric.assert_clean)
        self.assertIn('ProvisionMachine',
                      self.fabric.not_simulated[0])

    def test_unknown_result_of_a_provider_is_an_error(self):
        self.answer('root/wmi', 'WT_Snapshot', 'Create', Colour='red')
        self.assertRaises(errors.SchemaError,
                          self.connect('root/wmi').WT_Snapshot.Create)


class PutTest(simcase.FaceTestCase):
    """``put`` and ``Delete_`` reach the provider (2.4)."""

    HOSTS = ({'name': 'HV1', 'features': ['iscsi-target']},)

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


class ErrorTest(simcase.FaceTestCase):
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
