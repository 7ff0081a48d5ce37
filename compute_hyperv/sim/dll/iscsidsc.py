# SPDX-License-Identifier: Apache-2.0
"""iscsidsc.dll: the iSCSI initiator; results are error codes.

Functions that fill a buffer answer ERROR_INSUFFICIENT_BUFFER and say how
much they need when it is too small.  Counts of text lists are characters,
all terminators included.
"""

import ctypes
from typing import Any
from typing import List
from typing import Optional

from .. import winerror
from .thunk import Library

_USERNAME, _PASSWORD, _AUTH_TYPE = 0x20, 0x40, 0x80
_ALL_PORTS = 0xFFFFFFFF
_WCHAR = ctypes.sizeof(ctypes.c_wchar)
_MULTIPATH = 2


def _put_list(texts: List[str], pcount: Any, buffer: Any) -> int:
    """A list of texts, each ended by a zero, and another zero."""
    joined = ''.join(text + '\0' for text in texts) + '\0'
    room, pcount[0] = pcount[0], len(joined)
    if room < len(joined) or not buffer:
        return winerror.INSUFFICIENT_BUFFER
    for index, char in enumerate(joined):
        buffer[index] = char
    return 0


def _bytes_of(address: Optional[bytes], length: int) -> str:
    return (address or b'')[:length].decode('utf-8', 'replace')


class _Arena:
    """A buffer that starts with structures and ends with their texts."""

    def __init__(self, buffer: Any, offset: int) -> None:
        self._base = ctypes.addressof(buffer.contents)
        self._offset = offset

    def take(self, size: int) -> int:
        """The address of *size* bytes, aligned."""
        start = self._offset
        self._offset += (size + 7) & ~7
        return self._base + start

    def text(self, text: str) -> int:
        """The address of a copy of *text*."""
        copy = ctypes.create_unicode_buffer(text)
        address = self.take(ctypes.sizeof(copy))
        ctypes.memmove(address, copy, ctypes.sizeof(copy))
        return address


def _set_text(structure: Any, name: str, address: int) -> None:
    """Point a PWSTR field at a text."""
    field = getattr(type(structure), name)
    ctypes.c_void_p.from_address(
        ctypes.addressof(structure) + field.offset).value = address


def _text_bytes(text: str) -> int:
    return ((len(text) + 1) * _WCHAR + 7) & ~7


class Iscsidsc(Library):
    """The functions of iscsidsc.dll that os-win registers."""

    dll_name = 'iscsidsc'

    def _call(self, function: str, **args: Any) -> Any:
        return self._port.call('dll.iscsidsc.' + function, **args)

    def do_GetIScsiInitiatorNodeNameW(self, buffer: Any) -> int:
        name = self._call('GetIScsiInitiatorNodeNameW') + '\0'
        for index, char in enumerate(name):
            buffer[index] = char
        return 0

    def do_ReportIScsiInitiatorListW(self, pcount: Any, buffer: Any) -> int:
        return _put_list(self._call('ReportIScsiInitiatorListW'), pcount,
                         buffer)

    def do_ReportIScsiTargetsW(self, force: int, pcount: Any,
                               buffer: Any) -> int:
        return _put_list(self._call('ReportIScsiTargetsW'), pcount, buffer)

    def do_AddIScsiStaticTargetW(
            self, target: Optional[str], alias: Optional[str], flags: int,
            persistent: int, mappings: Any, options: Any,
            portals: Any) -> int:
        if not target:
            return winerror.INVALID_PARAMETER
        self._call('AddIScsiStaticTargetW', target=target,
                   persistent=bool(persistent))
        return 0

    def do_RemoveIScsiStaticTargetW(self, target: Optional[str]) -> int:
        self._call('RemoveIScsiStaticTargetW', target=target or '')
        return 0

    def do_LoginIScsiTargetW(
            self, target: Optional[str], informational: int,
            instance: Optional[str], port_number: int, portal: Any,
            security: int, mappings: Any, options: Any, key_size: int,
            key: Any, persistent: int, session_id: Any,
            connection_id: Any) -> int:
        if not target or not session_id or not connection_id:
            return winerror.INVALID_PARAMETER
        given = {'flags': 0, 'auth_type': 0, 'user': '', 'secret': ''}
        if options:
            opts = options.contents
            said = opts.InformationSpecified
            given['flags'] = opts.LoginFlags & _MULTIPATH
            if said & _AUTH_TYPE:
                given['auth_type'] = opts.AuthType
            if said & _USERNAME:
                given['user'] = _bytes_of(opts.Username, opts.UsernameLength)
            if said & _PASSWORD:
                given['secret'] = _bytes_of(opts.Password,
                                            opts.PasswordLength)
        at = portal.contents if portal else None
        found = self._call(
            'LoginIScsiTargetW', target=target, instance=instance,
            address=at.Address if at is not None else None,
            port=at.Socket if at is not None else 0,
            persistent=bool(persistent), **given)
        if found is not None:
            for identity in (session_id.contents, connection_id.contents):
                identity.AdapterUnique, identity.AdapterSpecific = found
        return 0

    def do_LogoutIScsiTarget(self, session_id: Any) -> int:
        self._call('LogoutIScsiTarget', **_identity(session_id))
        return 0

    def do_ReportIScsiPersistentLoginsW(self, pcount: Any, buffer: Any,
                                        psize: Any) -> int:
        logins = self._call('ReportIScsiPersistentLoginsW')
        size = len(logins) * ctypes.sizeof(buffer._type_)
        room, psize[0], pcount[0] = psize[0], size, len(logins)
        if room < size:
            return winerror.INSUFFICIENT_BUFFER
        for index, login in enumerate(logins):
            row = buffer[index]
            ctypes.memset(ctypes.addressof(row), 0, ctypes.sizeof(row))
            row.TargetName = login['target']
            row.InitiatorInstance = login['instance']
            row.InitiatorPortNumber = _ALL_PORTS
            row.TargetPortal.Address = login['address']
            row.TargetPortal.Socket = login['port']
            row.LoginOptions.LoginFlags = login['flags']
            row.LoginOptions.AuthType = login['auth_type']
        return 0

    def do_RemoveIScsiPersistentTargetW(
            self, instance: Optional[str], port_number: int,
            target: Optional[str], portal: Any) -> int:
        if not instance or not target or not portal:
            return winerror.INVALID_PARAMETER
        self._call('RemoveIScsiPersistentTargetW', instance=instance,
                   target=target, address=portal.contents.Address,
                   port=portal.contents.Socket)
        return 0

    def do_GetIScsiSessionListW(self, psize: Any, pcount: Any,
                                buffer: Any) -> int:
        sessions = self._call('GetIScsiSessionListW')
        kind = buffer._type_
        pconnection = dict(kind._fields_)['Connections']
        size = sum(_session_bytes(one, kind, pconnection._type_)
                   for one in sessions)
        room, psize[0], pcount[0] = psize[0], size, len(sessions)
        if room < size:
            return winerror.INSUFFICIENT_BUFFER
        if not sessions:
            return 0
        arena = _Arena(buffer, len(sessions) * ctypes.sizeof(kind))
        for index, session in enumerate(sessions):
            _fill_session(buffer[index], session, arena, pconnection)
        return 0

    def do_GetDevicesForIScsiSessionW(self, session_id: Any, pcount: Any,
                                      buffer: Any) -> int:
        devices = self._call('GetDevicesForIScsiSessionW',
                             **_identity(session_id))
        room, pcount[0] = pcount[0], len(devices)
        if room < len(devices):
            return winerror.INSUFFICIENT_BUFFER
        for index, device in enumerate(devices):
            _fill_device(buffer[index], device)
        return 0


