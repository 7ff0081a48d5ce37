# SPDX-License-Identifier: Apache-2.0
"""COM ports of virtual machines as named pipes of the host.

The worker process of a running machine serves the pipe; one client at a
time may be connected, and what the guest writes with no client is lost.
Behind all pipes of a host is one Unix socket in the fabric's folder; a
client first sends the ticket that opening the pipe gave it.
"""

import binascii
import contextlib
import os
from typing import Any
from typing import Callable
from typing import Dict
from typing import Iterator
from typing import List
from typing import Optional

from . import native
from . import poller
from . import winerror
from .winerror import WinError

#: Written, but not taken yet by a slow client; more is lost (bytes).
BUFFER_BYTES = 1 << 20
#: An opened pipe whose client never connects is free again (seconds).
RESERVED_S = 10.0
#: Sent to a client once what the guest writes will reach it.
WELCOME = b'+'
_CHUNK_BYTES = 65536
_TICKET_BYTES = 16

OnData = Callable[[bytes], object]


def short_name(name: str) -> str:
    """The name under which pipes are compared: without ``\\\\.\\pipe\\``."""
    text = name.replace('/', '\\')
    for prefix in ('\\\\.\\pipe\\', '\\\\?\\pipe\\'):
        if text.lower().startswith(prefix):
            text = text[len(prefix):]
    return text.upper()


