# SPDX-License-Identifier: Apache-2.0
"""The operations behind iscsidsc.dll.

Each is one call over the port and carries the name of its function.
"""

from __future__ import annotations

import typing

from . import initiator
from . import sanmodel
from .hostluns import LunDisk
from .hostluns import Path
from .ports import op

if typing.TYPE_CHECKING:
    from .host import Host

Row = typing.Dict[str, typing.Any]
_DISK, _CONTROLLER = 7, 4               # DEVICE_TYPE: FILE_DEVICE_...
_NO_NUMBER = 0xFFFFFFFF


def _label(args: Row) -> str:
    """Names, never secrets."""
    return 'iscsidsc.%s %s' % (args['function'], args['target'])


def _named(function: str) -> typing.Callable[[Row], str]:
    return lambda args: _label(dict(args, function=function))


@op('dll.iscsidsc.GetIScsiInitiatorNodeNameW')
def node_name(host: Host) -> str:
    """The host's iSCSI name."""
    return host.initiator.node_name


@op('dll.iscsidsc.ReportIScsiInitiatorListW')
def initiators(host: Host) -> typing.List[str]:
    """The adapters."""
    return host.initiator.instances


@op('dll.iscsidsc.ReportIScsiTargetsW')
def targets(host: Host) -> typing.List[str]:
    """The targets that the service knows."""
    return list(host.initiator.static)


@op('dll.iscsidsc.AddIScsiStaticTargetW',
    label=_named('AddIScsiStaticTargetW'))
def add_static(host: Host, target: str, persistent: bool) -> None:
    """Tell the service a target's name."""
    host.initiator.add_static(target)


@op('dll.iscsidsc.RemoveIScsiStaticTargetW',
    label=_named('RemoveIScsiStaticTargetW'))
def remove_static(host: Host, target: str) -> None:
    """See :meth:`.Initiator.remove_static`."""
    host.initiator.remove_static(target)


@op('dll.iscsidsc.LoginIScsiTargetW', label=_named('LoginIScsiTargetW'))
def log_in(host: Host, target: str, address: typing.Optional[str],
           port: int, persistent: bool, **options: typing.Any
           ) -> typing.Optional[typing.Tuple[int, int]]:
    """Keep a login, or make a session; gives the session's id.

    :param options: instance, flags, auth_type, user, secret.
    """
    service = host.initiator
    login = service.make_login(
        target, sanmodel.Portal.make(address, port) if address else None,
        **options)
    if persistent:
        service.keep(login)
        return None
    return initiator.session_id(service.log_in(login))


@op('dll.iscsidsc.LogoutIScsiTarget')
def log_out(host: Host, adapter: int, specific: int) -> None:
    """See :meth:`.Initiator.log_out`."""
    host.initiator.log_out(initiator.session_number(adapter, specific))


@op('dll.iscsidsc.ReportIScsiPersistentLoginsW')
def persistent_logins(host: Host) -> typing.List[Row]:
    """The logins that a boot repeats; their secrets are not told."""
    return [{'target': one.target, 'instance': one.instance,
             'address': one.portal.address, 'port': one.portal.port,
             'flags': one.flags, 'auth_type': one.auth_type}
            for one in host.initiator.persistent]


@op('dll.iscsidsc.RemoveIScsiPersistentTargetW',
    label=_named('RemoveIScsiPersistentTargetW'))
def forget(host: Host, instance: str, target: str, address: str,
           port: int) -> None:
    """See :meth:`.Initiator.forget`."""
    host.initiator.forget(instance, target,
                          sanmodel.Portal.make(address, port))


@op('dll.iscsidsc.GetIScsiSessionListW')
def sessions(host: Host) -> typing.List[Row]:
    """The sessions, connected or not."""
    service = host.initiator
    return [{'id': initiator.session_id(one), 'number': one.number,
             'initiator': service.node_name, 'target': one.login.target,
             'connections': [{'address': one.login.portal.address,
                              'port': one.login.portal.port}]
             if one.connected else []}
            for one in service.sessions]


@op('dll.iscsidsc.GetDevicesForIScsiSessionW')
def devices(host: Host, adapter: int, specific: int) -> typing.List[Row]:
    """What Windows found on a session: disks, and units of other kinds."""
    session = host.initiator.session(
        initiator.session_number(adapter, specific))
    return [_device(session, path, disk) for path, disk
            in host.initiator.devices(session)]


def _device(session: initiator.Session, path: Path,
            disk: typing.Optional[LunDisk]) -> Row:
    is_disk = path.lun.kind == sanmodel.DISK
    return {
        'initiator': session.login.instance,
        'target': session.login.target, 'lun': path.number,
        'target_id': session.number & 0xFF,
        'type': _DISK if is_disk else _CONTROLLER,
        'number': disk.number if disk else _NO_NUMBER,
        'legacy_name': '\\\\.\\PhysicalDrive%d' % disk.number
        if disk else '',
        'interface': '\\\\?\\scsi#%s&ven_sim#%s#%d' % (
            'disk' if is_disk else 'array', path.lun.serial, path.number)}
