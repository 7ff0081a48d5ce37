# SPDX-License-Identifier: Apache-2.0
"""virtdisk.dll: results are error codes, 0 is success."""

import ctypes
from typing import Any
from typing import Optional
import uuid

from .. import winerror
from ..winerror import WinError
from .system import HostHandle
from .system import System
from .thunk import Library
from .thunk import wants_addresses

_MICROSOFT = uuid.UUID('EC984AEC-A0F9-47E9-901F-71415A66345B')
_PARENT_CHARS = 512
_SET_PARENT_PATH = 1
_SET_IDENTIFIER = 2
_SET_DISK_ID = 5
_ALL = 0x3F0000
_GET_INFO = 0x80000
_ATTACH_RO = 0x10000


def _uuid_of(guid: Any) -> uuid.UUID:
    raw = ctypes.string_at(ctypes.addressof(guid), ctypes.sizeof(guid))
    return uuid.UUID(bytes_le=raw)


def _put_uuid(guid: Any, value: uuid.UUID) -> None:
    ctypes.memmove(ctypes.addressof(guid), value.bytes_le, 16)


def _check_type(vst: Any) -> int:
    if not vst:
        raise WinError(winerror.INVALID_PARAMETER)
    kind = vst.contents
    vendor = _uuid_of(kind.VendorId)
    if vendor.int and vendor != _MICROSOFT:
        raise WinError(winerror.VIRTDISK_PROVIDER_NOT_FOUND)
    if kind.DeviceId not in (0, 1, 2, 3):
        raise WinError(winerror.VIRTDISK_PROVIDER_NOT_FOUND)
    return int(kind.DeviceId)


