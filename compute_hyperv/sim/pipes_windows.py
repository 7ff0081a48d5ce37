# SPDX-License-Identifier: Apache-2.0
"""COM ports of virtual machines as named pipes of Windows itself.

Where the simulator runs on Windows (or Wine) its machines serve real named
pipes, and os-win opens them through the real kernel32: it is there that
overlapped reads, completion routines and their threads are Windows' own.
The interface is that of :mod:`.pipes`.

Sources: Microsoft, "Named Pipe Server Using Overlapped I/O",
"CancelIoEx function".
"""

import ctypes
from typing import Any
from typing import Callable
from typing import Dict
from typing import List
from typing import Optional

from . import native
from . import winerror
from .errors import NotSimulated
from .pipes import BUFFER_BYTES
from .pipes import OnData
from .pipes import short_name
from .winerror import WinError

_winapi: Any = __import__('_winapi')
_kernel32: Any = getattr(ctypes, 'WinDLL')('kernel32', use_last_error=True)
_kernel32.DisconnectNamedPipe.argtypes = [ctypes.c_void_p]
_kernel32.CancelIoEx.argtypes = [ctypes.c_void_p, ctypes.c_void_p]

_CHUNK_BYTES = 65536
_FIRST_INSTANCE = 0x00080000            # FILE_FLAG_FIRST_PIPE_INSTANCE
_REJECT_REMOTE = 0x00000008             # PIPE_REJECT_REMOTE_CLIENTS


class Pipe:
    """The machine's end of a named pipe.

    A native thread serves one client after the other; while one is
    connected, a second thread writes to it.

    :ivar name: as written in the serial port's ``Connection``.
    """

    def __init__(self, pipes: 'Pipes', name: str, on_data: OnData,
                 on_client: Optional[Callable[[], object]]) -> None:
        self.name = name
        self.closed = False
        self._pipes = pipes
        self._on_data = on_data
        self._on_client = on_client
        # Guards what is begun on the handle, never a wait for its end.
        self._lock = native.RLock()
        self._connected = False
        self._pending_bytes = 0
        self._to_write: Any = native.SimpleQueue()
        self._handle = _create(name)
        native.Thread(self._serve).start()

    @property
    def has_client(self) -> bool:
        """Whether somebody is connected."""
        return self._connected

    @property
    def is_busy(self) -> bool:
        """The same: Windows connects clients at once."""
        return self._connected

    def write(self, data: bytes) -> int:
        """Send to the client; never waits.

        :returns: how many bytes were not lost.
        """
        with self._lock:
            if not self._connected:
                return 0
            taken = data[:max(0, BUFFER_BYTES - self._pending_bytes)]
            self._pending_bytes += len(taken)
            self._to_write.put(taken)
            return len(taken)

    def close(self) -> None:
        """The machine stopped: the client sees a broken pipe."""
        self._pipes.remove(self)
        with self._lock:
            if not self.closed:
                self.closed = True
                _kernel32.CancelIoEx(self._handle, None)

    def disconnect(self) -> None:
        """Drop the client; the next one may connect."""
        with self._lock:
            if not self.closed and self._connected:
                _kernel32.DisconnectNamedPipe(self._handle)

    # -- the thread that serves -------------------------------------------

    def _serve(self) -> None:
        try:
            while self._wait_for_client():
                writer = native.Thread(self._write_out, self._to_write)
                writer.start()
                if self._on_client is not None:
                    self._on_client()
                self._read_all()
                self._end_client(writer)
        finally:
            with self._lock:
                self.closed = True      # from here on the number is no one's
                _winapi.CloseHandle(self._handle)

    def _wait_for_client(self) -> bool:
        """Whether one came, before the pipe was closed."""
        with self._lock:
            if self.closed:
                return False
            pending = _winapi.ConnectNamedPipe(self._handle, overlapped=True)
        if not _result(pending)[1]:
            return False
        with self._lock:
            self._connected = not self.closed
            self._pending_bytes = 0
            self._to_write = native.SimpleQueue()
        return self._connected

    def _read_all(self) -> None:
        """Hand on what the client writes, until it is gone."""
        while True:
            try:
                with self._lock:
                    if self.closed:
                        return
                    pending, _ = _winapi.ReadFile(
                        self._handle, _CHUNK_BYTES, overlapped=True)
            except OSError:
                return          # it has hung up already
            _, well = _result(pending)
            if not well:
                return
            self._on_data(bytes(pending.getbuffer()))

    def _end_client(self, writer: native.Thread) -> None:
        with self._lock:
            self._connected = False
            self._to_write.put(None)
            _kernel32.CancelIoEx(self._handle, None)
        writer.join()
        with self._lock:
            # Of a machine that stopped, what is unread stays readable.
            if not self.closed:
                _kernel32.DisconnectNamedPipe(self._handle)

    def _write_out(self, to_write: Any) -> None:
        """Write what is queued, one piece after the other."""
        while True:
            data = to_write.get()
            if data is None:
                return
            try:
                with self._lock:
                    if self.closed or not self._connected:
                        return
                    pending, _ = _winapi.WriteFile(self._handle, data,
                                                   overlapped=True)
            except OSError:
                return          # the client is gone
            if not _result(pending)[1]:
                return
            with self._lock:
                self._pending_bytes -= len(data)


