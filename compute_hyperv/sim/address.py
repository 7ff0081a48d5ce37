# SPDX-License-Identifier: Apache-2.0
r"""Where a fabric is served: a unix socket, or a port of the loopback.

``/run/fabric/socket`` is a unix socket, which the file system guards.
``tcp:41000:/run/fabric/token`` is port 41000 of 127.0.0.1, for Windows,
which has no unix sockets for Python, and for programs on both sides of
Wine.  Any user of the machine could come there, so whoever connects first
sends the content of the token file, which the server makes for its owner.
Sockets are the C type, which eventlet leaves alone.
"""

from __future__ import annotations

import _socket
import binascii
import os
import stat
import typing

LOOPBACK = '127.0.0.1'
#: Characters of a token.
TOKEN_BYTES = 32
_SCHEME = 'tcp:'


class Address:
    """A parsed address.

    :ivar text: as it was given.
    :ivar port: None for a unix socket.
    :ivar path: of the unix socket, or of the token file.
    :raises ValueError: ``tcp:`` without port or token file.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.port: typing.Optional[int] = None
        self.path = text
        if text.startswith(_SCHEME):
            port, _, self.path = text[len(_SCHEME):].partition(':')
            if not port.isdigit() or not self.path:
                raise ValueError(f'{text}: an address is tcp:PORT:TOKENFILE '
                                 f'or the path of a socket')
            self.port = int(port)

    def new_socket(self, number: typing.Optional[int] = None) -> typing.Any:
        """A native stream socket; of descriptor *number* if given."""
        family = _socket.AF_INET if self.port is not None else (
            _socket.AF_UNIX)
        return _socket.socket(family, _socket.SOCK_STREAM, 0, number)

    def connect(self) -> typing.Any:
        """A connection to the server, introduced with the token.

        :raises OSError: no server there.
        """
        sock = self.new_socket()
        try:
            if self.port is None:
                sock.connect(self.path)
                return sock
            with open(self.path, 'rb') as stream:
                token = stream.read()
            sock.connect((LOOPBACK, self.port))
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            sock.sendall(token)
        except OSError:
            sock.close()
            raise
        return sock

    def listen(self) -> typing.Tuple[typing.Any, bytes]:
        """A listening socket, and the token that clients have to send.

        :returns: the token is empty for a unix socket.
        :raises OSError: another server listens there.
        """
        listener = self.new_socket()
        try:
            if self.port is None:
                self._remove_dead_socket()
                listener.bind(self.path)
                os.chmod(self.path, 0o600)
            else:
                listener.bind((LOOPBACK, self.port))
            listener.listen(64)
        except OSError as exc:
            listener.close()
            raise OSError(f'{self.text}: {exc}') from exc
        return listener, b'' if self.port is None else self._new_token()

    def remove(self) -> None:
        """Remove the socket's or the token's file."""
        if os.path.exists(self.path):
            os.unlink(self.path)

    def _remove_dead_socket(self) -> None:
        if not os.path.exists(self.path):
            return
        probe = self.new_socket()
        try:
            probe.connect(self.path)
        except OSError:
            os.unlink(self.path)        # a dead server left it
        else:
            raise OSError(f'a fabric is served on {self.path} already')
        finally:
            probe.close()

    def _new_token(self) -> bytes:
        token = binascii.hexlify(os.urandom(TOKEN_BYTES // 2))
        temporary = self.path + '.new'
        # Not through the umask: nobody else may read it at any time.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                             stat.S_IRUSR | stat.S_IWUSR)
        with os.fdopen(descriptor, 'wb') as stream:
            stream.write(token)
        os.replace(temporary, self.path)
        return token
