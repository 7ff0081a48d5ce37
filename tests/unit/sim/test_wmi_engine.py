# SPDX-License-Identifier: Apache-2.0
"""The repository: what it accepts, what it finds, at which cost."""

import time
from unittest import mock

import ddt

from compute_hyperv.sim import errors
from compute_hyperv.sim.wmi import registry
from compute_hyperv.sim.wmi import values
from tests.unit.sim import simcase

RASD = 'Msvm_ResourceAllocationSettingData'
SYSTEM = 'Msvm_ComputerSystem'


@ddt.ddt
class RecordsTest(simcase.SimTestCase):

    @ddt.data({'Colour': 'red'}, {'EnabledState': 'many'},
              {'EnabledState': True}, {'EnabledState': 1 << 16},
              {'OperationalStatus': 2})
    def test_schema_is_enforced(self, props):
        with self.assertRaises(errors.SchemaError):
            self.add_vm('a', **props)

    def test_missing_key_is_refused(self):
        with self.assertRaises(errors.SchemaError):
            self.store.add(SYSTEM, CreationClassName=SYSTEM)

    def test_second_object_at_the_same_path_is_refused(self):
        self.add_vm('a')
        with self.assertRaises(errors.SchemaError):
            self.add_vm('b')

    def test_key_cannot_change(self):
        with self.assertRaises(errors.SchemaError):
            self.store.update(self.add_vm('a'), Name='other')

    def test_null_property_reads_none_and_unknown_one_raises(self):
        rec = self.add_vm('a')
        self.assertIsNone(rec['Description'])
        self.assertRaises(KeyError, lambda: rec['Colour'])

    def test_properties_handed_out_are_a_snapshot(self):
        rec = self.add_vm('a')
        before = rec.props
        self.store.update(rec, EnabledState=2)
        self.assertEqual((3, 2), (before['EnabledState'],
                                  rec['EnabledState']))

    def test_path_has_sorted_quoted_keys(self):
        self.assertEqual(
            r'\\HV1\root\virtualization\v2:Msvm_ComputerSystem.'
            'CreationClassName="Msvm_ComputerSystem",'
            'Name="00000000-0000-4000-8000-00000000AB00"',
            self.add_vm('a').path)

    @ddt.data(
        r'\\hv1\ROOT\virtualization\v2:{}',
        r'\\.\root\virtualization\v2:{}', '//HV1/root/virtualization/v2:{}',
        '{}')
    def test_any_spelling_of_a_path_leads_to_the_object(self, template):
        rec = self.add_vm('a')
        relative = ('msvm_computersystem.name="00000000-0000-4000-8000-'
                    '00000000ab00",CreationClassName="Msvm_ComputerSystem"')
        self.assertIs(rec, self.store.by_path(template.format(relative)))

    def test_backslashes_in_keys_are_doubled_in_paths(self):
        rec = self.store.add(RASD, InstanceID='Microsoft:A\\B\\C')
        self.assertTrue(rec.path.endswith('"Microsoft:A\\\\B\\\\C"'))
        self.assertIs(rec, self.store.by_path(rec.path))

    @ddt.data('', 'garbage', r'\\HV2\root\virtualization\v2:A.B="c"',
              r'\\HV1\root\cimv2:Msvm_ComputerSystem.Name="x"')
    def test_other_paths_lead_nowhere(self, path):
        self.assertIsNone(self.store.by_path(path))

    def test_deleted_object_is_gone_from_every_index(self):
        rec = self.store.add(RASD, InstanceID='Microsoft:A\\B\\C')
        self.store.delete(rec)
        self.store.delete(rec)
        self.assertIsNone(self.store.by_path(rec.path))
        self.assertEqual([], self.store.find(RASD, InstanceID=rec[
            'InstanceID']))


class FindTest(simcase.SimTestCase):

    def test_subclasses_are_found_in_order_of_creation(self):
        before = len(self.store.find('CIM_ResourceAllocationSettingData'))
        made = [self.store.add(cls, InstanceID=f'Microsoft:X\\{number}')
                for number, cls in enumerate((
                    'Msvm_StorageAllocationSettingData', RASD,
                    'Msvm_StorageAllocationSettingData'))]
        self.assertEqual(made, self.store.find(
            'CIM_ResourceAllocationSettingData')[before:])

    def test_text_compares_without_case(self):
        rec = self.add_vm('Web1')
        self.assertEqual([rec], self.store.find(SYSTEM, ElementName='wEB1'))

    def test_index_follows_a_change(self):
        rec = self.add_vm('old')
        self.store.update(rec, ElementName='new')
        self.assertIsNone(self.store.find_one(SYSTEM, ElementName='old'))
        self.assertIs(rec, self.store.find_one(SYSTEM, ElementName='new'))

    def test_under_takes_whole_first_components(self):
        mine = 'Microsoft:00000001-0000-4000-8000-00000000AB00'
        other = 'Microsoft:00000002-0000-4000-8000-00000000AB00'
        made = [self.store.add(RASD, InstanceID=one + rest)
                for one, rest in ((mine, '\\1'), (other, '\\1'),
                                  (mine, '\\2\\x'))]
        self.assertEqual([made[0], made[2]],
                         self.store.under(mine.lower()))
        self.assertEqual([made[2]], self.store.under(mine + '\\2'))

    def test_record_stands_for_its_path(self):
        vm = self.add_vm('a')
        job = self.store.add('Msvm_ConcreteJob', InstanceID='J')
        link = self.store.add('Msvm_AffectedJobElement', AffectedElement=vm,
                              AffectingElement=job)
        self.assertEqual([link], self.store.find(
            'Msvm_AffectedJobElement', AffectedElement=vm))
        self.assertEqual([link], self.store.referring(vm))

    def test_property_of_another_version_is_dropped(self):
        rec = self.store.add('Msvm_ProcessorSettingData',
                             InstanceID='Microsoft:X', ApicMode=1)
        self.assertNotIn('ApicMode', rec.props)


