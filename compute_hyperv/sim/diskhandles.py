# SPDX-License-Identifier: Apache-2.0
"""Handles of virtual disks, and the disks that a host has attached."""

import itertools
from typing import Any
from typing import Dict
from typing import List
from typing import Optional

from . import handles
from . import iocount
from . import native
from . import winerror
from .disks import Disk
from .storage import Located
from .winerror import WinError
from .wmi import storage as wmi_storage

# VIRTUAL_DISK_ACCESS_MASK
ATTACH_RO = 0x10000
ATTACH_RW = 0x20000

# ATTACH_VIRTUAL_DISK_FLAG
ATTACH_READ_ONLY = 1
ATTACH_PERMANENT = 4


class DiskHandle:
    """What OpenVirtualDisk and CreateVirtualDisk hand out.

    :ivar disk: None for an ISO.
    :ivar may_write: opened for changes.
    :ivar rw_depth: how many files of the chain are open for writing.
    :ivar online: a running machine uses the disk: it can be resized, and
        nothing else.
    :ivar lock: one call at a time works on the disk.
    """

    def __init__(self, path: str, found: Located, access: int,
                 client: str) -> None:
        self.number = 0
        self.path = path
        self.found = found
        self.access = access
        self.client = client
        self.disk: Optional[Disk] = None
        self.may_write = False
        self.online = False
        self.rw_depth = 0
        self.files: List[handles.OpenFile] = []
        self.attached: Optional['Attachment'] = None
        self.lock = native.RLock()

    @property
    def key(self) -> handles.Key:
        """The file's identity."""
        return handles.Handles.key_of(self.path, self.found.local)


class Hold:
    """The open files of a disk that a virtual machine uses."""

    def __init__(self, files: List[handles.OpenFile]) -> None:
        self.files = files
        self.io = iocount.IoCount()

    def close(self) -> None:
        """Let the files go; again is harmless."""
        for opened in self.files:
            opened.close()


class Attachment:
    """A disk that the host itself sees as a physical one."""

    def __init__(self, path: str, is_iso: bool, permanent: bool) -> None:
        self.number = -1
        self.path = path
        self.is_iso = is_iso
        self.permanent = permanent
        self.gone = False
        self.files: List[handles.OpenFile] = []

    @property
    def physical_path(self) -> str:
        """The device's name."""
        kind = 'CDROM' if self.is_iso else 'PhysicalDrive'
        return '\\\\.\\%s%d' % (kind, self.number)


class Attachments:
    """The attached disks of one host."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._lock = native.RLock()
        self._cdroms = itertools.count(0)
        self._attached: Dict[handles.Key, Attachment] = {}

    def attach(self, handle: DiskHandle, flags: int) -> Attachment:
        """AttachVirtualDisk: make the disk a physical one of this host.

        :raises WinError: 5 not opened for it, 32 attached already.
        """
        if handle.online:
            raise WinError(winerror.SHARING_VIOLATION, handle.path)
        read_only = bool(flags & ATTACH_READ_ONLY)
        if not handle.access & (ATTACH_RO if read_only else ATTACH_RW):
            raise WinError(winerror.ACCESS_DENIED, handle.path)
        is_iso = handle.disk is None
        if is_iso and not read_only:
            raise WinError(winerror.NOT_SUPPORTED, handle.path)
        attached = Attachment(handle.path, is_iso,
                              bool(flags & ATTACH_PERMANENT))
        with self._lock:
            if handle.key in self._attached:
                raise WinError(winerror.SHARING_VIOLATION, handle.path)
            self._attached[handle.key] = handle.attached = attached
        if handle.disk is None:
            attached.number = next(self._cdroms)
        else:
            attached.number = wmi_storage.add_virtual_disk(
                self._host, location=handle.path,
                size_bytes=handle.disk.size_bytes, read_only=read_only)
        return attached

    def detach(self, handle: DiskHandle) -> None:
        """DetachVirtualDisk, by any handle; WinError 21, not attached."""
        with self._lock:
            attached = self._attached.pop(handle.key, None)
        if attached is None:
            raise WinError(winerror.NOT_READY, handle.path)
        self._vanish(attached)

    def _vanish(self, attached: Attachment) -> None:
        attached.gone = True
        if not attached.is_iso:
            wmi_storage.remove_virtual_disk(self._host, attached.number)
        Hold(attached.files).close()

    def closed(self, handle: DiskHandle) -> None:
        """A handle was closed: its disk goes with it unless permanent."""
        attached = handle.attached
        if attached is None or attached.gone:
            Hold(handle.files).close()
            return
        attached.files = handle.files
        if not attached.permanent:
            self.detach(handle)

    def find(self, handle: DiskHandle) -> Optional[Attachment]:
        """How the disk is attached to the host, or None."""
        with self._lock:
            return self._attached.get(handle.key)

    def power_cut(self) -> None:
        """Nothing is attached any more."""
        with self._lock:
            attached = list(self._attached.values())
            self._attached.clear()
        for one in attached:
            self._vanish(one)

    def problems(self) -> List[str]:
        """The attached disks."""
        with self._lock:
            return ['virtual disk left attached: %s' % attached.path
                    for attached in self._attached.values()]
