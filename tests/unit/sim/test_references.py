# SPDX-License-Identifier: Apache-2.0
"""Reference parameters lead to objects of the class they are declared with.

hyperv-semantics.md section 19: wrong type or parameter; the two that
Hyper-V takes although another class is documented: oswin-surface.md 9.2.
"""

import ddt

from compute_hyperv.sim import errors
from tests.unit.sim import hypervcase

SNAPSHOTS = 'Msvm_VirtualSystemSnapshotService'


@ddt.ddt
class ReferenceTest(hypervcase.HyperVTestCase):

    def setUp(self):
        super().setUp()
        self.create_vm()
        self.attach_disk()

    def paths(self):
        return {'system': self.system().path_(),
                'settings': self.settings().path_(),
                'resource': self.resources()[0].path_()}

    @ddt.data(
        (hypervcase.SERVICE, 'DestroySystem', 'AffectedSystem', 'settings'),
        (hypervcase.SERVICE, 'ValidatePlannedSystem', 'PlannedSystem',
         'system'),
        (hypervcase.SERVICE, 'AddKvpItems', 'TargetSystem', 'settings'),
        (hypervcase.SERVICE, 'AddFeatureSettings', 'AffectedConfiguration',
         'system'),
        (hypervcase.SERVICE, 'AddResourceSettings', 'AffectedConfiguration',
         'resource'),
        (hypervcase.SERVICE, 'ExportSystemDefinition', 'ComputerSystem',
         'resource'),
        (SNAPSHOTS, 'CreateSnapshot', 'AffectedSystem', 'settings'),
        (SNAPSHOTS, 'ApplySnapshot', 'Snapshot', 'system'))
    @ddt.unpack
    def test_another_class_is_refused(self, service, method, name, given):
        before = self.everything()
        with self.assertRaises(self.x_wmi) as caught:
            getattr(getattr(self.wmi, service)()[0], method)(
                **{name: self.paths()[given]})
        self.assertEqual(
            errors.WBEM_E_INVALID_PARAMETER,
            caught.exception.com_error.hresult & 0xFFFFFFFF)
        self.assert_unchanged(before)

    @ddt.data('RemoveResourceSettings', 'RemoveFeatureSettings')
    def test_every_element_of_a_list_is_looked_at(self, method):
        name = method[len('Remove'):]
        with self.assertRaises(self.x_wmi):
            getattr(self.service, method)(
                **{name: [self.paths()['system']]})

    def test_the_two_exceptions(self):
        """9.2: a system for AddResourceSettings, settings for an export."""
        paths = self.paths()
        self.assertEqual(0, self.service.AddResourceSettings(
            paths['system'], [self.template(
                'Msvm_SyntheticEthernetPortSettingData').GetText_(1)])[2])
        self.assertEqual(4096, self.service.ExportSystemDefinition(
            ComputerSystem=paths['settings'],
            ExportDirectory='C:\\Export')[1])

    def test_derived_classes_are_taken(self):
        """CIM_ComputerSystem: a VM or a planned one."""
        self.assertEqual(4096, self.service.DestroySystem(
            self.paths()['system'])[1])

    def test_methods_look_too(self):
        """Switched off, the method's own return code comes: 32773."""
        self.host.quirks.wrong_reference_hresult = 0
        self.assertEqual((None, 32773), self.service.DestroySystem(
            self.paths()['settings']))