def _identity(session_id: Any) -> Any:
    given = session_id.contents
    return {'adapter': given.AdapterUnique,
            'specific': given.AdapterSpecific}


def _session_bytes(session: Any, kind: Any, connection: Any) -> int:
    """Room for a session: itself, its connections and all texts."""
    total = ctypes.sizeof(kind) + _text_bytes(session['initiator'])
    total += 2 * _text_bytes(session['target'])
    for one in session['connections']:
        total += (ctypes.sizeof(connection) + 7) & ~7
        total += _text_bytes('0.0.0.0') + _text_bytes(one['address'])
    return total


def _fill_session(row: Any, session: Any, arena: _Arena,
                  pconnection: Any) -> None:
    ctypes.memset(ctypes.addressof(row), 0, ctypes.sizeof(row))
    row.SessionId.AdapterUnique, row.SessionId.AdapterSpecific = (
        session['id'])
    _set_text(row, 'InitiatorName', arena.text(session['initiator']))
    _set_text(row, 'TargetName', arena.text(session['target']))
    _set_text(row, 'TargetNodeName', arena.text(session['target']))
    connections = session['connections']
    row.ConnectionCount = len(connections)
    if not connections:
        return
    kind = pconnection._type_
    address = arena.take(len(connections) * ctypes.sizeof(kind))
    row.Connections = ctypes.cast(ctypes.c_void_p(address), pconnection)
    for index, one in enumerate(connections):
        connection = kind.from_address(
            address + index * ctypes.sizeof(kind))
        connection.ConnectionId.AdapterUnique = session['id'][0]
        connection.ConnectionId.AdapterSpecific = session['number']
        _set_text(connection, 'InitiatorAddress', arena.text('0.0.0.0'))
        _set_text(connection, 'TargetAddress', arena.text(one['address']))
        connection.TargetSocket = one['port']


def _fill_device(row: Any, device: Any) -> None:
    ctypes.memset(ctypes.addressof(row), 0, ctypes.sizeof(row))
    row.InitiatorName = device['initiator']
    row.TargetName = device['target']
    row.ScsiAddress.Length = ctypes.sizeof(row.ScsiAddress)
    row.ScsiAddress.TargetId = device['target_id']
    row.ScsiAddress.Lun = device['lun']
    row.DeviceInterfaceName = device['interface']
    row.LegacyName = device['legacy_name']
    row.StorageDeviceNumber.DeviceType = device['type']
    row.StorageDeviceNumber.DeviceNumber = device['number']
    row.StorageDeviceNumber.PartitionNumber = 0xFFFFFFFF
