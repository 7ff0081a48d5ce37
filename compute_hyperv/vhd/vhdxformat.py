# SPDX-License-Identifier: Apache-2.0
"""VHDX structures: headers, regions, metadata, BAT, log. No I/O.

::

    0 identifier | 64K, 128K headers | 192K, 256K region tables | 1M ...
    then, whole MiB each and in any order: log, metadata, BAT, blocks

Source: MS-VHDX. Numbers are little endian.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import struct
import uuid

from compute_hyperv.vhd import structures
from compute_hyperv.vhd.structures import divide_up
from compute_hyperv.vhd.structures import guid_bytes
from compute_hyperv.vhd.structures import KIB
from compute_hyperv.vhd.structures import require

MAGIC = b'vhdxfile'
HEADER_OFFSETS = (64 * KIB, 128 * KIB)
HEADER_BYTES = 4 * KIB
REGION_OFFSETS = (192 * KIB, 256 * KIB)
REGION_BYTES = 64 * KIB
METADATA_TABLE_BYTES = 64 * KIB
MAX_ENTRIES = 2047
PAGE_BYTES = 4 * KIB

REGION_BAT = guid_bytes('2DC27766-F623-4200-9D64-115E9BFD4A08')
REGION_METADATA = guid_bytes('8B7CA206-4790-4B9A-B8FE-575F050F886E')

FILE_PARAMETERS = guid_bytes('CAA16737-FA36-4D43-B3B6-33F0AA44E76B')
DISK_SIZE = guid_bytes('2FA54224-CD1B-4876-B211-5DBED83BF4B8')
DISK_ID = guid_bytes('BECA12AB-B2E6-4523-93EF-C309E000C746')
LOGICAL_SECTOR = guid_bytes('8141BF1D-A96F-4709-BA47-F233A8FAAB5F')
PHYSICAL_SECTOR = guid_bytes('CDA348C7-445D-4471-9CC9-E9885251C556')
PARENT_LOCATOR = guid_bytes('A8D35F2D-B30B-454D-ABF7-D3D84834AB0C')
LOCATOR_TYPE = guid_bytes('B04AEFB7-D19E-4A81-B789-25B8E9445913')

#: Length of each known metadata item; the parent locator's varies.
ITEM_BYTES = {FILE_PARAMETERS: 8, DISK_SIZE: 8, DISK_ID: 16,
              LOGICAL_SECTOR: 4, PHYSICAL_SECTOR: 4}

LEAVE_ALLOCATED = 1             #: file parameters' flag of a fixed disk
HAS_PARENT = 2

ITEM_IS_USER = 1
ITEM_IS_DISK = 2
ITEM_IS_REQUIRED = 4

# States of a block in the BAT (low three bits of its entry).
NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULL, PARTIAL = 0, 1, 2, 3, 6, 7
ENTRY_STATE = 7
ENTRY_RESERVED = 0xFFFF8

_HEADER = struct.Struct('<4sIQ16s16s16sHHIQ')
_REGION = struct.Struct('<16sQII')
_ITEM = struct.Struct('<16sIIII')
_LOG_ENTRY = struct.Struct('<4sIIIQII16sQQ')
_DESCRIPTOR = struct.Struct('<4s4s8sQQ')
_LOCATOR_ENTRY = struct.Struct('<IIHH')


def chunk_ratio(block_bytes: int, sector_bytes: int) -> int:
    """Blocks per chunk: how many one sector-bitmap block describes."""
    return (1 << 23) * sector_bytes // block_bytes


def table_entries(blocks: int, ratio: int, *, child: bool) -> int:
    """Entries of the BAT of a disk of *blocks*.

    A child also has the bitmap slot of its last, perhaps short, chunk.
    """
    if child:
        return divide_up(blocks, ratio) * (ratio + 1)
    return blocks + (blocks - 1) // ratio


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """One of the two headers; the one with the higher sequence rules."""

    sequence: int
    file_write_guid: bytes
    data_write_guid: bytes
    log_guid: bytes
    log_bytes: int
    log_offset: int
    log_version: int = 0
    version: int = 1

    def pack(self) -> bytes:
        """The header's 4 KiB, checksum included."""
        raw = _HEADER.pack(
            b'head', 0, self.sequence, self.file_write_guid,
            self.data_write_guid, self.log_guid, self.log_version,
            self.version, self.log_bytes, self.log_offset)
        return structures.sealed_crc(raw.ljust(HEADER_BYTES, b'\0'))

    @classmethod
    def parse(cls, raw: bytes) -> 'Header | None':
        """Read a header; None if its signature or checksum is wrong."""
        if raw[:4] != b'head' or not structures.is_sealed_crc(raw):
            return None
        (_, _, sequence, file_write, data_write, log_guid, log_version,
         version, log_bytes, log_offset) = _HEADER.unpack_from(raw)
        return cls(sequence=sequence, file_write_guid=file_write,
                   data_write_guid=data_write, log_guid=log_guid,
                   log_bytes=log_bytes, log_offset=log_offset,
                   log_version=log_version, version=version)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """An entry of the region table."""

    guid: bytes
    offset: int
    length_bytes: int
    required: int = 1           #: only bit 0 is defined


