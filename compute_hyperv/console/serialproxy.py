# SPDX-License-Identifier: Apache-2.0
"""The TCP side of an interactive serial console.

nova-serialproxy connects to it and passes raw bytes on; one client at a
time. All threads are native ones in both of Nova's modes, for the queues
towards the pipe are os-win's, and those block.
"""

import contextlib
import socket as socket_module
import threading as threading_module
from typing import Any

from nova import exception
from oslo_log import log as logging

from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

_ACCEPT_POLL_S = 0.5
_JOIN_S = 5.0
_CHUNK_BYTES = 4096


class PortPool:
    """TCP ports for consoles: each serves one console at a time.

    :param address: where nova-serialproxy connects to.
    :param port_range: 'first:last', inclusive at both ends.
    """

    def __init__(self, address: str, port_range: str) -> None:
        first, _, last = port_range.partition(':')
        self.address = address
        self._ports = range(int(first), int(last) + 1)
        self._taken: set[int] = set()
        self._lock = oswin.native(threading_module).Lock()

    def listen(self) -> Any:
        """Listen on the lowest free port.

        :returns: a listening socket; give it to :meth:`release`.
        :raises SocketPortRangeExhaustedException: all are taken.
        """
        with self._lock:
            for port in self._ports:
                if port in self._taken:
                    continue
                with contextlib.suppress(OSError):  # another program's port
                    listener = self._bind(port)
                    self._taken.add(port)
                    return listener
        raise exception.SocketPortRangeExhaustedException(host=self.address)

    def _bind(self, port: int) -> Any:
        socket = oswin.native(socket_module)
        family = (socket.AF_INET6 if ':' in self.address else socket.AF_INET)
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.address, port))
            listener.listen(1)
        except OSError:
            listener.close()
            raise
        return listener

    def release(self, listener: Any) -> None:
        """Close a listening socket and give its port back."""
        port = listener.getsockname()[1]
        # Wakes accept() at once; where it cannot (Windows), close() does.
        with contextlib.suppress(OSError):
            listener.shutdown(oswin.native(socket_module).SHUT_RDWR)
        listener.close()
        with self._lock:
            self._taken.discard(port)


class SerialProxy:
    """One console: a listening port and at most one client.

    :param win: makes the queues.
    :param pool: gives the port.

    The pipe handler is to be made with :attr:`to_guest` as its input queue,
    :attr:`from_guest` as its output queue and :attr:`connected`.
    """

    def __init__(self, win: oswin.Win, pool: PortPool) -> None:
        self._threading = oswin.native(threading_module)
        self._socket = oswin.native(socket_module)
        self._pool = pool
        self.connected = self._threading.Event()
        self.to_guest = win.io_queue(self.connected)
        self.from_guest = win.io_queue(self.connected)
        self._stopping = self._threading.Event()
        self._lock = self._threading.Lock()
        self._client: Any = None
        self._listener: Any = None
        self._port = 0
        self._threads: list[Any] = []

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to; those it had, once it stopped."""
        return self._pool.address, self._port

    def start(self) -> None:
        """Take a port and wait for clients.

        :raises SocketPortRangeExhaustedException: there is no free port.
        """
        self._listener = self._pool.listen()
        self._port = self._listener.getsockname()[1]
        self._listener.settimeout(_ACCEPT_POLL_S)
        self._run(self._accept, 'accept')

    def stop(self) -> None:
        """Disconnect the client and give the port back; idempotent."""
        self._stopping.set()
        self._hang_up(self._client)
        if self._listener is not None:
            self._pool.release(self._listener)
            self._listener = None
        self._join()

    def _run(self, target: Any, what: str, *args: Any) -> None:
        thread = self._threading.Thread(
            target=target, args=args, daemon=True,
            name=f'serial-{what}-{self._port}')
        self._threads.append(thread)
        thread.start()

    def _join(self) -> None:
        me = self._threading.current_thread()
        for thread in self._threads:
            if thread is not me:
                thread.join(_JOIN_S)
        self._threads = [thread for thread in self._threads
                         if thread.is_alive()]

    def _accept(self) -> None:
        listener = self._listener
        while not self._stopping.is_set():
            try:
                client = listener.accept()[0]
            except TimeoutError:
                continue
            except OSError:         # closed by stop()
                return
            if self._client is None:
                # The last client's threads must not take from this one.
                self._join()
                self._serve(client)
            else:
                client.close()

    def _serve(self, client: Any) -> None:
        client.settimeout(None)
        client.setsockopt(self._socket.SOL_SOCKET,
                          self._socket.SO_KEEPALIVE, 1)
        self._client = client
        self.connected.set()
        self._run(self._read_client, 'in', client)
        self._run(self._write_client, 'out', client)

    def _read_client(self, client: Any) -> None:
        """Pass the client's bytes to the guest until it hangs up."""
        while self._client is client:
            try:
                received = client.recv(_CHUNK_BYTES)
            except OSError:
                break
            if not received:
                break
            # os-win's pipe writer takes text, one character for each byte.
            self.to_guest.put(received.decode('latin-1'))
        self._hang_up(client)

    def _write_client(self, client: Any) -> None:
        """Pass the guest's bytes to the client until it hangs up."""
        while self._client is client:
            sent = self.from_guest.get_burst()
            if not sent:
                continue
            try:
                client.sendall(sent)
            except OSError:
                break
        self._hang_up(client)

    def _hang_up(self, client: Any) -> None:
        with self._lock:
            if client is None or self._client is not client:
                return
            self._client = None
        # Wakes those who wait for either queue: they take nothing for an end.
        self.to_guest.put('')
        self.from_guest.put(b'')
        self.connected.clear()
        with contextlib.suppress(OSError):      # the client was faster
            client.shutdown(self._socket.SHUT_RDWR)
        client.close()
