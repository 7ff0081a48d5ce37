# SPDX-License-Identifier: Apache-2.0
"""The client side of a served fabric: a port over a socket.

Frames are a length (4 bytes, big-endian) and JSON.  One connection carries
one call at a time, so a port keeps a pool of them, and one more that stays
open until the process ends: that is how the server learns of its end.
Sockets are the C type, which eventlet leaves alone.
"""

from __future__ import annotations

import json
import os
import struct
import typing
import uuid

from . import address
from . import errors
from . import native

_LENGTH = struct.Struct('>I')
Message = typing.Dict[str, typing.Any]


def send(sock: typing.Any, message: typing.Any) -> None:
    """Write one frame."""
    body = json.dumps(message, separators=(',', ':')).encode()
    sock.sendall(_LENGTH.pack(len(body)) + body)


def receive_exactly(sock: typing.Any, size: int) -> bytes:
    """Read so many bytes.

    :raises ConnectionError: the other side is gone.
    """
    parts = []
    while size:
        part = sock.recv(min(size, 1 << 20))
        if not part:
            raise ConnectionResetError('the other side closed')
        parts.append(part)
        size -= len(part)
    return b''.join(parts)


def receive(sock: typing.Any) -> typing.Any:
    """Read one frame.

    :raises ConnectionError: the other side is gone.
    """
    size, = _LENGTH.unpack(receive_exactly(sock, _LENGTH.size))
    return json.loads(receive_exactly(sock, size))


def error_to_wire(exc: BaseException) -> Message:
    """An error of a call for the other side."""
    if isinstance(exc, errors.x_wmi):
        code = exc.com_error.hresult & 0xFFFFFFFF if exc.com_error else 0
        return {'type': 'wmi', 'hresult': code, 'text': str(exc)}
    if isinstance(exc, errors.Win32Error):
        return {'type': 'win32', 'code': exc.winerror, 'path': exc.path}
    name = type(exc).__name__
    return {'type': name, 'text': f'{exc}'}


def error_from_wire(error: Message) -> Exception:
    """The exception that :func:`error_to_wire` described."""
    if error['type'] == 'wmi':
        return errors.wmi_error(
            error['hresult'], error['text'].rpartition(' (0x')[0])
    if error['type'] == 'win32':
        return errors.Win32Error(error['code'], error['path'])
    classes = {'NotSimulated': errors.NotSimulated,
               'SchemaError': errors.SchemaError,
               'LookupError': LookupError, 'KeyError': LookupError,
               'ValueError': ValueError, 'Refused': ValueError}
    cls = classes.get(error['type'])
    if cls is None:
        return RuntimeError(f'{error["type"]}: {error["text"]}')
    return cls(error['text'])


def admin(socket_path: str, op: str, **args: typing.Any) -> typing.Any:
    """Have the server at *socket_path* do an administrator's act.

    :raises OSError: no server there.
    :raises LookupError, ValueError: it was refused.
    """
    try:
        sock = address.Address(socket_path).connect()
    except OSError:
        raise OSError(f'no fabric is served on {socket_path}') from None
    try:
        send(sock, {'op': op, 'args': args})
        answer = receive(sock)
    finally:
        sock.close()
    if 'error' in answer:
        raise error_from_wire(answer['error'])
    return answer['result']


class RemotePort:
    """The port of a host whose fabric another process serves.

    :param socket_path: where the server listens (:mod:`.address`).
    :param name: the host.
    :param role: 'compute' for a process that runs on the host and dies
        with it, 'admin' for a tool that looks from outside.
    :raises ConnectionError, FileNotFoundError: no server there.
    :raises LookupError: the fabric has no such host.
    """

    slow = True
    alive = True

    def __init__(self, socket_path: str, name: str,
                 role: str = 'admin') -> None:
        self._address = address.Address(socket_path)
        self._role = role
        self._lock = native.Lock()
        self._idle: typing.List[typing.Any] = []
        self._pid = 0
        self._lifeline: typing.Any = None
        self._released: typing.List[int] = []
        self.client = ''
        self.name = name
        self.facts: Message = {}
        self._begin()
        self.name = self.facts['name']

    @property
    def hurried(self) -> bool:
        return bool(self.facts['clock'] != 'real')

    def _begin(self) -> None:
        """Say hello; once per process, a fork says its own."""
        self._pid = os.getpid()
        self.client = f'{self._pid}-{uuid.uuid4().hex[:8]}'
        self._idle = []
        self._lifeline = self._address.connect()
        self.facts = self._exchange(self._lifeline, {
            'hello': self.client, 'host': self.name, 'role': self._role,
            'pid': self._pid})

    def _exchange(self, sock: typing.Any, message: Message) -> typing.Any:
        send(sock, message)
        answer = receive(sock)
        if 'error' in answer:
            raise error_from_wire(answer['error'])
        if 'kill' in answer:
            native.kill_this_process()
        return answer['result']

    def _take(self) -> typing.Tuple[typing.Any, bool]:
        """A connection, and whether it was used before."""
        with self._lock:
            if self._pid != os.getpid():
                self._begin()
            if self._idle:
                return self._idle.pop(), True
        return self._address.connect(), False

    def call(self, op: str, **args: typing.Any) -> typing.Any:
        """Have the host do *op*.

        :raises x_wmi: also (RPC unavailable) when no server answers.
        """
        while self._released:
            self._do('wmi.unwatch', {'watch_id': self._released.pop()})
        return self._do(op, args)

    def release(self, watch_id: int) -> None:
        self._released.append(watch_id)

    def _do(self, op: str, args: Message) -> typing.Any:
        message = {'host': self.name, 'op': op, 'args': args,
                   'client': self.client}
        while True:
            used = False
            try:
                sock, used = self._take()
                result = self._call_on(sock, message)
            except (ConnectionError, FileNotFoundError) as exc:
                if used:
                    # The server went away while this one lay idle.
                    with self._lock:
                        self._idle.clear()
                    continue
                raise errors.wmi_error(
                    errors.RPC_S_SERVER_UNAVAILABLE,
                    'The RPC server is unavailable.') from exc
            return result

    def _call_on(self, sock: typing.Any, message: Message) -> typing.Any:
        keep = True
        try:
            return self._exchange(sock, message)
        except ConnectionError:
            keep = False
            raise
        finally:
            if keep:
                with self._lock:
                    self._idle.append(sock)
            else:
                sock.close()

    def close(self) -> None:
        """Hang up: to the server the process has ended."""
        with self._lock:
            for sock in self._idle:
                sock.close()
            self._idle = []
            if self._lifeline is not None:
                self._lifeline.close()
                self._lifeline = None


class RemoteHost:
    """A host of a served fabric, for drivers to be bound to."""

    def __init__(self, port: RemotePort) -> None:
        self.port = port
        self.name = port.name