def pack_regions(regions: Iterable[Region]) -> bytes:
    """The region table's 64 KiB, checksum included."""
    entries = [_REGION.pack(region.guid, region.offset, region.length_bytes,
                            region.required) for region in regions]
    raw = struct.pack('<4sIII', b'regi', 0, len(entries), 0)
    raw += b''.join(entries)
    return structures.sealed_crc(raw.ljust(REGION_BYTES, b'\0'))


def is_region_table(raw: bytes) -> bool:
    """Whether signature and checksum of a region table are right."""
    return raw[:4] == b'regi' and structures.is_sealed_crc(raw)


def parse_regions(raw: bytes) -> tuple[Region, ...]:
    """Read the entries of a table that :func:`is_region_table` accepts.

    :raises Malformed: ``region-count``.
    """
    count, = struct.unpack_from('<I', raw, 8)
    require(count <= MAX_ENTRIES, 'region-count',
            f'The region table claims {count} entries')
    return tuple(
        Region(guid=guid, offset=offset, length_bytes=length, required=flags)
        for guid, offset, length, flags
        in _REGION.iter_unpack(raw[16:16 + count * _REGION.size]))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An entry of the metadata table; the offset is in the region."""

    guid: bytes
    offset: int
    length_bytes: int
    flags: int


def pack_items(items: Iterable[Item]) -> bytes:
    """The metadata table's bytes, as long as it is filled."""
    entries = [_ITEM.pack(item.guid, item.offset, item.length_bytes,
                          item.flags, 0) for item in items]
    return (b'metadata' + struct.pack('<HH', 0, len(entries)) + bytes(20)
            + b''.join(entries))


def parse_items(raw: bytes) -> tuple[Item, ...]:
    """Read the metadata table (64 KiB).

    :raises Malformed: ``metadata-table`` or ``metadata-count``.
    """
    require(raw[:8] == b'metadata', 'metadata-table',
            'The metadata table has no signature')
    count, = struct.unpack_from('<H', raw, 10)
    require(count <= MAX_ENTRIES, 'metadata-count',
            f'The metadata table claims {count} entries')
    return tuple(
        Item(guid=guid, offset=offset, length_bytes=length, flags=flags)
        for guid, offset, length, flags, _
        in _ITEM.iter_unpack(raw[32:32 + count * _ITEM.size]))


def pack_locator(pairs: Mapping[str, str]) -> bytes:
    """A parent locator of keys and values (both UTF-16)."""
    head, body = b'', b''
    start = 20 + _LOCATOR_ENTRY.size * len(pairs)
    for key, value in pairs.items():
        key_raw = key.encode('utf-16-le')
        value_raw = value.encode('utf-16-le')
        at = start + len(body)
        head += _LOCATOR_ENTRY.pack(at, at + len(key_raw), len(key_raw),
                                    len(value_raw))
        body += key_raw + value_raw
    return LOCATOR_TYPE + struct.pack('<HH', 0, len(pairs)) + head + body


def parse_locator(raw: bytes) -> dict[str, str]:
    """Keys and values of a parent locator.

    :raises Malformed: ``parent-locator``.
    """
    require(len(raw) >= 20 and raw[:16] == LOCATOR_TYPE, 'parent-locator',
            'The parent locator is of an unknown type')
    count, = struct.unpack_from('<H', raw, 18)
    end = 20 + _LOCATOR_ENTRY.size * count
    require(end <= len(raw), 'parent-locator',
            'The parent locator is cut short')
    pairs = {}
    for entry in _LOCATOR_ENTRY.iter_unpack(raw[20:end]):
        key_at, value_at, key_bytes, value_bytes = entry
        require(max(key_at + key_bytes, value_at + value_bytes) <= len(raw),
                'parent-locator', 'The parent locator is cut short')
        key = raw[key_at:key_at + key_bytes].decode('utf-16-le', 'replace')
        pairs[key] = raw[value_at:value_at + value_bytes].decode(
            'utf-16-le', 'replace')
    return pairs


