# SPDX-License-Identifier: Apache-2.0
"""The one way in which this project runs os-win.

os-win 5.9.0 is used unmodified, but two things stand between it and
Nova 34.  It imports eventlet, which Nova refuses to everybody in its
native threading mode, and it imports ``pkg_resources``, which newer
setuptools no longer ships.  Both are answered for os-win's modules
alone: CPython resolves ``import x`` through ``__builtins__`` of the
module that executes, so every module of os-win is executed, unchanged,
with builtins of its own whose ``__import__`` knows a few names.
``sys.modules`` is not touched, and Nova's refusal of eventlet stays in
force for everything else.

:func:`install` does that and is all that Windows needs.  A simulated
host needs more of the same (:class:`Answers`) and a copy of os-win of
its own (:class:`Universe`), because os-win keeps the state of a host in
modules and classes.  :func:`provide` says where hosts come from, and
the driver calls :func:`bind` once, in its constructor.
"""

import _thread
import builtins
from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import platform
import re
import sys
import types
from typing import Any
from typing import Optional
from typing import Protocol

from compute_hyperv.osfiles import Files
from compute_hyperv.osfiles import OsFiles

PACKAGE = 'os_win'
FACTORY = 'os_win.utilsfactory'

#: Leaf modules that all copies of os-win have in common: ``except``
#: clauses and configuration need identical classes everywhere.  Not
#: ``winapi.constants``: it holds an instance of wintypes.GUID, and the
#: structures of another copy refuse that one.
SHARED = frozenset((
    'os_win._i18n', 'os_win.conf', 'os_win.constants', 'os_win.exceptions',
    'os_win.version'))


class Host(Protocol):
    """One Windows host as the driver sees it."""

    @property
    def name(self) -> str:
        """The host's name (``COMPUTERNAME``)."""

    @property
    def utilsfactory(self) -> types.ModuleType:
        """``os_win.utilsfactory`` of this host's copy of os-win."""

    @property
    def files(self) -> Files:
        """The host's files."""


@dataclasses.dataclass(frozen=True)
class BoundHost:
    """What :func:`bind` returns."""

    name: str
    utilsfactory: types.ModuleType
    files: Files


class Proxy(types.ModuleType):
    """A module that answers some names itself and forwards the rest."""

    def __init__(self, real: Any, **own: Any) -> None:
        super().__init__(getattr(real, '__name__', 'proxy'))
        self.__dict__.update(own)
        self.__dict__['_real'] = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_real'], name)


@dataclasses.dataclass(frozen=True)
class Answers:
    """What os-win's modules get in place of what they ask for.

    :ivar modules: dotted module name -> the module os-win is to get.
    :ivar names: names of ``builtins`` that os-win sees differently
        (``open``, ``WindowsError``).
    """

    modules: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    names: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def parse_version(text: object) -> tuple[int, ...]:
    """``pkg_resources.parse_version`` as far as os-win needs it.

    os-win compares versions of Windows and of VMs only: ``'10.0'``.
    """
    return tuple(int(number) for number in re.findall(r'\d+', str(text)))


def _eventlet_is_patched() -> bool:
    """Whether this process runs on green threads.

    Nova's refusal leaves ``sys.modules['eventlet']`` absent, so asking
    for it there triggers nothing.
    """
    eventlet = sys.modules.get('eventlet')
    patcher = getattr(eventlet, 'patcher', None)
    return bool(patcher and patcher.is_monkey_patched('thread'))


