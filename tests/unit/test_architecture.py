# SPDX-License-Identifier: Apache-2.0
"""The structural rules of doc/source/contributor/architecture.rst."""

import ast
import re
import subprocess
import sys
import unittest

from tests.unit import source

#: module or package -> layer. A module imports only from lower layers; inside
#: one subpackage also sideways, as long as there is no cycle.
RANK = {
    'osfiles': 0, 'model': 0, 'conf': 0, 'vhd': 0,
    'oswin_loader': 0.5,
    'hostcaps': 0.5,
    'errors': 1, 'instanceroots': 1.2,
    'operation': 1.5,
    'jobwaits': 1.7,
    'locks': 2, 'paths': 2, 'oswin': 2, 'plan': 2,
    'checkpoints': 2.5, 'commands': 2.5, 'guestmetadata': 2.5,
    'vmdrives': 2.5, 'vmnames': 2.5, 'vmdefinition': 2.7,
    'images': 3, 'diskops': 3, 'configdrive': 3, 'vifops': 3,
    'hostops': 3, 'metricsops': 3, 'connectors': 3,
    'console.serialproxy': 3,
    'cachenames': 3.5, 'imagecache': 4, 'instancefiles': 4, 'volumeops': 4,
    'console': 4, 'leftdisks': 4.5,
    'livehost': 3, 'livechecks': 5.5, 'livewatch': 3.5,
    'hotplug': 5, 'powerops': 5, 'vmops': 5, 'snapshotops': 5,
    'hostnotes': 3, 'heldvolumes': 5.5, 'volumesnapshots': 6,
    'volumeswap': 6, 'volumeusage': 3,
    'arrivals': 5.5, 'rescuedrives': 5, 'rescueops': 6, 'sharedstorage': 5,
    'migrationops': 6, 'livemigrationops': 6, 'eventhandler': 6,
    'again': 2, 'recovery': 6, 'interruptedbooks': 6, 'interruptedmoves': 6.3,
    'interruptedlive': 6.5, 'interruptedlife': 6.5,
    'interruptedswap': 6.5, 'interrupted': 6.7,
    'cluster': 7,
    'volumewiring': 7.5,
    'wiring': 8,
    'volumemethods': 8.5,
    'driver': 9,
    'cluster.driver': 9.5,
    'service': 10,
}

#: What of Nova the driver may import. More needs a line in the document.
NOVA = frozenset((
    'nova', 'nova.api.metadata', 'nova.api.metadata.base',
    'nova.block_device', 'nova.compute',
    'nova.compute.power_state', 'nova.compute.rpcapi',
    'nova.compute.task_states',
    'nova.compute.vm_states', 'nova.conf', 'nova.console',
    'nova.console.type', 'nova.context', 'nova.exception', 'nova.i18n',
    'nova.image', 'nova.image.glance',
    'nova.network', 'nova.network.model', 'nova.network.neutron',
    'nova.objects', 'nova.objects.fields', 'nova.objects.migrate_data',
    'nova.scheduler', 'nova.scheduler.client',
    'nova.scheduler.client.report', 'nova.utils', 'nova.virt',
    'nova.volume', 'nova.volume.cinder',
    'nova.virt.configdrive', 'nova.virt.driver', 'nova.virt.event',
    'nova.virt.hardware', 'nova.volume.cinder'))

#: What one module may import besides: the service runs Nova's command.
NOVA_OF = frozenset((('service.compute', 'nova.cmd'),))

#: Modules that a planner may import: no I/O, no clock, no options.
PURE = frozenset((
    '__future__', 'collections', 'collections.abc', 'dataclasses', 'enum',
    'functools', 'itertools', 'math', 'ntpath', 're', 'typing', 'nova',
    'nova.exception', 'nova.i18n', 'nova.objects', 'nova.objects.fields',
    'nova.virt', 'nova.virt.hardware', 'nova.block_device',
    'nova.network', 'nova.network.model', 'oslo_utils', 'oslo_utils.units',
    'oslo_utils.strutils', 'oslo_utils.versionutils', 'os_resource_classes',
    'os_traits'))

#: Who may touch files: the one module of the driver, and the two of layer 0
#: below it that are "the operating system" to it. The service is outside of
#: the driver: its own logs and status file are on the machine it runs on.
FILE_MODULES = frozenset(('paths', 'osfiles', 'oswin_loader'))

