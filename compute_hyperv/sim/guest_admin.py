# SPDX-License-Identifier: Apache-2.0
"""What the person in a guest does with its disks.

Disks are named by their address, as Linux does and Nova's metadata: ``0:1``
is controller 0, slot 1 of IDE; ``0:0:0:2`` is slot 2 of SCSI controller 0.
"""

from __future__ import annotations

import typing

from . import admin
from . import guestdisks
from .fabric import Fabric

Row = typing.Dict[str, typing.Any]

#: The most that one call reads or writes, bytes.
_MOST = 1 << 20


def address(disk: guestdisks.GuestDisk) -> str:
    """Where the guest finds a disk."""
    if disk.controller == 'IDE':
        return f'{disk.controller_number}:{disk.slot}'
    return f'{disk.controller_number}:0:0:{disk.slot}'


@admin.action('guest.disks')
def show_disks(fabric: Fabric, name: str,
               host: typing.Optional[str] = None) -> typing.List[Row]:
    """The hard disks of a running machine.

    :raises ValueError: it is not running.
    """
    vm = admin.find_vm(fabric, name, host)
    return [{'address': address(disk), 'bus': disk.controller.lower(),
             'size_bytes': disk.size_bytes, 'path': disk.path,
             'tag': disk.tag, 'physical': disk.is_physical}
            for disk in guestdisks.of(vm)]


def _disk(fabric: Fabric, name: str, where: str,
          host: typing.Optional[str]) -> guestdisks.GuestDisk:
    vm = admin.find_vm(fabric, name, host)
    there = guestdisks.of(vm)
    for disk in there:
        if address(disk) == where:
            return disk
    raise LookupError(f'{vm.name} has no disk {where}, but '
                      f'{", ".join(address(one) for one in there)}')


@admin.action('guest.write')
def write(fabric: Fabric, name: str, disk: str, offset: int, text: str,
          host: typing.Optional[str] = None) -> None:
    """Write text to a disk, from within the guest.

    :raises ValueError: it does not fit.
    :raises OSError: an I/O error in the guest.
    """
    found = _disk(fabric, name, disk, host)
    data = text.encode()
    _check(found, offset, len(data))
    found.write(offset, data)


@admin.action('guest.read')
def read(fabric: Fabric, name: str, disk: str, offset: int, count: int,
         host: typing.Optional[str] = None) -> str:
    """Read text from a disk, from within the guest.

    :returns: what is there up to the first zero byte.
    :raises ValueError: it is no text, or beyond the disk's end.
    :raises OSError: an I/O error in the guest.
    """
    found = _disk(fabric, name, disk, host)
    _check(found, offset, count)
    data = found.read(offset, count).partition(b'\0')[0]
    return data.decode()


def _check(disk: guestdisks.GuestDisk, offset: int, count: int) -> None:
    if not 0 < count <= _MOST:
        raise ValueError(f'{count} bytes at once: 1 to {_MOST} can be done')
    if offset < 0 or offset + count > disk.size_bytes:
        raise ValueError(f'{address(disk)} ends at {disk.size_bytes}')
