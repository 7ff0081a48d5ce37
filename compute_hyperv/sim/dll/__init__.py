# SPDX-License-Identifier: Apache-2.0
"""The DLLs that os_win opens through ctypes.

Functions are named ``do_<Function>`` in their library; whatever concerns
the host goes over its port as ``dll.<library>.<Function>``.
"""

import ctypes
import re
import sys
import types
from typing import Any

from .advapi32 import Advapi32
from .hbaapi import Hbaapi
from .iscsidsc import Iscsidsc
from .kernel32 import Kernel32
from .system import System
from .thunk import Library
from .virtdisk import Virtdisk

__all__ = ('Libraries', 'load')


class Clusapi(Library):
    """Failover clusters: not simulated yet."""

    dll_name = 'clusapi'


def _kernel32(system: System) -> Kernel32:
    if sys.platform != 'win32':
        return Kernel32(system)
    from .k32_windows import WindowsKernel32
    return WindowsKernel32(system)


class Libraries:
    """``ctypes.windll`` of one process on one host."""

    def __init__(self, port: Any) -> None:
        self.system = System(port)
        self.kernel32 = _kernel32(self.system)
        self.virtdisk = Virtdisk(self.system)
        self.advapi32 = Advapi32(self.system)
        self.clusapi = Clusapi(port)
        self.iscsidsc = Iscsidsc(port)
        self.hbaapi = Hbaapi(port)

    def LoadLibrary(self, name: str) -> Library:
        """The library of this file name; OSError 126 if there is none."""
        stem = re.split(r'[\\/]', name)[-1].lower().partition('.')[0]
        library = self.__dict__.get(stem)
        if not isinstance(library, Library):
            error = OSError('The specified module could not be found')
            error.winerror = 126        # type: ignore[attr-defined]
            raise error
        return library

    def ctypes(self) -> types.ModuleType:
        """ctypes as on 64-bit Windows: 32-bit long, windll, WINFUNCTYPE."""
        return _WindowsCtypes(self)


class _WindowsCtypes(types.ModuleType):

    def __init__(self, libraries: Libraries) -> None:
        super().__init__('ctypes')
        self.__dict__.update(
            c_ulong=ctypes.c_uint32, c_long=ctypes.c_int32,
            windll=libraries, WINFUNCTYPE=ctypes.CFUNCTYPE,
            cdll=types.SimpleNamespace(LoadLibrary=libraries.LoadLibrary))

    def __getattr__(self, name: str) -> Any:
        return getattr(ctypes, name)


def load(port: Any) -> Libraries:
    """The DLLs for a program on the host behind *port*."""
    return Libraries(port)