#: Runs in other people's environments, Python 3.9 and nothing installed.
SIM_CLIENT = ('sim.wmi.face', 'sim.dll', 'sim.osmodules', 'sim.native',
              'sim.winerror')
#: In a process that eventlet has patched already, this one leaves the green
#: thread, as PyMI does; elsewhere the import is never reached.
EVENTLET_AWARE = frozenset(('sim.green',))
SIM_THIRD_PARTY = frozenset(('rich', 'yaml'))
SIM_OWN = ('sim', 'vhd', 'oswin_loader', 'osfiles')


def rank(name):
    """The layer of a dotted name: its own entry or its package's."""
    while name:
        if name in RANK:
            return RANK[name]
        name = name.rpartition('.')[0]
    return None


def own_target(item):
    """The dotted name without the package, or None for foreign modules."""
    prefix = source.PACKAGE + '.'
    return (item.module[len(prefix):] if item.module.startswith(prefix)
            else None)


class LayersTest(unittest.TestCase):

    def test_every_module_has_a_layer(self):
        self.assertEqual([], [module.name
                              for module in source.driver_modules()
                              if rank(module.name) is None])

    def test_every_layer_is_in_the_documentation(self):
        text = (source.ROOT / 'doc' / 'source' / 'contributor'
                / 'architecture.rst').read_text()
        told = {}
        for layer, names in re.findall(
                r'^   \* - (\d+)\n     - (.*?)\n     -', text,
                re.DOTALL | re.MULTILINE):
            told.setdefault(int(layer), []).extend(
                re.findall(r'``([\w.]+)``', names))
        layers = {}
        for name, number in RANK.items():
            layers.setdefault(int(number), []).append(name)
        self.assertEqual(
            {layer: sorted(names) for layer, names in layers.items()},
            {layer: sorted(names) for layer, names in told.items()})

    def test_every_name_with_a_layer_is_one_of_a_module(self):
        there = {module.name for module in source.driver_modules()}
        self.assertEqual([], [name for name in RANK if name not in there])

    def test_modules_import_only_lower_layers(self):
        upward = []
        for module in source.driver_modules():
            for item in module.imports():
                target = own_target(item)
                if target is None or self._is_sibling(module.name, target):
                    continue
                if rank(target) is None or rank(target) >= rank(module.name):
                    upward.append(f'{module.name} -> {target}')
        self.assertEqual([], upward)

    @staticmethod
    def _is_sibling(name, target):
        package = name.partition('.')[0]
        return (package == target.partition('.')[0]
                and rank(target) <= rank(name))

    def test_there_is_no_import_cycle(self):
        graph = {module.name: {own_target(item) for item in module.imports()
                               if own_target(item)
                               and not item.is_for_types}
                 for module in source.modules() if module.name}
        done, cycles = set(), []

        def visit(name, trail):
            if name in trail:
                cycles.append(' -> '.join(trail[trail.index(name):] + [name]))
            elif name not in done:
                for target in sorted(graph.get(name, ())):
                    if target != name:
                        visit(target, trail + [name])
                done.add(name)

        for name in sorted(graph):
            visit(name, [])
        self.assertEqual([], cycles)

    def test_imports_stand_at_the_top_of_their_module(self):
        self.assertEqual([], [
            f'{module.name}:{item.line} {item.module}'
            for module in source.driver_modules()
            for item in module.imports() if not item.is_top_level])

    def test_nothing_is_imported_by_string(self):
        # of the standard library; a shim imports what it mends when it does
        allowed = ('oswin_loader', 'oswin', 'service.shims')
        by_string = re.compile(r'import_module|importutils|__import__')
        self.assertEqual([], [
            f'{module.name}:{line}' for module in source.driver_modules()
            for call, line in module.calls()
            if by_string.search(call) and module.name not in allowed])

    def test_only_the_public_surface_of_nova_is_used(self):
        self.assertEqual([], [
            f'{module.name} -> {item.module}'
            for module in source.driver_modules()
            for item in module.imports()
            if item.package == 'nova' and item.module not in NOVA
            and (module.name, item.module) not in NOVA_OF])


