# SPDX-License-Identifier: Apache-2.0
"""Checks of what qemu-img is to convert: qcow2, VMDK, ISO and raw.

Only what could make the reader open another file, or see another size
than we do, is refused here; the rest is qemu-img's.
"""

import re
import struct

from compute_hyperv.vhd.source import Source
from compute_hyperv.vhd.structures import KIB
from compute_hyperv.vhd.structures import MIB
from compute_hyperv.vhd.structures import require
from compute_hyperv.vhd.structures import SECTOR_BYTES
from compute_hyperv.vhd.structures import TIB

_MAX_BYTES = 64 * TIB           # what a VHDX can hold

_QCOW2 = struct.Struct('>4sIQIIQIIQQIIQ')
_QCOW2_V3 = struct.Struct('>QQQII')
_QCOW2_DIRTY, _QCOW2_CORRUPT, _QCOW2_DATA_FILE = 1, 2, 4
_QCOW2_HARMLESS = 8 | 16        # compression type, extended L2 entries
_EXTENSION_DATA_FILE = 0x44415441
_EXTENSION_LUKS = 0x0537BE77
_EXTENSION_BACKING_FORMAT = 0xE2792ACA
_MAX_EXTENSIONS = 64

_VMDK = struct.Struct('<4sIIQQQQIQQQB4s')
_VMDK_TABLE_AT_END = 0xFFFFFFFFFFFFFFFF
_VMDK_MAX_DESCRIPTOR = MIB
_VMDK_TYPES = ('monolithicSparse', 'streamOptimized')
_VMDK_EXTENT = re.compile(
    rb'^(?:RW|RDONLY|NOACCESS)[ \t]+(\d+)[ \t]+(\w+)[ \t]*(.*)$', re.I)


def inspect_raw(source: Source) -> tuple[str, int, int]:
    """A raw disk: as large as its file."""
    source.check_size(source.end, _MAX_BYTES, 1)
    return 'fixed', source.end, 0


def inspect_iso(source: Source) -> tuple[str, int, int]:
    """An ISO 9660 image: as large as its file."""
    return inspect_raw(source)


def inspect_qcow2(source: Source) -> tuple[str, int, int]:
    """A qcow2 without backing file, data file or encryption."""
    head = source.get(0, _QCOW2.size)
    (_, version, backing_at, backing_bytes, cluster_bits, size, encryption,
     table_entries, table_at, _, _, _, _) = _QCOW2.unpack(head)
    require(version in (2, 3), 'version', f'qcow2 version {version}')
    require(backing_at == 0 and backing_bytes == 0, 'parent',
            'The qcow2 image has a backing file')
    require(encryption == 0, 'encrypted', 'The qcow2 image is encrypted')
    require(9 <= cluster_bits <= 21, 'block-size',
            f'A cluster of 2^{cluster_bits} bytes is impossible')
    extensions_at = _QCOW2.size
    if version == 3:
        features, _, _, _, extensions_at = _QCOW2_V3.unpack(
            source.get(_QCOW2.size, _QCOW2_V3.size))
        _check_qcow2_features(features)
        require(_QCOW2.size + _QCOW2_V3.size <= extensions_at
                <= 1 << cluster_bits, 'header-missing',
                f'A header of {extensions_at} bytes is impossible')
    _check_qcow2_extensions(source, extensions_at, 1 << cluster_bits)
    source.check_size(size, _MAX_BYTES)
    source.get(table_at, 0)
    require(table_at + 8 * table_entries <= source.end, 'truncated',
            'The qcow2 image ends before its first table does')
    return 'dynamic', size, 1 << cluster_bits


def _check_qcow2_features(features: int) -> None:
    require(not features & _QCOW2_DATA_FILE, 'data-file',
            'The qcow2 image keeps its data in another file')
    require(not features & (_QCOW2_DIRTY | _QCOW2_CORRUPT), 'damaged',
            'The qcow2 image is marked as dirty or corrupt')
    require(not features & ~_QCOW2_HARMLESS, 'version',
            f'The qcow2 image needs unknown features ({features:#x})')


def _check_qcow2_extensions(source: Source, at: int, end: int) -> None:
    for _ in range(_MAX_EXTENSIONS):
        if at + 8 > min(end, source.end):
            return
        kind, length = struct.unpack('>II', source.get(at, 8))
        if kind == 0:
            return
        require(kind != _EXTENSION_DATA_FILE, 'data-file',
                'The qcow2 image names another file for its data')
        require(kind != _EXTENSION_LUKS, 'encrypted',
                'The qcow2 image is encrypted')
        require(kind != _EXTENSION_BACKING_FORMAT, 'parent',
                'The qcow2 image names the format of a backing file')
        at += 8 + (length + 7) // 8 * 8
    require(False, 'header-missing', 'Too many qcow2 header extensions')


def inspect_vmdk(source: Source) -> tuple[str, int, int]:
    """A VMDK in one file, with its descriptor inside."""
    head = source.get(0, SECTOR_BYTES)
    require(head[:4] == b'KDMV', 'vmdk-type',
            'Only sparse VMDK files of version 4 are accepted')
    fields = _VMDK.unpack_from(head)
    (_, version, _, capacity, grain, descriptor_at, descriptor_sectors, _, _,
     table_at, _, _, _) = fields
    require(1 <= version <= 3, 'version', f'VMDK version {version}')
    require(descriptor_at and descriptor_sectors
            and descriptor_sectors * SECTOR_BYTES <= _VMDK_MAX_DESCRIPTOR,
            'vmdk-descriptor', 'The VMDK has no descriptor inside')
    if table_at == _VMDK_TABLE_AT_END:
        # Readers then believe the copy of the header at the end.
        copy = source.get(source.end - 2 * SECTOR_BYTES, SECTOR_BYTES)
        require(_same_disk(_VMDK.unpack_from(copy), fields), 'vmdk-footer',
                'The header at the end of the VMDK says something else')
    _check_vmdk_descriptor(
        source.get(descriptor_at * SECTOR_BYTES,
                   descriptor_sectors * SECTOR_BYTES), capacity)
    size = capacity * SECTOR_BYTES
    source.check_size(size, _MAX_BYTES)
    return 'dynamic', size, min(grain * SECTOR_BYTES, 64 * KIB)


def _same_disk(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether magic, version, sizes and descriptor's place are the same."""
    return one[:2] + one[3:8] == other[:2] + other[3:8]


def _check_vmdk_descriptor(raw: bytes, capacity: int) -> None:
    lines = [line.strip() for line in raw.split(b'\0', 1)[0].splitlines()]
    values: dict[bytes, bytes] = {}
    extents = []
    for line in lines:
        if match := _VMDK_EXTENT.match(line):
            extents.append(match)
        elif b'=' in line and not line.startswith(b'#'):
            key, value = line.split(b'=', 1)
            key = key.strip().lower()
            require(key not in values, 'vmdk-descriptor',
                    'The VMDK descriptor has a key twice')
            values[key] = value.strip().strip(b'"')
    kind = values.get(b'createtype', b'').decode('ascii', 'replace')
    require(kind in _VMDK_TYPES, 'vmdk-type',
            f'A VMDK of the type "{kind}" is not accepted, only '
            + ' or '.join(_VMDK_TYPES))
    require(values.get(b'parentcid', b'').lower() == b'ffffffff'
            and b'parentfilenamehint' not in values, 'parent',
            'The VMDK has a parent')
    require(len(extents) == 1 and extents[0][2].upper() == b'SPARSE'
            and int(extents[0][1]) == capacity, 'vmdk-descriptor',
            'The VMDK descriptor names other extents than the file itself')
