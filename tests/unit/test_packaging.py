# SPDX-License-Identifier: Apache-2.0
"""What setup.cfg and the requirement files must say about the tree."""

import configparser
import re
import sys
import unittest

from tests.unit import source

#: What a requirement is imported as, where that is not its name.
MODULES = {
    'os-win': ('os_win',), 'os-vif': ('os_vif',), 'PyYAML': ('yaml',),
    'oslo.config': ('oslo_config',), 'oslo.log': ('oslo_log',),
    'oslo.serialization': ('oslo_serialization',),
    'oslo.utils': ('oslo_utils',), 'google-crc32c': ('google_crc32c',),
    'os-resource-classes': ('os_resource_classes',),
    'os-traits': ('os_traits',),
    'pywin32': ('pywintypes', 'servicemanager', 'win32api', 'win32con',
                'win32event', 'win32evtlog', 'win32evtlogutil', 'win32job',
                'win32pipe', 'win32process', 'win32security', 'win32service',
                'win32serviceutil', 'winerror')}

#: Needed without an import statement of ours: pbr builds the package, os-win
#: imports six and netaddr and declares neither, and oswin_loader answers for
#: a module of oslo.utils.
NOT_IMPORTED = frozenset(('pbr', 'six', 'netaddr', 'oslo.utils'))

#: Used when it is there, done without when not.
OPTIONAL = ('google_crc32c',)


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


def modules_of(requirement):
    return MODULES.get(requirement, (requirement,))


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

    def _declared(self):
        text = (source.ROOT / 'requirements.txt').read_text()
        return [name_of(line) for line in requirements(text)]

    # What simcloud imports comes with the Neutron and Cinder that load it.
    def test_what_is_required_is_used(self):
        used = self._imported(
            lambda name: not source.is_below(name, 'simcloud'))
        self.assertEqual([], [
            name for name in self._declared() if name not in NOT_IMPORTED
            and not used & set(modules_of(name))])

    def test_what_the_driver_imports_is_required(self):
        used = self._imported(lambda name: not any(
            source.is_below(name, other) for other in ('simcloud', 'sim')))
        declared = {module for name in self._declared()
                    for module in modules_of(name)}
        self.assertEqual([], sorted(
            package for package in used - declared
            if package not in sys.stdlib_module_names
            and package not in (source.PACKAGE, *OPTIONAL)))

    def test_what_the_sim_extra_brings_is_used(self):
        used = self._imported(lambda name: source.is_below(name, 'sim')
                              or source.is_below(name, 'vhd'))
        extra = setup_cfg()['options.extras_require']['sim']
        names = [name_of(line) for line in requirements(extra)]
        self.assertEqual([], [name for name in names
                              if not used & set(modules_of(name))])

    def test_extras_and_test_requirements_agree(self):
        extras = setup_cfg()['options.extras_require']
        text = (source.ROOT / 'test-requirements.txt').read_text()
        self.assertEqual(
            sorted(line for extra in ('sim', 'test', 'doc')
                   for line in requirements(extras[extra])),
            sorted(requirements(text)))


if __name__ == '__main__':
    unittest.main()
