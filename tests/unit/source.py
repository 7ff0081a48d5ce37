# SPDX-License-Identifier: Apache-2.0
"""What the structural tests read: our modules, as files and syntax trees."""

import ast
import dataclasses
import functools
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = 'compute_hyperv'


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported module: its full dotted name, wherever it was written."""

    module: str
    line: int
    is_top_level: bool
    is_relative: bool
    is_for_types: bool = False      #: under `if TYPE_CHECKING`

    @property
    def package(self):
        return self.module.partition('.')[0]


@dataclasses.dataclass(frozen=True)
class Module:
    """One of our source files."""

    path: pathlib.Path
    name: str           #: dotted, without the package: 'plan.disks'
    is_package: bool

    @functools.cached_property
    def text(self):
        return self.path.read_text(encoding='utf-8')

    @functools.cached_property
    def tree(self):
        return ast.parse(self.text)

    @property
    def folder(self):
        """The dotted package that relative imports count from."""
        full = f'{PACKAGE}.{self.name}'.rstrip('.')
        return full if self.is_package else full.rpartition('.')[0]

    def imports(self):
        """Every import statement's targets, of functions too."""
        top = set(self._top_level_statements())
        typed = self._typing_statements()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, node.lineno, node in top, False,
                                 node in typed)
            elif isinstance(node, ast.ImportFrom):
                base = self._base_of(node)
                for alias in node.names:
                    yield Import(_deepest(base, alias.name), node.lineno,
                                 node in top, bool(node.level), node in typed)

    def _top_level_statements(self):
        """Statements outside functions; the bodies of if and try too."""
        todo = list(self.tree.body)
        while todo:
            node = todo.pop()
            yield node
            if isinstance(node, (ast.If, ast.Try, ast.With)):
                todo += [child for child in ast.iter_child_nodes(node)
                         if isinstance(child, ast.stmt)]
                for handler in getattr(node, 'handlers', ()):
                    todo += handler.body

    def _typing_statements(self):
        return {child for node in ast.walk(self.tree)
                if isinstance(node, ast.If)
                and ast.unparse(node.test).endswith('TYPE_CHECKING')
                for child in node.body}

    def _base_of(self, node):
        if not node.level:
            return node.module
        parts = self.folder.split('.')
        parts = parts[:len(parts) - (node.level - 1)]
        return '.'.join(parts + ([node.module] if node.module else []))

    def functions(self):
        return [node for node in ast.walk(self.tree)
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]

    def calls(self):
        """(dotted name as written, line) of every call of a plain name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node.lineno


def _deepest(base, name):
    """base.name if that is one of our modules, else base."""
    full = f'{base}.{name}'
    return full if full in _own_names() else base


@functools.cache
def _own_names():
    names = set()
    for path in (ROOT / PACKAGE).rglob('*.py'):
        parts = path.relative_to(ROOT).with_suffix('').parts
        names.add('.'.join(parts[:-1] if parts[-1] == '__init__' else parts))
    return frozenset(names)


@functools.cache
def modules():
    """All modules of the package, sorted by name."""
    found = []
    for path in (ROOT / PACKAGE).rglob('*.py'):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix('').parts
        is_package = parts[-1] == '__init__'
        found.append(Module(
            path, '.'.join(parts[:-1] if is_package else parts), is_package))
    return tuple(sorted(found, key=lambda module: module.name))


def is_below(name, package):
    """Whether the dotted *name* is *package* or inside it."""
    return name == package or name.startswith(package + '.')


def driver_modules():
    """The modules that have a layer: not the simulator, not the aliases."""
    return [module for module in modules()
            if module.name and not any(
                is_below(module.name, other)
                for other in ('sim', 'simcloud', '_novavirt'))]


def sim_modules():
    return [module for module in modules() if is_below(module.name, 'sim')]
