# SPDX-License-Identifier: Apache-2.0
import ddt

from compute_hyperv import errors
from compute_hyperv import vmnames
from compute_hyperv import wiring
from tests import base
from tests.unit import opscase


@ddt.ddt
class LongestTest(base.TestCase):
    """L168: what Nova's templates of names come to."""

    @ddt.data(('instance-%08x', 17), ('server-%d', 17), ('plain', 5),
              ('instance-%(uuid)s', 45), ('%(project_id)s', 63),
              ('%(hostname)s-%(id)d', 74), ('%(nothing)s', 36))
    @ddt.unpack
    def test_it_is_known_before(self, template, expected):
        self.assertEqual(expected, vmnames.longest(template))


class LongNamesTest(opscase.OpsTestCase):

    def test_path_that_is_too_long_for_them_is_refused(self):
        """L168: before the service does anything."""
        wiring.CONF.set_override('instances_path', 'C:\\' + 150 * 'x')
        wiring._paths(self.win)
        wiring.CONF.set_override('instance_name_template',
                                 'instance-%(uuid)s')
        self.addCleanup(wiring.CONF.clear_override, 'instance_name_template')
        self.assert_refuses(errors.BadOption, 'instances_path', 45,
                            call=lambda: wiring._paths(self.win))


class VmNamesTest(opscase.OpsTestCase):

    def setUp(self):
        super().setUp()
        self.names = vmnames.VmNames(self.win)

    def restore(self):
        return self.names.restore(self.instance.name, self.instance.uuid)

    def make(self, name, directory, uuid):
        self.paths.make_dir(directory)
        self.win.vm.create_vm(name, False, 2, directory, notes=[uuid])

    def test_vm_in_the_directory_of_the_instance_gets_its_name_back(self):
        self.make('other', self.paths.instance_dir(self.instance.name),
                  self.instance.uuid)
        self.assertTrue(self.restore())
        self.assertEqual([self.instance.name], self.vm_names)
        self.assertEqual(self.instance.uuid, self.names.owner(
            self.instance.name, self.instance.uuid))

    def test_copy_that_lies_elsewhere_is_left_alone(self):
        self.make('copy', r'C:\VMs\copy', self.instance.uuid)
        self.assertFalse(self.restore())
        self.assertIsNone(self.names.owner(self.instance.name,
                                           self.instance.uuid))
        self.assertEqual(['copy'], self.vm_names)

    def test_vm_of_another_instance_is_left_alone(self):
        self.make('other', self.paths.instance_dir(self.instance.name),
                  '5f2b2c1e-6d0f-4d8e-9a4e-7f1d3a1c0b5a')
        self.assertFalse(self.restore())
        self.assertEqual(['other'], self.vm_names)
