# SPDX-License-Identifier: Apache-2.0
"""Put the real os-win onto simulated hosts.

Each host gets its own copy of os-win, whose modules are told that this is
Windows and get the stand-ins for ``wmi``, DLLs and files of that host.  No
function of os-win is replaced, and no other module of the process notices.

``install()`` comes after ``nova.monkey_patch`` and before the first import
of os_win; hosts may be made later.
"""

from __future__ import annotations

import builtins
import importlib
import platform
import socket
import sys
import threading
import time
import types
import typing
import weakref

from .. import oswin_loader
from . import current
from . import dll
from . import osmodules
from .wmi import face

if typing.TYPE_CHECKING:
    from . import ports

#: Part of the time that os-win's sleeps take where time runs ahead.
HURRY = 0.01

#: What os-win is told instead of what Linux has, by module.  os-win must
#: not import anything else that only Windows has; a test looks.
ANSWERED = (
    'sys', 'wmi', 'ctypes', 'os', 'os.path', 'shutil', 'platform',
    'socket', 'six.moves', 'six.moves.builtins', 'pkg_resources')


class HurriedTime(oswin_loader.Proxy):
    """``time`` for os-win: a sleep is short and moves this thread's clock.

    Loops that retry until a deadline see time pass; other threads and
    other libraries do not.
    """

    def __init__(self) -> None:
        super().__init__(time)
        self.__dict__['_ahead'] = threading.local()

    def _ahead_s(self) -> float:
        return float(getattr(self.__dict__['_ahead'], 'seconds', 0.0))

    def sleep(self, seconds: float) -> None:
        began = time.monotonic()
        time.sleep(seconds * HURRY)
        spent = time.monotonic() - began
        self.__dict__['_ahead'].seconds = (
            self._ahead_s() + max(0.0, seconds - spent))

    def time(self) -> float:
        return time.time() + self._ahead_s()

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead_s()


class _NoHost:
    """The port of the published os-win, which belongs to no host."""

    name = 'NOHOST'
    client = ''
    slow = False
    hurried = False
    alive = True

    def call(self, op: str, **args: typing.Any) -> typing.NoReturn:
        raise LookupError('the published os_win belongs to no host; '
                          'use the utilities of the host that was bound')

    def release(self, watch_id: int) -> None:
        """There are no subscriptions of no host."""


def _socket_for(port: 'ports.Port') -> types.ModuleType:
    """``socket`` with the names of the fabric's hosts in its DNS."""
    def getaddrinfo(host: typing.Any, *args: typing.Any,
                    **kwargs: typing.Any) -> typing.Any:
        if isinstance(host, str) and port.name != _NoHost.name:
            host = port.call('net.resolve', name=host) or host
        return socket.getaddrinfo(host, *args, **kwargs)
    return oswin_loader.Proxy(
        socket, gethostname=lambda: port.name, getaddrinfo=getaddrinfo)


def answers(port: 'ports.Port') -> oswin_loader.Answers:
    """What the modules of a host's os-win get, by name."""
    libraries = dll.load(port)
    files = osmodules.modules(port)
    opener = files.pop('open')
    names = {'WindowsError': OSError, 'open': opener}
    six_builtins = oswin_loader.Proxy(builtins, **names)
    modules: typing.Dict[str, typing.Any] = {
        'sys': oswin_loader.Proxy(sys, platform='win32'),
        'wmi': face.module(port),
        'ctypes': libraries.ctypes(),
        'platform': oswin_loader.Proxy(platform, node=lambda: port.name),
        'socket': _socket_for(port),
        'six.moves.builtins': six_builtins,
        'six.moves': oswin_loader.Proxy(
            importlib.import_module('six.moves'), builtins=six_builtins),
        **files}
    if port.hurried:
        modules['time'] = HurriedTime()
    return oswin_loader.Answers(modules, names)


_bound: 'weakref.WeakKeyDictionary[typing.Any, oswin_loader.BoundHost]' = (
    weakref.WeakKeyDictionary())
_sole_host: typing.List[typing.Any] = []


def bound(host: typing.Any) -> oswin_loader.BoundHost:
    """A host with its copy of os-win, made when first asked for.

    :param host: anything with ``port``: a Host, or a RemoteHost.
    """
    port = host.port
    found = _bound.get(port)
    if found is None:
        universe = oswin_loader.Universe(answers(port))
        found = _bound[port] = oswin_loader.BoundHost(
            port.name, universe.load(oswin_loader.FACTORY),
            osmodules.Files(port))
    return found


def _current() -> oswin_loader.BoundHost:
    try:
        host = current.current_host()
    except LookupError:
        if not _sole_host:
            raise
        host = _sole_host[0]
    return bound(host)


def install(sole_host: typing.Any = None) -> None:
    """Let os-win of this process run on simulated hosts; idempotent.

    :param sole_host: the host of a process that has just one; otherwise
        drivers are built inside ``with fabric.on(name)``.
    :raises RuntimeError: os_win has been imported already.
    """
    if sole_host is not None:
        _sole_host[:] = [sole_host]
    if not _installed:
        oswin_loader.provide(_current, lambda: answers(_NoHost()))
        _installed.append(True)


_installed: typing.List[bool] = []
