# SPDX-License-Identifier: Apache-2.0
"""The operations behind virtdisk.dll.

Each is one call over the port and carries the name of its function.
Sizes are bytes; GUIDs are text.
"""

import os
from typing import Any
from typing import Dict
from typing import Optional
import uuid

from . import winerror
from .diskhandles import Attachment
from .diskhandles import DiskHandle
from .errors import NotSimulated
from .ports import op
from .virtualdisks import DEVICE_ISO
from .virtualdisks import DEVICES
from .virtualdisks import VirtualDisks
from .winerror import WinError

_SUBTYPES = {'fixed': 2, 'dynamic': 3, 'differencing': 4}


@op('dll.virtdisk.OpenVirtualDisk')
def open_virtual_disk(host: Any, **args: Any) -> int:
    """See :meth:`VirtualDisks.open`; returns the handle's number."""
    disks: VirtualDisks = host.vdisks
    return disks.open(args.pop('path'), **args).number


@op('dll.virtdisk.CreateVirtualDisk')
def create_virtual_disk(host: Any, **args: Any) -> int:
    """See :meth:`VirtualDisks.create`; returns the handle's number."""
    disks: VirtualDisks = host.vdisks
    return disks.create(args.pop('path'), **args).number


@op('dll.virtdisk.close')
def close_handle(host: Any, *, handle: int) -> bool:
    """CloseHandle on a virtual disk."""
    disks: VirtualDisks = host.vdisks
    return disks.close(handle)


@op('dll.virtdisk.GetVirtualDiskInformation')
def get_information(host: Any, *, handle: int,
                    version: int) -> Dict[str, Any]:
    """One kind of facts (GET_VIRTUAL_DISK_INFO_VERSION).

    :raises WinError: 87 unknown kind, 0xC03A001B no parent, 50 an ISO.
    """
    disks: VirtualDisks = host.vdisks
    opened = disks.get(handle)
    with opened.lock:
        reader = _FACTS.get(version)
        if reader is None:
            raise WinError(winerror.INVALID_PARAMETER, opened.path)
        return reader(disks, opened)


def _size(disks: VirtualDisks, opened: DiskHandle) -> Dict[str, Any]:
    physical = os.path.getsize(opened.found.local)
    disk = opened.disk
    if disk is None:
        return {'VirtualSize': physical, 'PhysicalSize': physical,
                'BlockSize': 0, 'SectorSize': 2048}
    return {'VirtualSize': disk.size_bytes, 'PhysicalSize': physical,
            'BlockSize': 0 if disk.kind == 'fixed' and disk.fmt == 'vhd'
            else disk.block_bytes, 'SectorSize': disk.sector_bytes}


def _disk_of(opened: DiskHandle) -> Any:
    if opened.disk is None:
        raise WinError(winerror.NOT_SUPPORTED, opened.path)
    return opened.disk


def _parent(disks: VirtualDisks, opened: DiskHandle) -> Dict[str, Any]:
    disk = _disk_of(opened)
    if disk.kind != 'differencing':
        raise WinError(winerror.VHD_INVALID_TYPE, opened.path)
    if disk.parent is not None:
        return {'ParentResolved': True, 'ParentPath': disk.parent_path}
    candidates = disk.parent_candidates
    there = [path for path in candidates if disks.host.storage.exists(path)]
    # Opened without parents: where it would be looked for.
    return {'ParentResolved': False,
            'ParentPath': (there + list(candidates[-1:]))[0]}


def _parent_id(disks: VirtualDisks, opened: DiskHandle) -> Dict[str, Any]:
    disk = _disk_of(opened)
    if disk.kind != 'differencing':
        raise WinError(winerror.VHD_INVALID_TYPE, opened.path)
    if disk.parent is None:
        raise NotSimulated('identifier of a parent that is not open')
    return {'Guid': str(uuid.UUID(disk.parent.id))}


def _disk_id(disks: VirtualDisks, opened: DiskHandle) -> Dict[str, Any]:
    return {'Guid': str(uuid.UUID(_disk_of(opened).id))}


def _storage_type(disks: VirtualDisks, opened: DiskHandle) -> Dict[str, Any]:
    return {'DeviceId': DEVICE_ISO if opened.disk is None
            else DEVICES[opened.disk.fmt]}


def _subtype(disks: VirtualDisks, opened: DiskHandle) -> Dict[str, Any]:
    return {'Value': _SUBTYPES[_disk_of(opened).kind]}


def _is_4k_aligned(disks: VirtualDisks, opened: DiskHandle) -> Dict[str, Any]:
    # VHDX always is; a VHD's blocks start behind a 512-byte bitmap.
    disk = _disk_of(opened)
    return {'Value': int(disk.fmt == 'vhdx' or disk.kind == 'fixed')}


def _physical_sector(disks: VirtualDisks,
                     opened: DiskHandle) -> Dict[str, Any]:
    return {'Value': _disk_of(opened).physical_sector_bytes}


def _is_loaded(disks: VirtualDisks, opened: DiskHandle) -> Dict[str, Any]:
    return {'Value': int(disks.is_loaded(opened))}


_FACTS = {
    1: _size, 2: _disk_id, 3: _parent, 4: _parent_id, 6: _storage_type,
    7: _subtype, 8: _is_4k_aligned, 10: _physical_sector, 13: _is_loaded,
    14: _disk_id,
}


@op('dll.virtdisk.SetVirtualDiskInformation')
def set_information(host: Any, *, handle: int, parent: Optional[str] = None,
                    guid: Optional[str] = None) -> None:
    """Another path of the parent, or another identifier."""
    disks: VirtualDisks = host.vdisks
    opened = disks.get(handle)
    with opened.lock:
        if parent is not None:
            disks.set_parent(opened, parent)
        if guid is not None:
            disks.set_id(opened, guid)


@op('dll.virtdisk.ResizeVirtualDisk')
def resize_virtual_disk(host: Any, *, handle: int, size_bytes: int) -> None:
    """See :meth:`VirtualDisks.resize`."""
    opened = host.vdisks.get(handle)
    with opened.lock:
        host.vdisks.resize(opened, size_bytes)


@op('dll.virtdisk.MergeVirtualDisk')
def merge_virtual_disk(host: Any, *, handle: int, depth: int) -> None:
    """See :meth:`VirtualDisks.merge`."""
    opened = host.vdisks.get(handle)
    with opened.lock:
        host.vdisks.merge(opened, depth)


@op('dll.virtdisk.AttachVirtualDisk')
def attach_virtual_disk(host: Any, *, handle: int, flags: int) -> None:
    """See :meth:`Attachments.attach`."""
    host.vdisks.attachments.attach(host.vdisks.get(handle), flags)


@op('dll.virtdisk.DetachVirtualDisk')
def detach_virtual_disk(host: Any, *, handle: int) -> None:
    """See :meth:`Attachments.detach`."""
    host.vdisks.attachments.detach(host.vdisks.get(handle))


@op('dll.virtdisk.GetVirtualDiskPhysicalPath')
def physical_path(host: Any, *, handle: int) -> str:
    """Device name of an attached disk; WinError 21 if it is not."""
    opened = host.vdisks.get(handle)
    attached: Optional[Attachment] = host.vdisks.attachments.find(opened)
    if attached is None:
        raise WinError(winerror.NOT_READY, opened.path)
    return attached.physical_path
