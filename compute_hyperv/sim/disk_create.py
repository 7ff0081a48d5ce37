# SPDX-License-Identifier: Apache-2.0
"""Lay out new VHD and VHDX files, laid out as Windows does.

The cost of a child does not depend on its parent's content: a VHDX child
is some pages in a sparse file, a VHD child has four bytes per block.
"""

import dataclasses
import struct
import time
import uuid

from ..vhd import structures
from ..vhd.structures import divide_up
from ..vhd.structures import KIB
from ..vhd.structures import MIB
from ..vhd.structures import round_up
from ..vhd.structures import SECTOR_BYTES
from ..vhd import vhdformat
from ..vhd import vhdxformat
from .disk_file import DiskFile
from .disk_vhd import locator_texts
from .disk_vhd import pack_locators
from .disk_vhd import VhdDisk
from .disk_vhdx import locator_pairs
from .disk_vhdx import VhdxDisk

_CREATOR = 'Hyper-V simulator'
_LOG_AT, _METADATA_AT, _TABLE_AT = 1 * MIB, 2 * MIB, 3 * MIB
_ITEMS_AT = 64 * KIB
#: The locator has its own pages, with room for a longer path later.
_LOCATOR_AT = _ITEMS_AT + 4 * KIB


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What a new disk is to be."""

    kind: str
    size_bytes: int
    block_bytes: int
    sector_bytes: int = 512
    physical_sector_bytes: int = 512
    disk_id: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)


def make_vhdx(file: DiskFile, win_path: str, shape: Shape,
              parent: VhdxDisk | None) -> None:
    """Lay out a VHDX in an empty file."""
    child = parent is not None
    blocks = divide_up(shape.size_bytes, shape.block_bytes)
    ratio = vhdxformat.chunk_ratio(shape.block_bytes, shape.sector_bytes)
    entries = vhdxformat.table_entries(blocks, ratio, child=child)
    table_bytes = round_up(entries * 8, MIB)
    file.write(0, vhdxformat.MAGIC + _CREATOR.encode('utf-16-le'))
    for sequence, offset in enumerate(vhdxformat.HEADER_OFFSETS):
        file.write(offset, vhdxformat.Header(
            sequence=sequence, file_write_guid=structures.new_guid(),
            data_write_guid=structures.new_guid(),
            log_guid=structures.ZERO_GUID, log_bytes=MIB,
            log_offset=_LOG_AT).pack())
    # os_win takes the second region for the metadata, whatever its GUID.
    regions = vhdxformat.pack_regions((
        vhdxformat.Region(guid=vhdxformat.REGION_BAT, offset=_TABLE_AT,
                          length_bytes=table_bytes),
        vhdxformat.Region(guid=vhdxformat.REGION_METADATA,
                          offset=_METADATA_AT, length_bytes=MIB)))
    for offset in vhdxformat.REGION_OFFSETS:
        file.write(offset, regions)
    _write_metadata(file, shape, locator_pairs(win_path, parent)
                    if parent else None)
    end = _TABLE_AT + table_bytes
    if shape.kind == 'fixed':
        end = _write_fixed_table(file, shape, blocks, ratio, end)
    file.truncate(end)


def _write_metadata(file: DiskFile, shape: Shape,
                    locator: dict[str, str] | None) -> None:
    flags = vhdxformat.LEAVE_ALLOCATED if shape.kind == 'fixed' else 0
    if locator is not None:
        flags |= vhdxformat.HAS_PARENT
    required = vhdxformat.ITEM_IS_REQUIRED
    about_disk = required | vhdxformat.ITEM_IS_DISK
    # os_win takes the first item for the file parameters.
    values = [
        (vhdxformat.FILE_PARAMETERS, required,
         struct.pack('<II', shape.block_bytes, flags)),
        (vhdxformat.DISK_SIZE, about_disk,
         shape.size_bytes.to_bytes(8, 'little')),
        (vhdxformat.DISK_ID, about_disk, shape.disk_id.bytes_le),
        (vhdxformat.LOGICAL_SECTOR, about_disk,
         shape.sector_bytes.to_bytes(4, 'little')),
        (vhdxformat.PHYSICAL_SECTOR, about_disk,
         shape.physical_sector_bytes.to_bytes(4, 'little'))]
    items, offset = [], _ITEMS_AT
    if locator is not None:
        values.append((vhdxformat.PARENT_LOCATOR, required,
                       vhdxformat.pack_locator(locator)))
    for guid, item_flags, value in values:
        if guid == vhdxformat.PARENT_LOCATOR:
            offset = _LOCATOR_AT
        items.append(vhdxformat.Item(guid=guid, offset=offset,
                                     length_bytes=len(value),
                                     flags=item_flags))
        file.write(_METADATA_AT + offset, value)
        offset += len(value)
    file.write(_METADATA_AT, vhdxformat.pack_items(items))


def _write_fixed_table(file: DiskFile, shape: Shape, blocks: int, ratio: int,
                       start: int) -> int:
    """Give every block its place behind *start*; where the file ends."""
    table = bytearray()
    for block in range(blocks):
        place = start + block * shape.block_bytes
        table += struct.pack('<Q', place | vhdxformat.FULL)
        if block % ratio == ratio - 1:
            table += bytes(8)
    file.write(_TABLE_AT, bytes(table))
    return start + blocks * shape.block_bytes


def make_vhd(file: DiskFile, win_path: str, shape: Shape,
             parent: VhdDisk | None) -> None:
    """Lay out a VHD in an empty file."""
    fixed = shape.kind == 'fixed'
    kind = {'fixed': vhdformat.FIXED, 'dynamic': vhdformat.DYNAMIC,
            'differencing': vhdformat.DIFFERENCING}[shape.kind]
    footer = vhdformat.Footer(
        kind=kind, size_bytes=shape.size_bytes,
        original_size_bytes=shape.size_bytes, unique_id=shape.disk_id.bytes,
        timestamp_s=int(time.time()) - vhdformat.EPOCH_S,
        chs=vhdformat.geometry(shape.size_bytes // SECTOR_BYTES),
        data_offset=(vhdformat.NONE64 if fixed
                     else vhdformat.FOOTER_BYTES)).pack()
    end = shape.size_bytes if fixed else _write_vhd_head(
        file, win_path, shape, parent, footer)
    file.truncate(end)
    file.write(end, footer)


def _write_vhd_head(file: DiskFile, win_path: str, shape: Shape,
                    parent: VhdDisk | None, footer: bytes) -> int:
    entries = divide_up(shape.size_bytes, shape.block_bytes)
    room = round_up(entries * 4, SECTOR_BYTES)
    end = vhdformat.TABLE_OFFSET + room
    header = vhdformat.DynamicHeader(table_offset=vhdformat.TABLE_OFFSET,
                                     entries=entries,
                                     block_bytes=shape.block_bytes)
    file.write(vhdformat.TABLE_OFFSET, b'\xff' * room)
    if parent is not None:
        raw, locators = pack_locators(
            locator_texts(win_path, parent.win_path), end)
        file.write(end, raw)
        end += len(raw)
        header = dataclasses.replace(
            header, locators=locators, parent_name=parent.win_path,
            parent_id=uuid.UUID(parent.id).bytes,
            parent_timestamp_s=parent.file_time_s)
    file.write(0, footer + header.pack())
    return end
