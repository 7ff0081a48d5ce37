# SPDX-License-Identifier: Apache-2.0
"""Just enough of a web socket client to type at a serial console."""

from __future__ import annotations

import base64
import os
import socket
import struct
import time
import urllib.parse

from cloud import errors

_BINARY = 0x82          # a final frame of binary data (RFC 6455, 5.2)
_HAS_MASK = 0x80
_DATA = (0, 1, 2)       # opcodes: continuation, text, binary
_CLOSE = 8


class WebSocket:
    """A connection to nova-serialproxy.

    :param url: as Nova gives it, with its token.
    :raises DemoError: the proxy refuses.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        where = urllib.parse.urlsplit(url)
        self._peer = socket.create_connection(
            (where.hostname or '', where.port or 80), timeout_s)
        self._received = b''
        key = base64.b64encode(os.urandom(16)).decode()
        path = f'{where.path or "/"}?{where.query}'
        self._peer.sendall((
            f'GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\n'
            f'Upgrade: websocket\r\nConnection: Upgrade\r\n'
            f'Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n'
            f'Sec-WebSocket-Protocol: binary\r\n\r\n').encode())
        while b'\r\n\r\n' not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b'\r\n\r\n')
        if b' 101 ' not in head.splitlines()[0]:
            self.close()
            raise errors.DemoError(
                f'The serial proxy answers {head.splitlines()[0]!r}.')

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._peer.close()

    def send(self, content: bytes) -> None:
        """Send up to 125 bytes in one frame."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4]
                       for index, byte in enumerate(content))
        self._peer.sendall(bytes((_BINARY, _HAS_MASK | len(content))) +
                           mask + masked)

    def read_until(self, wanted: bytes) -> bytes:
        """Read until some bytes have come.

        :returns: all that came.
        :raises DemoError: they do not come in time, or the proxy hangs up.
        """
        content = b''
        while wanted not in content:
            content += self._frame()
        return content

    def _frame(self) -> bytes:
        first, length = self._take(2)
        if length == 126:
            length, = struct.unpack('>H', self._take(2))
        elif length == 127:
            length, = struct.unpack('>Q', self._take(8))
        content = self._take(length)
        if first & 0x0f == _CLOSE:
            raise errors.DemoError(
                f'The serial proxy hangs up: {content[2:]!r}.')
        return content if first & 0x0f in _DATA else b''

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._receive()
        taken = self._received[:count]
        self._received = self._received[count:]
        return taken

    def _receive(self) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise errors.DemoError('Nothing more comes from the serial '
                                   'console.')
        self._peer.settimeout(left_s)
        try:
            part = self._peer.recv(65536)
        except OSError as exc:
            raise errors.DemoError(f'The serial console: {exc}.') from exc
        if not part:
            raise errors.DemoError('The serial proxy hangs up.')
        self._received += part
