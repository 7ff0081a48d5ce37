# SPDX-License-Identifier: Apache-2.0
"""WQL: the rules of oswin-surface.md, section 4."""

import ddt

from compute_hyperv.sim import errors
from tests.unit.sim import simcase

RASD = 'Msvm_ResourceAllocationSettingData'


@ddt.ddt
class QueryTest(simcase.SimTestCase):

    def setUp(self):
        super().setUp()
        self.add_vm('web', 1, EnabledState=2)
        self.add_vm("o'brien", 2)
        self.add_vm('Web_2', 3, EnabledState=9, Description='C:\\a\\b')
        self.conn = self.connect()

    def names(self, where):
        return sorted(one.ElementName for one in self.conn.query(
            'SELECT * FROM Msvm_ComputerSystem WHERE ' + where)
            if one.ElementName != 'HV1')

    @ddt.data(
        ("ElementName = 'web'", ['web']),
        ("elementname='WEB'", ['web']),
        ('EnabledState = 2', ['web']),
        ("EnabledState = '2' and ElementName = 'web'", ['web']),
        ("(EnabledState = '9' OR EnabledState = '3') AND "
         "ElementName != 'Web_2'", ["o'brien"]),
        ("EnabledState = '3' OR EnabledState = '9' AND "
         "ElementName = 'web'", ["o'brien"]),
        ("ElementName = 'o''brien'", ["o'brien"]),
        ('ElementName = "o\'brien"', ["o'brien"]),
        ("ElementName LIKE 'we%'", ['Web_2', 'web']),
        ("ElementName LIKE '%2'", ['Web_2']),
        ("ElementName LIKE 'w_b'", ['web']),
        ("ElementName LIKE '[vw]eb[_]2'", ['Web_2']),
        ("ElementName LIKE '%eb%'", ['Web_2', 'web']),
        ("NOT ElementName LIKE 'we%'", ["o'brien"]),
        ("ElementName NOT LIKE 'we%'", ["o'brien"]),
        ("Description = 'C:\\a\\b'", ['Web_2']),
        ('Description IS NULL', ["o'brien", 'web']),
        ('Description IS NOT NULL', ['Web_2']),
        ('EnabledState > 2 AND EnabledState <= 9', ['Web_2', "o'brien"]),
        ("EnabledState <> '2'", ['Web_2', "o'brien"]),
        ("__CLASS = 'Msvm_ComputerSystem' AND EnabledState = 2", ['web']))
    @ddt.unpack
    def test_where(self, where, expected):
        self.assertEqual(expected, self.names(where))

    @ddt.data("SELECT * FROM", "* FROM Msvm_ComputerSystem",
              "SELECT * FROM Msvm_ComputerSystem WHERE",
              "SELECT * FROM Msvm_ComputerSystem WHERE Colour = 'red'",
              "SELECT Colour FROM Msvm_ComputerSystem",
              "SELECT * FROM Msvm_ComputerSystem WHERE EnabledState = 'x'",
              "SELECT * FROM Msvm_ComputerSystem WHERE ElementName = 'a",
              "SELECT * FROM Msvm_ComputerSystem WHERE (ElementName = 'a'",
              "SELECT * FROM Msvm_ComputerSystem WHERE EnabledState LIKE 2",
              "SELECT * FROM Msvm_ComputerSystem WHERE ElementName ~ 'a'",
              "SELECT * FROM Msvm_ComputerSystem extra")
    def test_bad_query_is_invalid(self, query):
        self.assert_hresult(errors.WBEM_E_INVALID_QUERY,
                            self.conn.query, query)

    def test_unknown_class_is_invalid(self):
        self.assert_hresult(errors.WBEM_E_INVALID_CLASS,
                            self.conn.query, 'select * from Msvm_Nothing')

    def test_base_class_finds_subclasses(self):
        self.assertIn('web', [one.ElementName for one in self.conn.query(
            'select * from cim_computersystem')])

    def test_path_filter(self):
        path = self.conn.Msvm_ComputerSystem(ElementName='web')[0].path_()
        found = self.conn.query(
            f"SELECT * FROM Msvm_ComputerSystem WHERE __PATH = '{path}'")
        self.assertEqual(['web'], [one.ElementName for one in found])

    def test_reference_filter_compares_paths(self):
        vm = self.store.find_one('Msvm_ComputerSystem', ElementName='web')
        self.store.add('Msvm_AffectedJobElement', AffectedElement=vm,
                       AffectingElement=self.store.add(
                           'Msvm_ConcreteJob', InstanceID='J'))
        found = self.conn.Msvm_AffectedJobElement(
            AffectedElement=vm.path.lower())
        self.assertEqual(['J'], [one.AffectingElement.InstanceID
                                 for one in found])

    def test_default_template_is_found_by_its_tail(self):
        self.store.add(RASD, InstanceID='Microsoft:X\\Default',
                       ResourceSubType='mine')
        self.store.add(RASD, InstanceID='Microsoft:X\\Default2',
                       ResourceSubType='mine')
        found = self.conn.query(
            f"SELECT * FROM {RASD} WHERE ResourceSubType = 'mine' AND "
            "InstanceID LIKE '%\\Default'")
        self.assertEqual(['Microsoft:X\\Default'],
                         [one.InstanceID for one in found])

    def test_prefix_with_doubled_backslash_is_unescaped_once(self):
        self.store.add(RASD, InstanceID='Microsoft:X\\Y')
        found = self.conn.query(
            f"select * from {RASD} where InstanceID LIKE 'microsoft:x\\%'")
        self.assertEqual(['Microsoft:X\\Y'],
                         [one.InstanceID for one in found])

    def test_projection_keeps_the_keys(self):
        one, = self.conn.Msvm_ComputerSystem(['EnabledState'],
                                             ElementName='web')
        self.assertIn('Name="00000001-', one.path_())
        self.assertEqual(2, one.EnabledState)
        self.assertRaises(AttributeError, lambda: one.ElementName)
