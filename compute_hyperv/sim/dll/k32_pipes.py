# SPDX-License-Identifier: Apache-2.0
"""kernel32: the client's end of a named pipe, overlapped.

ReadFileEx and WriteFileEx only note what is wanted.  When it is done, the
completion routine is queued to the thread that asked and runs in its next
alertable wait, never elsewhere.
"""

from collections import deque
import ctypes
from typing import Any
from typing import Deque
from typing import List
from typing import NamedTuple
from typing import Optional

from .. import native
from .. import pipes
from .. import poller
from .. import winerror
from ..winerror import WinError
from .system import System
from .system import Waitable

OVERLAPPED = 0x40000000                 # FILE_FLAG_OVERLAPPED

_BLOCKING_ERRORS = (BlockingIOError, InterruptedError)


def is_pipe(path: str) -> bool:
    """Whether a path names a pipe of this machine."""
    head = path.replace('/', '\\').lower()
    return head.startswith(('\\\\.\\pipe\\', '\\\\?\\pipe\\'))


class _Request(NamedTuple):
    """A read or write that is under way.

    :ivar address: of its OVERLAPPED, which is its identity.
    :ivar buffer: address to read into; unused for writes.
    :ivar data: what is left to write; the size wanted for reads.
    """

    thread: int
    address: int
    overlapped: Any
    routine: Any
    buffer: int
    size: int
    data: bytearray


class PipeEnd(Waitable):
    """The client's end of a named pipe."""

    def __init__(self, system: System, path: str, overlapped: bool) -> None:
        super().__init__()
        self._system = system
        self._lock = native.RLock()
        self._reads: Deque[_Request] = deque()
        self._writes: Deque[_Request] = deque()
        self._broken = False
        self.overlapped = overlapped
        self._socket = self._connect(path)

    def _connect(self, path: str) -> Any:
        port = self._system.port
        opened = port.call('dll.kernel32.CreateFileW.pipe', path=path,
                           client=port.client)
        sock = poller.unix_socket()
        try:
            with pipes.short_address(opened['address']) as address:
                sock.connect(address)
            sock.sendall(opened['ticket'].encode('ascii'))
            if sock.recv(1) != pipes.WELCOME:
                raise ConnectionResetError
        except OSError as error:
            sock.close()
            raise WinError(winerror.FILE_NOT_FOUND, path) from error
        sock.setblocking(False)
        return sock

    def ready(self, thread: int) -> bool:
        """A pipe handle itself is never signaled here."""
        return False

    # -- with completion routines ----------------------------------------

    def read(self, buffer: int, size: int, overlapped: Any,
             routine: Any) -> None:
        """ReadFileEx; WinError 109 if the other end is gone."""
        with self._lock:
            self._check()
            self._reads.append(_request(overlapped, routine, buffer, size,
                                        b''))
            self._go_on_reading()

    def write(self, data: bytes, overlapped: Any, routine: Any) -> None:
        """WriteFileEx; WinError 232 if the other end is gone."""
        with self._lock:
            self._check(winerror.NO_DATA)
            self._writes.append(_request(overlapped, routine, 0, len(data),
                                         data))
            self._go_on_writing()

    def _check(self, code: int = winerror.BROKEN_PIPE) -> None:
        if self._socket is None:
            raise WinError(winerror.INVALID_HANDLE)
        if self._broken:
            raise WinError(code)

    def _watch(self) -> None:
        if self._socket is not None:
            self._system.poller.watch(
                self._socket.fileno(),
                self._go_on_reading if self._reads else None,
                self._go_on_writing if self._writes else None)

    def _go_on_reading(self) -> None:
        with self._lock:
            while self._reads and self._socket is not None:
                request = self._reads[0]
                try:
                    data = self._socket.recv(request.size)
                except _BLOCKING_ERRORS:
                    break
                except OSError:
                    data = b''
                if not data:
                    self._break()
                    break
                self._reads.popleft()
                ctypes.memmove(request.buffer, data, len(data))
                self._complete(request, 0, len(data))
            self._watch()

    def _go_on_writing(self) -> None:
        with self._lock:
            while self._writes and self._socket is not None:
                request = self._writes[0]
                try:
                    sent = self._socket.send(request.data)
                except _BLOCKING_ERRORS:
                    break
                except OSError:
                    self._break()
                    break
                del request.data[:sent]
                if not request.data:
                    self._writes.popleft()
                    self._complete(request, 0, request.size)
            self._watch()

    def _break(self) -> None:
        """The other end is gone: everything under way fails."""
        self._broken = True
        self._fail([*self._reads, *self._writes], winerror.BROKEN_PIPE)
        self._reads.clear()
        self._writes.clear()

    def _fail(self, requests: List[_Request], code: int) -> None:
        for request in requests:
            self._complete(request, code, 0)

    def _complete(self, request: _Request, code: int, count: int) -> None:
        self._system.queue_call(
            request.thread,
            lambda: request.routine(code, count, request.overlapped))

    def cancel(self, address: int) -> None:
        """CancelIoEx.

        :param address: of the OVERLAPPED, 0 for all.
        :raises WinError: 1168, nothing of it is under way.
        """
        with self._lock:
            if self._socket is None:
                raise WinError(winerror.INVALID_HANDLE)
            found = [request for request in [*self._reads, *self._writes]
                     if not address or request.address == address]
            if not found:
                raise WinError(winerror.NOT_FOUND)
            self._reads = deque(request for request in self._reads
                                if request not in found)
            self._writes = deque(request for request in self._writes
                                 if request not in found)
            self._watch()
            self._fail(found, winerror.OPERATION_ABORTED)

    # -- without ---------------------------------------------------------

    def read_now(self, size: int) -> bytes:
        """ReadFile: waits for data; WinError 109 at the end."""
        self._check()
        self._socket.setblocking(True)
        try:
            data: bytes = self._socket.recv(size)
        finally:
            self._socket.setblocking(False)
        if not data:
            self._broken = True
            raise WinError(winerror.BROKEN_PIPE)
        return data

    def write_now(self, data: bytes) -> int:
        """WriteFile: waits until all is taken."""
        self._check(winerror.NO_DATA)
        self._socket.setblocking(True)
        try:
            self._socket.sendall(data)
        except OSError as error:
            self._broken = True
            raise WinError(winerror.NO_DATA) from error
        finally:
            self._socket.setblocking(False)
        return len(data)

    def close(self) -> None:
        with self._lock:
            sock, self._socket = self._socket, None
            self._system.poller.forget(sock.fileno())
            sock.close()
            self._fail([*self._reads, *self._writes],
                       winerror.OPERATION_ABORTED)
            self._reads.clear()
            self._writes.clear()


