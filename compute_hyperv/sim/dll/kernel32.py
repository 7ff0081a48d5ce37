# SPDX-License-Identifier: Apache-2.0
"""kernel32.dll: failures return a value and leave a last error."""

import ctypes
from typing import Any
from typing import Optional

from .. import winerror
from ..winerror import WinError
from .k32_files import FileFunctions
from .k32_files import INVALID_FILE_ATTRIBUTES
from .k32_files import INVALID_HANDLE_VALUE
from .k32_pipes import PipeFunctions
from .k32_sync import SyncFunctions
from .system import System
from .system import WAIT_FAILED
from .thunk import Library

#: What functions return on failure, where it is not 0.
_FAILURES = {
    'CreateFileW': INVALID_HANDLE_VALUE,
    'GetFileAttributesW': INVALID_FILE_ATTRIBUTES,
    'WaitForSingleObject': WAIT_FAILED,
    'WaitForSingleObjectEx': WAIT_FAILED,
    'WaitForMultipleObjects': WAIT_FAILED,
}
_MESSAGE_NOT_FOUND = 317                # ERROR_MR_MID_NOT_FOUND
#: The system has texts for codes below; ours lists the common ones.
_SYSTEM_CODES = 16000


class Kernel32(FileFunctions, PipeFunctions, SyncFunctions, Library):
    """The functions of kernel32.dll that os_win registers."""

    dll_name = 'kernel32'

    def __init__(self, system: System) -> None:
        super().__init__(system.port)
        self._system = system

    def _failed(self, name: str, error: WinError) -> Any:
        self._system.last_error = error.winerror
        return _FAILURES.get(name, 0)

    def do_GetLastError(self) -> int:
        return self._system.last_error

    def do_SetLastError(self, code: int) -> None:
        self._system.last_error = code

    def do_FormatMessageA(self, flags: int, source: Any, code: int,
                          language: int, buffer: Optional[int], size: int,
                          arguments: Any) -> int:
        """Only as os_win calls it: system message, allocated buffer."""
        if not buffer or not (winerror.is_known(code)
                              or code < _SYSTEM_CODES):
            raise WinError(_MESSAGE_NOT_FOUND)
        text = (winerror.text_of(code) + '\r\n').encode('ascii')
        memory = ctypes.create_string_buffer(text)
        pointer = ctypes.c_void_p.from_address(buffer)
        pointer.value = self._system.allocate(memory)
        return len(text)

    def do_LocalFree(self, memory: Optional[int]) -> Optional[int]:
        """NULL is success; what is no memory of ours comes back."""
        if not memory or self._system.free(memory):
            return None
        self._system.last_error = winerror.INVALID_HANDLE
        return memory

    def do_CloseHandle(self, handle: Optional[int]) -> int:
        self._system.close(handle)
        return 1

    def do_GetTickCount64(self) -> int:
        return int(self._port.call('dll.kernel32.GetTickCount64'))

    def do_IsProcessorFeaturePresent(self, feature: int) -> int:
        return int(self._port.call(
            'dll.kernel32.IsProcessorFeaturePresent', feature=feature))
