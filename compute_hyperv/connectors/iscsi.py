# SPDX-License-Identifier: Apache-2.0
"""Volumes over iSCSI, by the initiator of Windows."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import copy
import dataclasses
import functools

from nova import exception
from oslo_log import log as logging

from compute_hyperv.connectors import base
from compute_hyperv import errors
from compute_hyperv import locks
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """One way to a volume."""

    portal: str         #: ``address:port``, IPv6 in brackets
    iqn: str
    lun: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """What of Cinder's connection data matters here.

    :ivar paths: at least one.
    """

    paths: tuple[Path, ...]
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)

    @classmethod
    @base.reader
    def parse(cls, data: base.Data) -> 'Connection':
        """Read os-brick's keys.

        :raises VolumeAttachFailed: the data names no target.
        """
        several = zip(data.get('target_portals') or (),
                      data.get('target_iqns') or (),
                      data.get('target_luns') or (), strict=False)
        paths = [Path(portal=portal, iqn=iqn, lun=int(lun))
                 for portal, iqn, lun in several]
        if not paths and data.get('target_iqn'):
            paths = [Path(portal=data['target_portal'],
                          iqn=data['target_iqn'],
                          lun=int(data.get('target_lun') or 0))]
        if not paths:
            raise exception.VolumeAttachFailed(
                volume_id=data.get('volume_id'),
                reason='Cinder names no iSCSI target')
        user, password = data.get('auth_username'), data.get('auth_password')
        if data.get('auth_method') not in (None, 'CHAP'):
            user = password = None
        return cls(paths=tuple(paths), username=user, password=password)

    @property
    def luns(self) -> set[tuple[str, int]]:
        """Targets and their LUNs that stand for the volume."""
        return {(path.iqn, path.lun) for path in self.paths}

    def __str__(self) -> str:
        return ', '.join(f'LUN {path.lun} of {path.iqn} at {path.portal}'
                         for path in self.paths)


class ISCSIConnector(base.Connector):
    """Logs in to targets and out again with the last volume of each.

    :param multipath: one session for each portal; MPIO joins their disks.
    :param initiators: names of the initiators to use, one session each;
        empty to let Windows choose.
    """

    caps = base.ConnectorCaps(physical=True, online_extend=True,
                              multiattach=True, clusterable=True, qos=False)

    def __init__(self, *, win: oswin.Win, locks: locks.Locks,
                 search: base.Search, multipath: bool,
                 initiators: Sequence[str] = ()) -> None:
        self._win = win
        self._locks = locks
        self._search = search
        self._multipath = multipath
        self._initiators = tuple(initiators)

    def connect(self, data: base.Data) -> base.Disk:
        """See :class:`base.Connector`.

        A portal that does not answer is passed over while another does.
        """
        wanted = Connection.parse(data)
        with self._exclusive(wanted):
            try:
                luns = self._log_in(wanted)
                return self._find(wanted, luns, patient=True)
            except Exception:
                # The first error counts; it says why the attach failed.
                self._release_quietly(wanted)
                raise

    def disconnect(self, data: base.Data) -> None:
        """See :class:`base.Connector`."""
        wanted = Connection.parse(data)
        with self._exclusive(wanted):
            self._release(wanted)

    def extend(self, data: base.Data) -> int:
        """See :class:`base.Connector`."""
        wanted = Connection.parse(data)
        with self._exclusive(wanted):
            disk = self._find(wanted, wanted.luns, patient=False)
            self._win.disk.refresh_disk(disk.number)
            return int(self._win.disk.get_disk_size(disk.number))

    @contextlib.contextmanager
    def _exclusive(self, wanted: Connection) -> Iterator[None]:
        targets = {locks.target(path.iqn) for path in wanted.paths}
        with self._locks.held(*targets):
            yield

    # -- sessions ---------------------------------------------------------

    def _log_in(self, wanted: Connection) -> set[tuple[str, int]]:
        """Make sessions; those that are there stay.

        :returns: targets and LUNs to look for.
        :raises DiskNotFound: no portal lets us in.
        """
        reason = ''
        luns = set()
        for path in wanted.paths:
            for initiator in self._initiators or (None,):
                try:
                    self._log_in_path(wanted, path, initiator)
                    luns.add((path.iqn, path.lun))
                except errors.OS_WIN_ERRORS as exc:
                    reason = errors.text_of(exc)
                    LOG.warning("No session with %s at %s: %s", path.iqn,
                                path.portal, reason)
            if luns and not self._multipath:
                break
        if not luns:
            raise exception.DiskNotFound(location=f'{wanted}: {reason}')
        return luns

    def _log_in_path(self, wanted: Connection, path: Path,
                     initiator: str | None) -> None:
        utils = self._win.iscsi()
        if initiator is not None:
            # os-win 5.9 takes the name but does not hand it on. The copy is
            # this call's own: other threads log in by other initiators.
            utils = copy.copy(utils)
            utils._login_iscsi_target = functools.partial(
                utils._login_iscsi_target, initiator_name=initiator)
        utils.login_storage_target(
            target_lun=path.lun, target_iqn=self._known_name(path.iqn),
            target_portal=path.portal, auth_username=wanted.username,
            auth_password=wanted.password, mpio_enabled=self._multipath,
            ensure_lun_available=False, initiator_name=initiator)

    def _known_name(self, iqn: str) -> str:
        """The spelling that Windows has of a target; os-win heeds case."""
        for known in self._win.iscsi().get_targets():
            if known.lower() == iqn.lower():
                return str(known)
        return iqn

    def _release(self, wanted: Connection) -> None:
        """Log out of the targets that no other volume of this host needs."""
        # Windows may still show LUNs that the storage has taken away.
        self._win.disk.rescan_disks()
        for iqn, lun in sorted(wanted.luns):
            others = set(self._win.iscsi().get_target_luns(iqn)) - {lun}
            if others:
                LOG.debug("%s stays logged in for its LUNs %s.", iqn,
                          sorted(others))
                continue
            self._win.iscsi().logout_storage_target(self._known_name(iqn))

    def _release_quietly(self, wanted: Connection) -> None:
        try:
            self._release(wanted)
        except errors.OS_WIN_ERRORS as exc:
            LOG.warning("The session with %s stays: %s", wanted,
                        errors.text_of(exc))

    # -- disks ------------------------------------------------------------

    def _find(self, wanted: Connection, luns: set[tuple[str, int]], *,
              patient: bool) -> base.Disk:
        """The disk of a volume; waits for it (and MPIO) when *patient*.

        :param luns: targets and LUNs to look for.

        :raises DiskNotFound: there is none.
        """
        found = set()
        for iqn, lun in sorted(luns):
            number, path = self._win.iscsi().get_device_number_and_path(
                iqn, lun,
                retry_attempts=self._search.attempts if patient else 0,
                retry_interval=self._search.interval_s if patient else 0,
                rescan_disks=patient, ensure_mpio_claimed=self._multipath)
            if number is not None:
                found.add(base.Disk(path=path, number=int(number)))
        if not found:
            raise exception.DiskNotFound(location=str(wanted))
        return base.one_disk(found, str(wanted))
