# SPDX-License-Identifier: Apache-2.0
"""advapi32.dll: access control lists of files."""

from .system import System
from .thunk import Library


class Advapi32(Library):
    """The functions of advapi32.dll that os_win registers."""

    dll_name = 'advapi32'

    def __init__(self, system: System) -> None:
        super().__init__(system.port)
        self._system = system