def _native_eventlet(modules: Mapping[str, Any]) -> types.ModuleType:
    """The part of eventlet that os-win uses, for native threads."""
    def original(name: str) -> Any:
        # Real time: os-win's pipe workers take `time` this way and look
        # every second for a client, which must not become a busy loop.
        answer = None if name == 'time' else modules.get(name)
        return answer or importlib.import_module(name)

    def execute(function: Callable[..., Any], *args: Any,
                **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    stand_in = Proxy(types.SimpleNamespace(), __name__='eventlet')
    stand_in.__dict__.update(
        patcher=types.SimpleNamespace(
            original=original, is_monkey_patched=lambda name: False),
        tpool=types.SimpleNamespace(execute=execute),
        import_patched=original,
        getcurrent=lambda: types.SimpleNamespace(parent=None))
    return stand_in


def _green_eventlet(modules: Mapping[str, Any]) -> types.ModuleType:
    """eventlet itself, but what has an answer is not imported green."""
    eventlet = sys.modules['eventlet']

    def import_patched(name: str) -> Any:
        return modules.get(name) or eventlet.import_patched(name)
    return Proxy(eventlet, import_patched=import_patched)


class _Importer:
    """``__builtins__`` for modules of os-win, made from *answers*."""

    def __init__(self, answers: Answers) -> None:
        self.modules: dict[str, Any] = {
            'pkg_resources': types.SimpleNamespace(
                parse_version=parse_version)}
        self.modules.update(answers.modules)
        if not _eventlet_is_patched():
            self.modules['eventlet'] = _native_eventlet(self.modules)
        elif answers.modules:
            self.modules['eventlet'] = _green_eventlet(self.modules)
        self.builtins: dict[str, Any] = dict(
            vars(builtins), **answers.names)
        self.builtins['__import__'] = self.import_

    def import_(self, name: str, globals: Optional[Mapping[str, Any]] = None,
                locals: Optional[Mapping[str, Any]] = None,
                fromlist: Optional[tuple[str, ...]] = (),
                level: int = 0) -> Any:
        """Stand in for ``builtins.__import__`` (same arguments)."""
        if level:
            package = (globals or {}).get('__package__')
            name = importlib.util.resolve_name('.' * level + name, package)
            if not fromlist:
                return self.other(name, (), globals, locals)
        top = name.partition('.')[0]
        if name in self.modules and (fromlist or name == top):
            return self.modules[name]
        if not fromlist and top in self.modules:
            return self.modules[top]
        own = [item for item in fromlist or ()
               if f'{name}.{item}' in self.modules]
        if own:
            return Proxy(importlib.import_module(name), **{
                item: self.modules[f'{name}.{item}'] for item in own})
        return self.other(name, fromlist, globals, locals)

    def other(self, name: str, fromlist: Optional[tuple[str, ...]],
              globals: Optional[Mapping[str, Any]],
              locals: Optional[Mapping[str, Any]]) -> Any:
        """Import what has no answer."""
        return builtins.__import__(
            name, globals, locals, fromlist or (), 0)

    def execute(self, module: types.ModuleType, code: Any) -> None:
        module.__dict__['__builtins__'] = self.builtins
        exec(code, module.__dict__)


_code: dict[str, Any] = {}


def _code_of(name: str, loader: Any) -> Any:
    """The code of a module; compiled or read once for all copies."""
    code = _code.get(name)
    if code is None:
        code = _code[name] = loader.get_code(name)
    return code


class Universe(_Importer):
    """A private copy of os-win, bound to one host by its answers.

    Its modules are in nobody's ``sys.modules``.  The host travels with
    the globals of the code itself, hence to every thread that runs it,
    os-win's own threads included.
    """

    def __init__(self, answers: Answers) -> None:
        install()
        super().__init__(answers)
        # The C type, made after Nova patched: re-entrant by native thread.
        self._lock = _thread.RLock()
        self._loaded: dict[str, types.ModuleType] = {}
        self.modules['importlib'] = Proxy(
            importlib, import_module=self.load)
        importutils = importlib.import_module('oslo_utils.importutils')
        self.modules['oslo_utils.importutils'] = Proxy(
            importutils, import_class=self.load_class,
            import_object=lambda path, *args, **kwargs: (
                self.load_class(path)(*args, **kwargs)))

    def load_class(self, path: str) -> Any:
        module, _, name = path.rpartition('.')
        return getattr(self.load(module), name)

    def other(self, name: str, fromlist: Optional[tuple[str, ...]],
              globals: Optional[Mapping[str, Any]],
              locals: Optional[Mapping[str, Any]]) -> Any:
        if name.partition('.')[0] != PACKAGE:
            return super().other(name, fromlist, globals, locals)
        module = self.load(name)
        for item in fromlist or ():
            if not hasattr(module, item):
                self.load(f'{name}.{item}')
        return module if fromlist else self.load(PACKAGE)

    def load(self, name: str) -> types.ModuleType:
        """The module *name*, of this copy if it belongs to os-win."""
        if name.partition('.')[0] != PACKAGE:
            return importlib.import_module(name)
        if name in self._loaded:
            return self._loaded[name]
        with self._lock:
            if name in self._loaded:
                return self._loaded[name]
            parent_name, _, leaf = name.rpartition('.')
            parent = self.load(parent_name) if parent_name else None
            module = (importlib.import_module(name) if name in SHARED
                      else self._execute_copy(name, parent))
            if parent is not None:
                # `import os_win.conf` reads the attribute afterwards.
                setattr(parent, leaf, module)
            self._loaded[name] = module
            return module

    def _execute_copy(self, name: str,
                      parent: Optional[types.ModuleType]) -> types.ModuleType:
        spec = importlib.machinery.PathFinder.find_spec(
            name, parent.__path__ if parent else None)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
        module = importlib.util.module_from_spec(spec)
        self._loaded[name] = module
        try:
            self.execute(module, _code_of(name, spec.loader))
        except BaseException:
            del self._loaded[name]
            raise
        return module


class _Facade(types.ModuleType):
    """``os_win.utilsfactory`` of a process whose hosts are provided.

    The published os-win belongs to no host then; this one picks the
    host that the provider names at this moment, or fails with the
    provider's LookupError.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return getattr(bind().utilsfactory, name)


class _Loader(importlib.abc.Loader):
    """Executes a module of os-win with builtins of its own."""

    def __init__(self, finder: '_Finder', real: Any) -> None:
        self._finder = finder
        self._real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec
                      ) -> Optional[types.ModuleType]:
        if spec.name == FACTORY and self._finder.provider is not None:
            return _Facade(FACTORY)
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        if not isinstance(module, _Facade):
            name = module.__name__
            self._finder.importer().execute(
                module, _code_of(name, self._real))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)    # get_source, resources, ...


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of os-win and has them run by :class:`_Loader`."""

    def __init__(self) -> None:
        self.provider: Optional[Callable[[], Host]] = None
        self.answers: Callable[[], Answers] = Answers
        self._importer: Optional[_Importer] = None

    def importer(self) -> _Importer:
        # Not before the first import of os-win: only then is it settled
        # whether Nova has patched this process for green threads.
        if self._importer is None:
            self._importer = _Importer(self.answers())
        return self._importer

    def find_spec(self, fullname: str, path: Any = None, target: Any = None
                  ) -> Optional[importlib.machinery.ModuleSpec]:
        if fullname.partition('.')[0] != PACKAGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(self, spec.loader)
        return spec


_finder = _Finder()


def install() -> None:
    """See to it that os-win can be imported in this process.

    Idempotent.  Call it after ``nova.monkey_patch`` and before the
    first import of os-win.

    :raises RuntimeError: os-win has been imported already, without
        this.
    """
    if _finder in sys.meta_path:
        return
    if PACKAGE in sys.modules:
        raise RuntimeError(
            'os_win was imported before compute_hyperv.oswin_loader')
    sys.meta_path.insert(0, _finder)


def provide(provider: Callable[[], Host],
            answers: Callable[[], Answers] = Answers) -> None:
    """Let *provider* say which host a driver that is being built gets.

    :param provider: called by :func:`bind`; raises LookupError when it
        knows of no host.
    :param answers: called once, for the published os-win, which belongs
        to no host and holds what all copies share (:data:`SHARED`).
    :raises RuntimeError: os-win has been imported already.
    """
    if PACKAGE in sys.modules:
        raise RuntimeError('os_win was imported before the provider came')
    install()
    _finder.provider = provider
    _finder.answers = answers


def bind() -> Host:
    """The host that the driver under construction is to manage.

    :raises LookupError: hosts are provided, but none is current.
    """
    install()
    if _finder.provider is not None:
        return _finder.provider()
    return BoundHost(platform.node(), importlib.import_module(FACTORY),
                     OsFiles())