class Virtdisk(Library):
    """The functions of virtdisk.dll that os_win registers."""

    dll_name = 'virtdisk'

    def __init__(self, system: System) -> None:
        super().__init__(system.port)
        self._system = system

    def _call(self, function: str, **args: Any) -> Any:
        return self._port.call('dll.virtdisk.' + function, **args)

    def _number(self, handle: Optional[int]) -> int:
        return self._system.handle(handle, HostHandle).number

    def _add(self, number: int) -> int:
        return self._system.add(HostHandle(
            number, lambda: self._call('close', handle=number)))

    def do_OpenVirtualDisk(self, vst: Any, path: Optional[str], access: int,
                           flags: int, params: Any, phandle: Any) -> int:
        device = _check_type(vst)
        if not path or not phandle:
            return winerror.INVALID_PARAMETER
        rw_depth = 1
        if params:
            given = params.contents
            if given.Version == 2:
                if access:
                    return winerror.INVALID_PARAMETER
                options = given.Version2
                access = _GET_INFO if options.GetInfoOnly else (
                    _GET_INFO | _ATTACH_RO if options.ReadOnly else _ALL)
            elif given.Version == 1:
                rw_depth = given.Version1.RWDepth
            else:
                return winerror.INVALID_PARAMETER
        number = self._call(
            'OpenVirtualDisk', path=path, device=device, access=access,
            flags=flags, rw_depth=rw_depth, client=self._port.client)
        phandle[0] = self._add(number)
        return 0

    def do_CreateVirtualDisk(self, vst: Any, path: Optional[str],
                             access: int, descriptor: Any, flags: int,
                             provider_flags: int, params: Any,
                             overlapped: Any, phandle: Any) -> int:
        device = _check_type(vst)
        if not path or not params or not phandle or (
                params.contents.Version != 2 or access):
            return winerror.INVALID_PARAMETER
        given = params.contents.Version2
        disk_id = _uuid_of(given.UniqueId)
        number = self._call(
            'CreateVirtualDisk', path=path, device=device,
            fixed=bool(flags & 1), size_bytes=given.MaximumSize,
            block_bytes=given.BlockSizeInBytes,
            sector_bytes=given.SectorSizeInBytes,
            physical_sector_bytes=given.PhysicalSectorSizeInBytes,
            parent=given.ParentPath, source=given.SourcePath,
            disk_id=str(disk_id) if disk_id.int else None,
            client=self._port.client)
        phandle[0] = self._add(number)
        return 0

    def do_GetVirtualDiskInformation(self, handle: Optional[int],
                                     psize: Any, pinfo: Any,
                                     pused: Any) -> int:
        if not psize or not pinfo:
            return winerror.INVALID_PARAMETER
        info = pinfo.contents
        if psize[0] < ctypes.sizeof(info):
            psize[0] = ctypes.sizeof(info)
            return winerror.INSUFFICIENT_BUFFER
        version = info.Version
        facts = self._call('GetVirtualDiskInformation',
                           handle=self._number(handle), version=version)
        if version == 1:
            for name, value in facts.items():
                setattr(info.Size, name, value)
        elif version == 3:
            info.ParentLocation.ParentResolved = facts['ParentResolved']
            path = facts['ParentPath']
            if len(path) >= _PARENT_CHARS:
                return winerror.INSUFFICIENT_BUFFER
            info.ParentLocation.ParentPath = path
        elif version == 6:
            info.VirtualStorageType.DeviceId = facts['DeviceId']
            _put_uuid(info.VirtualStorageType.VendorId, _MICROSOFT)
        elif 'Guid' in facts:
            _put_uuid(info.Identifier, uuid.UUID(facts['Guid']))
        else:
            # The other members are 32-bit numbers at the same place.
            info.ProviderSubtype = facts['Value']
        if pused:
            pused[0] = ctypes.sizeof(info)
        return 0

    def do_SetVirtualDiskInformation(self, handle: Optional[int],
                                     pinfo: Any) -> int:
        if not pinfo:
            return winerror.INVALID_PARAMETER
        info, number = pinfo.contents, self._number(handle)
        if info.Version == _SET_PARENT_PATH and info.ParentFilePath:
            self._call('SetVirtualDiskInformation', handle=number,
                       parent=info.ParentFilePath)
        elif info.Version in (_SET_IDENTIFIER, _SET_DISK_ID):
            self._call('SetVirtualDiskInformation', handle=number,
                       guid=str(_uuid_of(info.VirtualDiskId)))
        else:
            return winerror.INVALID_PARAMETER
        return 0

    def do_ResizeVirtualDisk(self, handle: Optional[int], flags: int,
                             params: Any, overlapped: Any) -> int:
        if not params or params.contents.Version != 1:
            return winerror.INVALID_PARAMETER
        self._call('ResizeVirtualDisk', handle=self._number(handle),
                   size_bytes=params.contents.Version1.NewSize)
        return 0

    def do_MergeVirtualDisk(self, handle: Optional[int], flags: int,
                            params: Any, overlapped: Any) -> int:
        if not params or params.contents.Version != 1:
            return winerror.INVALID_PARAMETER
        self._call('MergeVirtualDisk', handle=self._number(handle),
                   depth=params.contents.Version1.MergeDepth)
        return 0

    def do_AttachVirtualDisk(self, handle: Optional[int], descriptor: Any,
                             flags: int, provider_flags: int, params: Any,
                             overlapped: Any) -> int:
        self._call('AttachVirtualDisk', handle=self._number(handle),
                   flags=flags)
        return 0

    def do_DetachVirtualDisk(self, handle: Optional[int], flags: int,
                             provider_flags: int) -> int:
        self._call('DetachVirtualDisk', handle=self._number(handle))
        return 0

    @wants_addresses
    def do_GetVirtualDiskPhysicalPath(self, handle: Optional[int],
                                      psize: Any,
                                      buffer: Optional[int]) -> int:
        if not psize or not buffer:
            return winerror.INVALID_PARAMETER
        path: str = self._call('GetVirtualDiskPhysicalPath',
                               handle=self._number(handle))
        needed = (len(path) + 1) * ctypes.sizeof(ctypes.c_wchar)
        room, psize[0] = psize[0], needed
        if room < needed:
            return winerror.INSUFFICIENT_BUFFER
        text = ctypes.create_unicode_buffer(path)
        ctypes.memmove(buffer, text, needed)
        return 0
