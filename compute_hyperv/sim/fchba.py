# SPDX-License-Identifier: Apache-2.0
"""The Fibre Channel adapters of one host.

Behaviour: the common HBA API (FC-MI, SNIA) as oswin-surface.md 7.5 and
nova-contract.md 4.5 tell of it.  An adapter sees what the array shows to
its ports at once; a disk comes of it with a rescan, or at boot.
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

# HBA_STATUS
INVALID_HANDLE, ILLEGAL_WWN, ILLEGAL_INDEX, CHECK_CONDITION = 3, 5, 6, 9

_INVALID_FIELD, _NO_UNIT = (0x24, 0), (0x25, 0)


@dataclasses.dataclass(frozen=True)
class Adapter:
    """An adapter: a node name, and a name for each port."""

    name: str
    wwnn: str
    wwpns: typing.Tuple[str, ...]


class CheckCondition(WinError):
    """A unit, or the fabric, refused a command; ``sense`` says why."""

    def __init__(self, code: typing.Tuple[int, int]) -> None:
        super().__init__(CHECK_CONDITION)
        self.sense = bytes((0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0,
                            *code, 0, 0, 0, 0))


class Hbas:
    """The adapters of a host, and what they see."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._san = host.fabric.san
        self._lock = host.fabric.lock
        self._numbers = itertools.count(1)
        self._open: typing.Dict[int, Adapter] = {}
        self._clients: typing.Dict[int, str] = {}
        self.adapters = [
            Adapter('com.sim-HBA-%d' % index, sanmodel.wwn(facts['wwnn']),
                    tuple(sanmodel.wwn(one) for one in facts['wwpns']))
            for index, facts in enumerate(
                host.spec.extra.get('fc_hbas', ()))]
        self._up: typing.Set[str] = set()
        host.luns.add_source(self)

    # -- handles

    def open(self, name: str, client: str = '') -> int:
        """A handle of the adapter with that name or world wide name.

        :raises WinError: 5 there is none.
        """
        for adapter in self.adapters:
            if name in (adapter.name, adapter.wwnn, *adapter.wwpns):
                with self._lock:
                    number = next(self._numbers)
                    self._open[number] = adapter
                    self._clients[number] = client
                return number
        raise WinError(ILLEGAL_WWN, name)

    def get(self, handle: int) -> Adapter:
        """The adapter behind a handle; WinError 3 if there is none."""
        found = self._open.get(handle)
        if found is None:
            raise WinError(INVALID_HANDLE)
        return found

    def close(self, handle: int) -> None:
        """Give a handle back; again is harmless."""
        self._open.pop(handle, None)
        self._clients.pop(handle, None)

    def client_gone(self, client: str) -> None:
        """A process ended: its handles are closed."""
        for handle in [one for one, name in list(self._clients.items())
                       if name == client]:
            self.close(handle)

    # -- what they see

    def mappings(self, adapter: Adapter) -> typing.List[
            typing.Tuple[sanmodel.Mask, hostluns.Path]]:
        """The units behind the ports of an adapter."""
        return [(mask, self._path(mask)) for mask in self._san.masks
                if mask.initiator_wwpn in adapter.wwpns and
                self._is_up(mask.target_wwpn)]

    def _path(self, mask: sanmodel.Mask) -> hostluns.Path:
        return hostluns.Path(
            hostluns.FC, _link(mask.initiator_wwpn, mask.target_wwpn),
            mask.number, self._san.luns[mask.lun])

    def _is_up(self, target_wwpn: str) -> bool:
        return target_wwpn in self._san.storage_ports and (
            self._san.reaches(self._host.name, target_wwpn))

    def paths(self) -> typing.List[hostluns.Path]:
        """The units that all adapters see."""
        self._up = self.links()
        return [path for adapter in self.adapters
                for _mask, path in self.mappings(adapter)]

    def links(self) -> typing.Set[str]:
        """The pairs of ports between which there is a way."""
        return {_link(wwpn, target) for adapter in self.adapters
                for wwpn in adapter.wwpns
                for target in self._san.storage_ports
                if self._is_up(target)}

    def links_changed(self) -> None:
        """Storage ports went down or up; what comes back is announced."""
        before, self._up = self._up, self.links()
        self._host.luns.arrive(
            path for path in self.paths()
            if path.via in self._up - before)

    def inquiry(self, adapter: Adapter, wwpn: str, target_wwpn: str,
                number: int, evpd: bool, page: int) -> bytes:
        """SCSI INQUIRY for vital product data.

        :raises WinError: 5 not a port of it.
        :raises CheckCondition: no such unit, or page.
        """
        if wwpn not in adapter.wwpns:
            raise WinError(ILLEGAL_WWN, wwpn)
        for mask, path in self.mappings(adapter):
            if (mask.initiator_wwpn, mask.target_wwpn, mask.number) == (
                    wwpn, target_wwpn, number):
                return _vital_data(path.lun, evpd, page)
        raise CheckCondition(_NO_UNIT)

    # -- power

    def power_cut(self) -> None:
        """The host went down."""
        self._open.clear()
        self._clients.clear()
        self._up.clear()

    def problems(self) -> typing.List[str]:
        """Handles left open."""
        return ['handle of FC adapter %s left open' % one.name
                for one in self._open.values()]


def _link(wwpn: str, target_wwpn: str) -> str:
    return '%s to %s' % (wwpn, target_wwpn)


def _vital_data(lun: sanmodel.Lun, evpd: bool, page: int) -> bytes:
    if not evpd or page not in (0x00, 0x80, 0x83):
        raise CheckCondition(_INVALID_FIELD)
    if page == 0x83:
        return lun.identification()
    content = bytes((0x00, 0x80, 0x83)) if page == 0 else (
        lun.serial.encode())
    return bytes((0, page)) + len(content).to_bytes(2, 'big') + content
