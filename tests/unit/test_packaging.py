# SPDX-License-Identifier: Apache-2.0
"""What setup.cfg and the requirement files must say about the tree."""

import configparser
import re
import unittest

from tests.unit import source

#: How a requirement is imported, where that differs from its name.
MODULES = {
    'os-win': 'os_win', 'oslo.config': 'oslo_config', 'oslo.log': 'oslo_log',
    'oslo.utils': 'oslo_utils', 'oslo.i18n': 'oslo_i18n',
    'oslo.concurrency': 'oslo_concurrency', 'PyYAML': 'yaml',
    'oslo.serialization': 'oslo_serialization',
    'google-crc32c': 'google_crc32c',
    'os-resource-classes': 'os_resource_classes', 'os-traits': 'os_traits'}

#: Needed without an import of ours: pbr builds the package, os-win imports
#: six and netaddr and declares neither.
NOT_IMPORTED = frozenset(('pbr', 'six', 'netaddr'))


def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(source.ROOT / 'setup.cfg')
    return parser


def requirements(text):
    """The requirement lines of a text, without comments."""
    lines = (line.partition('#')[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def name_of(requirement):
    return re.match(r'[A-Za-z0-9._-]+', requirement)[0]


class PackagesTest(unittest.TestCase):

    def setUp(self):
        self.listed = setup_cfg()['options']['packages'].split()

    def test_every_package_is_listed(self):
        missing = [
            f'{source.PACKAGE}.{module.name}' for module in source.modules()
            if module.is_package and module.name
            and not source.is_below(module.name, '_novavirt')
            and f'{source.PACKAGE}.{module.name}' not in self.listed]
        self.assertEqual([], missing)

    def test_every_listed_package_exists(self):
        folders = {'nova.virt.compute_hyperv': '_novavirt',
                   'nova.virt.hyperv': '_novavirt'}
        absent = []
        for package in self.listed:
            path = package
            for alias, folder in folders.items():
                if source.is_below(package, alias):
                    path = package.replace(
                        alias, f'{source.PACKAGE}.{folder}', 1)
            if not (source.ROOT / path.replace('.', '/')
                    / '__init__.py').exists():
                absent.append(package)
        self.assertEqual([], absent)

    def test_nothing_of_nova_itself_is_shipped(self):
        self.assertEqual([], [name for name in self.listed
                              if name in ('nova', 'nova.virt')])


class RequirementsTest(unittest.TestCase):

    def _imported(self, wanted):
        return {item.package for module in source.modules()
                if wanted(module.name) for item in module.imports()}

    def test_what_is_required_is_used(self):
        used = self._imported(lambda name: True)
        text = (source.ROOT / 'requirements.txt').read_text()
        names = [name_of(line) for line in requirements(text)]
        self.assertEqual([], [
            name for name in names if name not in NOT_IMPORTED
            and MODULES.get(name, name) not in used])

    def test_what_the_sim_extra_brings_is_used(self):
        used = self._imported(lambda name: source.is_below(name, 'sim')
                              or source.is_below(name, 'vhd'))
        extra = setup_cfg()['options.extras_require']['sim']
        names = [name_of(line) for line in requirements(extra)]
        self.assertEqual([], [name for name in names
                              if MODULES.get(name, name) not in used])

    def test_extras_and_test_requirements_agree(self):
        extras = setup_cfg()['options.extras_require']
        text = (source.ROOT / 'test-requirements.txt').read_text()
        self.assertEqual(
            sorted(line for extra in ('sim', 'test', 'doc')
                   for line in requirements(extras[extra])),
            sorted(requirements(text)))


if __name__ == '__main__':
    unittest.main()