def _request(overlapped: Any, routine: Any, buffer: int, size: int,
             data: bytes) -> _Request:
    if not overlapped or not routine:
        raise WinError(winerror.INVALID_PARAMETER)
    return _Request(native.get_ident(),
                    ctypes.addressof(overlapped.contents), overlapped,
                    routine, buffer, size, bytearray(data))


class PipeFunctions:
    """What kernel32 does with pipes and completion routines."""

    _port: Any
    _system: System

    def do_WaitNamedPipeW(self, path: Optional[str],
                          timeout_ms: int) -> int:
        self._port.call('dll.kernel32.WaitNamedPipeW', path=path or '',
                        timeout_ms=timeout_ms)
        return 1

    def do_ReadFileEx(self, handle: Optional[int], buffer: Optional[int],
                      size: int, overlapped: Any, routine: Any) -> int:
        pipe = self._system.handle(handle, PipeEnd)
        if not buffer:
            raise WinError(winerror.NOACCESS)
        pipe.read(buffer, size, overlapped, routine)
        self._system.last_error = 0
        return 1

    def do_WriteFileEx(self, handle: Optional[int], buffer: Optional[int],
                       size: int, overlapped: Any, routine: Any) -> int:
        pipe = self._system.handle(handle, PipeEnd)
        if not buffer:
            raise WinError(winerror.NOACCESS)
        pipe.write(ctypes.string_at(buffer, size), overlapped, routine)
        self._system.last_error = 0
        return 1

    def do_CancelIoEx(self, handle: Optional[int], overlapped: Any) -> int:
        pipe = self._system.handle(handle, PipeEnd)
        pipe.cancel(ctypes.addressof(overlapped.contents)
                    if overlapped else 0)
        return 1
