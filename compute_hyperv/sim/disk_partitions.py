# SPDX-License-Identifier: Apache-2.0
"""How small a disk may be made: what its partition table still needs."""

import struct

from . import disk_errors
from .disk_block import Disk
from .disk_errors import DiskError

_MBR_TABLE = 446
_GPT_BACKUP_SECTORS = 33        # entries and header at the disk's end
_PROTECTIVE = 0xEE
_MAX_ENTRIES = 1024


def minimum_size_bytes(disk: Disk) -> int | None:
    """Where the last partition ends; None without a partition table.

    A GPT also needs room for its copy at the end of the disk.
    """
    sector = disk.sector_bytes
    mbr = disk.read(0, 512)
    if len(mbr) < 512 or mbr[510:] != b'\x55\xaa':
        return None
    ends = []
    for at in range(_MBR_TABLE, 510, 16):
        kind, start, count = struct.unpack_from('<4xB3xII', mbr, at)
        if kind == _PROTECTIVE:
            return _gpt_minimum_bytes(disk)
        if kind and count:
            ends.append((start + count) * sector)
    return max(ends, default=sector)


def _gpt_minimum_bytes(disk: Disk) -> int | None:
    sector = disk.sector_bytes
    header = disk.read(sector, 92)
    if header[:8] != b'EFI PART':
        return None
    first, count, length = struct.unpack_from('<QII', header, 72)
    if length < 48 or count > _MAX_ENTRIES:
        return None
    raw = disk.read(first * sector, count * length)
    last = first
    for at in range(0, len(raw) - length + 1, length):
        if any(raw[at:at + 16]):
            last = max(last, struct.unpack_from('<Q', raw, at + 40)[0])
    return int((last + 1 + _GPT_BACKUP_SECTORS) * sector)


def check_shrink(disk: Disk, size_bytes: int) -> None:
    """Refuse a size that would cut a partition off.

    :raises DiskError: it would, or there is no partition table to tell.
    """
    minimum = minimum_size_bytes(disk)
    if minimum is None:
        raise DiskError(disk_errors.NO_MINIMUM_SIZE,
                        f'{disk.win_path}: no partition table says how '
                        'small the disk may be')
    if size_bytes < minimum:
        raise DiskError(disk_errors.WOULD_TRUNCATE_DATA,
                        f'{disk.win_path}: partitions end at {minimum} bytes')