def linkage_text(data_write_guid: bytes) -> str:
    """How a locator spells its parent's DataWriteGuid."""
    return '{%s}' % uuid.UUID(bytes_le=data_write_guid)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LogEntry:
    """One entry of the log: pages of 4 KiB to write, ranges to clear."""

    sequence: int
    tail: int                   #: where in the log the sequence begins
    length_bytes: int
    guid: bytes
    pages: tuple[tuple[int, bytes], ...]
    zeros: tuple[tuple[int, int], ...] = ()
    file_end: int = 0


def log_head_bytes(descriptors: int) -> int:
    """Length of an entry's header and descriptors."""
    return structures.round_up(_LOG_ENTRY.size
                               + _DESCRIPTOR.size * descriptors, PAGE_BYTES)


def pack_log_entry(pages: Iterable[tuple[int, bytes]], *, sequence: int,
                   guid: bytes, tail: int, file_end: int) -> bytes:
    """A log entry that writes *pages*, each ``(file offset, 4 KiB)``."""
    descriptors, data, count = b'', b'', 0
    for offset, page in pages:
        count += 1
        descriptors += _DESCRIPTOR.pack(b'desc', page[4092:], page[:8],
                                        offset, sequence)
        data += (b'data' + struct.pack('<I', sequence >> 32) + page[8:4092]
                 + struct.pack('<I', sequence & 0xFFFFFFFF))
    head_bytes = log_head_bytes(count)
    head = _LOG_ENTRY.pack(b'loge', 0, head_bytes + len(data), tail,
                           sequence, count, 0, guid, file_end, file_end)
    return structures.sealed_crc((head + descriptors).ljust(head_bytes, b'\0')
                                 + data)


def parse_log_entry(log: bytes, at: int) -> LogEntry | None:
    """Read the entry at *at* of a circular log; None if there is none."""
    head = _ring(log, at, _LOG_ENTRY.size)
    (magic, _, length, tail, sequence, count, _, guid, file_end,
     _) = _LOG_ENTRY.unpack(head)
    if (magic != b'loge' or not PAGE_BYTES <= length <= len(log)
            or length % PAGE_BYTES or tail % PAGE_BYTES or tail >= len(log)
            or log_head_bytes(count) > length):
        return None
    raw = _ring(log, at, length)
    if not structures.is_sealed_crc(raw):
        return None
    pages, zeros = [], []
    data_at = log_head_bytes(count)
    for kind, trailing, leading, offset, its in _DESCRIPTOR.iter_unpack(
            raw[64:64 + count * _DESCRIPTOR.size]):
        if its != sequence or offset % PAGE_BYTES:
            return None
        if kind == b'zero':
            zeros.append((offset, int.from_bytes(leading, 'little')))
        elif kind == b'desc' and data_at + PAGE_BYTES <= length:
            middle = raw[data_at + 8:data_at + 4092]
            pages.append((offset, leading + middle + trailing))
            data_at += PAGE_BYTES
        else:
            return None
    return LogEntry(sequence=sequence, tail=tail, length_bytes=length,
                    guid=guid, pages=tuple(pages), zeros=tuple(zeros),
                    file_end=file_end)


def _ring(log: bytes, at: int, length_bytes: int) -> bytes:
    return (log[at:at + length_bytes]
            + log[:max(0, at + length_bytes - len(log))])


def active_log(log: bytes, guid: bytes) -> list[LogEntry]:
    """The entries to replay, oldest first: the newest valid sequence."""
    best: list[LogEntry] = []
    for start in range(0, len(log), PAGE_BYTES):
        run = list(_log_run(log, start, guid))
        if (run and run[-1].tail == start
                and (not best or run[-1].sequence > best[-1].sequence)):
            best = run
    return best


def _log_run(log: bytes, start: int, guid: bytes) -> Iterator[LogEntry]:
    at, walked, sequence = start, 0, None
    while walked < len(log):
        entry = parse_log_entry(log, at)
        if (entry is None or entry.guid != guid
                or (sequence is not None and entry.sequence != sequence)):
            return
        yield entry
        sequence = entry.sequence + 1
        walked += entry.length_bytes
        at = (at + entry.length_bytes) % len(log)
