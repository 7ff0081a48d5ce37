# SPDX-License-Identifier: Apache-2.0
"""hbaapi.dll: Fibre Channel adapters; results are HBA_STATUS, 0 is good.

os-win passes two structures as plain addresses; they are repeated here
from the HBA API (SNIA), all others come typed.
"""

import ctypes
from typing import Any
from typing import Optional

from ..winerror import WinError
from .thunk import Library

_ARG, _MORE_DATA, _CHECK_CONDITION = 4, 7, 9
_SCSI_CHECK_CONDITION = 2
_NPORT, _ONLINE = 5, 2


class _Wwn(ctypes.Structure):
    _fields_ = [('wwn', ctypes.c_ubyte * 8)]


class _ScsiId(ctypes.Structure):
    _fields_ = [('OSDeviceName', ctypes.c_char * 256),
                ('ScsiBusNumber', ctypes.c_uint32),
                ('ScsiTargetNumber', ctypes.c_uint32),
                ('ScsiOSLun', ctypes.c_uint32)]


class _FcpId(ctypes.Structure):
    _fields_ = [('FcId', ctypes.c_uint32),
                ('NodeWWN', _Wwn),
                ('PortWWN', _Wwn),
                ('FcpLun', ctypes.c_uint64)]


class _Mapping(ctypes.Structure):
    """HBA_FCPSCSIENTRY."""

    _fields_ = [('ScsiId', _ScsiId), ('FcpId', _FcpId)]


#: Of HBA_FCPTARGETMAPPING: the number of entries, then the entries.
_ENTRIES = 8


def _hex(wwn: Any) -> str:
    return bytes(wwn.wwn).hex().upper()


def _put_wwn(wwn: Any, text: str) -> None:
    wwn.wwn[:] = bytes.fromhex(text)


def _fcp_lun(number: int) -> int:
    """A unit's number as the 8 bytes of SAM, read as Windows does."""
    return number << 8


class Hbaapi(Library):
    """The functions of hbaapi.dll that os-win registers."""

    dll_name = 'hbaapi'

    def _call(self, function: str, **args: Any) -> Any:
        return self._port.call('dll.hbaapi.' + function, **args)

    def _failed(self, name: str, error: WinError) -> Any:
        # These give a number or a handle, and 0 when they fail.
        if name in ('HBA_GetNumberOfAdapters', 'HBA_OpenAdapter'):
            return 0
        return error.winerror

    def do_HBA_GetNumberOfAdapters(self) -> int:
        count: int = self._call('HBA_GetNumberOfAdapters')
        return count

    def do_HBA_GetAdapterName(self, index: int, buffer: Any) -> int:
        name: str = self._call('HBA_GetAdapterName', index=index)
        for at, byte in enumerate(name.encode() + b'\0'):
            buffer[at] = byte
        return 0

    def do_HBA_OpenAdapter(self, name: Any) -> int:
        handle: int = self._call(
            'HBA_OpenAdapter', name=ctypes.string_at(name).decode(),
            client=self._port.client)
        return handle

    def do_HBA_OpenAdapterByWWN(self, phandle: Any, wwn: Any) -> int:
        phandle[0] = self._call('HBA_OpenAdapterByWWN', wwn=_hex(wwn),
                                client=self._port.client)
        return 0

    def do_HBA_CloseAdapter(self, handle: int) -> None:
        self._call('HBA_CloseAdapter', handle=handle)

    def do_HBA_GetAdapterAttributes(self, handle: int, pfacts: Any) -> int:
        found = self._call('HBA_GetAdapterAttributes', handle=handle)
        facts = pfacts.contents
        facts.Manufacturer = b'Simulated'
        facts.Model = facts.ModelDescription = b'HBA'
        facts.NodeSymbolicName = found['name'].encode()
        facts.NumberOfPorts = found['ports']
        _put_wwn(facts.NodeWWN, found['wwnn'])
        return 0

    def do_HBA_GetAdapterPortAttributes(self, handle: int, index: int,
                                        pfacts: Any) -> int:
        found = self._call('HBA_GetAdapterPortAttributes', handle=handle,
                           index=index)
        facts = pfacts.contents
        _put_wwn(facts.NodeWWN, found['wwnn'])
        _put_wwn(facts.PortWWN, found['wwpn'])
        facts.PortType, facts.PortState = _NPORT, _ONLINE
        return 0

    def do_HBA_GetFcpTargetMapping(self, handle: int,
                                   address: Optional[int]) -> int:
        if not address:
            return _ARG
        found = self._call('HBA_GetFcpTargetMapping', handle=handle)
        count = ctypes.c_uint32.from_address(address)
        room, count.value = count.value, len(found)
        if room < len(found):
            return _MORE_DATA
        for index, facts in enumerate(found):
            entry = _Mapping.from_address(
                address + _ENTRIES + index * ctypes.sizeof(_Mapping))
            entry.ScsiId.OSDeviceName = facts['device'].encode()
            entry.ScsiId.ScsiBusNumber = entry.ScsiId.ScsiTargetNumber = 0
            entry.ScsiId.ScsiOSLun = facts['lun']
            entry.FcpId.FcId = index + 1
            _put_wwn(entry.FcpId.NodeWWN, facts['wwnn'])
            _put_wwn(entry.FcpId.PortWWN, facts['wwpn'])
            entry.FcpId.FcpLun = _fcp_lun(facts['lun'])
        return 0

    def do_HBA_ScsiInquiryV2(
            self, handle: int, wwpn: Any, target_wwpn: Any, fcp_lun: int,
            cdb1: int, cdb2: int, response: Optional[int], psize: Any,
            pstatus: Any, sense: Optional[int], psense_size: Any) -> int:
        if not response or not sense:
            return _ARG
        found = self._call(
            'HBA_ScsiInquiryV2', handle=handle, wwpn=_hex(wwpn),
            target_wwpn=_hex(target_wwpn), lun=fcp_lun >> 8,
            evpd=bool(cdb1 & 1), page=cdb2)
        pstatus[0] = 0 if 'data' in found else _SCSI_CHECK_CONDITION
        _put_bytes(response, psize, found.get('data', ''))
        _put_bytes(sense, psense_size, found.get('sense', ''))
        return 0 if 'data' in found else _CHECK_CONDITION

    def do_HBA_RefreshAdapterConfiguration(self) -> None:
        self._call('HBA_RefreshAdapterConfiguration')


def _put_bytes(address: int, psize: Any, text: str) -> None:
    """Copy what fits, and say how much that is."""
    data = bytes.fromhex(text)[:psize[0]]
    ctypes.memmove(address, data, len(data))
    psize[0] = len(data)
