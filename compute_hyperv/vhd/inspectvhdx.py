# SPDX-License-Identifier: Apache-2.0
"""Strict inspection of VHDX files."""

import array
import dataclasses
import sys

from compute_hyperv.vhd.source import require_disjoint
from compute_hyperv.vhd.source import Source
from compute_hyperv.vhd import structures
from compute_hyperv.vhd.structures import divide_up
from compute_hyperv.vhd.structures import KIB
from compute_hyperv.vhd.structures import MIB
from compute_hyperv.vhd.structures import require
from compute_hyperv.vhd.structures import ZERO_GUID
from compute_hyperv.vhd import vhdxformat
from compute_hyperv.vhd.vhdxformat import Header
from compute_hyperv.vhd.vhdxformat import Region

_TABLE_STEP_BYTES = 64 * KIB
_MAX_BLOCK_BYTES = 256 * MIB
#: Writers round the file's end up; more than this is not rounding.
_MAX_TAIL_BYTES = 8 * MIB
_PAYLOAD_STATES = frozenset((
    vhdxformat.NOT_PRESENT, vhdxformat.UNDEFINED, vhdxformat.ZERO,
    vhdxformat.UNMAPPED, vhdxformat.FULL))

_ITEM_FLAGS = (vhdxformat.ITEM_IS_USER | vhdxformat.ITEM_IS_DISK
               | vhdxformat.ITEM_IS_REQUIRED)

Span = tuple[int, int]          # offset, length


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Parameters:
    kind: str
    size_bytes: int
    block_bytes: int
    sector_bytes: int


def inspect_vhdx(source: Source) -> tuple[str, int, int]:
    """Refuse anything but a plain, self-contained VHDX.

    :returns: kind, virtual size in bytes, block size in bytes.
    :raises Malformed: see the rules in ``inspect``.
    """
    header = _check_headers(source)
    table, metadata, spans = _check_regions(source)
    spans += [(0, MIB), (header.log_offset, header.log_bytes)]
    require_disjoint(spans, source.end, 'Headers, log and regions')
    disk = _check_metadata(source, metadata)
    blocks = _check_table(source, table, disk)
    spans += [(offset, disk.block_bytes) for offset in blocks]
    last = require_disjoint(spans, source.end, 'Regions and blocks')
    tail = source.end - last
    most = max(disk.block_bytes, _MAX_TAIL_BYTES)
    if disk.kind == 'fixed':
        # qemu-img leaves unwritten blocks out of the BAT, not the file.
        most += disk.size_bytes
    require(tail < most and source.is_zero(last, tail), 'tail',
            f'{tail} bytes behind the last block cannot be explained')
    return disk.kind, disk.size_bytes, disk.block_bytes


def _check_headers(source: Source) -> Header:
    """The current header; a log to replay is refused.

    A stranger's log could rewrite anything, the size among it. The other
    header may be older, but must describe the same layout.
    """
    found = [header for header in (
        Header.parse(source.get(offset, vhdxformat.HEADER_BYTES))
        for offset in vhdxformat.HEADER_OFFSETS) if header is not None]
    require(found, 'headers', 'No header is valid')
    for header in found:
        require(header.version == 1 and header.log_version == 0, 'version',
                f'Version {header.version}, log version '
                f'{header.log_version} is unknown')
    current = max(found, key=lambda header: header.sequence)
    for header in found:
        require((header.log_offset, header.log_bytes)
                == (current.log_offset, current.log_bytes)
                and (header is current
                     or header.sequence < current.sequence
                     or header == current), 'headers',
                'The headers disagree')
    require(current.log_guid == ZERO_GUID, 'log',
            'The log is not empty: it would change the file when opened')
    require(current.log_bytes and current.log_bytes % MIB == 0
            and current.log_offset >= MIB
            and current.log_offset % MIB == 0, 'log-place',
            'The log is not where a log can be')
    return current


def _check_regions(source: Source) -> tuple[Region, Region, list[Span]]:
    """The BAT and metadata regions, and the spans of all regions."""
    raw = source.get(vhdxformat.REGION_OFFSETS[0], vhdxformat.REGION_BYTES)
    copy = source.get(vhdxformat.REGION_OFFSETS[1], vhdxformat.REGION_BYTES)
    require(vhdxformat.is_region_table(raw) and copy == raw, 'region-tables',
            'The region tables are damaged or differ')
    regions: dict[bytes, Region] = {}
    for region in vhdxformat.parse_regions(raw):
        known = region.guid in (vhdxformat.REGION_BAT,
                                vhdxformat.REGION_METADATA)
        require(region.guid not in regions, 'region-entry',
                'A region is there twice')
        require(known or region.required == 0, 'region-unknown',
                'A required region is unknown')
        require(region.required in (0, 1) and region.offset >= MIB
                and region.offset % MIB == 0 and region.length_bytes
                and region.length_bytes % MIB == 0, 'region-entry',
                'A region is not where a region can be')
        regions[region.guid] = region
    used = 16 + 32 * len(regions)
    require(raw[12:16] == bytes(4) and not raw[used:].strip(b'\0'),
            'reserved', 'Reserved fields of the region table are in use')
    require(vhdxformat.REGION_BAT in regions
            and vhdxformat.REGION_METADATA in regions, 'region-missing',
            'The BAT or the metadata region is missing')
    return (regions[vhdxformat.REGION_BAT],
            regions[vhdxformat.REGION_METADATA],
            [(region.offset, region.length_bytes)
             for region in regions.values()])


