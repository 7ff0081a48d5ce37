# SPDX-License-Identifier: Apache-2.0
"""Volumes over Fibre Channel."""

from collections.abc import Iterator
import dataclasses
import time
from typing import Any

from nova import exception
from oslo_log import log as logging

from compute_hyperv.connectors import base
from compute_hyperv import errors
from compute_hyperv import operation
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """What of Cinder's connection data matters here.

    :ivar luns: port of the storage (WWPN, upper case) -> number of the
        logical unit there.
    """

    luns: dict[str, int]

    @classmethod
    @base.reader
    def parse(cls, data: base.Data) -> 'Connection':
        """Read os-brick's keys: one unit for all ports, or one for each.

        :raises VolumeAttachFailed: the data names no port.
        """
        ports = (data.get('target_wwns') or data.get('target_wwn')
                 or data.get('target_wwpn') or [])
        if isinstance(ports, str):
            ports = [ports]
        luns = data.get('target_luns') or [data.get('target_lun')] * len(
            ports)
        found = {_wwn(port): int(lun)
                 for port, lun in zip(ports, luns, strict=False)
                 if lun is not None}
        if not found:
            raise exception.VolumeAttachFailed(
                volume_id=data.get('volume_id'),
                reason='Cinder names no Fibre Channel port')
        return cls(luns=found)

    def __str__(self) -> str:
        return ', '.join(f'LUN {lun} at port {port}'
                         for port, lun in sorted(self.luns.items()))


class FibreChannelConnector(base.Connector):
    """Finds the disks that the fabric shows; there is nothing to log in to.

    :param multipath: use a disk only after MPIO has claimed it.
    """

    caps = base.ConnectorCaps(physical=True, online_extend=True,
                              multiattach=True, clusterable=True, qos=False)

    def __init__(self, *, win: oswin.Win, search: base.Search,
                 multipath: bool, clock: operation.Clock = time) -> None:
        self._win = win
        self._search = search
        self._multipath = multipath
        self._clock = clock

    def connect(self, data: base.Data) -> base.Disk:
        """See :class:`base.Connector`."""
        wanted = Connection.parse(data)
        return operation.retry(
            self._look, wanted,
            on=(exception.DiskNotFound, errors.DiskOperationFailed),
            attempts=1 + self._search.attempts,
            delay_s=self._search.interval_s, clock=self._clock)

    def disconnect(self, data: base.Data) -> None:
        """See :class:`base.Connector`: the storage takes the unit away."""

    def extend(self, data: base.Data) -> int:
        """See :class:`base.Connector`."""
        disk = self._find(Connection.parse(data))
        self._win.disk.refresh_disk(disk.number)
        return int(self._win.disk.get_disk_size(disk.number))

    def _look(self, wanted: Connection) -> base.Disk:
        self._win.disk.rescan_disks(merge_requests=True)
        return self._find(wanted)

    def _find(self, wanted: Connection) -> base.Disk:
        """The one disk of a volume.

        :raises DiskNotFound: none yet, or MPIO has not claimed it.
        :raises DiskOperationFailed: several, which MPIO does not join.
        """
        found = {base.Disk(path=rf'\\.\PhysicalDrive{number}', number=number)
                 for number in self._numbers(wanted)
                 if not self._multipath or self._win.disk.is_mpio_disk(
                     number)}
        if not found:
            raise exception.DiskNotFound(location=str(wanted))
        return base.one_disk(found, str(wanted))

    def _numbers(self, wanted: Connection) -> set[int]:
        numbers = set()
        for port in self._win.fc().get_fc_hba_ports():
            node = port['node_name']
            for mapping in self._mappings(node, wanted):
                numbers |= self._numbers_of(node, port['port_name'], mapping)
        return numbers

    def _mappings(self, node: str, wanted: Connection
                  ) -> Iterator[dict[str, Any]]:
        try:
            mappings = self._win.fc().get_fc_target_mappings(node)
        except errors.OS_WIN_ERRORS as exc:
            LOG.warning("The adapter %s tells nothing: %s", node,
                        errors.text_of(exc))
            return
        for mapping in mappings:
            if wanted.luns.get(_wwn(mapping['port_name'])) == mapping['lun']:
                yield mapping

    def _numbers_of(self, node: str, port: str, mapping: dict[str, Any]
                    ) -> set[int]:
        """Windows' numbers of the disks behind one mapping."""
        name = mapping['device_name']
        if isinstance(name, bytes):             # as os-win 5.9 gives it
            name = name.decode('ascii', 'replace')
        if name:
            return {int(self._win.disk.get_device_number_from_device_name(
                name))}
        try:
            identifiers = self._win.fc().get_scsi_device_identifiers(
                node, port, mapping['port_name'], mapping['fcp_lun'])
            return {int(number) for item in identifiers[:1] for number
                    in self._win.disk.get_disk_numbers_by_unique_id(
                        unique_id=item['id'], unique_id_format=item['type'])}
        except errors.OS_WIN_ERRORS as exc:
            # Another port of this host may reach it.
            LOG.debug("No disk over port %s: %s", port, errors.text_of(exc))
            return set()


def _wwn(text: str) -> str:
    return text.replace(':', '').upper()
