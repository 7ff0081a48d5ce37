# SPDX-License-Identifier: Apache-2.0
"""The iSCSI initiator service of one host.

Behaviour: Microsoft's documentation of the iSCSI initiator functions
(iscsidsc.h, iscsierr.h), RFC 7143 and RFC 3722 (names), and
oswin-surface.md 7.3; points that are field knowledge are marked [F].
"""

from __future__ import annotations

import dataclasses
import itertools
import typing

from . import hostluns
from . import sanmodel
from .winerror import WinError

if typing.TYPE_CHECKING:
    from .host import Host

# iscsierr.h
CONNECTION_FAILED = 0xEFFF0003
AUTHENTICATION_FAILURE = 0xEFFF0009
AUTHORIZATION_FAILURE = 0xEFFF000A
NOT_FOUND = 0xEFFF000B
INVALID_SESSION_ID = 0xEFFF001C
INITIATOR_INSTANCE_NOT_FOUND = 0xEFFF0017
TARGET_NOT_FOUND = 0xEFFF0029
TARGET_ALREADY_LOGGED_IN = 0xEFFF003F
DEVICE_BUSY_ON_SESSION = 0xEFFF0040
NO_PORTAL_SPECIFIED = 0xEFFF003C
INVALID_TARGET_CHAP_SECRET = 0xEFFF004B
INVALID_CHAP_USER_NAME = 0xEFFF004D

MULTIPATH_ENABLED = 2                   # ISCSI_LOGIN_FLAGS
CHAP = 1                                # ISCSI_AUTH_TYPES
#: Lengths of a secret without IPsec, as the service enforces them.
_SECRET_BYTES = range(12, 17)
_INSTANCE = 'Root\\ISCSIPRT\\0000_0'
_ADAPTER = 0xFFFFE00180C4A010


@dataclasses.dataclass(frozen=True)
class Login:
    """What a session is made with, and what a persistent login keeps.

    :ivar target: name, lower case.
    :ivar instance: the adapter; the Microsoft initiator by default.
    """

    target: str
    portal: sanmodel.Portal
    instance: str = _INSTANCE
    flags: int = 0
    auth_type: int = 0
    user: str = ''
    secret: str = dataclasses.field(default='', repr=False)

    @property
    def key(self) -> typing.Tuple[str, str, sanmodel.Portal]:
        """What makes it another login."""
        return self.instance.lower(), self.target, self.portal


@dataclasses.dataclass(eq=False)
class Session:
    """A session with a target; not connected while its portal is down."""

    number: int
    login: Login
    connected: bool = True

    @property
    def name(self) -> str:
        """The link that its paths take."""
        return 'session %d' % self.number


