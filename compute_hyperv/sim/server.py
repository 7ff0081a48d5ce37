# SPDX-License-Identifier: Apache-2.0
"""A fabric served to other processes, on this machine.

Each nova-compute process is a client of its host (:mod:`.remote`); an
administrator's tool is a client too.  Threads are native: one per
connection.
"""

from __future__ import annotations

import _socket
import contextlib
import hmac
import os
import struct
import sys
import typing

from . import address
from . import admin
from . import fabric as fabric_module
from . import faults
from . import native
from . import persist
from . import ports
from . import remote
from .host import Host

_PEER = struct.Struct('3i')     # pid, uid, gid of SO_PEERCRED


class Client:
    """A process that uses the fabric.

    :ivar watches: its subscriptions, by number, with their host.
    """

    def __init__(self, name: str, host: Host, role: str,
                 pid: int) -> None:
        self.name = name
        self.host = host
        self.role = role
        self.pid = pid
        self.watches: typing.Set[int] = set()


class Server:
    """Serves a fabric on *socket_path*.

    :param socket_path: an address (:mod:`.address`).
    :param state_path: where the fabric is saved every *save_every_s*
        seconds, when something changed, and at the end; None: never.
    """

    def __init__(self, fabric: fabric_module.Fabric, socket_path: str,
                 state_path: typing.Optional[str] = None,
                 save_every_s: float = 5.0) -> None:
        self.fabric = fabric
        self.socket_path = socket_path
        self._address = address.Address(socket_path)
        self._token = b''
        self._state_path = state_path
        self._save_every_s = save_every_s
        self._saved_at_change = fabric.changes
        self._lock = native.Lock()
        self._saving = native.Lock()
        self._clients: typing.Dict[str, Client] = {}
        self._connections: typing.Set[typing.Any] = set()
        self._stopping = native.Condition()
        self._stopped = False
        self._asked = False
        self._listener: typing.Any = None
        fabric.server = self

    # -- life --------------------------------------------------------------

    def start(self) -> None:
        """Listen, and accept in a thread of its own.

        :raises OSError: another server listens there.
        """
        self._listener, self._token = self._address.listen()
        native.Thread(self._accept).start()
        if self._state_path:
            native.Thread(self._save_regularly).start()

    def ask_stop(self) -> None:
        """Have :meth:`wait` return soon; who waits is to :meth:`stop`.

        Safe in a signal handler: it takes no lock.
        """
        self._asked = True

    def wait(self) -> None:
        """Return when the server is to stop, or has."""
        with self._stopping:
            while not self._stopped and not self._asked:
                # With a bound, so that signal handlers get to run.
                self._stopping.wait(0.5)

    def stop(self) -> None:
        """Save, hang up on everybody and close the fabric; idempotent."""
        with self._stopping:
            if self._stopped:
                return
            self._stopped = True
            self._stopping.notify_all()
        self.save()
        self._listener.close()
        self._address.remove()
        with self._lock:
            connections = list(self._connections)
        for sock in connections:
            _hang_up(sock)
        self.fabric.close()

    def save(self) -> None:
        """Write the state file, if there is to be one and news.

        :raises OSError: it cannot be written.
        """
        with self._saving:
            changes = self.fabric.changes
            if self._state_path and self._saved_at_change != changes:
                persist.save(self.fabric, self._state_path)
                self._saved_at_change = changes

    def _save_regularly(self) -> None:
        pause_s = self._save_every_s
        while not self._stopped:
            with self._stopping:
                self._stopping.wait(pause_s)
            if not self._stopped:
                began_s = native.monotonic()
                try:
                    self.save()
                except OSError as exc:      # try again next time
                    print(f'state not saved: {exc}', file=sys.stderr)
                # With very many machines a save takes seconds.
                pause_s = max(self._save_every_s,
                              20 * (native.monotonic() - began_s))

    # -- connections -------------------------------------------------------

    def _accept(self) -> None:
        while not self._stopped:
            try:
                number, _address = self._listener._accept()
            except OSError:
                return      # closed by stop()
            sock = self._address.new_socket(number)
            with self._lock:
                self._connections.add(sock)
            native.Thread(self._converse, sock).start()

    def _converse(self, sock: typing.Any) -> None:
        lifeline: typing.Optional[Client] = None
        welcome = self._knows_token(sock)
        try:
            while welcome and not self._stopped:
                message = _next_message(sock)
                if message is None:
                    break
                if 'hello' in message:
                    answer, lifeline = self._hello(sock, message)
                else:
                    answer = self._answer(message)
                if not _answered(sock, answer):
                    break
        finally:
            with self._lock:
                self._connections.discard(sock)
            sock.close()
            if lifeline is not None:
                self.client_gone(lifeline)

    def _knows_token(self, sock: typing.Any) -> bool:
        """Whether a client is one of this user's."""
        try:
            given = remote.receive_exactly(sock, len(self._token))
        except OSError:
            return False
        return hmac.compare_digest(given, self._token)

    def _pid(self, sock: typing.Any, message: remote.Message) -> int:
        """Of a client; the kernel knows best who is at a unix socket."""
        if self._token:
            return int(message['pid'])
        pid, _uid, _gid = _PEER.unpack(sock.getsockopt(
            _socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER.size))
        return int(pid)

    def _hello(self, sock: typing.Any, message: remote.Message
               ) -> typing.Tuple[remote.Message, typing.Optional[Client]]:
        host = self.fabric.find(message['host'])
        if host is None:
            return {'error': {'type': 'LookupError', 'text': (
                f'the fabric has no host {message["host"]}; it has '
                f'{", ".join(self.fabric.hosts)}')}}, None
        client = Client(message['hello'], host, message['role'],
                        self._pid(sock, message))
        with self._lock:
            self._clients[client.name] = client
        return {'result': {
            'name': host.name, 'clock': self.fabric.clock.mode,
            'root': self.fabric.root_dir}}, client

    def _answer(self, message: remote.Message) -> remote.Message:
        op, args = message['op'], message['args']
        try:
            if op.startswith('admin.'):
                result = admin.perform(self.fabric, op, args)
            else:
                host = self.fabric.host(message['host'])
                result = ports.perform(host, op, args)
                self._follow(message['client'], op, args, result)
        except faults.Kill:
            return {'kill': True}
        except Exception as exc:    # whatever it is, the client gets it
            return {'error': remote.error_to_wire(exc)}
        return {'result': result}

    def _follow(self, name: str, op: str, args: remote.Message,
                result: typing.Any) -> None:
        """Remember which subscriptions a client has."""
        client = self._clients.get(name)
        if client is not None and op == 'wmi.watch':
            client.watches.add(result)
        elif client is not None and op == 'wmi.unwatch':
            client.watches.discard(args['watch_id'])

    def client_gone(self, client: Client) -> None:
        """A process ended: the system closes what it had open."""
        with self._lock:
            self._clients.pop(client.name, None)
        client.host.client_gone(client.name, client.watches)

    def clients(self) -> typing.List[Client]:
        """The processes that use the fabric now."""
        with self._lock:
            return list(self._clients.values())

    def kill_clients(self, host: Host) -> typing.List[int]:
        """End the processes that run on *host*, as a power cut does."""
        killed = []
        for client in self.clients():
            if client.host is host and client.role == 'compute':
                # It may be ending by itself, with its socket still open.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(client.pid, native.KILL)
                    killed.append(client.pid)
        return killed


def _next_message(sock: typing.Any
                  ) -> typing.Optional[remote.Message]:
    """What the client wants, or None when it is gone (or none of ours)."""
    try:
        message: remote.Message = remote.receive(sock)
        return message
    except (OSError, ValueError):
        return None


def _answered(sock: typing.Any, answer: remote.Message) -> bool:
    """Send an answer; whether the client took it."""
    try:
        remote.send(sock, answer)
    except OSError:
        return False
    except TypeError as exc:    # a handler gave what JSON cannot carry
        remote.send(sock, {'error': remote.error_to_wire(exc)})
    return True


def _hang_up(sock: typing.Any) -> None:
    try:
        sock.shutdown(_socket.SHUT_RDWR)
    except OSError:
        return      # the other side was faster
