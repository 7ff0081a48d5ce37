# SPDX-License-Identifier: Apache-2.0
"""The operations behind hbaapi.dll; each carries its function's name.

World wide names are 16 hex digits in upper case.
"""

from __future__ import annotations

import typing

from . import fchba
from .ports import op
from .winerror import WinError

if typing.TYPE_CHECKING:
    from .host import Host

Row = typing.Dict[str, typing.Any]


@op('dll.hbaapi.HBA_GetNumberOfAdapters')
def count(host: Host) -> int:
    """How many adapters there are."""
    return len(host.hbas.adapters)


@op('dll.hbaapi.HBA_GetAdapterName')
def name(host: Host, index: int) -> str:
    """The name of an adapter.

    :raises WinError: 6 there is none of that index.
    """
    adapters = host.hbas.adapters
    if not index < len(adapters):
        raise WinError(fchba.ILLEGAL_INDEX)
    return adapters[index].name


@op('dll.hbaapi.HBA_OpenAdapter')
def open_by_name(host: Host, name: str, client: str) -> int:
    """See :meth:`.Hbas.open`."""
    return host.hbas.open(name, client)


@op('dll.hbaapi.HBA_OpenAdapterByWWN')
def open_by_wwn(host: Host, wwn: str, client: str) -> int:
    """See :meth:`.Hbas.open`."""
    return host.hbas.open(wwn, client)


@op('dll.hbaapi.HBA_CloseAdapter')
def close(host: Host, handle: int) -> None:
    """Give a handle back."""
    host.hbas.close(handle)


@op('dll.hbaapi.HBA_GetAdapterAttributes')
def adapter(host: Host, handle: int) -> Row:
    """What an adapter is."""
    found = host.hbas.get(handle)
    return {'name': found.name, 'wwnn': found.wwnn,
            'ports': len(found.wwpns)}


@op('dll.hbaapi.HBA_GetAdapterPortAttributes')
def port(host: Host, handle: int, index: int) -> Row:
    """What a port is.

    :raises WinError: 6 there is none of that index.
    """
    found = host.hbas.get(handle)
    if not index < len(found.wwpns):
        raise WinError(fchba.ILLEGAL_INDEX)
    return {'wwnn': found.wwnn, 'wwpn': found.wwpns[index]}


@op('dll.hbaapi.HBA_GetFcpTargetMapping')
def mappings(host: Host, handle: int) -> typing.List[Row]:
    """The units behind an adapter, and their disks if there are."""
    rows = []
    for mask, path in host.hbas.mappings(host.hbas.get(handle)):
        disk = host.luns.disk_of(path)
        named = disk is not None and host.quirks.hba_names_devices
        rows.append({
            'device': '\\\\.\\PhysicalDrive%d' % disk.number
            if disk is not None and named else '',
            'wwnn': host.fabric.san.storage_ports[mask.target_wwpn],
            'wwpn': mask.target_wwpn, 'lun': mask.number})
    return rows


@op('dll.hbaapi.HBA_ScsiInquiryV2')
def inquiry(host: Host, handle: int, wwpn: str, target_wwpn: str, lun: int,
            evpd: bool, page: int) -> Row:
    """Vital product data of a unit, or why not, in hex."""
    try:
        return {'data': host.hbas.inquiry(
            host.hbas.get(handle), wwpn, target_wwpn, lun, evpd,
            page).hex()}
    except fchba.CheckCondition as exc:
        return {'sense': exc.sense.hex()}


@op('dll.hbaapi.HBA_RefreshAdapterConfiguration')
def refresh(host: Host) -> None:
    """The adapters here never change."""
