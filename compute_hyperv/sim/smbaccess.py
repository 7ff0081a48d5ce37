# SPDX-License-Identifier: Apache-2.0
"""Who may use which share, and the names of file servers.

A share without credentials is open to the accounts of all hosts, as one
is that was set up for Hyper-V.  Sources: error codes of the Windows
network functions (WNetAddConnection2), oswin-surface.md 3.12, and
field-lessons.md L120, L121.
"""

from __future__ import annotations

import typing
import zlib

from . import winerror
from . import winpath
from .winerror import WinError

LOGON_FAILURE, CREDENTIAL_CONFLICT = 1326, 1219
LOCAL_NAMES = frozenset(('localhost', '127.0.0.1', '::1', '.'))
LOOPBACK = '127.0.0.1'
Share = typing.Tuple[str, str]


def _fold(unc: str) -> Share:
    server, share = winpath.parse(unc.replace('/', '\\')).server_share
    return server.lower(), share.lower()


class Access:
    """Credentials of shares, and the hosts' logons.

    :ivar names: further names of file servers -> the hosts behind them,
        such as the one of a scale-out file server; lower case.
    :ivar down: file servers that do not answer; lower case.
    """

    def __init__(self) -> None:
        self._accounts: typing.Dict[Share, typing.Dict[str, str]] = {}
        #: (host, server) -> user; (host, server, share) are the mounts.
        self._users: typing.Dict[Share, str] = {}
        self._mounts: typing.Set[typing.Tuple[str, str, str]] = set()
        self.names: typing.Dict[str, typing.List[str]] = {}
        self.down: typing.Set[str] = set()

    def protect(self, unc: str, **accounts: str) -> None:
        """Let only these users use a share: name=password."""
        self._accounts[_fold(unc)] = {
            user.lower(): password for user, password in accounts.items()}

    def check(self, host: str, server: str, share: str, path: str) -> None:
        """Raise WinError if the host cannot use a share.

        :raises WinError: 53 the server does not answer, 5 not its account.
        """
        server, share, host = server.lower(), share.lower(), host.lower()
        if server in self.down:
            raise WinError(winerror.BAD_NETPATH, path)
        if (server, share) in self._accounts and (
                (host, server, share) not in self._mounts):
            raise WinError(winerror.ACCESS_DENIED, path)

    def mount(self, host: str, unc: str, user: typing.Optional[str],
              password: typing.Optional[str]) -> None:
        """Log on to a share.

        :raises WinError: 1326 wrong credentials, 1219 another user of
            this host is logged on to the server, 5 it needs credentials.
        """
        (server, share), host = _fold(unc), host.lower()
        accounts = self._accounts.get((server, share))
        if accounts is not None and not user:
            raise WinError(winerror.ACCESS_DENIED, unc)
        name = (user or '').lower()
        if accounts is not None and accounts.get(name) != password:
            raise WinError(LOGON_FAILURE, unc)
        if name and self._users.get((host, server), name) != name:
            raise WinError(CREDENTIAL_CONFLICT, unc)
        if name:
            self._users[host, server] = name
        self._mounts.add((host, server, share))

    def unmount(self, host: str, unc: str) -> None:
        """Log off; the server forgets the user with the last share."""
        (server, share), host = _fold(unc), host.lower()
        self._mounts.discard((host, server, share))
        if not any(one[:2] == (host, server) for one in self._mounts):
            self._users.pop((host, server), None)

    def unmount_all(self, host: str) -> None:
        """The host went down."""
        host = host.lower()
        self._mounts = {one for one in self._mounts if one[0] != host}
        self._users = {key: user for key, user in self._users.items()
                       if key[0] != host}

    # -- names

    def servers(self, server: str) -> typing.List[str]:
        """The machines behind a server's name."""
        found = self.names.get(server.lower())
        if found is not None:
            return found
        # A name with its domain; addresses stay as they are.
        plain = server.partition('.')[0]
        return [server if plain.isdecimal() else plain]

    def is_local(self, host: str, server: str) -> bool:
        """Whether a server's name leads to the host itself."""
        low = server.lower()
        return low in LOCAL_NAMES or host.lower() in [
            one.lower() for one in self.servers(low.partition('.')[0])]

    def is_loopback(self, host: str, path: str) -> bool:
        """Whether a path leads to the host over one of its own shares."""
        parsed = winpath.parse(path, long_paths=True)
        return parsed.is_unc and self.is_local(host, parsed.server_share[0])

    def address(self, host: str, server: str) -> str:
        """The address to which the host's DNS resolves a known name."""
        if self.is_local(host, server):
            return LOOPBACK
        number = zlib.crc32(server.lower().encode())
        return '127.1.%d.%d' % (number >> 8 & 0xFF, number & 0xFF)
