# SPDX-License-Identifier: Apache-2.0
"""root/Microsoft/Windows/SMB: shares of the host, mapped shares."""

from __future__ import annotations

import typing

from .. import errors
from .. import winpath
from . import engine
from ..winerror import WinError

if typing.TYPE_CHECKING:
    from ..host import Host

NAMESPACE = 'root/microsoft/windows/smb'
_OK, _UNAVAILABLE = 0, 6


def populate(host: Host) -> None:
    """The shares that the host offers: name -> folder, in its facts."""
    for name, path in host.spec.extra.get('smb_shares', {}).items():
        add_share(host, name, path)


def restore(host: Host) -> None:
    """A boot ends the mappings."""
    for record in host.stores[NAMESPACE].find('MSFT_SmbMapping'):
        host.stores[NAMESPACE].delete(record)
    host.storage.shares.smb.unmount_all(host.name)


def add_share(host: Host, name: str, path: str) -> engine.Record:
    """Share a folder of the host."""
    host.storage.shares.add_folder(
        host.name, name, host.storage.locate(path).local)
    return host.stores[NAMESPACE].add(
        'MSFT_SmbShare', Name=name, ScopeName='*', Path=path,
        Description='', ShareState=1, ShareType=0, Special=False,
        Temporary=False)


@engine.method(NAMESPACE, 'MSFT_SmbMapping', 'Create')
def create_mapping(call: engine.Call) -> dict[str, typing.Any]:
    """Map a share; the fabric must have it.

    :raises x_wmi: 0x80070035 (network path), 0x80070043 (share name),
        0x8007052E (wrong credentials), 0x800704C3 (another user of this
        host uses the server), 0x80070005 (none given)
    """
    remote, host = call.args['RemotePath'] or '', call.host
    user, password = call.args['UserName'], call.args['Password']
    access = host.storage.shares.smb
    try:
        access.mount(host.name, remote, user, password)
        try:
            host.storage.locate(remote)
        except WinError:
            access.unmount(host.name, remote)
            raise
    except WinError as exc:
        engine.fail(0x80070000 | (exc.winerror & 0xFFFF), str(exc))
    found = call.store.find_one('MSFT_SmbMapping', RemotePath=remote)
    if found is None:
        found = call.store.add(
            'MSFT_SmbMapping', LocalPath=call.args['LocalPath'] or '',
            RemotePath=remote, Status=_OK)
    return {'CreatedMapping': found}


@engine.computed(NAMESPACE, 'MSFT_SmbMapping', 'Status')
def status(host: Host, record: engine.Record) -> dict[str, typing.Any]:
    """OK, or that the server does not answer."""
    there = host.storage.exists(record['RemotePath'])
    return {'Status': _OK if there else _UNAVAILABLE}


@engine.method(NAMESPACE, 'MSFT_SmbMapping', 'Remove')
def remove_mapping(call: engine.Call) -> int:
    """Forget a mapping; not one in use unless forced [F].

    :raises x_wmi: generic failure: files of the share are open
    """
    remote, host = call.record['RemotePath'], call.host
    if not call.args['Force'] and _is_in_use(host, remote):
        engine.fail(errors.WBEM_E_FAILED)
    host.storage.shares.smb.unmount(host.name, remote)
    call.store.delete(call.record)
    return 0


def _is_in_use(host: Host, remote: str) -> bool:
    shared = winpath.parse(remote).server_share
    return any(
        winpath.parse(one.path).is_unc and
        [text.lower() for text in winpath.parse(one.path).server_share] ==
        [text.lower() for text in shared]
        for one in host.storage.shares.handles.of_host(host.name))


def problems(host: Host) -> list[str]:
    """The mappings that nobody took back."""
    return ['SMB mapping of %s' % record['RemotePath'] for record
            in host.stores[NAMESPACE].find('MSFT_SmbMapping')]
