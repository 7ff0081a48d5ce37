# SPDX-License-Identifier: Apache-2.0
"""kernel32: files, volumes, and reading and writing handles at once."""

import ctypes
from typing import Any
from typing import Dict
from typing import Optional

from .. import native
from .. import winerror
from ..errors import NotSimulated
from . import k32_pipes
from ..winerror import WinError
from .system import Handle
from .system import HostHandle
from .system import System

INVALID_HANDLE_VALUE = ctypes.c_void_p(-1).value
INVALID_FILE_ATTRIBUTES = 0xFFFFFFFF

_GENERIC = {0x80000000: 1, 0x40000000: 2, 0x10000000: 7, 0x10000: 4,
            0x1: 1, 0x2: 2}
_BACKUP_SEMANTICS = 0x02000000
_FILE_ID_INFO = 18

_os: Any = native.original('os')


class Descriptor(Handle):
    """A handle that is a file descriptor of this process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def close(self) -> None:
        _os.close(self.descriptor)


class HostFile(HostHandle):
    """A file opened by CreateFile; opened here when bytes are wanted."""

    def __init__(self, number: int, close: Any, local: str,
                 writable: bool) -> None:
        super().__init__(number, close)
        self._local = local
        self._writable = writable
        self._descriptor: Optional[int] = None

    @property
    def descriptor(self) -> int:
        """The file descriptor to read and write with."""
        if self._descriptor is None:
            self._descriptor = int(_os.open(
                self._local, _os.O_RDWR if self._writable else _os.O_RDONLY))
        return self._descriptor

    def close(self) -> None:
        if self._descriptor is not None:
            _os.close(self._descriptor)
        super().close()


class FileFunctions:
    """What kernel32 does with files."""

    _port: Any
    _system: System

    def _host(self, function: str, **args: Any) -> Any:
        return self._port.call('dll.kernel32.' + function, **args)

    def do_CreateFileW(self, path: Optional[str], access: int, share: int,
                       security: Any, disposition: int, flags: int,
                       template: Any) -> int:
        if not path:
            raise WinError(winerror.PATH_NOT_FOUND)
        if k32_pipes.is_pipe(path):
            return self._system.add(k32_pipes.PipeEnd(
                self._system, path, bool(flags & k32_pipes.OVERLAPPED)))
        rights = 0
        for bit, right in _GENERIC.items():
            rights |= right if access & bit else 0
        opened = self._host(
            'CreateFileW', path=path, access=rights, share=share & 7,
            disposition=disposition, owner='CreateFile',
            directory=bool(flags & _BACKUP_SEMANTICS),
            client=self._port.client)
        number = opened['handle']
        return self._system.add(HostFile(
            number, lambda: self._port.call('file.close', handle=number),
            opened['local'], bool(rights & 2)))

    def do_GetFileInformationByHandleEx(
            self, handle: Optional[int], kind: int, buffer: Optional[int],
            size: int) -> int:
        file = self._system.handle(handle, HostFile)
        if kind != _FILE_ID_INFO:
            raise NotSimulated('GetFileInformationByHandleEx class %d'
                               % kind)
        if not buffer or size < 24:
            raise WinError(winerror.INVALID_PARAMETER)
        identity: Dict[str, Any] = self._host(
            'GetFileInformationByHandleEx', handle=file.number)
        numbers = [identity['serial']] + identity['file_id']
        packed = (ctypes.c_uint64 * 3)(*numbers)
        ctypes.memmove(buffer, packed, ctypes.sizeof(packed))
        return 1

    def do_GetFileAttributesW(self, path: Optional[str]) -> int:
        return int(self._host('GetFileAttributesW', path=path or ''))

    def do_CopyFileW(self, source: Optional[str], target: Optional[str],
                     fail_if_exists: int) -> int:
        self._host('CopyFileW', source=source or '', target=target or '',
                   fail_if_exists=bool(fail_if_exists),
                   client=self._port.client)
        return 1

    def do_CreateSymbolicLinkW(self, link: Optional[str],
                               target: Optional[str], flags: int) -> int:
        self._host('CreateSymbolicLinkW', link=link or '',
                   target=target or '', is_dir=bool(flags & 1))
        return 1

    def do_GetDiskFreeSpaceExW(self, path: Optional[str], available: Any,
                               total: Any, free: Any) -> int:
        total_bytes, free_bytes = self._host('GetDiskFreeSpaceExW',
                                             path=path or 'C:\\')
        for pointer, value in ((available, free_bytes),
                               (total, total_bytes), (free, free_bytes)):
            if pointer:
                pointer[0] = value
        return 1

    def do_CreatePipe(self, read_handle: Any, write_handle: Any,
                      attributes: Any, size: int) -> int:
        reader, writer = _os.pipe()
        read_handle[0] = self._system.add(Descriptor(reader))
        write_handle[0] = self._system.add(Descriptor(writer))
        return 1

    def _file(self, handle: Optional[int]) -> Any:
        found: Any = self._system.handle(handle, Handle)
        if not isinstance(found, (Descriptor, HostFile, k32_pipes.PipeEnd)):
            raise WinError(winerror.INVALID_HANDLE)
        return found

    def do_ReadFile(self, handle: Optional[int], buffer: Optional[int],
                    size: int, pdone: Any, overlapped: Any) -> int:
        file = self._file(handle)
        if isinstance(file, k32_pipes.PipeEnd):
            if overlapped:
                raise NotSimulated('ReadFile with OVERLAPPED')
            data = file.read_now(size)
        else:
            data = _os.read(file.descriptor, size)
            if not data and isinstance(file, Descriptor):
                raise WinError(winerror.BROKEN_PIPE)
        ctypes.memmove(buffer or 0, data, len(data))
        if pdone:
            pdone[0] = len(data)
        return 1

    def do_WriteFile(self, handle: Optional[int], buffer: Optional[int],
                     size: int, pdone: Any, overlapped: Any) -> int:
        file = self._file(handle)
        data = ctypes.string_at(buffer or 0, size) if size else b''
        if isinstance(file, k32_pipes.PipeEnd):
            if overlapped:
                raise NotSimulated('WriteFile with OVERLAPPED')
            done = file.write_now(data)
        else:
            try:
                done = _os.write(file.descriptor, data)
            except BrokenPipeError as error:
                raise WinError(winerror.NO_DATA) from error
        if pdone:
            pdone[0] = done
        return 1