class Pipe:
    """One end of a named pipe: the machine's.

    :ivar name: as written in the serial port's ``Connection``.
    """

    def __init__(self, pipes: 'Pipes', name: str, on_data: OnData,
                 on_client: Optional[Callable[[], object]]) -> None:
        self.name = name
        self._pipes = pipes
        self._on_data = on_data
        self._on_client = on_client
        self._lock = native.RLock()
        self._socket: Any = None
        self._pending = bytearray()
        self._reserved_until_s = 0.0
        self.ticket = b''
        self.client = ''
        self.closed = False

    @property
    def has_client(self) -> bool:
        """Whether somebody is connected."""
        return self._socket is not None

    @property
    def is_busy(self) -> bool:
        """Whether a client is connected or about to be."""
        return self._socket is not None or (
            native.monotonic() < self._reserved_until_s)

    def write(self, data: bytes) -> int:
        """Send to the client; never waits.

        :returns: how many bytes were not lost.
        """
        with self._lock:
            if self._socket is None:
                return 0
            taken = data[:max(0, BUFFER_BYTES - len(self._pending))]
            self._pending += taken
            self._send()
            return len(taken)

    def close(self) -> None:
        """The machine stopped: the client sees a broken pipe."""
        self._pipes.remove(self)
        with self._lock:
            self.closed = True
            self._drop()

    def reserve(self, client: str) -> bytes:
        """A ticket for a client that is about to connect."""
        self.ticket = binascii.hexlify(os.urandom(_TICKET_BYTES // 2))
        self.client = client
        self._reserved_until_s = native.monotonic() + RESERVED_S
        return self.ticket

    def connected(self, sock: Any) -> None:
        """The client came with its ticket."""
        with self._lock:
            self.ticket = b''
            self._reserved_until_s = 0.0
            self._socket = sock
            try:
                sock.send(WELCOME)
            except OSError:
                self._drop()
                return
            self._watch()
        if self._on_client is not None:
            self._on_client()

    def disconnect(self) -> None:
        """Drop the client; the next one may connect."""
        with self._lock:
            self._drop()

    def _watch(self) -> None:
        self._pipes.poller.watch(
            self._socket.fileno(), self._receive,
            self._flush if self._pending else None)

    def _flush(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._send()

    def _send(self) -> None:
        try:
            while self._pending:
                sent = self._socket.send(self._pending[:_CHUNK_BYTES])
                del self._pending[:sent]
        except BlockingIOError:
            self._watch()
            return
        except OSError:
            self._drop()
            return
        self._watch()

    def _receive(self) -> None:
        with self._lock:
            if self._socket is None:
                return
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b''
            if not data:
                self._drop()
        if data:
            self._on_data(data)

    def _drop(self) -> None:
        sock, self._socket = self._socket, None
        self._pending.clear()
        self._reserved_until_s = 0.0
        self.client = ''
        if sock is not None:
            self._pipes.poller.forget(sock.fileno())
            sock.close()
        self._pipes.freed()


class Pipes:
    """The named pipes of one host."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.poller = poller.Poller()
        self._changed = native.Condition()
        self._pipes: Dict[str, Pipe] = {}
        self._listener: Any = None
        folder = os.path.join(host.fabric.shares.root_dir, 'pipes')
        os.makedirs(folder, exist_ok=True)
        self.address = os.path.join(folder, host.name + '.sock')

    def open(self, name: str, on_data: OnData,
             on_client: Optional[Callable[[], object]] = None) -> Pipe:
        """Serve a pipe.

        :param on_data: called with what the client wrote, in a thread of
            the fabric; must not wait.
        :param on_client: called whenever a client has connected.
        :raises WinError: 5, somebody serves this name already.
        """
        with self._changed:
            key = short_name(name)
            if key in self._pipes:
                raise WinError(winerror.ACCESS_DENIED, name)
            pipe = self._pipes[key] = Pipe(self, name, on_data, on_client)
            self._changed.notify_all()
            return pipe

    def remove(self, pipe: Pipe) -> None:
        """Forget a pipe."""
        with self._changed:
            key = short_name(pipe.name)
            if self._pipes.get(key) is pipe:
                del self._pipes[key]
            self._changed.notify_all()

    def freed(self) -> None:
        """Tell those who wait for a busy pipe."""
        with self._changed:
            self._changed.notify_all()

    def _find(self, name: str) -> Pipe:
        pipe = self._pipes.get(short_name(name))
        if pipe is None:
            raise WinError(winerror.FILE_NOT_FOUND, name)
        return pipe

    def wait(self, name: str, timeout_s: Optional[float]) -> None:
        """WaitNamedPipe: 2 no such pipe, 121 still busy."""
        deadline = None if timeout_s is None else (
            native.monotonic() + timeout_s)
        with self._changed:
            while self._find(name).is_busy:
                left = None if deadline is None else (
                    deadline - native.monotonic())
                if left is not None and left <= 0:
                    raise WinError(winerror.SEM_TIMEOUT, name)
                # A reservation runs out without a word.
                self._changed.wait(1.0 if left is None else min(left, 1.0))

    def connect(self, name: str, client: str) -> Dict[str, Any]:
        """Open the client's end.

        :returns: ``address`` of the socket and the ``ticket`` to send.
        :raises WinError: 2 no such pipe, 231 busy.
        """
        with self._changed:
            pipe = self._find(name)
            if pipe.is_busy:
                raise WinError(winerror.PIPE_BUSY, name)
            self._listen()
            return {'address': self.address,
                    'ticket': pipe.reserve(client).decode('ascii')}

    def client_gone(self, client: str) -> None:
        """A process ended: its ends of pipes are closed."""
        with self._changed:
            pipes = [pipe for pipe in self._pipes.values()
                     if client and pipe.client == client]
        for pipe in pipes:
            pipe.disconnect()

    def power_cut(self) -> None:
        """The host lost its power: all pipes are gone."""
        for pipe in list(self._pipes.values()):
            pipe.close()

    def close(self) -> None:
        """End all pipes and the thread that serves them."""
        self.power_cut()
        listener, self._listener = self._listener, None
        if listener is not None:
            self.poller.forget(listener.fileno())
            listener.close()
            os.unlink(self.address)

    def problems(self) -> List[str]:
        """Pipes that are still served or used."""
        with self._changed:
            return ['pipe %s is %s' % (
                pipe.name, 'in use' if pipe.is_busy else 'served')
                for pipe in self._pipes.values()]

    # -- clients that come -----------------------------------------------

    def _listen(self) -> None:
        if self._listener is not None:
            return
        listener = poller.unix_socket()
        if os.path.lexists(self.address):
            os.unlink(self.address)     # of a fabric that was killed
        with short_address(self.address) as address:
            listener.bind(address)
        listener.listen(64)
        listener.setblocking(False)
        self._listener = listener
        self.poller.watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            descriptor, _ = self._listener._accept()
        except BlockingIOError:
            return
        sock = native.socket(fileno=descriptor)
        sock.setblocking(False)
        ticket = bytearray()
        self.poller.watch(sock.fileno(), lambda: self._greet(sock, ticket))

    def _greet(self, sock: Any, ticket: bytearray) -> None:
        """Collect a client's ticket and hand it to its pipe."""
        try:
            data = sock.recv(_TICKET_BYTES - len(ticket))
        except BlockingIOError:
            return
        except OSError:
            data = b''
        ticket += data
        if data and len(ticket) < _TICKET_BYTES:
            return
        self.poller.forget(sock.fileno())
        with self._changed:
            pipe = next((pipe for pipe in self._pipes.values()
                         if pipe.ticket and pipe.ticket == bytes(ticket)),
                        None)
        if pipe is None or not data:
            sock.close()
        else:
            pipe.connected(sock)


@contextlib.contextmanager
def short_address(path: str) -> Iterator[str]:
    """A name for a socket whose path may exceed sun_path's 108 bytes."""
    folder, name = os.path.split(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield '/proc/self/fd/%d/%s' % (descriptor, name)
    finally:
        os.close(descriptor)