def _create(name: str) -> int:
    path = '\\\\.\\pipe\\' + name.replace('/', '\\').rpartition('\\')[2]
    try:
        return int(_winapi.CreateNamedPipe(
            path, _winapi.PIPE_ACCESS_DUPLEX | _winapi.FILE_FLAG_OVERLAPPED |
            _FIRST_INSTANCE, _winapi.PIPE_WAIT | _REJECT_REMOTE, 1,
            _CHUNK_BYTES, _CHUNK_BYTES, 0, _winapi.NULL))
    except OSError as error:
        raise WinError(winerror.ACCESS_DENIED, name) from error


def _result(pending: Any) -> 'tuple[int, bool]':
    """Wait for the end: how many bytes, and whether it went well."""
    try:
        count, error = pending.GetOverlappedResult(True)
    except OSError:
        return 0, False
    return int(count), error in (0, _winapi.ERROR_MORE_DATA)


class Pipes:
    """The pipes that the machines of one host serve."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self._lock = native.RLock()
        self._pipes: Dict[str, Pipe] = {}

    def open(self, name: str, on_data: OnData,
             on_client: Optional[Callable[[], object]] = None) -> Pipe:
        """Serve a pipe; see :meth:`.pipes.Pipes.open`."""
        with self._lock:
            key = short_name(name)
            if key in self._pipes:
                raise WinError(winerror.ACCESS_DENIED, name)
            pipe = self._pipes[key] = Pipe(self, name, on_data, on_client)
            return pipe

    def remove(self, pipe: Pipe) -> None:
        """Forget a pipe."""
        with self._lock:
            key = short_name(pipe.name)
            if self._pipes.get(key) is pipe:
                del self._pipes[key]

    def wait(self, name: str, timeout_s: Optional[float]) -> None:
        """Windows itself makes clients wait."""
        raise NotSimulated('WaitNamedPipe other than through Windows')

    def connect(self, name: str, client: str) -> Dict[str, Any]:
        """Windows itself connects clients."""
        raise NotSimulated('CreateFile of a pipe other than through Windows')

    def client_gone(self, client: str) -> None:
        """Windows closed what the process had open."""

    def power_cut(self) -> None:
        """The host lost its power: all pipes are gone."""
        for pipe in list(self._pipes.values()):
            pipe.close()

    close = power_cut

    def problems(self) -> List[str]:
        """Pipes that are still served or used."""
        with self._lock:
            return ['pipe %s is %s' % (
                pipe.name, 'in use' if pipe.is_busy else 'served')
                for pipe in self._pipes.values()]
