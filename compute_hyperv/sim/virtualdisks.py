# SPDX-License-Identifier: Apache-2.0
"""Virtual disks as virtdisk.dll and virtual machines open them.

Adds to ``disks`` (the formats) what the operating system adds: handles,
share modes of whole chains, and attached disks.
"""

import dataclasses
import itertools
import os
from typing import Any
from typing import Dict
from typing import List
from typing import Optional

from . import disks
from . import handles
from . import native
from . import onlineresize
from . import winerror
from .diskhandles import ATTACH_RO
from .diskhandles import ATTACH_RW
from .diskhandles import Attachments
from .diskhandles import DiskHandle
from .diskhandles import Hold
from .disks import Disk
from .disks import DiskError
from .storage import Located
from .storage import Storage
from .winerror import WinError

# VIRTUAL_DISK_ACCESS_MASK
DETACH = 0x40000
GET_INFO = 0x80000
CREATE = 0x100000
METAOPS = 0x200000
ALL = 0x3F0000
_WRITING = ATTACH_RW | CREATE | METAOPS

NO_PARENTS = 1                          # OPEN_VIRTUAL_DISK_FLAG

DEVICE_ISO = 1
DEVICE_VHD = 2
DEVICE_VHDX = 3
FORMATS = {DEVICE_VHD: 'vhd', DEVICE_VHDX: 'vhdx'}
DEVICES = {fmt: device for device, fmt in FORMATS.items()}

_FILE_CORRUPT = 1392


@dataclasses.dataclass(frozen=True)
class NewDisk:
    """What CreateVirtualDisk is to make.

    :ivar device: DEVICE_VHD or DEVICE_VHDX.
    :ivar fixed: all space is taken at once.
    :ivar block_bytes: 0 for the default of Windows; sectors likewise.
    :ivar parent, source: Windows paths; at most one of them.
    """

    device: int
    fixed: bool = False
    size_bytes: int = 0
    block_bytes: int = 0
    sector_bytes: int = 0
    physical_sector_bytes: int = 0
    parent: Optional[str] = None
    source: Optional[str] = None
    disk_id: Optional[str] = None

    @property
    def shape(self) -> Dict[str, Any]:
        """The arguments that ``disks`` takes for new disks and copies."""
        kind = 'differencing' if self.parent else (
            'fixed' if self.fixed else 'dynamic')
        return {'fmt': FORMATS[self.device], 'kind': kind,
                'size_bytes': self.size_bytes or None,
                'block_bytes': self.block_bytes or None,
                'disk_id': self.disk_id}