class Initiator:
    """Static targets, persistent logins and sessions of one host.

    :ivar node_name: the host's iSCSI name; tests may change it.
    :ivar instances: adapters that can log in.
    :ivar static: targets that were added by name.
    :ivar persistent: logins that a boot repeats.
    """

    def __init__(self, host: Host) -> None:
        extra = host.spec.extra
        self._host = host
        self._lock = host.fabric.lock
        self._san = host.fabric.san
        self._numbers = itertools.count(1)
        domain = extra.get('dns_domain')
        self.node_name: str = extra.get('iscsi_name') or (
            'iqn.1991-05.com.microsoft:%s%s' % (
                host.name.lower(), '.' + domain if domain else ''))
        self.instances: typing.List[str] = list(
            extra.get('iscsi_initiators', (_INSTANCE,)))
        self.static: typing.List[str] = []
        self.persistent: typing.List[Login] = []
        self._sessions: typing.List[Session] = []
        host.luns.add_source(self)

    @property
    def sessions(self) -> typing.List[Session]:
        """Sessions, the first login first."""
        return list(self._sessions)

    def session(self, number: int) -> Session:
        """The session of this number.

        :raises WinError: 0xEFFF001C there is none.
        """
        for session in self._sessions:
            if session.number == number:
                return session
        raise WinError(INVALID_SESSION_ID)

    # -- targets

    def add_static(self, target: str) -> None:
        """AddIScsiStaticTarget; one that is there stays [F]."""
        with self._lock:
            if target.lower() not in self.static:
                self.static.append(target.lower())

    def remove_static(self, target: str) -> None:
        """RemoveIScsiStaticTarget.

        :raises WinError: 0xEFFF0029 not one of them.
        """
        with self._lock:
            if target.lower() not in self.static:
                raise WinError(TARGET_NOT_FOUND, target)
            self.static.remove(target.lower())

    # -- logins

    def make_login(self, target: str, portal: typing.Optional[sanmodel.Portal],
                   **options: typing.Any) -> Login:
        """The login that a program asks for, checked.

        :param options: the other fields of :class:`Login`.
        :raises WinError: 0xEFFF0029 unknown target, 0xEFFF0017 unknown
            adapter, 0xEFFF004B secret of a wrong length.
        """
        options['instance'] = options.get('instance') or self.instances[0]
        if options['instance'].lower() not in [
                one.lower() for one in self.instances]:
            raise WinError(INITIATOR_INSTANCE_NOT_FOUND, target)
        if target.lower() not in self.static:
            raise WinError(TARGET_NOT_FOUND, target)
        if portal is None:
            known = self._san.find_target(target)
            up = [one for one in (known.portals if known else ())
                  if self._reaches(one)]
            if not up:
                raise WinError(NO_PORTAL_SPECIFIED, target)
            portal = up[0]
        login = Login(target.lower(), portal, **options)
        if login.auth_type == CHAP:
            if not login.user:
                raise WinError(INVALID_CHAP_USER_NAME, target)
            if len(login.secret.encode()) not in _SECRET_BYTES:
                raise WinError(INVALID_TARGET_CHAP_SECRET, target)
        return login

    def keep(self, login: Login) -> None:
        """A persistent login: kept for boots, no session is made.

        Nothing of it is tried out (os-win: "it does not automatically
        login the target").  The same login again replaces the old [F].
        """
        with self._lock:
            self.persistent = [one for one in self.persistent
                               if one.key != login.key] + [login]

    def forget(self, instance: str, target: str,
               portal: sanmodel.Portal) -> None:
        """RemoveIScsiPersistentTarget.

        :raises WinError: 0xEFFF0029 there is no such login.
        """
        with self._lock:
            rest = [one for one in self.persistent
                    if one.key != (instance.lower(), target.lower(), portal)]
            if len(rest) == len(self.persistent):
                raise WinError(TARGET_NOT_FOUND, target)
            self.persistent = rest

    def log_in(self, login: Login) -> Session:
        """Make a session; its disks appear.

        :raises WinError: 0xEFFF0003 nobody answers, 0xEFFF000B not that
            target, 0xEFFF0009 wrong credentials, 0xEFFF000A not on its
            access list, 0xEFFF003F logged in, and not for multipath.
        """
        with self._lock:
            self._check(login)
            if not login.flags & MULTIPATH_ENABLED and any(
                    one.login.target == login.target and
                    one.login.instance.lower() == login.instance.lower()
                    for one in self._sessions):
                raise WinError(TARGET_ALREADY_LOGGED_IN, login.target)
            session = Session(next(self._numbers), login)
            self._sessions.append(session)
            self._host.luns.arrive(self._paths_of(session))
            return session

    def _check(self, login: Login) -> None:
        """Refuse what the array refuses (RFC 7143 11.13.5)."""
        portal = login.portal
        if not self._reaches(portal) or not any(
                portal in one.portals for one in self._san.targets.values()):
            raise WinError(CONNECTION_FAILED, str(portal))
        target = self._san.find_target(login.target)
        if target is None or portal not in target.portals:
            raise WinError(NOT_FOUND, login.target)
        if target.chap is not None and (
                login.auth_type != CHAP or
                target.chap != (login.user, login.secret)):
            raise WinError(AUTHENTICATION_FAILURE, login.target)
        if not target.admits(self.node_name):
            raise WinError(AUTHORIZATION_FAILURE, login.target)

    def _reaches(self, portal: sanmodel.Portal) -> bool:
        return self._san.reaches(self._host.name, str(portal))

    def log_out(self, number: int) -> None:
        """End a session; its disks vanish.

        :raises WinError: 0xEFFF001C no such session, 0xEFFF0040 a VM has
            a disk open that no other path leads to.
        """
        with self._lock:
            session = self.session(number)
            if self._host.luns.in_use(session.name):
                raise WinError(DEVICE_BUSY_ON_SESSION, session.login.target)
            self._sessions.remove(session)
            self._host.luns.drop_dead()

    # -- what the sessions lead to

    def units(self, session: Session
              ) -> typing.List[typing.Tuple[int, sanmodel.Lun]]:
        """The units that a session sees, by their numbers."""
        target = self._san.find_target(session.login.target)
        if target is None or not session.connected:
            return []
        return [(number, self._san.luns[name]) for number, name
                in sorted(target.luns.items()) if name in self._san.luns]

    def _paths_of(self, session: Session) -> typing.List[hostluns.Path]:
        return [hostluns.Path(hostluns.ISCSI, session.name, number, lun)
                for number, lun in self.units(session)]

    def devices(self, session: Session) -> typing.List[
            typing.Tuple[hostluns.Path, typing.Optional[hostluns.LunDisk]]]:
        """What Windows found on a session: units and their disks.

        A disk that was unmapped stays until the next rescan.
        """
        with self._lock:
            live = self._paths_of(session)
            known = [path for disk in self._host.luns.disks()
                     for path in disk.paths if path.via == session.name]
            found = known + [path for path in live if path not in known and
                             path.lun.kind != sanmodel.DISK]
            found.sort(key=lambda path: path.number)
            return [(path, self._host.luns.disk_of(path)) for path in found]

    def paths(self) -> typing.List[hostluns.Path]:
        """The units that all sessions see."""
        return [path for session in self._sessions
                for path in self._paths_of(session)]

    def links(self) -> typing.Set[str]:
        """The sessions that are connected."""
        return {session.name for session in self._sessions
                if session.connected}

    def links_changed(self) -> None:
        """Sessions break and reconnect; targets may be gone."""
        for session in self._sessions:
            try:
                self._check(session.login)
            except WinError:
                session.connected = False
            else:
                if not session.connected:
                    session.connected = True
                    self._host.luns.arrive(self._paths_of(session))

    # -- power

    def power_cut(self) -> None:
        """The host went down: sessions end, persistent logins stay."""
        self._sessions.clear()

    def boot(self) -> None:
        """The service starts: it repeats the persistent logins."""
        for login in self.persistent:
            try:
                self._check(login)
            except WinError:
                continue            # the service goes on trying, unseen
            self._sessions.append(Session(next(self._numbers), login))

    def dump(self) -> typing.Dict[str, typing.Any]:
        """What is kept over a boot, for JSON."""
        return {'static': self.static, 'persistent': [
            dict(dataclasses.asdict(one), portal=str(one.portal))
            for one in self.persistent]}

    def load(self, dumped: typing.Dict[str, typing.Any]) -> None:
        """Take back what :meth:`dump` gave."""
        self.static = list(dumped['static'])
        self.persistent = [
            Login(**dict(one, portal=sanmodel.Portal.make(one['portal'])))
            for one in dumped['persistent']]

    def problems(self) -> typing.List[str]:
        """Sessions, logins and targets that nobody took back."""
        return ['iSCSI session with %s' % one.login.target
                for one in self._sessions] + [
            'persistent login of %s at %s' % (one.target, one.portal)
            for one in self.persistent] + [
            'static target %s' % one for one in self.static]


def session_id(session: Session) -> typing.Tuple[int, int]:
    """ISCSI_UNIQUE_SESSION_ID: of the adapter, and its own number."""
    return _ADAPTER, 0x4000013700000000 + session.number


def session_number(adapter: int, specific: int) -> int:
    """The session's number; 0 (none has it) for a foreign id."""
    return specific - 0x4000013700000000 if adapter == _ADAPTER else 0
