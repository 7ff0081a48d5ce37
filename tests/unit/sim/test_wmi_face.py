# SPDX-License-Identifier: Apache-2.0
"""The ``wmi`` stand-in: the rules of oswin-surface.md, section 2."""

import datetime

import ddt

from compute_hyperv.sim import errors
from tests.unit.sim import simcase

V2 = 'root/virtualization/v2'
RASD = 'Msvm_ResourceAllocationSettingData'
GUID = '00000000-0000-4000-8000-00000000AB00'
VM_PATH = (r'\\HV1\root\virtualization\v2:Msvm_ComputerSystem.'
           f'CreationClassName="Msvm_ComputerSystem",Name="{GUID}"')


@ddt.ddt
class MonikerTest(simcase.FaceTestCase):
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

    @ddt.data('virtualization/v9', 'MSCluster', 'MicrosoftDNS', 'msps')
    def test_unknown_namespace_or_feature_not_installed(self, name):
        self.assert_hresult(errors.WBEM_E_INVALID_NAMESPACE,
                            self.connect, f'root/{name}')

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
class ClassTest(simcase.FaceTestCase):
    """Sections 2.2 and 2.3."""

    def test_unknown_class_is_x_wmi(self):
        conn = self.connect()
        self.assert_hresult(errors.WBEM_E_INVALID_CLASS,
                            lambda: conn.Msvm_Nothing)

    def test_class_of_a_feature_that_is_not_installed(self):
        conn = self.connect('root/wmi')
        self.assert_hresult(errors.WBEM_E_INVALID_CLASS,
                            lambda: conn.WT_Host)

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
class InstanceTest(simcase.FaceTestCase):
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


class ReferenceTest(simcase.FaceTestCase):
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