def _check_metadata(source: Source, region: Region) -> _Parameters:
    items = vhdxformat.parse_items(
        source.get(region.offset, vhdxformat.METADATA_TABLE_BYTES))
    places: dict[bytes, Span] = {}
    known = vhdxformat.ITEM_BYTES
    for item in items:
        require(item.guid != vhdxformat.PARENT_LOCATOR, 'parent',
                'The disk is a differencing disk: it has a parent locator')
        require(item.guid != ZERO_GUID and item.guid not in places,
                'metadata-item', 'A metadata item is nameless or there twice')
        require(item.guid in known
                or not item.flags & vhdxformat.ITEM_IS_REQUIRED,
                'metadata-unknown', 'A required metadata item is unknown')
        require(not item.flags & ~_ITEM_FLAGS, 'reserved',
                'Reserved flags of a metadata item are in use')
        require(item.length_bytes == known.get(item.guid, item.length_bytes)
                and item.offset >= vhdxformat.METADATA_TABLE_BYTES,
                'metadata-item',
                'A metadata item has a wrong place or length')
        places[item.guid] = item.offset, item.length_bytes
    require_disjoint(places.values(), region.length_bytes, 'Metadata items')
    require(known.keys() <= places.keys(), 'metadata-missing',
            'A required metadata item is missing')
    return _parameters(source, {
        guid: source.get(region.offset + places[guid][0], length)
        for guid, length in known.items()})


def _parameters(source: Source, values: dict[bytes, bytes]) -> _Parameters:
    both = values[vhdxformat.FILE_PARAMETERS]
    block = int.from_bytes(both[:4], 'little')
    flags = int.from_bytes(both[4:], 'little')
    size, logical, physical = (
        int.from_bytes(values[guid], 'little')
        for guid in (vhdxformat.DISK_SIZE, vhdxformat.LOGICAL_SECTOR,
                     vhdxformat.PHYSICAL_SECTOR))
    require(not flags & vhdxformat.HAS_PARENT, 'parent',
            'The disk is a differencing disk: it needs a parent')
    require(flags in (0, vhdxformat.LEAVE_ALLOCATED), 'reserved',
            'Reserved file parameters are in use')
    require(MIB <= block <= _MAX_BLOCK_BYTES and not block & (block - 1),
            'block-size', f'A block size of {block} bytes is impossible')
    require({logical, physical} <= {512, 4096}, 'sector-size',
            f'Sectors of {logical} and {physical} bytes are impossible')
    source.check_size(size, structures.VHDX_MAX_BYTES, logical)
    return _Parameters(kind='fixed' if flags else 'dynamic', size_bytes=size,
                       block_bytes=block, sector_bytes=logical)


def _check_table(source: Source, region: Region,
                 disk: _Parameters) -> list[int]:
    """Where the blocks are, as the BAT says it."""
    blocks = divide_up(disk.size_bytes, disk.block_bytes)
    ratio = vhdxformat.chunk_ratio(disk.block_bytes, disk.sector_bytes)
    total = vhdxformat.table_entries(blocks, ratio, child=False)
    require(8 * total <= region.length_bytes, 'table',
            f'The BAT is too short for {blocks} blocks')
    offsets: list[int] = []
    room = source.end // disk.block_bytes
    index = 0
    for piece in source.pieces(region.offset, 8 * total, _TABLE_STEP_BYTES):
        if piece.strip(b'\0'):
            offsets += _present(piece, index, ratio)
            require(len(offsets) <= room, 'overlap',
                    'There are more blocks than the file has room for')
        index += len(piece) // 8
    return offsets


def _present(piece: bytes, index: int, ratio: int) -> list[int]:
    """File offsets of the blocks in a part of the BAT."""
    entries = array.array('Q', piece)
    if sys.byteorder == 'big':
        entries.byteswap()
    offsets = []
    for at, entry in enumerate(entries, index):
        state = entry & vhdxformat.ENTRY_STATE
        require(not entry & vhdxformat.ENTRY_RESERVED, 'reserved',
                'Reserved bits of the BAT are in use')
        if at % (ratio + 1) == ratio:
            require(state == vhdxformat.NOT_PRESENT, 'block-state',
                    'A bitmap block without a parent')
            continue
        require(state in _PAYLOAD_STATES, 'block-state',
                f'A block has the state {state}')
        if state == vhdxformat.FULL:
            offsets.append(entry >> 20 << 20)
    return offsets
