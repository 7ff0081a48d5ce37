# SPDX-License-Identifier: Apache-2.0
"""Strict inspection of VHD files."""

import array
from collections.abc import Iterator
import sys

from compute_hyperv.vhd import magic
from compute_hyperv.vhd.source import require_disjoint
from compute_hyperv.vhd.source import Source
from compute_hyperv.vhd import structures
from compute_hyperv.vhd.structures import divide_up
from compute_hyperv.vhd.structures import KIB
from compute_hyperv.vhd.structures import MIB
from compute_hyperv.vhd.structures import require
from compute_hyperv.vhd.structures import round_up
from compute_hyperv.vhd.structures import SECTOR_BYTES
from compute_hyperv.vhd import vhdformat
from compute_hyperv.vhd.vhdformat import DynamicHeader
from compute_hyperv.vhd.vhdformat import Footer
from compute_hyperv.vhd.vhdformat import FOOTER_BYTES

_MAX_BLOCK_BYTES = 256 * MIB
_TABLE_STEP_BYTES = 64 * KIB
_MAX_GEOMETRY = (65535, 16, 255)


def inspect_vhd(source: Source) -> tuple[str, int, int]:
    """Refuse anything but a plain, self-contained VHD.

    :returns: kind, virtual size in bytes, block size in bytes.
    :raises Malformed: see the rules in ``inspect``.
    """
    raw = source.peek(source.end - FOOTER_BYTES, FOOTER_BYTES)
    footer = Footer.parse(raw)
    require(footer.kind != vhdformat.DIFFERENCING, 'parent',
            'The disk is a differencing disk: it needs a parent')
    require(footer.kind in (vhdformat.FIXED, vhdformat.DYNAMIC), 'kind',
            f'The disk type {footer.kind} is unknown')
    require(footer.version == 0x10000, 'version',
            f'The version {footer.version:#x} is unknown')
    require(footer.saved_state == 0, 'saved-state',
            'The disk belongs to a saved state')
    source.check_size(footer.size_bytes, structures.VHD_MAX_BYTES)
    _check_geometry(footer)
    if footer.kind == vhdformat.FIXED:
        _check_fixed(source, footer)
        return 'fixed', footer.size_bytes, structures.VHD_DEFAULT_BLOCK_BYTES
    block_bytes = _check_dynamic(source, footer, raw)
    return 'dynamic', footer.size_bytes, block_bytes


def _check_geometry(footer: Footer) -> None:
    """Refuse a disk that readers would see in different sizes.

    Some size a file by its geometry unless they trust its creator, or the
    geometry is the largest there is.
    """
    largest = (footer.chs == _MAX_GEOMETRY
               and footer.size_bytes >= footer.chs_bytes)
    require(footer.creator in vhdformat.CREATORS_BY_SIZE or largest
            or footer.chs_bytes == footer.size_bytes, 'geometry',
            f'The geometry says {footer.chs_bytes} bytes, the size field '
            f'{footer.size_bytes}: readers differ')


def _check_fixed(source: Source, footer: Footer) -> None:
    require(footer.data_offset == vhdformat.NONE64, 'kind',
            'A fixed disk with the data offset of a dynamic one')
    require(source.end == footer.size_bytes + FOOTER_BYTES, 'file-length',
            f'A fixed disk of {footer.size_bytes} bytes in a file of '
            f'{source.end}')
    inside = magic.disk_format(source.peek(0, magic.HEAD_BYTES))
    require(inside is None, 'second-format',
            f'The content of the fixed disk begins as {inside}')


def _check_dynamic(source: Source, footer: Footer, raw: bytes) -> int:
    require(footer.data_offset == FOOTER_BYTES, 'kind',
            'The dynamic header is not behind the footer copy')
    require(source.get(0, FOOTER_BYTES) == raw, 'footer-copies',
            'The copies of the footer differ')
    raw_header = source.get(FOOTER_BYTES, vhdformat.HEADER_BYTES)
    header = DynamicHeader.parse(raw_header)
    require(not vhdformat.has_parent_fields(raw_header), 'parent',
            'The dynamic header names a parent')
    require(header.version == 0x10000, 'version',
            f'The header version {header.version:#x} is unknown')
    block = header.block_bytes
    require(SECTOR_BYTES <= block <= _MAX_BLOCK_BYTES
            and not block & (block - 1), 'block-size',
            f'A block size of {block} bytes is impossible')
    _check_table(source, footer, header)
    return block


def _check_table(source: Source, footer: Footer,
                 header: DynamicHeader) -> None:
    """Check the BAT and where it says the blocks are.

    Some tools keep a BAT longer than the disk needs; its spare entries
    must be empty.
    """
    needed = divide_up(footer.size_bytes, header.block_bytes)
    most = divide_up(structures.VHD_MAX_BYTES, header.block_bytes)
    require(needed <= header.entries <= most, 'table',
            f'The BAT has {header.entries} entries, the disk {needed} blocks')
    require(header.table_offset >= vhdformat.TABLE_OFFSET
            and header.table_offset % SECTOR_BYTES == 0, 'table',
            f'The BAT cannot be at {header.table_offset}')
    table_bytes = round_up(4 * header.entries, SECTOR_BYTES)
    block_span = (vhdformat.bitmap_bytes(header.block_bytes)
                  + header.block_bytes)
    room = divide_up(source.end, block_span)
    blocks = array.array('I')
    for index, entry in _entries(source, header):
        require(index < needed, 'table', 'A block is behind the disk')
        blocks.append(entry)
        require(len(blocks) <= room, 'overlap',
                'There are more blocks than the file has room for')
    spans = [(0, vhdformat.TABLE_OFFSET), (header.table_offset, table_bytes),
             (source.end - FOOTER_BYTES, FOOTER_BYTES)]
    spans += [(entry * SECTOR_BYTES, block_span) for entry in blocks]
    require_disjoint(spans, source.end, 'Headers, BAT and blocks')


def _entries(source: Source,
             header: DynamicHeader) -> Iterator[tuple[int, int]]:
    """Used entries of the BAT as ``(index, sector)``."""
    index = 0
    for piece in source.pieces(header.table_offset, 4 * header.entries,
                               _TABLE_STEP_BYTES):
        if piece.strip(b'\xff'):
            entries = array.array('I', piece)
            if sys.byteorder == 'little':
                entries.byteswap()
            for at, entry in enumerate(entries, index):
                if entry != vhdformat.NONE32:
                    yield at, entry
        index += len(piece) // 4
