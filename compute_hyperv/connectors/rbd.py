# SPDX-License-Identifier: Apache-2.0
"""Volumes of Ceph, by its driver for Windows (WNBD) and its commands."""

from collections.abc import Callable
import dataclasses
import json
import time
from typing import Any

from nova import exception

from compute_hyperv import commands
from compute_hyperv.connectors import base
from compute_hyperv import errors
from compute_hyperv import operation
from compute_hyperv import oswin

_TIMEOUT_S = 120
_DEFAULT_POOL = 'rbd'


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """What of Cinder's connection data matters here.

    :ivar image: ``pool/name``.
    """

    image: str
    user: str | None = None
    cluster: str | None = None
    monitors: tuple[str, ...] = ()

    @classmethod
    @base.reader
    def parse(cls, data: base.Data) -> 'Connection':
        """Read os-brick's keys.

        :raises VolumeAttachFailed: the data names no image.
        """
        if not data.get('name'):
            raise exception.VolumeAttachFailed(
                volume_id=data.get('volume_id'),
                reason='Cinder names no RBD image')
        hosts, ports = data.get('hosts') or (), data.get('ports') or ()
        monitors = tuple(f'{host}:{port}' for host, port
                         in zip(hosts, ports, strict=False))
        user = (data.get('auth_username') if data.get('auth_enabled', True)
                else None)
        return cls(image=data['name'], user=user, monitors=monitors,
                   cluster=data.get('cluster_name'))

    @property
    def arguments(self) -> tuple[str, ...]:
        """How the commands find the cluster. The key is in its keyring."""
        found: tuple[str, ...] = ()
        if self.user:
            found += ('--id', self.user)
        if self.cluster:
            found += ('--cluster', self.cluster)
        if self.monitors:
            found += ('--mon_host', ','.join(self.monitors))
        return found


class RBDConnector(base.Connector):
    """Maps images as disks of this host.

    :param rbd: the command ``rbd``.
    :param wnbd: the command ``rbd-wnbd``.
    """

    caps = base.ConnectorCaps(physical=True, online_extend=True,
                              multiattach=True, clusterable=False, qos=False)

    def __init__(self, *, win: oswin.Win, search: base.Search, rbd: str,
                 wnbd: str, run: Callable[..., str] = commands.run,
                 clock: operation.Clock = time) -> None:
        self._win = win
        self._search = search
        self._rbd = rbd
        self._wnbd = wnbd
        self._run = run
        self._clock = clock

    def connect(self, data: base.Data) -> base.Disk:
        """See :class:`base.Connector`."""
        wanted = Connection.parse(data)
        # After the host booted, its service may be about to map it.
        if self._mapping(wanted) is None:
            self._run(self._rbd, 'device', 'map', wanted.image,
                      *wanted.arguments, timeout_s=_TIMEOUT_S)
        number = operation.until(
            lambda: self._number(wanted), what=f'disk of {wanted.image}',
            timeout_s=self._search.attempts * self._search.interval_s,
            interval_s=self._search.interval_s, clock=self._clock)
        if number is None:
            raise exception.DiskNotFound(location=wanted.image)
        return base.Disk(path=rf'\\.\PhysicalDrive{number}', number=number)

    def disconnect(self, data: base.Data) -> None:
        """See :class:`base.Connector`."""
        wanted = Connection.parse(data)
        if self._mapping(wanted) is not None:
            self._run(self._rbd, 'device', 'unmap', wanted.image,
                      *wanted.arguments, timeout_s=_TIMEOUT_S)

    def extend(self, data: base.Data) -> int:
        """See :class:`base.Connector`."""
        wanted = Connection.parse(data)
        number = self._number(wanted)
        if number is None:
            raise exception.DiskNotFound(location=wanted.image)
        self._win.disk.refresh_disk(number)
        return int(self._win.disk.get_disk_size(number))

    def _number(self, wanted: Connection) -> int | None:
        """Number of the disk that an image is; None if it is none yet."""
        number = (self._mapping(wanted) or {}).get('disk_number')
        return int(number) if number is not None and int(number) > 0 else None

    def _mapping(self, wanted: Connection) -> dict[str, Any] | None:
        """What Ceph's driver knows of an image; None if it is not mapped.

        From the list of all: ``show`` fails for an image that is not mapped
        as it does when it could not find out.

        :raises CommandFailed: it could not find out.
        """
        text = self._run(self._wnbd, 'list', '--format', 'json',
                         timeout_s=_TIMEOUT_S)
        try:
            mappings = json.loads(text)
        except ValueError as exc:
            raise errors.CommandFailed(
                command=self._wnbd, reason=f'no JSON: {text[:80]}') from exc
        names = (wanted.image, f'{_DEFAULT_POOL}/{wanted.image}')
        return next((one for one in mappings if _name(one) in names), None)


def _name(mapping: dict[str, Any]) -> str:
    parts = (mapping.get(key) for key in ('pool', 'namespace', 'image'))
    return '/'.join(part for part in parts if part)
