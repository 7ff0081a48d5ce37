# SPDX-License-Identifier: Apache-2.0
"""The real os-win on simulated hosts, several of them, in both modes."""

import ast
from concurrent import futures
import importlib.util
import os
import pathlib
import subprocess
import sys
import time

import ddt

from compute_hyperv import oswin_loader
from compute_hyperv.sim import install
from tests.unit.sim import simcase

HOSTS = ('HV1', {'name': 'HV2', 'windows': '2012R2'},
         {'name': 'HV3', 'windows': '2025'})

#: Modules that os-win imports and any Python on Linux has, or that come
#: with its declared and undeclared requirements.
PLAIN = {
    'ast', 'collections', 'collections.abc', 'contextlib', 'errno',
    'functools', 'hacking', 'importlib', 'inspect', 're', 'struct',
    'tempfile', 'textwrap', 'threading', 'time', 'types', 'uuid',
    'netaddr', 'oslo_concurrency', 'oslo_config', 'oslo_i18n', 'oslo_log',
    'oslo_utils', 'pbr.version', 'six', 'eventlet'}


class Workload:
    """What a driver does, through utilities taken when it was built."""

    def __init__(self, host):
        factory = host.utilsfactory
        self.vm = factory.get_vmutils()
        self.net = factory.get_networkutils()
        self.vhd = factory.get_vhdutils()
        self.path = factory.get_pathutils()
        self.host = factory.get_hostutils()
        self.path.check_create_dir('C:\\i')

    def spawn(self, name):
        folder = f'C:\\i\\{name}'
        self.path.check_create_dir(folder)
        self.vhd.create_dynamic_vhd(folder + '\\base.vhdx', 1 << 30)
        self.vhd.create_differencing_vhd(folder + '\\root.vhdx',
                                         folder + '\\base.vhdx')
        self.vm.create_vm(name, False, 2, folder, [name])
        self.vm.create_scsi_controller(name)
        self.vm.attach_scsi_drive(name, folder + '\\root.vhdx')
        self.vm.create_nic(name, 'nic-' + name, 'fa:16:3e:00:00:01')
        self.net.connect_vnic_to_vswitch('external', 'nic-' + name)
        self.vm.set_vm_state(name, 2)
        return self.vm.get_vm_state(name), self.host.get_windows_version()

    def destroy(self, name):
        self.vm.set_vm_state(name, 3)
        self.vm.destroy_vm(name)
        self.path.rmtree(f'C:\\i\\{name}')


@ddt.ddt
class HostsTest(simcase.SimTestCase):

    HOSTS = HOSTS

    def workload(self, name):
        with self.fabric.on(name):
            return Workload(oswin_loader.bind())

    def test_published_os_win_belongs_to_no_host(self):
        from os_win import utilsfactory
        self.assertRaises(LookupError, lambda: utilsfactory.get_vmutils)
        from os_win.utils.compute import vmutils
        self.assertRaises(LookupError,
                          lambda: vmutils.VMUtils().list_instances())

    def test_published_factory_gives_the_current_host(self):
        from os_win import utilsfactory
        with self.fabric.on('HV2'):
            self.assertEqual('VMUtils6_3', type(
                utilsfactory.get_vmutils()).__name__)

    def test_nobody_else_notices(self):
        self.workload('HV1')
        self.assertEqual('linux', sys.platform)
        self.assertNotIn('wmi', sys.modules)
        self.assertFalse(hasattr(__builtins__, 'WindowsError'))

    @ddt.data(('HV1', '10.0.20348', 'VMUtils10'),
              ('HV2', '6.3.9600', 'VMUtils6_3'),
              ('HV3', '10.0.26100', 'VMUtils10'))
    @ddt.unpack
    def test_each_host_is_of_its_version(self, name, version, cls):
        workload = self.workload(name)
        self.assertEqual((version, cls), (
            workload.host.get_windows_version(), type(workload.vm).__name__))

    def test_same_host_is_bound_once(self):
        with self.fabric.on('HV1'):
            self.assertIs(oswin_loader.bind(), oswin_loader.bind())

    def test_three_hosts_at_once_from_pool_threads(self):
        workloads = {name: self.workload(name) for name in self.fabric.hosts}
        self.fabric.mark()
        with futures.ThreadPoolExecutor(6) as pool:
            work = [(name, number, pool.submit(
                workload.spawn, f'{name}-{number}'))
                for number in range(4)
                for name, workload in workloads.items()]
        for name, number, done in work:
            self.assertEqual(2, done.result()[0])
        for name, workload in workloads.items():
            self.assertEqual({f'{name}-{number}' for number in range(4)},
                             set(workload.vm.list_instances()))
        for name, number, _done in work:
            workloads[name].destroy(f'{name}-{number}')
            folder = self.fabric.host(name).storage.locate('C:\\i').local
            self.assertFalse(os.path.exists(f'{folder}/{name}-{number}'))
        self.fabric.assert_clean()

    def test_exceptions_are_the_same_for_all_hosts(self):
        from os_win import exceptions
        for name in self.fabric.hosts:
            with self.assertRaises(exceptions.HyperVVMNotFoundException):
                self.workload(name).vm.get_vm_id('nobody')

    def test_other_hosts_are_reached_by_name(self):
        other = self.workload('HV2')
        other.path.check_create_dir('C:\\i')
        other.vm.create_vm('there', False, 1, 'C:\\i')
        with self.fabric.on('HV1'):
            remote = oswin_loader.bind().utilsfactory.get_vmutils('HV2')
        self.assertEqual(['there'], remote.list_instances())
        self.fabric.cut('HV1', 'HV2')
        self.assertRaises(self.wmi.x_wmi, remote.list_instances)

    def test_retries_of_os_win_take_no_time(self):
        from os_win import exceptions
        workload = self.workload('HV1')
        workload.path.check_create_dir('C:\\i')
        workload.vm.create_vm('a', False, 2, 'C:\\i')
        workload.vm.create_scsi_controller('a')
        took_s = []
        for _turn in range(3):
            began = time.monotonic()
            # os-win tries this 6 times, with a second in between.
            with self.assertRaises(exceptions.OSWinException):
                workload.vm.attach_scsi_drive('a', 'C:\\missing.vhdx')
            took_s.append(time.monotonic() - began)
        self.assertLess(min(took_s), 4)


