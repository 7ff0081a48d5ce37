# SPDX-License-Identifier: Apache-2.0
"""Malformed and lying VHD and VHDX files, 62 of them.

Each is a sound file with one thing wrong, made anew from the structures of
the two formats. ``python -m tests.malformed_disks DIRECTORY`` writes them
all out, for trying other readers on them.

oslo.utils 10.2 takes 56 of the 62 for safe, qemu-img 7.2 opens 26.
"""

from collections.abc import Callable
import dataclasses
import os
import shutil
import struct
import sys
import tempfile
from typing import BinaryIO

from compute_hyperv.sim.disk_vhdx import VhdxDisk
from compute_hyperv.sim import disks
from compute_hyperv.vhd import structures
from compute_hyperv.vhd import vhdformat
from compute_hyperv.vhd import vhdxformat
from tests import sound_disks

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
SIZE_BYTES = sound_disks.SIZE_BYTES
#: What the inspector is told to accept at most.
LIMIT_BYTES = 100 * GIB

# Where compute_hyperv.sim.disk_create puts things.
_METADATA, _TABLE = 2 * MIB, 3 * MIB
_ITEMS, _LOCATOR = _METADATA + 64 * KIB, _METADATA + 68 * KIB
_BLOCK_BYTES, _FLAGS, _DISK_SIZE = _ITEMS, _ITEMS + 4, _ITEMS + 8
_SECTOR = _ITEMS + 32
_SPARE = 200 * KIB              # free room in the metadata region
_VHD_TABLE = vhdformat.TABLE_OFFSET

Change = Callable[[BinaryIO], object]


@dataclasses.dataclass(frozen=True)
class Case:
    """One malformed file: what it is made of, how, and the rule it breaks."""

    name: str
    base: str                   #: name of a sound file
    change: Change
    rules: tuple[str, ...]      #: Malformed.rule must be one of them

    @property
    def fmt(self) -> str:
        """vhd or vhdx."""
        return self.name.rpartition('.')[2]


def put(file: BinaryIO, offset: int, data: bytes) -> None:
    """Overwrite bytes."""
    file.seek(offset)
    file.write(data)


def get(file: BinaryIO, offset: int, length: int) -> bytes:
    """Read bytes."""
    file.seek(offset)
    return file.read(length)


def poke(offset: int, fmt: str, *values: object) -> Change:
    """A change that packs some values into one place."""
    return lambda file: put(file, offset, struct.pack(fmt, *values))


def end_of(file: BinaryIO) -> int:
    """The file's length."""
    return file.seek(0, os.SEEK_END)


def append(data: bytes) -> Change:
    """A change that adds bytes behind the end."""
    return lambda file: put(file, end_of(file), data)


def truncate(size_bytes: int) -> Change:
    """A change that cuts the file off."""
    return lambda file: file.truncate(size_bytes)


# VHDX.

def _item(index: int) -> int:
    """File offset of an entry of the metadata table."""
    return _METADATA + 32 + 32 * index


def _regions(at: int, fmt: str, *values: object) -> Change:
    """Change both region tables alike, with a right checksum."""
    def change(file: BinaryIO) -> None:
        raw = bytearray(get(file, vhdxformat.REGION_OFFSETS[0],
                            vhdxformat.REGION_BYTES))
        struct.pack_into(fmt, raw, at, *values)
        for offset in vhdxformat.REGION_OFFSETS:
            put(file, offset, structures.sealed_crc(bytes(raw)))
    return change


def _headers(at: int, data: bytes) -> Change:
    """Change both headers alike, with a right checksum."""
    def change(file: BinaryIO) -> None:
        for offset in vhdxformat.HEADER_OFFSETS:
            raw = get(file, offset, vhdxformat.HEADER_BYTES)
            raw = raw[:at] + data + raw[at + len(data):]
            put(file, offset, structures.sealed_crc(raw))
    return change


def _hostile_locator(file: BinaryIO) -> None:
    raw = vhdxformat.pack_locator({
        'parent_linkage': vhdxformat.linkage_text(b'L' * 16),
        'relative_path': '..\\..\\..\\etc\\shadow',
        'absolute_win32_path': 'C:\\Windows\\System32\\config\\SAM'})
    put(file, _LOCATOR, raw)
    put(file, _item(5) + 20, struct.pack('<I', len(raw)))


