# SPDX-License-Identifier: Apache-2.0
"""root/Microsoft/Windows/SMB: shares of the host, mapped shares."""

from __future__ import annotations

import typing

from . import engine
from ..winerror import WinError

if typing.TYPE_CHECKING:
    from ..host import Host

NAMESPACE = 'root/microsoft/windows/smb'
_OK = 0


def populate(host: Host) -> None:
    """The shares that the host offers: name -> folder, in its facts."""
    for name, path in host.spec.extra.get('smb_shares', {}).items():
        add_share(host, name, path)


def add_share(host: Host, name: str, path: str) -> engine.Record:
    """Share a folder of the host."""
    return host.stores[NAMESPACE].add(
        'MSFT_SmbShare', Name=name, ScopeName='*', Path=path,
        Description='', ShareState=1, ShareType=0, Special=False,
        Temporary=False)


@engine.method(NAMESPACE, 'MSFT_SmbMapping', 'Create')
def create_mapping(call: engine.Call) -> dict[str, typing.Any]:
    """Map a share; the fabric must have it.

    :raises x_wmi: 0x80070035 (network path), 0x80070043 (share name)
    """
    remote = call.args['RemotePath'] or ''
    try:
        call.host.storage.locate(remote)
    except WinError as exc:
        engine.fail(0x80070000 | (exc.winerror & 0xFFFF), str(exc))
    found = call.store.find_one('MSFT_SmbMapping', RemotePath=remote)
    if found is None:
        found = call.store.add(
            'MSFT_SmbMapping', LocalPath=call.args['LocalPath'] or '',
            RemotePath=remote, Status=_OK)
    return {'CreatedMapping': found}


@engine.method(NAMESPACE, 'MSFT_SmbMapping', 'Remove')
def remove_mapping(call: engine.Call) -> int:
    """Forget a mapping."""
    call.store.delete(call.record)
    return 0
