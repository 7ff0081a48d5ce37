# SPDX-License-Identifier: Apache-2.0
"""Which files of a VM move where, and moving them (section 11).

A VM brings its disks and, of disks with checkpoints, the frozen files
below them. Other parents are not the VM's: they have to be at the
destination already, unless the caller lists them as unmanaged.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import ntpath
import os
import typing

from . import jobs
from . import snapshotdisks
from . import transfer
from .winerror import WinError
from .wmi import engine

if typing.TYPE_CHECKING:
    from .host import Host
    from .vm import Vm


@dataclasses.dataclass(slots=True)
class FileMove:
    """One file on its way."""

    source: str
    target: str
    #: Not the VM's own: a parent that was listed as unmanaged.
    unmanaged: bool = False
    #: Size and time of change when it was copied.
    seen: tuple[int, int] | None = None


class Disks:
    """The files of the disks of one VM that moves to *target*.

    :ivar moves: what is copied, parents first.
    :ivar new_paths: lower-case old path -> new path of every disk file,
        also of those that stay.
    """

    def __init__(self, vm: Vm, target: Host,
                 new_paths: Mapping[str, str] | None,
                 unmanaged: typing.Iterable[str] = (),
                 overwrite: bool = False) -> None:
        """Plan.

        :param new_paths: InstanceID of a medium -> path at the
            destination, '' for a place of its choice; None: nothing moves
        :raises JobFailure: something cannot be reached or be made there
        """
        self._vm = vm
        self._target = target
        self._overwrite = overwrite
        self._unmanaged = {path.lower() for path in unmanaged}
        self.moves: list[FileMove] = []
        self.new_paths: dict[str, str] = {}
        self.files = transfer.Transfer()
        self._links: list[tuple[str, str]] = []
        for medium in snapshotdisks.hard_disks(vm.host, vm.instance_id):
            self._plan(medium, None if new_paths is None else new_paths.get(
                medium['InstanceID'].lower()))
        for snapshot in vm.host.v2.find('Msvm_VirtualSystemSettingData',
                                        VirtualSystemIdentifier=vm.guid):
            for medium in snapshotdisks.hard_disks(
                    vm.host, snapshot['InstanceID']):
                if medium['HostResource'][0].lower() not in self.new_paths:
                    self._plan(medium, None if new_paths is None else (
                        medium['HostResource'][0]))

    # -- planning
    def _plan(self, medium: engine.Record, wanted: str | None) -> None:
        old = medium['HostResource'][0]
        new = old if wanted is None else wanted or ntpath.join(
            _disk_folder(self._target), ntpath.basename(old))
        try:
            chain = self._vm.host.vdisks.chain(old)
        except WinError as exc:
            raise self._failure(exc, old) from exc
        if self._is_same(old, new):
            self.new_paths.update((one.lower(), one) for one in chain)
            return
        if wanted is None:
            raise self._failure(WinError(2, new), new)
        targets = {path: place for path, place in self._places(
            chain, new)}
        for child, parent in zip(chain, chain[1:]):
            if child in targets and parent in targets and (
                    parent.lower() != targets[parent].lower()):
                self._links.append((targets[child], targets[parent]))
        for path, place in reversed(list(targets.items())):
            self._add(path, place)

    def _places(self, chain: list[str], new: str
                ) -> Iterator[tuple[str, str]]:
        """(old, new) of the files of a chain that move."""
        folder, new_folder = ntpath.dirname(chain[0]), ntpath.dirname(new)
        yield chain[0], new
        owned = snapshotdisks.is_difference(chain[0])
        for path in chain[1:]:
            if not owned and path.lower() not in self._unmanaged:
                return
            same_folder = ntpath.dirname(path).lower() == folder.lower()
            yield path, (ntpath.join(new_folder, ntpath.basename(path))
                         if same_folder else path)
            owned = owned and snapshotdisks.is_difference(path)

    def _add(self, path: str, place: str) -> None:
        if path.lower() in self.new_paths:
            return
        self.new_paths[path.lower()] = place
        if self._is_same(path, place):
            return
        storage = self._target.storage
        if not self._overwrite and storage.exists(place):
            raise self._failure(WinError(80, place), place)
        self.moves.append(FileMove(path, place,
                                   path.lower() in self._unmanaged))

    def _is_same(self, old: str, new: str) -> bool:
        """Whether both hosts mean the same file."""
        storage = self._target.storage
        if not storage.exists(new):
            return False
        return os.path.samefile(self._vm.host.storage.local(old),
                                storage.local(new))

    def _failure(self, exc: WinError, path: str) -> jobs.JobFailure:
        return jobs.from_windows(exc, "the disk '%s' cannot be used at "
                                 "'%s'" % (path, self._target.name))

    # -- moving
    def size_bytes(self, move: FileMove) -> int:
        """What is to be copied of a file."""
        return os.path.getsize(self._vm.host.storage.local(move.source))

    def copy(self, move: FileMove) -> None:
        """Copy one file.

        :raises JobFailure: not possible, disk full, ...
        """
        source = self._vm.host.storage
        try:
            move.seen = _seen(source.local(move.source))
            self.files.copy(source, move.source, self._target.storage,
                            move.target, overwrite=self._overwrite)
        except WinError as exc:
            raise self._failure(exc, move.target) from exc

    def settle(self) -> None:
        """Copy again what changed meanwhile; check the chains there.

        :raises JobFailure: a parent is not at the destination
        """
        source, target = self._vm.host.storage, self._target.storage
        for move in self.moves:
            if move.seen != _seen(source.local(move.source)):
                os.unlink(target.local(move.target))
                self.copy(move)
        try:
            for child, parent in self._links:
                snapshotdisks.reconnect(self._target, child, parent)
            for path in self.new_paths.values():
                self._target.vdisks.chain(path)
        except WinError as exc:
            raise self._failure(exc, exc.path or '') from exc

    def leave_sources(self, flag: Callable[[str], bool]) -> None:
        """The VM is at the destination: delete what it left.

        :param flag: booleans of the migration's settings, by name: whether
            copies are to stay, and whether the parents that were listed go
        """
        retain = flag('RetainVhdCopiesOnSource') or flag('AvoidRemovingVHDs')
        unmanaged = flag('RemoveSourceUnmanagedVhds')
        for move in self.moves if not retain else ():
            if unmanaged or not move.unmanaged:
                snapshotdisks.delete(self._vm.host, move.source)
        self.files.keep()


def _seen(local: str) -> tuple[int, int]:
    found = os.stat(local)
    return found.st_size, found.st_mtime_ns


def _disk_folder(host: Host) -> str:
    return str(host.v2.find(
        'Msvm_VirtualSystemManagementServiceSettingData')[0][
        'DefaultVirtualHardDiskPath'])