def _add_item(guid: bytes, value: bytes, flags: int) -> Change:
    def change(file: BinaryIO) -> None:
        count, = struct.unpack('<H', get(file, _METADATA + 10, 2))
        put(file, _METADATA + _SPARE, value)
        put(file, _item(count), guid + struct.pack(
            '<IIII', _SPARE, len(value), flags, 0))
        put(file, _METADATA + 10, struct.pack('<H', count + 1))
    return change


def _add_region(required: int) -> Change:
    def change(file: BinaryIO) -> None:
        _regions(8, '<I', 3)(file)
        _regions(80, '<16sQII', bytes(range(16)), 8 * MIB, MIB,
                 required)(file)
    return change


def _set_entry_bits(clear: int, bits: int) -> Change:
    """Change the state in the first entry of a VHDX's BAT."""
    def change(file: BinaryIO) -> None:
        entry, = struct.unpack('<Q', get(file, _TABLE, 8))
        put(file, _TABLE, struct.pack('<Q', entry & ~clear | bits))
    return change


def _tables_differ(file: BinaryIO) -> None:
    """The first table is invalid, the second names other metadata."""
    at = structures.round_up(end_of(file), MIB)
    put(file, at, get(file, _METADATA, MIB))
    put(file, at + 64 * KIB + 8, struct.pack('<Q', 30 * TIB))
    raw = bytearray(get(file, vhdxformat.REGION_OFFSETS[0],
                        vhdxformat.REGION_BYTES))
    struct.pack_into('<Q', raw, 64, at)
    put(file, vhdxformat.REGION_OFFSETS[0] + 4, bytes(4))
    put(file, vhdxformat.REGION_OFFSETS[1],
        structures.sealed_crc(bytes(raw)))


def _dirty_log(file: BinaryIO) -> None:
    """A log that would set the size to 50 TiB when it is replayed."""
    disk = disks.open_disk(file.name, writable=True, resolve=str)
    assert isinstance(disk, VhdxDisk)
    disk._journal.write(_DISK_SIZE, struct.pack('<Q', 50 * TIB))
    disk._journal.commit(in_place=False)
    disk.abandon()


def _wrong_crcs(*offsets: int) -> Change:
    def change(file: BinaryIO) -> None:
        for offset in offsets:
            put(file, offset + 4, bytes(4))
    return change


_BASE_X = 'ok.vhdx'
_X_CASES = (
    ('parent-locator-to-host-file', _hostile_locator, 'parent'),
    ('locator-but-no-hasparent-flag', poke(_FLAGS, '<I', 0), 'parent'),
    ('hasparent-flag-no-locator', poke(_FLAGS, '<I', 2), 'parent'),
    ('size-lie-63TiB', poke(_DISK_SIZE, '<Q', 63 * TIB), 'table size-limit'),
    ('size-2e63', poke(_DISK_SIZE, '<Q', 1 << 63), 'size'),
    ('size-zero', poke(_DISK_SIZE, '<Q', 0), 'size'),
    ('size-item-length-0', poke(_item(1) + 20, '<I', 0), 'metadata-item'),
    ('size-item-length-64K', poke(_item(1) + 20, '<I', 64 * KIB),
     'metadata-item'),
    ('two-size-items-second-40TiB', _add_item(
        vhdxformat.DISK_SIZE, struct.pack('<Q', 40 * TIB), 6),
     'metadata-item'),
    ('bat-entry-past-eof', poke(_TABLE, '<Q', 1 << 40 | 6), 'overlap'),
    ('bat-entry-into-header', poke(_TABLE, '<Q', 6), 'overlap'),
    ('bat-entry-into-metadata', poke(_TABLE, '<Q', _METADATA | 6),
     'overlap'),
    ('bat-two-blocks-same-offset',
     lambda file: put(file, _TABLE, get(file, _TABLE + 8, 8)), 'overlap'),
    ('bat-state-5-reserved', _set_entry_bits(7, 5), 'block-state'),
    ('bat-partial-state-no-parent', _set_entry_bits(0, 7), 'block-state'),
    ('regions-overlap', _regions(32, '<Q', _METADATA), 'overlap'),
    ('unknown-required-region', _add_region(1), 'region-unknown'),
    ('unknown-optional-region', _add_region(0), 'overlap'),
    ('region-bad-crc-both', _wrong_crcs(*vhdxformat.REGION_OFFSETS),
     'region-tables'),
    ('region-tables-disagree-1st-invalid', _tables_differ, 'region-tables'),
    ('unknown-required-metadata', _add_item(bytes(range(16)), bytes(8), 4),
     'metadata-unknown'),
    ('metadata-item-outside-region', poke(_item(1) + 16, '<I', 40 * MIB),
     'overlap'),
    ('metadata-count-2047', poke(_METADATA + 10, '<H', 2047),
     'metadata-item'),
    ('region-count-5000', _regions(8, '<I', 5000), 'region-count'),
    ('metadata-offset-past-eof', _regions(64, '<Q', 1 << 50), 'overlap'),
    ('log-guid-set-no-entries', _headers(48, b'L' * 16), 'log'),
    ('dirty-log-sets-size-50TiB', _dirty_log, 'log'),
    ('headers-bad-crc', _wrong_crcs(*vhdxformat.HEADER_OFFSETS), 'headers'),
    ('header-version-2', _headers(66, b'\2\0'), 'version'),
    ('truncated-data', truncate(5 * MIB), 'overlap'),
    ('truncated-metadata', truncate(2 * MIB + 100), 'overlap'),
    ('block-size-3MiB', poke(_BLOCK_BYTES, '<I', 3 * MIB), 'block-size'),
    ('block-size-0', poke(_BLOCK_BYTES, '<I', 0), 'block-size'),
    ('sector-size-1', poke(_SECTOR, '<I', 1), 'sector-size'),
    ('trailing-qcow2-appended', append(b'QFI\xfb' + bytes(600)), 'tail'),
    ('vhdx-with-vhd-footer', lambda file: append(_footer())(file),
     'second-format'),
)