class TextTest(simcase.SimTestCase):

    def test_text_survives_with_every_kind_of_value(self):
        made = self.store.embedded(
            'Msvm_VirtualSystemSettingData', ElementName='a <b> & "c"\r\n',
            Notes=['one', ''], DebugPort=4, VirtualNumaEnabled=True)
        again = self.store.parse_text(made.text())
        self.assertEqual(made.props, again.props)

    def test_null_is_left_out(self):
        made = self.store.embedded(RASD, InstanceID='x', Parent=None)
        self.assertNotIn('Parent', made.text())

    def test_bad_text_is_an_invalid_parameter(self):
        self.assert_hresult(errors.WBEM_E_INVALID_PARAMETER,
                            self.store.parse_text, 'no xml')

    def test_text_of_an_unknown_class_is_refused(self):
        self.assert_hresult(errors.WBEM_E_INVALID_CLASS,
                            self.store.parse_text,
                            '<INSTANCE CLASSNAME="Msvm_Nothing"/>')


@ddt.ddt
class ValuesTest(simcase.SimTestCase):

    @ddt.data((0, '00000000000000.000000:000'),
              (90061.5, '00000001010101.500000:000'))
    @ddt.unpack
    def test_interval(self, seconds, text):
        self.assertEqual(text, values.cim_interval(seconds))
        self.assertEqual(seconds,
                         values.python_datetime(text).total_seconds())

    def test_date_is_utc_and_reads_naive(self):
        text = values.cim_datetime(0.25)
        self.assertEqual('19700101000000.250000+000', text)
        self.assertEqual('1970-01-01 00:00:00.250000',
                         str(values.python_datetime(text)))


class ScaleTest(simcase.SimTestCase):
    """Principle 9: keyed look-ups cost the same with 1 and 1,024 VMs."""

    def fill(self, numbers):
        for number in numbers:
            self.add_vm(f'vm{number}', number)
            for device in range(10):
                self.store.add(RASD, InstanceID=(
                    f'Microsoft:{number:08X}-0000-4000-8000-00000000AB00'
                    f'\\83F8638B\\{device}'))

    def cost_us(self, queries):
        """CPU time per query, microseconds, best of several rounds."""
        conn = self.connect()
        rounds = []
        for _round in range(7):
            began = time.thread_time()
            for _repeat in range(40):
                for query in queries:
                    conn.query(query)
            rounds.append(time.thread_time() - began)
        return min(rounds) / 40 / len(queries) * 1e6

    def test_keyed_queries_stay_flat(self):
        guid = '00000000-0000-4000-8000-00000000AB00'
        queries = (
            f"select EnabledState from {SYSTEM} where ElementName = 'vm0'",
            f"select * from {RASD} where InstanceID LIKE "
            f"'Microsoft:{guid}%'",
            f"select * from {RASD} where InstanceID LIKE '%\\Default'")
        self.fill([0])
        one = self.cost_us(queries)
        self.fill(range(1, 1024))
        many = self.cost_us(queries)
        print(f'\nkeyed queries: {one:.0f} us with 1 VM, {many:.0f} us with '
              f'1,024 VMs, ratio {many / one:.2f}')
        self.assertLess(many / one, 3)
        self.assertLess(many, 1000)


class ComputedTest(simcase.SimTestCase):
    """Properties that a provider computes when they are read."""

    NAMESPACE = 'root/virtualization/v2'

    def setUp(self):
        super().setUp()
        patch = mock.patch.dict(registry._computed, {
            key: list(value) for key, value in registry._computed.items()})
        patch.start()
        self.addCleanup(patch.stop)
        self.calls = 0

        @registry.computed(self.NAMESPACE, 'CIM_ConcreteJob', 'ElementName')
        def name(host, record):
            self.calls += 1
            return self.compute(record)
        self.job = self.store.add('Msvm_ConcreteJob', InstanceID='J')
        self.conn = self.connect()

    def compute(self, record):
        return {'ElementName': f'job {record["InstanceID"]}'}

    def test_reading_computes(self):
        self.assertEqual('job J', self.wmi.WMI(self.job.path).ElementName)

    def test_condition_sees_the_computed_value(self):
        self.assertEqual(1, len(self.conn.query(
            "select * from Msvm_ConcreteJob where InstanceID = 'J' and "
            "ElementName = 'job J'")))

    def test_query_that_needs_it_not_computes_nothing(self):
        self.conn.Msvm_ConcreteJob(['JobState'], InstanceID='J')
        self.assertEqual(0, self.calls)

    def test_object_that_vanishes_meanwhile_is_left_out(self):
        def vanish(record):
            self.store.delete(record)
            raise LookupError('gone')
        self.compute = vanish
        self.assertEqual([], self.conn.Msvm_ConcreteJob(InstanceID='J'))

    def test_failure_of_a_provider_is_not_hidden(self):
        def broken(record):
            raise LookupError('broken')
        self.compute = broken
        self.assertRaises(LookupError, self.conn.Msvm_ConcreteJob,
                          InstanceID='J')
