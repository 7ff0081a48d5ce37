# SPDX-License-Identifier: Apache-2.0
"""The schema as each version of Windows has it."""

import unittest

import ddt

from compute_hyperv.sim.wmi import schema

BUILDS = {'2012R2': 9600, '2016': 14393, '2019': 17763, '2022': 20348,
          '2025': 26100}
V2 = 'root/virtualization/v2'


def find(windows, cls, namespace=V2):
    return schema.namespaces(BUILDS[windows])[namespace].find(cls)


@ddt.ddt
class SchemaTest(unittest.TestCase):

    @ddt.data(('Msvm_TPMSettingData', '2022', True),
              ('Msvm_VirtualSystemUpgradeSettingData', '2022', False),
              ('Msvm_VirtualSystemUpgradeSettingData', '2025', True),
              ('Msvm_PciExpressSettingData', '2012R2', False),
              ('Msvm_PciExpressSettingData', '2016', True),
              # Dated 2016 by the documentation; os-win's code for
              # 2012 R2 uses it.
              ('Msvm_SyntheticDisplayControllerSettingData', '2012R2', True))
    @ddt.unpack
    def test_class_is_there_from_its_version_on(self, cls, windows, there):
        self.assertEqual(there, find(windows, cls) is not None)

    @ddt.data(('Msvm_ProcessorSettingData', 'HwThreadsPerCore', '2012R2',
               False),
              ('Msvm_ProcessorSettingData', 'HwThreadsPerCore', '2019', True),
              ('Msvm_ProcessorSettingData', 'ApicMode', '2022', False),
              ('Msvm_ProcessorSettingData', 'ApicMode', '2025', True))
    @ddt.unpack
    def test_property_is_there_from_its_version_on(self, cls, prop, windows,
                                                   there):
        self.assertEqual(there, prop in find(windows, cls).props)

    def test_look_ups_ignore_case_and_give_canonical_names(self):
        cls = find('2022', 'msvm_COMPUTERSYSTEM')
        self.assertEqual('Msvm_ComputerSystem', cls.name)
        self.assertEqual('EnabledState', cls.prop('enabledstate').name)
        self.assertEqual('RequestStateChange',
                         cls.method('REQUESTSTATECHANGE').name)

    def test_methods_are_inherited(self):
        cls = find('2022', 'Msvm_StorageJob')
        self.assertTrue(cls.is_a('CIM_ConcreteJob'))
        self.assertIsNotNone(cls.method('RequestStateChange'))

    def test_members_come_through_a_superclass_that_is_not_there_yet(self):
        cls = find('2012R2', 'Msvm_SummaryInformation')
        self.assertIsNone(find('2012R2', 'Msvm_SummaryInformationBase'))
        self.assertIn('EnabledState', cls.props)

    def test_every_namespace_has_the_class_that_verifies_a_connection(self):
        for space in schema.namespaces(20348).values():
            self.assertIsNotNone(space.find('__Provider'), space.name)

    def test_parameters_are_kept_in_sorted_order(self):
        method = find('2022', 'Msvm_VirtualSystemManagementService').method(
            'GetSummaryInformation')
        self.assertEqual(['RequestedInformation', 'SettingData'],
                         [name for name, _type, _array in method.ins])

    def test_class_survives_the_wire(self):
        cls = find('2022', 'Msvm_VirtualSystemSettingData')
        again = schema.from_wire(cls.wire())
        self.assertEqual(list(cls.props), list(again.props))
        self.assertEqual(cls.keys, again.keys)
        self.assertEqual(cls.lineage, again.lineage)
