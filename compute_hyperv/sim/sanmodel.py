# SPDX-License-Identifier: Apache-2.0
"""What a storage array is made of: units, portals, targets, masks."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import typing

DISK, CONTROLLER = 'disk', 'controller'
DEFAULT_PORT = 3260
_VENDOR = 'SIM     '
#: NAA type 6 (IEEE registered extended) of an unassigned company.
NAA_PREFIX = '6589CFC000000'
#: A logical unit number is one byte in Windows' SCSI_ADDRESS.
MAX_LUN = 255


class Portal(typing.NamedTuple):
    """Where a target listens: an address as Windows writes it, and a port."""

    address: str
    port: int

    @classmethod
    def make(cls, text: str, port: typing.Optional[int] = None) -> Portal:
        """From ``1.2.3.4:3260``, ``[::1]:3260``, or a bare address.

        Addresses have many spellings in IPv6: one is kept.
        """
        if port is None:
            head, colon, tail = text.rpartition(':')
            if colon and tail.isdecimal() and (
                    ':' not in head or head.endswith(']')):
                text, port = head, int(tail)
        address = text.strip('[]')
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            address = address.lower()       # a name
        return cls(address, DEFAULT_PORT if port is None else port)

    def __str__(self) -> str:
        text = '[%s]:%d' if ':' in self.address else '%s:%d'
        return text % (self.address, self.port)


@dataclasses.dataclass(eq=False)
class Lun:
    """A logical unit.

    :ivar name: the array's own name of it.
    :ivar path: the file of this machine with its bytes.
    :ivar own_file: the array made the file, and removes it.
    :ivar kind: 'disk', or 'controller' for the unit by which some arrays
        are managed.
    :ivar unique_id: NAA identifier, 32 hex digits in upper case.
    """

    name: str
    path: str
    own_file: bool
    kind: str
    unique_id: str

    @property
    def serial(self) -> str:
        """The unit's serial number."""
        return self.unique_id[-12:]

    @property
    def size_bytes(self) -> int:
        """Its present size; 0 once it was deleted."""
        try:
            return os.path.getsize(self.path)
        except FileNotFoundError:
            return 0

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the unit.

        :raises FileNotFoundError: it was deleted.
        """
        with open(self.path, 'rb') as stream:
            stream.seek(offset)
            return stream.read(count)

    def write(self, offset: int, data: bytes) -> None:
        """Change bytes of the unit.

        :raises ValueError: beyond its end.
        :raises FileNotFoundError: it was deleted.
        """
        if offset + len(data) > self.size_bytes:
            raise ValueError('beyond the end of %s' % self.name)
        with open(self.path, 'r+b') as stream:
            stream.seek(offset)
            stream.write(data)

    def identification(self) -> bytes:
        """Vital product data, page 0x83 (SPC-4 7.8.6): NAA, T10 vendor."""
        designators = b''
        for code_set, kind, value in (
                (1, 3, bytes.fromhex(self.unique_id)),
                (2, 1, (_VENDOR + self.serial).encode())):
            designators += bytes((code_set, kind, 0, len(value))) + value
        device_type = 0 if self.kind == DISK else 0x0C
        return bytes((device_type, 0x83)) + len(designators).to_bytes(
            2, 'big') + designators


@dataclasses.dataclass(eq=False)
class Target:
    """An iSCSI target.

    :ivar iqn: its name, lower case (RFC 3722: names compare so).
    :ivar chap: user and secret that an initiator must know, or None.
    :ivar initiators: names that may log in; None: everybody.
    :ivar luns: logical unit number -> the array's name of the unit.
    """

    iqn: str
    portals: typing.List[Portal]
    chap: typing.Optional[typing.Tuple[str, str]] = None
    initiators: typing.Optional[typing.Set[str]] = None
    luns: typing.Dict[int, str] = dataclasses.field(default_factory=dict)

    def admits(self, initiator: str) -> bool:
        """Whether an initiator of that name is on the access list."""
        return self.initiators is None or (
            initiator.lower() in self.initiators)


@dataclasses.dataclass(frozen=True)
class Mask:
    """A logical unit that a port of a host sees behind a storage port.

    Names are WWPNs, 16 hex digits in upper case.
    """

    lun: str
    number: int
    target_wwpn: str
    initiator_wwpn: str


def wwn(text: str) -> str:
    """A world wide name in one spelling: 16 hex digits, upper case."""
    plain = text.upper().replace(':', '').removeprefix('0X')
    if len(plain) != 16 or set(plain) - set('0123456789ABCDEF'):
        raise ValueError('%s is no world wide name' % text)
    return plain