class RolesTest(unittest.TestCase):

    def test_only_oswin_uses_os_win(self):
        exceptions_only = ('errors',)
        users = {(module.name, item.module)
                 for module in source.driver_modules()
                 for item in module.imports() if item.package == 'os_win'}
        self.assertEqual([], [
            f'{name} -> {target}' for name, target in sorted(users)
            if name not in ('oswin', *exceptions_only)])

    def test_nobody_imports_eventlet(self):
        self.assertEqual([], [
            module.name for module in source.modules()
            for item in module.imports() if item.package == 'eventlet'
            and module.name not in EVENTLET_AWARE])

    def test_planners_are_pure(self):
        self.assertEqual([], [
            f'{module.name} -> {item.module}'
            for module in source.driver_modules()
            if source.is_below(module.name, 'plan')
            for item in module.imports()
            if not self._may_plan_with(item)])

    @staticmethod
    def _may_plan_with(item):
        target = own_target(item)
        if target is not None:
            return any(source.is_below(target, name)
                       for name in ('model', 'errors', 'plan', 'vhd'))
        return item.module in PURE

    def test_planners_open_and_ask_nothing(self):
        self.assertEqual([], [
            f'{module.name}:{line} {call}'
            for module in source.driver_modules()
            if source.is_below(module.name, 'plan')
            for call, line in module.calls()
            if call in ('open', 'print', 'input')])

    def test_only_paths_touches_the_file_system(self):
        forbidden = frozenset(('os', 'os.path', 'shutil', 'pathlib',
                               'tempfile', 'glob', 'io'))
        touching = [
            f'{module.name} -> {item.module}'
            for module in source.driver_modules()
            if module.name not in FILE_MODULES
            and not source.is_below(module.name, 'service')
            and not source.is_below(module.name, 'vhd')
            for item in module.imports() if item.module in forbidden]
        touching += [
            f'{module.name}:{line} open()'
            for module in source.driver_modules()
            if module.name not in FILE_MODULES
            and not source.is_below(module.name, 'service')
            for call, line in module.calls() if call == 'open']
        self.assertEqual([], touching)

    def test_options_are_registered_in_conf_and_read_in_wiring(self):
        self.assertEqual([], [
            f'{module.name} -> {item.module}'
            for module in source.driver_modules()
            for item in module.imports()
            if item.module in ('nova.conf', 'oslo_config',
                               'oslo_config.cfg', 'compute_hyperv.conf')
            and module.name not in ('conf', 'volumewiring', 'wiring')])

    def test_windows_versions_are_known_only_to_oswin(self):
        self.assertEqual([], [
            f'{module.name}:{line} {call}'
            for module in source.driver_modules() if module.name != 'oswin'
            for call, line in module.calls()
            if call.endswith('check_min_windows_version')])


class SimulatorTest(unittest.TestCase):

    def test_the_driver_and_the_simulator_do_not_know_each_other(self):
        pairs = [
            (module.name, own_target(item))
            for module in source.modules()
            for item in module.imports() if own_target(item)]
        self.assertEqual([], [
            f'{name} -> {target}' for name, target in pairs
            if source.is_below(target, 'sim')
            and not source.is_below(name, 'sim')
            and not source.is_below(name, 'simcloud')])
        self.assertEqual([], [
            f'{name} -> {target}' for name, target in pairs
            if source.is_below(name, 'sim')
            and not any(source.is_below(target, own) for own in SIM_OWN)])

    def test_the_simulator_imports_its_own_modules_relatively(self):
        self.assertEqual([], [
            f'{module.name}:{item.line}' for module in source.sim_modules()
            for item in module.imports()
            if own_target(item) and not item.is_relative])

    def test_the_simulator_needs_no_openstack(self):
        self.assertEqual([], [
            f'{module.name} -> {item.module}'
            for module in source.sim_modules() for item in module.imports()
            if own_target(item) is None
            and item.package not in sys.stdlib_module_names
            and item.package not in SIM_THIRD_PARTY
            and module.name not in EVENTLET_AWARE
            and item.module != source.PACKAGE])

    def test_the_client_side_needs_only_the_standard_library(self):
        self.assertEqual([], [
            f'{module.name} -> {item.module}'
            for module in source.sim_modules()
            if any(source.is_below(module.name, name) for name in SIM_CLIENT)
            for item in module.imports()
            if own_target(item) is None
            and item.package not in sys.stdlib_module_names
            and item.module != source.PACKAGE])

    def test_the_demo_cloud_uses_the_simulators_client_side_only(self):
        self.assertEqual([], [
            f'{module.name} -> {own_target(item)}'
            for module in source.modules()
            for item in module.imports()
            if own_target(item) not in (None, 'sim.remote')
            and source.is_below(module.name, 'simcloud')
            != source.is_below(own_target(item), 'simcloud')])