# VHD.

def _footer() -> bytes:
    return vhdformat.Footer(
        kind=vhdformat.FIXED, size_bytes=SIZE_BYTES,
        original_size_bytes=SIZE_BYTES, unique_id=b'I' * 16,
        timestamp_s=0).pack()


def _foot(fmt: str, at: int, value: object, *, head: bool = True,
          tail: bool = True) -> Change:
    """Change the footer, its copy, or both; the checksums are right."""
    def change(file: BinaryIO) -> None:
        places = [0] * head + [end_of(file) - 512] * tail
        for place in places:
            raw = bytearray(get(file, place, 512))
            struct.pack_into(fmt, raw, at, value)
            put(file, place, structures.sealed_sum(bytes(raw), 64))
    return change


def _dyn(fmt: str, at: int, value: object) -> Change:
    """Change the dynamic header; its checksum is right."""
    def change(file: BinaryIO) -> None:
        raw = bytearray(get(file, 512, 1024))
        struct.pack_into(fmt, raw, at, value)
        put(file, 512, structures.sealed_sum(bytes(raw), 36))
    return change


def _both(*changes: Change) -> Change:
    def change(file: BinaryIO) -> None:
        for one in changes:
            one(file)
    return change


def _hostile_vhd_locator(file: BinaryIO) -> None:
    header = vhdformat.DynamicHeader.parse(get(file, 512, 1024))
    raw = '..\\..\\etc\\shadow'.encode('utf-16-le')
    for locator in header.locators:
        put(file, locator.offset, raw.ljust(locator.space_bytes, b'\0'))


def _grow(file: BinaryIO) -> None:
    with disks.open_disk(file.name, writable=True, resolve=str) as disk:
        disk.resize(TIB)


