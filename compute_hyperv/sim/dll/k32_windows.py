# SPDX-License-Identifier: Apache-2.0
"""kernel32 where the simulator itself runs on Windows (or Wine).

Pipes, events, mutexes, processes and job objects are Windows' own there.
What concerns the simulated host (its files, its uptime, its processors) is
answered by the host as elsewhere.  Both kinds of handles are told apart by
their numbers, both kinds of errors are in ctypes' copy of the last error.
"""

import ctypes
from typing import Any
from typing import Callable
from typing import Dict
from typing import Optional
from typing import Sequence

from . import k32_pipes
from .kernel32 import Kernel32
from .system import FIRST_HANDLE
from .system import System

#: The host answers these.
SIMULATED = frozenset((
    'CopyFileW', 'CreateSymbolicLinkW', 'FormatMessageA',
    'GetDiskFreeSpaceExW', 'GetFileAttributesW',
    'GetFileInformationByHandleEx', 'GetLastError', 'GetTickCount64',
    'IsProcessorFeaturePresent', 'LocalFree', 'SetLastError'))


def _path_of_host(argument: Any) -> bool:
    path = getattr(argument, 'value', argument)
    return not k32_pipes.is_pipe(path or '')


def _handle_of_host(argument: Any) -> bool:
    number = getattr(argument, 'value', argument) or 0
    # INVALID_HANDLE_VALUE is Windows' to refuse.
    return FIRST_HANDLE <= number < 1 << 32


#: These are the host's, or Windows', by their first argument.
BY_ARGUMENT: Dict[str, Callable[[Any], bool]] = {
    'CreateFileW': _path_of_host, 'CloseHandle': _handle_of_host,
    'ReadFile': _handle_of_host, 'WriteFile': _handle_of_host}


class _Either:
    """A function of the host or of Windows; os_win declares it once."""

    def __init__(self, simulated: Any, real: Any,
                 is_simulated: Callable[[Any], bool]) -> None:
        self._simulated = simulated
        self._real = real
        self._is_simulated = is_simulated

    @property
    def argtypes(self) -> Optional[Sequence[Any]]:
        types: Optional[Sequence[Any]] = self._simulated.argtypes
        return types

    @argtypes.setter
    def argtypes(self, types: Optional[Sequence[Any]]) -> None:
        self._simulated.argtypes = self._real.argtypes = types

    @property
    def restype(self) -> Any:
        return self._simulated.restype

    @restype.setter
    def restype(self, kind: Any) -> None:
        self._simulated.restype = self._real.restype = kind

    def __call__(self, *args: Any) -> Any:
        chosen = (self._simulated if self._is_simulated(args[0])
                  else self._real)
        return chosen(*args)


class WindowsKernel32(Kernel32):
    """The functions of kernel32.dll that os_win registers."""

    def __init__(self, system: System) -> None:
        super().__init__(system)
        # A library object of its own: each copy of os_win declares its own
        # structures as argument types.
        self._real: Any = getattr(ctypes, 'WinDLL')(
            'kernel32', use_last_error=True)
        self._either: Dict[str, _Either] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_') or name in SIMULATED:
            return super().__getattr__(name)
        if name not in BY_ARGUMENT:
            return getattr(self._real, name)
        found = self._either.get(name)
        if found is None:
            found = self._either[name] = _Either(
                super().__getattr__(name), getattr(self._real, name),
                BY_ARGUMENT[name])
        return found