class SizeTest(unittest.TestCase):

    def test_no_module_has_more_than_400_lines(self):
        self.assertEqual([], [
            f'{module.name}: {lines}' for module in source.modules()
            if (lines := len(module.text.splitlines())) > 400])

    def test_no_function_has_more_than_40_lines(self):
        self.assertEqual([], [
            f'{module.name}.{function.name}: {length}'
            for module in source.modules()
            for function in module.functions()
            if (length := self._length(function)) > 40])

    @staticmethod
    def _length(function):
        """Lines of the body, the docstring not counted."""
        body = function.body
        if ast.get_docstring(function) is not None:
            body = body[1:]
        return body[-1].end_lineno - body[0].lineno + 1 if body else 0

    def test_driver_methods_only_delegate(self):
        self.assertEqual([], [
            f'{module.name}.{function.name}: {length}'
            for module in source.driver_modules()
            if module.name in ('driver', 'volumemethods', 'cluster.driver')
            for function in module.functions()
            if (length := self._length(function)) > 8])

    def test_public_functions_are_annotated_and_described(self):
        missing = []
        for module in source.driver_modules():
            for owner in [module.tree, *(
                    node for node in module.tree.body
                    if isinstance(node, ast.ClassDef))]:
                missing += self._undescribed(module, owner)
        self.assertEqual([], missing)

    @staticmethod
    def _undescribed(module, owner):
        for function in owner.body:
            if (not isinstance(function, ast.FunctionDef)
                    or function.name.startswith('_')):
                continue
            arguments = [*function.args.posonlyargs, *function.args.args,
                         *function.args.kwonlyargs]
            bare = [item.arg for item in arguments
                    if item.annotation is None
                    and item.arg not in ('self', 'cls')]
            # The driver's methods have Nova's signatures and descriptions.
            if module.name in ('driver', 'volumemethods', 'cluster.driver'):
                continue
            if bare or function.returns is None:
                yield f'{module.name}.{function.name}: annotation {bare}'


class FilesTest(unittest.TestCase):

    @staticmethod
    def _files(*endings):
        """Our files: what git tracks, or in a plain copy what is there."""
        try:
            listed = subprocess.run(
                ['git', 'ls-files'], cwd=source.ROOT, check=True,
                capture_output=True, text=True).stdout.splitlines()
        except (OSError, subprocess.CalledProcessError):
            listed = [str(path.relative_to(source.ROOT))
                      for path in source.ROOT.rglob('*')]
        ours = [name for name in listed
                if not re.search(r'(^|/)(\..*|.*\.egg-info|build|cover)/',
                                 name) or name.startswith('.ci/')]
        return [path for name in ours
                if (path := source.ROOT / name).is_file()
                and path.suffix in endings]

    def test_python_files_begin_with_their_licence(self):
        line = '# SPDX-License-Identifier: Apache-2.0'
        self.assertEqual([], [
            str(path.relative_to(source.ROOT))
            for path in self._files('.py')
            if line not in path.read_text().splitlines()[:2]])

    def test_no_path_of_a_machine_is_written_down(self):
        # The parts are joined here, so that this file has none itself.
        machine = re.compile(r'(?<![\w.])/(' + '|'.join(
            ('work', 'tmp/w', 'home/[a-z]+', 'root')) + ')/(?!virtualization'
            '|cimv2|wmi|standardcimv2|microsoft|mscluster|hgs)', re.I)
        self.assertEqual([], [
            f'{path.relative_to(source.ROOT)}:{number} {line.strip()[:60]}'
            for path in self._files('.py', '.sh', '.rst', '.cfg', '.ini',
                                    '.txt', '.yaml', '.conf', '')
            for number, line in enumerate(
                path.read_text(errors='replace').splitlines(), 1)
            if machine.search(line)])

    def test_nothing_is_left_unfinished(self):
        marks = re.compile(r'\b(TO' r'DO|FIX' r'ME|XX' r'X)\b')
        self.assertEqual([], [
            f'{module.name}:{number}' for module in source.modules()
            for number, line in enumerate(module.text.splitlines(), 1)
            if marks.search(line)])


if __name__ == '__main__':
    unittest.main()
