# SPDX-License-Identifier: Apache-2.0
"""The storage array of a fabric: logical units, iSCSI targets, FC ports.

A logical unit is a file: what a machine writes to its disk is in it.  The
array offers it to hosts over iSCSI targets, each with portals, credentials
and a list of initiators, or over its Fibre Channel ports, masked to ports
of hosts.  What a host sees of it is the business of :mod:`.initiator`,
:mod:`.fchba` and :mod:`.hostluns`.
"""

from __future__ import annotations

import dataclasses
import os
import typing
import uuid

from .sanmodel import DISK
from .sanmodel import Lun
from .sanmodel import Mask
from .sanmodel import MAX_LUN
from .sanmodel import NAA_PREFIX
from .sanmodel import Portal
from .sanmodel import Target
from .sanmodel import wwn

if typing.TYPE_CHECKING:
    from . import fabric as fabric_module


class San:
    """The array; one per fabric.  Hosts notice changes as they would.

    Thread safety: every method takes the fabric's lock.
    """

    def __init__(self, fabric: fabric_module.Fabric) -> None:
        self._fabric = fabric
        self._lock = fabric.lock
        self.luns: typing.Dict[str, Lun] = {}
        self.targets: typing.Dict[str, Target] = {}
        self.masks: typing.List[Mask] = []
        #: WWPN -> WWNN of the array's FC ports.
        self.storage_ports: typing.Dict[str, str] = {}
        #: Portals and storage ports (their names) that are down.
        self.down: typing.Set[str] = set()
        self._cut: typing.Set[typing.Tuple[str, str]] = set()

    # -- logical units

    def create_lun(self, name: str, size_bytes: int = 0, *,
                   path: typing.Optional[str] = None,
                   kind: str = DISK) -> Lun:
        """A logical unit of zeros, or of what a file has.

        :param path: an existing local file that is to be its content; it
            stays the caller's.
        :raises ValueError: there is one of that name.
        """
        with self._lock:
            if name in self.luns:
                raise ValueError('there is a logical unit %s' % name)
            local = path or self._file_of(name)
            if path is None:
                with open(local, 'xb') as stream:
                    stream.truncate(size_bytes)
            elif not os.path.isfile(path):
                raise ValueError('there is no file %s' % path)
            digits = uuid.uuid5(uuid.NAMESPACE_OID, '%s %s' % (
                self._fabric.root_dir, name)).hex.upper()
            found = self.luns[name] = Lun(
                name, local, path is None, kind,
                (NAA_PREFIX + digits)[:32])
            self._fabric.changes += 1
            return found

    def _file_of(self, name: str) -> str:
        folder = os.path.join(self._fabric.root_dir, 'san')
        os.makedirs(folder, exist_ok=True)
        safe = ''.join(char if char.isalnum() or char in '-_.' else '_'
                       for char in name)
        return os.path.join(folder, safe + '.lun')

    def lun(self, name: str) -> Lun:
        """The logical unit *name*.

        :raises LookupError: there is none.
        """
        try:
            return self.luns[name]
        except KeyError:
            raise LookupError('no logical unit %s' % name) from None

    def extend_lun(self, name: str, size_bytes: int) -> None:
        """Grow a unit; hosts see it after a rescan or a disk's Refresh.

        :raises ValueError: it would become smaller.
        """
        with self._lock:
            found = self.lun(name)
            if size_bytes < found.size_bytes:
                raise ValueError('%s is larger than that' % name)
            os.truncate(found.path, size_bytes)

    def delete_lun(self, name: str) -> None:
        """Remove a unit, in use or not; one that is gone is fine."""
        with self._lock:
            found = self.luns.pop(name, None)
            if found is None:
                return
            for target in self.targets.values():
                target.luns = {number: lun for number, lun
                               in target.luns.items() if lun != name}
            self.masks = [mask for mask in self.masks if mask.lun != name]
            if found.own_file and os.path.exists(found.path):
                os.unlink(found.path)
            self._fabric.changes += 1

    # -- iSCSI

    def create_target(self, iqn: str, portals: typing.Iterable[str], *,
                      chap: typing.Optional[typing.Sequence[str]] = None,
                      initiators: typing.Optional[
                          typing.Iterable[str]] = None) -> Target:
        """An iSCSI target without units.

        :param portals: ``address:port`` each.
        :param chap: user and secret.
        :param initiators: names that may log in; None: everybody.
        :raises ValueError: there is one of that name.
        """
        with self._lock:
            if iqn.lower() in self.targets:
                raise ValueError('there is a target %s' % iqn)
            found = self.targets[iqn.lower()] = Target(
                iqn.lower(), [Portal.make(one) for one in portals],
                (chap[0], chap[1]) if chap else None,
                None if initiators is None else {
                    one.lower() for one in initiators})
            self._fabric.changes += 1
            return found

    def find_target(self, iqn: str) -> typing.Optional[Target]:
        """The target of that name, case ignored, or None."""
        return self.targets.get(iqn.lower())

    def target(self, iqn: str) -> Target:
        """The target of that name, case ignored.

        :raises LookupError: there is none.
        """
        found = self.find_target(iqn)
        if found is None:
            raise LookupError('no target %s' % iqn)
        return found

    def delete_target(self, iqn: str) -> None:
        """Remove a target; its sessions break."""
        with self._lock:
            self.targets.pop(iqn.lower(), None)
            self._links_changed()

    def map(self, iqn: str, number: int, lun: str) -> None:
        """Offer a unit behind a target.

        :raises ValueError: the number is taken, or too large.
        """
        with self._lock:
            luns = self.target(iqn).luns
            if number in luns or not 0 <= number <= MAX_LUN:
                raise ValueError('%s cannot have a unit %d' % (iqn, number))
            self.lun(lun)
            luns[number] = lun
            self._fabric.changes += 1

    def unmap(self, iqn: str, number: int) -> None:
        """Take a unit away; hosts notice at their next rescan."""
        with self._lock:
            self.target(iqn).luns.pop(number, None)
            self._fabric.changes += 1

    def grant(self, iqn: str, initiator: str) -> None:
        """Put an initiator on a target's access list."""
        with self._lock:
            target = self.target(iqn)
            target.initiators = (target.initiators or set()) | {
                initiator.lower()}
            self._fabric.changes += 1

    def revoke(self, iqn: str, initiator: str) -> None:
        """Take an initiator off the access list; its sessions go on."""
        with self._lock:
            target = self.target(iqn)
            target.initiators = (target.initiators or set()) - {
                initiator.lower()}
            self._fabric.changes += 1

    # -- Fibre Channel

    def add_storage_port(self, wwpn: str, wwnn: str) -> None:
        """Give the array a Fibre Channel port."""
        with self._lock:
            self.storage_ports[wwn(wwpn)] = wwn(wwnn)
            self._links_changed()

    def mask(self, lun: str, number: int, target_wwpn: str,
             initiator_wwpns: typing.Iterable[str]) -> None:
        """Let ports of hosts see a unit behind a storage port.

        :raises LookupError: no such unit or storage port.
        """
        with self._lock:
            self.lun(lun)
            if wwn(target_wwpn) not in self.storage_ports:
                raise LookupError('no storage port %s' % target_wwpn)
            self.masks += [
                Mask(lun, number, wwn(target_wwpn), wwn(one))
                for one in initiator_wwpns]
            self._fabric.changes += 1

    def unmask(self, lun: str, initiator_wwpns: typing.Optional[
            typing.Iterable[str]] = None) -> None:
        """Take back :meth:`mask`, for some ports of hosts or all."""
        with self._lock:
            ports = None if initiator_wwpns is None else {
                wwn(one) for one in initiator_wwpns}
            self.masks = [
                mask for mask in self.masks if mask.lun != lun or (
                    ports is not None and mask.initiator_wwpn not in ports)]
            self._fabric.changes += 1

    # -- paths

    def port_down(self, port: str) -> None:
        """A portal, or a storage port, fails: all paths over it break."""
        with self._lock:
            self.down.add(_port_name(port))
            self._links_changed()

    def port_up(self, port: str) -> None:
        """Take back :meth:`port_down`; initiators reconnect."""
        with self._lock:
            self.down.discard(_port_name(port))
            self._links_changed()

    def cut(self, host: str, port: str) -> None:
        """Break one host's path to a portal or storage port."""
        with self._lock:
            self._cut.add((host.lower(), _port_name(port)))
            self._links_changed()

    def mend(self, host: str, port: str) -> None:
        """Take back :meth:`cut`."""
        with self._lock:
            self._cut.discard((host.lower(), _port_name(port)))
            self._links_changed()

    def reaches(self, host: str, port: str) -> bool:
        """Whether a host can reach a port.

        :param port: a Portal as text, or a WWPN.
        """
        return port not in self.down and (host.lower(), port) not in self._cut

    def _links_changed(self) -> None:
        self._fabric.changes += 1
        for host in self._fabric.hosts.values():
            if host.powered:
                host.luns.links_changed()

    # -- state

    def dump(self) -> typing.Dict[str, typing.Any]:
        """What must outlive the fabric's process, for JSON."""
        return {
            'luns': [dataclasses.asdict(one) for one in self.luns.values()],
            'targets': [
                {'iqn': one.iqn, 'portals': [str(at) for at in one.portals],
                 'chap': one.chap, 'luns': sorted(one.luns.items()),
                 'initiators': None if one.initiators is None
                 else sorted(one.initiators)}
                for one in self.targets.values()],
            'masks': [dataclasses.astuple(one) for one in self.masks],
            'storage_ports': self.storage_ports}

    def load(self, dumped: typing.Dict[str, typing.Any]) -> None:
        """Take back what :meth:`dump` gave."""
        self.luns = {one['name']: Lun(**one) for one in dumped['luns']}
        for lun in self.luns.values():
            if lun.own_file:        # the fabric's folder may have moved
                lun.path = self._file_of(lun.name)
        for one in dumped['targets']:
            self.targets.pop(one['iqn'], None)
            target = self.create_target(
                one['iqn'], one['portals'], chap=one['chap'],
                initiators=one['initiators'])
            target.luns = dict(one['luns'])
        self.masks = [Mask(*one) for one in dumped['masks']]
        self.storage_ports = dict(dumped['storage_ports'])


def _port_name(port: str) -> str:
    try:
        return wwn(port)
    except ValueError:
        return str(Portal.make(port))
