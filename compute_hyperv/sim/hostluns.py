# SPDX-License-Identifier: Apache-2.0
"""The disks that a host makes of what it sees of the array.

Each path to a logical unit is a disk of its own, unless multipath I/O has
claimed it: then all paths of a unit are one disk.  Disks appear with a
session, or with a rescan; their numbers are the lowest free ones, so they
move after a reboot.

Sources: nova-contract.md 4.3-4.5 and field-lessons.md L108, L111, L113,
L115; documentation of MSFT_Disk and MSFT_StorageSetting.
"""

from __future__ import annotations

import dataclasses
import typing

from . import iocount
from . import sanmodel
from .wmi import storage

if typing.TYPE_CHECKING:
    from .host import Host

ISCSI, FC, RBD = 'iscsi', 'fc', 'rbd'
_BUS = {ISCSI: storage.ISCSI, FC: storage.FIBRE_CHANNEL, RBD: storage.SAS}
_NAA = 3                                #: UniqueIdFormat: FCPH name


@dataclasses.dataclass(frozen=True)
class Path:
    """A way from a host to a logical unit.

    :ivar via: the link that it takes, by name: a session, or a pair of
        ports; the path breaks with it.
    :ivar number: the unit's number on that link.
    """

    transport: str
    via: str
    number: int
    lun: sanmodel.Lun