class VirtualDisks:
    """The virtual disks that are open on one host."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self._storage: Storage = host.storage
        self._lock = native.RLock()
        self._numbers = itertools.count(1)
        self._open: Dict[int, DiskHandle] = {}
        self.attachments = Attachments(host)

    # -- for virtual machines --------------------------------------------

    def hold(self, path: str, *, owner: str, shared: bool = False,
             read_only: bool = False) -> Hold:
        """Open a disk, or an ISO or floppy, for a virtual machine.

        The disk itself is the machine's alone unless *shared*; parents
        may be read by others.

        :raises WinError: 2, 3, 5, 32 in use, 0xC03A.... bad disk or chain.
        """
        found = self._storage.locate(path).need()
        if disks.probe(found.local) is None:
            return Hold([self._storage.hold(path, share='read',
                                            owner=owner)])
        disk = self.open_disk(path, found, writable=False, parents=True)
        share = handles.READ | handles.WRITE if shared else (
            handles.READ if read_only
            or not self.host.quirks.vm_disk_is_exclusive else 0)
        access = handles.READ | (0 if read_only else handles.WRITE)
        try:
            return Hold(self._hold_chain(disk, found, access, share, owner,
                                         '', 1))
        finally:
            disk.close()

    def chain(self, path: str) -> List[str]:
        """Windows paths of a disk, its parent, and so on.

        Whoever has them open: this is the host's own look.

        :raises WinError: a file is missing, or no disk.
        """
        disk = self.open_disk(path, self._storage.locate(path).need(),
                              writable=False, parents=True)
        try:
            return list(disk.chain)
        finally:
            disk.close()

    def _hold_chain(self, disk: Disk, found: Located, access: int,
                    share: int, owner: str, client: str,
                    rw_depth: int) -> List[handles.OpenFile]:
        held: List[handles.OpenFile] = []
        table = self._storage.shares.handles
        try:
            for level, path in enumerate(disk.chain):
                leaf = level == 0
                local = found.local if leaf else self._storage.local(path)
                writing = bool(access & handles.WRITE) and level < rw_depth
                held.append(table.open(
                    path, local, owner=owner, client=client,
                    host=self.host.name,
                    access=handles.READ | handles.WRITE if writing
                    else handles.READ,
                    share=share if leaf else 0 if writing
                    else handles.READ))
        except BaseException:
            Hold(held).close()
            raise
        return held

    # -- virtdisk.dll ----------------------------------------------------

    def open(self, path: str, *, device: int, access: int, flags: int,
             rw_depth: int = 1, client: str = '') -> DiskHandle:
        """OpenVirtualDisk.

        :param access: VIRTUAL_DISK_ACCESS_MASK; only reading facts or
            detaching is allowed whoever has the file open.
        :param rw_depth: files of the chain to be opened for writing.
        """
        found = self._storage.locate(path).need()
        if os.path.isdir(found.local):
            raise WinError(winerror.ACCESS_DENIED, path)
        handle = DiskHandle(path, found, access, client)
        handle.may_write = bool(access & _WRITING)
        handle.rw_depth = rw_depth if handle.may_write else 0
        if device == DEVICE_ISO:
            if handle.may_write:
                raise WinError(winerror.ACCESS_DENIED, path)
            handle.files = [self._storage.hold(path, owner='virtdisk',
                                               client=client)]
            return self._add(handle)
        self._hold_for(handle, flags)
        try:
            handle.disk = self.open_disk(
                path, found, writable=handle.may_write and not handle.online,
                parents=not flags & NO_PARENTS)
            if device and FORMATS.get(device) != handle.disk.fmt:
                handle.disk.abandon()
                raise WinError(winerror.VHD_DRIVE_FOOTER_MISSING
                               if device == DEVICE_VHD else _FILE_CORRUPT,
                               path)
        except BaseException:
            Hold(handle.files).close()
            raise
        return self._add(handle)

    def _hold_for(self, handle: DiskHandle, flags: int) -> None:
        """Take the share locks that an opening of this kind needs."""
        handle.online = bool(
            handle.access & METAOPS and handle.rw_depth == 1 and
            disks.probe(handle.found.local) == 'vhdx' and
            onlineresize.is_possible(self.host, handle))
        if handle.online or not handle.access & (_WRITING | ATTACH_RO):
            # Facts can be read of disks in use: os_win asks for GET_INFO
            # and DETACH only, for this reason.
            quietly = handle.online or self.host.quirks.facts_of_disk_in_use
            handle.files = [self._storage.shares.handles.open(
                handle.path, handle.found.local,
                access=0 if quietly else handles.READ,
                share=handles.SHARE['all'], owner='virtdisk',
                client=handle.client, host=self.host.name)]
            return
        look = self.open_disk(handle.path, handle.found, writable=False,
                              parents=not flags & NO_PARENTS)
        try:
            writing = handles.WRITE if handle.may_write else 0
            handle.files = self._hold_chain(
                look, handle.found, handles.READ | writing,
                0 if writing else handles.READ, 'virtdisk', handle.client,
                handle.rw_depth)
        finally:
            look.close()

    def create(self, path: str, *, client: str = '',
               **facts: Any) -> DiskHandle:
        """CreateVirtualDisk: new, child of a parent, or copy of a source.

        :param facts: the fields of :class:`NewDisk`.
        """
        new = NewDisk(**facts)
        found = self._storage.locate(path).need_parent()
        if new.device not in FORMATS or new.parent and (
                new.source or new.fixed):
            raise WinError(winerror.INVALID_PARAMETER, path)
        if found.exists:
            raise WinError(winerror.FILE_EXISTS, path)
        if new.source:
            self._convert(path, found, new, client)
        else:
            if new.fixed:
                self._need_space(found, new.size_bytes)
            self.run(path, disks.create, found.local,
                     parent=new.parent or None,
                     win_path=path, resolve=self._resolve,
                     sector_bytes=new.sector_bytes or 512,
                     physical_sector_bytes=new.physical_sector_bytes or 512,
                     **new.shape)
        found.volume.changed()
        return self.open(path, device=new.device, access=ALL, flags=0,
                         client=client)

    def _convert(self, path: str, found: Located, new: 'NewDisk',
                 client: str) -> None:
        assert new.source is not None
        reader = self.open(new.source, device=0, client=client, flags=0,
                           access=ATTACH_RO | GET_INFO)
        try:
            if reader.disk is None:
                raise WinError(winerror.NOT_SUPPORTED, new.source)
            self._need_space(found, reader.disk.size_bytes if new.fixed
                             else reader.disk.file_size_bytes)
            self.run(path, disks.convert, reader.disk, found.local,
                     win_path=path, resolve=self._resolve, **new.shape)
        finally:
            self.close(reader.number)

    @staticmethod
    def _need_space(found: Located, size_bytes: int) -> None:
        if size_bytes > found.volume.free_bytes():
            raise WinError(winerror.DISK_FULL, found.path)

    def get(self, number: int) -> DiskHandle:
        """The handle of this number; WinError 6 if there is none."""
        with self._lock:
            try:
                return self._open[number]
            except KeyError:
                raise WinError(winerror.INVALID_HANDLE) from None

    def close(self, number: int) -> bool:
        """CloseHandle; False if there is no such handle."""
        with self._lock:
            handle = self._open.pop(number, None)
        if handle is None:
            return False
        with handle.lock:
            try:
                if handle.disk is not None:
                    self.run(handle.path, handle.disk.close)
            finally:
                handle.found.volume.changed()
                self.attachments.closed(handle)
        return True

    def resize(self, handle: DiskHandle, size_bytes: int) -> None:
        """ResizeVirtualDisk."""
        onlineresize.check_merge(self.host, handle)
        with onlineresize.writable(self, handle):
            disk = self._writable(handle)
            if disk.kind == 'fixed':
                self._need_space(handle.found,
                                 max(0, size_bytes - disk.size_bytes))
            self.run(handle.path, disk.resize, size_bytes)
        handle.found.volume.changed()

    def merge(self, handle: DiskHandle, depth: int) -> None:
        """MergeVirtualDisk; the parents must be open for writing too."""
        disk = self._writable(handle)
        if handle.rw_depth <= depth:
            raise WinError(winerror.ACCESS_DENIED, handle.path)
        self.run(handle.path, disk.merge, depth)
        handle.found.volume.changed()

    def set_parent(self, handle: DiskHandle, parent: str, *,
                   relink: bool = False) -> None:
        """SetVirtualDiskInformation: another path of the parent.

        :param relink: it may have another identity.
        """
        self.run(handle.path, self._writable(handle).reconnect, parent,
                 relink=relink or
                 not self.host.quirks.reconnect_checks_identity)

    def is_loaded(self, handle: DiskHandle) -> bool:
        """Whether the disk is attached to the host (IsLoaded)."""
        if self.attachments.find(handle) is not None:
            return True
        return self.host.quirks.vm_disk_is_loaded and any(
            opened.owner.startswith('vm ') for opened
            in self._storage.shares.handles.of_file(handle.key))

    def set_id(self, handle: DiskHandle, guid: str) -> None:
        """SetVirtualDiskInformation: another identifier."""
        self.run(handle.path, self._writable(handle).set_id, guid)

    def _writable(self, handle: DiskHandle) -> Disk:
        if handle.disk is None:
            raise WinError(winerror.NOT_SUPPORTED, handle.path)
        if handle.online:
            raise WinError(winerror.SHARING_VIOLATION, handle.path)
        if not handle.may_write:
            raise WinError(winerror.ACCESS_DENIED, handle.path)
        return handle.disk

    # -- the rest --------------------------------------------------------

    def client_gone(self, client: str) -> None:
        """A process ended: close its handles."""
        with self._lock:
            numbers = [number for number, handle in self._open.items()
                       if handle.client == client]
        for number in numbers:
            self.close(number)

    def power_cut(self) -> None:
        """The host lost its power: nothing is open or attached any more."""
        with self._lock:
            opened = list(self._open.values())
            self._open.clear()
        for handle in opened:
            if handle.disk is not None:
                handle.disk.abandon()
            Hold(handle.files).close()
        self.attachments.power_cut()

    def problems(self) -> List[str]:
        """Open handles and attached disks."""
        with self._lock:
            return self.attachments.problems() + [
                'virtual disk handle left open: %s' % handle.path
                for handle in self._open.values()]

    def _add(self, handle: DiskHandle) -> DiskHandle:
        with self._lock:
            handle.number = next(self._numbers)
            self._open[handle.number] = handle
        return handle

    def open_disk(self, path: str, found: Located, *, writable: bool,
                  parents: bool) -> Disk:
        """The disk in a file, without a look at who has it open."""
        disk: Disk = self.run(
            path, disks.open_disk, found.local, writable=writable,
            resolve=self._resolve, win_path=path, parents=parents)
        return disk

    def _resolve(self, path: str) -> str:
        """Local path of a parent; OSError where there can be none."""
        try:
            return self._storage.locate(path).local
        except WinError as error:
            raise winerror.os_error(error.winerror, path) from error

    @staticmethod
    def run(path: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the format code; its errors become Windows errors."""
        try:
            return function(*args, **kwargs)
        except DiskError as error:
            raise WinError(error.code, path) from error
        except OSError as error:
            raise winerror.from_os_error(error, path) from error