_SIZE_AT, _KIND_AT, _OFFSET_AT = 48, 60, 16
_ENTRIES_AT, _BLOCK_AT = 28, 32
_V_CASES = (
    ('footer-copies-disagree-tail-1TiB', 'ok.vhd',
     _foot('>Q', _SIZE_AT, TIB, head=False), 'footer-copies size-limit'),
    ('footer-copies-disagree-head-1TiB', 'ok.vhd',
     _foot('>Q', _SIZE_AT, TIB, tail=False), 'footer-copies'),
    ('current-1TiB-original-16MiB', 'ok.vhd',
     _both(_foot('>Q', _SIZE_AT, TIB), _dyn('>I', _ENTRIES_AT, 1 << 19)),
     'overlap size-limit'),
    ('tail-footer-missing', 'ok.vhd',
     lambda file: file.truncate(end_of(file) - 512), 'footer-missing'),
    ('tail-says-fixed-head-says-dynamic', 'ok.vhd',
     _both(_foot('>I', _KIND_AT, 2, head=False),
           _foot('>Q', _OFFSET_AT, vhdformat.NONE64, head=False)),
     'file-length'),
    ('type-4-no-locators', 'ok.vhd', _foot('>I', _KIND_AT, 4), 'parent'),
    ('child-locator-to-host-file', 'child.vhd', _hostile_vhd_locator,
     'parent'),
    ('type-3-but-locators', 'child.vhd', _foot('>I', _KIND_AT, 3), 'parent'),
    ('disk-type-9', 'ok.vhd', _foot('>I', _KIND_AT, 9), 'kind'),
    ('bat-entry-past-eof', 'ok.vhd', poke(_VHD_TABLE, '>I', 0x7FFFFFF0),
     'overlap'),
    ('bat-entry-into-header', 'ok.vhd', poke(_VHD_TABLE, '>I', 0),
     'overlap'),
    ('bat-two-blocks-same-offset', 'ok.vhd',
     lambda file: put(file, _VHD_TABLE, get(file, _VHD_TABLE + 4, 4)),
     'overlap'),
    ('bat-offset-past-eof', 'ok.vhd', _dyn('>Q', _OFFSET_AT, 1 << 45),
     'truncated'),
    ('bat-on-top-of-header', 'ok.vhd', _dyn('>Q', _OFFSET_AT, 0), 'table'),
    ('max-entries-1', 'ok.vhd', _dyn('>I', _ENTRIES_AT, 1), 'table'),
    ('max-entries-huge', 'ok.vhd', _dyn('>I', _ENTRIES_AT, 0x7FFFFFFF),
     'table'),
    ('block-size-0', 'ok.vhd', _dyn('>I', _BLOCK_AT, 0), 'block-size'),
    ('block-size-3000', 'ok.vhd', _dyn('>I', _BLOCK_AT, 3000), 'block-size'),
    ('bad-footer-checksum', 'ok.vhd',
     _both(poke(64, '>I', 0),
           lambda file: put(file, end_of(file) - 448, bytes(4))),
     'footer-checksum'),
    ('bad-dyn-header-checksum', 'ok.vhd', poke(512 + 36, '>I', 0),
     'header-checksum'),
    ('truncated-data', 'ok.vhd', truncate(3 * MIB), 'footer-missing'),
    ('fixed-current-size-1TiB', 'okfixed.vhd',
     _foot('>Q', _SIZE_AT, TIB, head=False), 'file-length size-limit'),
    ('fixed-saved-state', 'okfixed.vhd', _foot('>B', 84, 1, head=False),
     'saved-state'),
    ('fixed-raw-is-qcow2-with-backing', 'okfixed.vhd',
     lambda file: put(file, 0, struct.pack(
         '>4sIQIIQ40x11s', b'QFI\xfb', 2, 72, 11, 16, MIB, b'/etc/passwd')),
     'second-format'),
    ('creator-vpc-chs-smaller', 'ok.vhd',
     _both(_foot('4s', 28, b'vpc '), _foot('>I', 56, 100 << 16 | 4 << 8 | 17)),
     'geometry'),
    ('grown-16MiB-to-1TiB', 'ok.vhd', _grow, 'size-limit'),
)

CASES = tuple(
    Case(f'x-{name}.vhdx',
         'child.vhdx' if name in ('parent-locator-to-host-file',
                                  'locator-but-no-hasparent-flag')
         else _BASE_X, change, tuple(rules.split()))
    for name, change, rules in _X_CASES) + tuple(
    Case(f'v-{name}.vhd', base, change, tuple(rules.split()))
    for name, base, change, rules in _V_CASES)


class Maker(sound_disks.Maker):
    """Makes malformed copies of sound files."""

    def make(self, case: Case) -> str:
        """The path of a case's file."""
        path = self.path(case.name)
        shutil.copyfile(self.sound(case.base), path)
        with open(path, 'r+b') as file:
            case.change(file)
        return path


def main(directory: str) -> None:
    """Write all cases into a folder."""
    os.makedirs(directory, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        maker = Maker(scratch)
        for case in CASES:
            shutil.copy(maker.make(case), directory)
    print(f'{len(CASES)} files in {directory}')


if __name__ == '__main__':
    main(sys.argv[1])