class TableTest(simcase.SimTestCase):
    """os-win imports nothing Windows specific outside the table."""

    @staticmethod
    def imports(path):
        tree = ast.parse(path.read_text(encoding='utf-8'))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield node.module

    def test_every_import_is_answered_or_plain(self):
        folder = pathlib.Path(importlib.util.find_spec(
            'os_win').submodule_search_locations[0])
        unknown = {
            name for path in folder.rglob('*.py')
            if 'tests' not in path.relative_to(folder).parts
            for name in self.imports(path)
            if name.partition('.')[0] != 'os_win'
            and name not in install.ANSWERED and name not in PLAIN
            and name.partition('.')[0] not in PLAIN}
        self.assertEqual(set(), unknown)

    def test_table_is_what_is_answered(self):
        given = set(install.answers(self.host.port).modules)
        self.assertEqual(set(), set(install.ANSWERED) - given -
                         {'pkg_resources'})


class ClientSideTest(simcase.SimTestCase):
    """Principle 10: clients need the standard library of Python 3.9."""

    ROOTS = ('remote', 'install', 'dll', 'osmodules', 'wmi.face')
    PACKAGE = 'compute_hyperv.sim'

    def imported(self, name):
        """Modules of the simulator that *name* imports, by name in sim."""
        spec = importlib.util.find_spec(f'{self.PACKAGE}.{name}')
        here = spec.name if spec.submodule_search_locations else spec.parent
        with open(spec.origin, encoding='utf-8') as stream:
            tree = ast.parse(stream.read(), feature_version=(3, 9))
        for node in tree.body:
            if isinstance(node, ast.Import):
                self.check_plain(name, *(one.name for one in node.names))
            elif isinstance(node, ast.ImportFrom) and not node.level:
                self.check_plain(name, node.module)
            elif isinstance(node, ast.ImportFrom):
                base = importlib.util.resolve_name(
                    '.' * node.level + (node.module or ''), here)
                yield from self.inside(base, *(
                    f'{base}.{one.name}' for one in node.names))

    def check_plain(self, importer, *names):
        for name in names:
            self.assertIn(name.partition('.')[0], sys.stdlib_module_names,
                          importer)

    def inside(self, *names):
        """Those of *names* that are modules of the simulator."""
        for name in names:
            parent = name.rpartition('.')[0]
            if name.startswith(self.PACKAGE + '.') and (
                    importlib.util.find_spec(
                        parent).submodule_search_locations) and (
                    importlib.util.find_spec(name)):
                yield name[len(self.PACKAGE) + 1:]

    def test_clients_import_no_host_side(self):
        seen, todo = set(), list(self.ROOTS)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += self.imported(name)
        self.assertLessEqual({'errors', 'native', 'wmi.instance'}, seen)
        self.assertEqual(set(), seen & {
            'fabric', 'host', 'jobs', 'vm', 'storage', 'server',
            'wmi.engine'})


@ddt.ddt
class ModesTest(simcase.SimTestCase):
    """A whole life of a VM in a fresh process of each kind."""

    @ddt.data(('threading', '1'), ('eventlet', '0'))
    @ddt.unpack
    def test_life_of_a_vm(self, mode, disabled):
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-m',
             'tests.unit.sim.oneprocess', self.fabric.root_dir],
            env=dict(os.environ, OS_NOVA_DISABLE_EVENTLET_PATCHING=disabled),
            capture_output=True, text=True, timeout=120)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn(f'{mode}: 24 spawned on 3 hosts, clean', done.stdout)