@dataclasses.dataclass(eq=False)
class LunDisk:
    """A disk of the host.

    :ivar number: of MSFT_Disk.
    :ivar size_bytes: what Windows has read last.
    :ivar claimed: multipath I/O has it.
    :ivar rescans: how many more it takes until it is claimed.
    :ivar owner: the VM that has it open, '' if none.
    """

    number: int
    lun: sanmodel.Lun
    paths: typing.List[Path]
    size_bytes: int
    claimed: bool = False
    rescans: int = 0
    owner: str = ''
    io: iocount.IoCount = dataclasses.field(
        default_factory=iocount.IoCount)

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the disk; OSError when no path is left."""
        self._need_path()
        self.io.read(count)
        return self.lun.read(offset, count)

    def write(self, offset: int, data: bytes) -> None:
        """Change bytes of the disk; OSError when no path is left."""
        self._need_path()
        self.io.wrote(len(data))
        self.lun.write(offset, data)

    def _need_path(self) -> None:
        if not self.paths:
            raise OSError('disk %d is gone' % self.number)


class Links(typing.Protocol):
    """What leads to the array: iSCSI sessions, or FC ports."""

    def paths(self) -> typing.List[Path]:
        """The units that can be seen now."""

    def links(self) -> typing.Set[str]:
        """The links that are up, by name."""

    def links_changed(self) -> None:
        """Ports of the array, or paths to them, went down or up."""


class Held:
    """A disk of the host that a VM has open.

    :ivar disk: None when it does not lie on the array.
    """

    def __init__(self, holds: typing.Dict[int, Held], number: int,
                 owner: str, disk: typing.Optional[LunDisk]) -> None:
        self._holds = holds
        self.number = number
        self.owner = owner
        self.disk = disk
        self.is_open = True
        holds[number] = self

    def close(self) -> None:
        """Let it go; again is harmless."""
        self.is_open = False
        if self.disk is not None:
            self.disk.owner = ''
        if self._holds.get(self.number) is self:
            del self._holds[self.number]


class HostLuns:
    """The disks of one host that lie on the array."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = host.fabric.lock
        self._sources: typing.List[Links] = []
        self._disks: typing.Dict[int, LunDisk] = {}
        self._by_path: typing.Dict[Path, LunDisk] = {}
        self._holds: typing.Dict[int, Held] = {}
        #: Numbers of disks that were brought online (False) or offline
        #: (True): Windows remembers the number, not the disk, says Ceph's
        #: "RBD on Windows"; the next disk of that number is treated so.
        self.remembered: typing.Dict[int, bool] = {}

    def add_source(self, source: Links) -> None:
        """Have the disks of these links appear."""
        self._sources.append(source)

    def disks(self) -> typing.List[LunDisk]:
        """The disks, in the order of their arrival."""
        return list(self._disks.values())

    def disk(self, number: int) -> typing.Optional[LunDisk]:
        """The disk of this number, if it is one of the array's."""
        return self._disks.get(number)

    def disk_of(self, path: Path) -> typing.Optional[LunDisk]:
        """The disk that a path has become, or None so far."""
        return self._by_path.get(path)

    # -- arrivals and departures

    def rescan(self) -> None:
        """UpdateHostStorageCache: units come and go, sizes are read."""
        with self._lock:
            live = dict.fromkeys(self._live())
            for disk in self.disks():
                for path in [one for one in disk.paths if one not in live]:
                    self._drop(disk, path)
            self.arrive(live)
            for disk in self.disks():
                self.refresh(disk.number)
                if disk.rescans and disk.number in self._disks:
                    disk.rescans -= 1
                    if not disk.rescans:
                        self._claim(disk)

    def arrive(self, paths: typing.Iterable[Path]) -> None:
        """Make disks of the paths that are none yet."""
        with self._lock:
            for path in paths:
                if path.lun.kind == sanmodel.DISK and not self.disk_of(path):
                    self._add(path)

    def links_changed(self) -> None:
        """Ports of the array went down or up, or paths to them."""
        with self._lock:
            for source in self._sources:
                source.links_changed()
            self.drop_dead()

    def drop_dead(self) -> None:
        """Remove the paths whose link is down; disks without paths go."""
        with self._lock:
            alive: typing.Set[str] = set()
            for source in self._sources:
                alive |= source.links()
            for disk in self.disks():
                for path in [one for one in disk.paths
                             if one.via not in alive]:
                    self._drop(disk, path)

    def _live(self) -> typing.List[Path]:
        return [path for source in self._sources for path in source.paths()]

    def _claims(self, transport: str) -> bool:
        """Whether multipath I/O takes disks of this transport.

        The feature alone claims nothing: its device specific module has
        to be told the bus types.
        """
        extra = self._host.spec.extra
        return bool(extra.get('mpio')) and transport in extra.get(
            'mpio_claims', (ISCSI, FC))

    def _add(self, path: Path) -> None:
        late = self._host.quirks.mpio_claim_rescans
        claims = self._claims(path.transport)
        known = next((disk for disk in self._disks.values() if claims and
                      disk.claimed and disk.lun is path.lun), None)
        if known is not None:
            known.paths.append(path)
            self._by_path[path] = known
        elif claims and not late:
            self._appear([path], claimed=True)
        else:
            disk = self._appear([path], claimed=False)
            disk.rescans = late if claims else 0

    def _claim(self, disk: LunDisk) -> None:
        """Multipath I/O takes a disk: its number changes (L113)."""
        plain = [one for one in self.disks()
                 if one.lun is disk.lun and not one.claimed]
        paths = [path for one in plain for path in one.paths]
        self._appear(paths, claimed=True)
        for one in plain:
            one.paths.clear()       # they lead to the other disk now
            self._vanish(one)

    def _appear(self, paths: typing.List[Path], claimed: bool) -> LunDisk:
        first = paths[0]
        lun = first.lun
        number = storage.add_disk(self._host, storage.HostDisk(
            location='Bus Number 0, Target Id 0, LUN %d' % first.number,
            size_bytes=lun.size_bytes, bus_type=_BUS[first.transport],
            unique_id=lun.unique_id, unique_id_format=_NAA,
            serial=lun.serial, multipath=claimed))
        disk = LunDisk(number, lun, list(paths), lun.size_bytes, claimed)
        self._disks[number] = disk
        self._by_path.update(dict.fromkeys(paths, disk))
        return disk

    def _drop(self, disk: LunDisk, path: Path) -> None:
        disk.paths.remove(path)
        del self._by_path[path]
        if not disk.paths:
            self._vanish(disk)

    def _vanish(self, disk: LunDisk) -> None:
        """Windows loses a disk; a VM that has it gets I/O errors."""
        for path in disk.paths:
            del self._by_path[path]
        disk.paths.clear()
        del self._disks[disk.number]
        self._holds.pop(disk.number, None)
        storage.remove_disk(self._host, disk.number)

    def refresh(self, number: int) -> None:
        """MSFT_Disk.Refresh: read the size of a disk again."""
        disk = self.disk(number)
        size_bytes = disk.lun.size_bytes if disk is not None else 0
        if disk is not None and size_bytes not in (0, disk.size_bytes):
            disk.size_bytes = size_bytes
            storage.set_size(self._host, number, size_bytes)

    def note_state(self, number: int, offline: bool) -> None:
        """Windows remembers whether it brought a disk online."""
        self.remembered[number] = offline

    # -- VMs

    def hold(self, number: int, owner: str) -> typing.Optional[Held]:
        """Open a disk for a VM; None if another one has it."""
        with self._lock:
            if number in self._holds:
                return None
            disk = self.disk(number)
            if disk is not None:
                disk.owner = owner
            return Held(self._holds, number, owner, disk)

    def holder(self, number: int) -> str:
        """The VM that has a disk open, or ''."""
        held = self._holds.get(number)
        return held.owner if held is not None else ''

    def in_use(self, via: str) -> bool:
        """Whether a VM has a disk open that would go with this link."""
        return any(disk.owner and all(path.via == via
                                      for path in disk.paths)
                   for disk in self.disks())

    # -- power

    def power_cut(self) -> None:
        """The host went down: nothing is open or there any more."""
        with self._lock:
            self._holds.clear()
            for disk in self.disks():
                self._vanish(disk)

    def boot(self) -> None:
        """Find the disks again, in another order than before.

        The order in which Windows finds disks at boot is not defined;
        here each one gets the number of the next (L108).
        """
        with self._lock:
            storage.remove_lun_disks(self._host)
            live = self._live()
            self.arrive(live[1:] + live[:1])

    def problems(self) -> typing.List[str]:
        """The disks that are there, and those that VMs have open."""
        with self._lock:
            return ['disk %d (%s) is still there' % (
                disk.number, disk.lun.name) for disk in self.disks()] + [
                'disk %d is open by VM %s' % (held.number, held.owner)
                for held in self._holds.values()]
