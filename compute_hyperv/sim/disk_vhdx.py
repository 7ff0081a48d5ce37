# SPDX-License-Identifier: Apache-2.0
"""VHDX files: blocks, bitmaps, growth, linkage."""

from collections.abc import Iterator
import struct
import uuid

from . import disk_errors
from . import disk_partitions
from . import disk_paths
from ..vhd import structures
from ..vhd.structures import Malformed
from ..vhd.structures import MIB
from ..vhd.structures import require
from ..vhd.structures import round_up
from ..vhd import vhdxformat
from .disk_block import Disk
from .disk_block import State
from .disk_errors import DiskError
from .disk_file import DiskFile
from .disk_log import Journal

_STATES = {vhdxformat.FULL: State.FULL, vhdxformat.PARTIAL: State.PARTIAL,
           vhdxformat.NOT_PRESENT: State.ABSENT}
_REGIONS = {vhdxformat.REGION_BAT, vhdxformat.REGION_METADATA}
_ENTRY = struct.Struct('<Q')
_TABLE_STEP = 8192


class VhdxDisk(Disk):
    """An open VHDX."""

    fmt = 'vhdx'

    def __init__(self, file: DiskFile, win_path: str) -> None:
        super().__init__(file, win_path)
        require(file.read(0, 8) == vhdxformat.MAGIC, 'signature',
                'The file is not a VHDX')
        self._journal = Journal(file)
        self._written = False
        self._read_regions()
        self._read_metadata()

    def _read_regions(self) -> None:
        for offset in vhdxformat.REGION_OFFSETS:
            raw = self._journal.read(offset, vhdxformat.REGION_BYTES)
            if vhdxformat.is_region_table(raw):
                break
        else:
            raise Malformed('region-tables', 'No region table is valid')
        regions = {}
        for region in vhdxformat.parse_regions(raw):
            known = region.guid in _REGIONS
            require(known or not region.required & 1, 'region-unknown',
                    'A required region is unknown')
            regions[region.guid] = region
        require(regions.keys() >= _REGIONS, 'region-missing',
                'The BAT or metadata region is missing')
        self._table = regions[vhdxformat.REGION_BAT]
        self._metadata = regions[vhdxformat.REGION_METADATA]

    def _read_metadata(self) -> None:
        raw = self._journal.read(self._metadata.offset,
                                 vhdxformat.METADATA_TABLE_BYTES)
        self._items = vhdxformat.parse_items(raw)
        values = {item.guid: self._journal.read(
            self._metadata.offset + item.offset, item.length_bytes)
            for item in self._items}
        for guid, length in vhdxformat.ITEM_BYTES.items():
            require(len(values.get(guid, b'')) == length, 'metadata-item',
                    'A metadata item is missing or of a wrong length')
        self.block_bytes, flags = struct.unpack(
            '<II', values[vhdxformat.FILE_PARAMETERS])
        self.size_bytes = int.from_bytes(
            values[vhdxformat.DISK_SIZE], 'little')
        self.sector_bytes = int.from_bytes(
            values[vhdxformat.LOGICAL_SECTOR], 'little')
        self.physical_sector_bytes = int.from_bytes(
            values[vhdxformat.PHYSICAL_SECTOR], 'little')
        self._id = values[vhdxformat.DISK_ID]
        block = self.block_bytes
        require(MIB <= block <= 256 * MIB and not block & (block - 1),
                'block-size', 'The block size is impossible')
        require(self.sector_bytes in (512, 4096), 'sector-size',
                'The sector size is impossible')
        self._ratio = vhdxformat.chunk_ratio(block, self.sector_bytes)
        self._locator: dict[str, str] = {}
        fixed = flags & vhdxformat.LEAVE_ALLOCATED
        self.kind = 'fixed' if fixed else 'dynamic'
        if flags & vhdxformat.HAS_PARENT:
            self.kind = 'differencing'
            require(vhdxformat.PARENT_LOCATOR in values, 'parent-locator',
                    'The parent locator is missing')
            self._locator = vhdxformat.parse_locator(
                values[vhdxformat.PARENT_LOCATOR])

    # Identity and linkage.

    @property
    def id(self) -> str:
        """The virtual disk id."""
        return str(uuid.UUID(bytes_le=self._id))

    @property
    def data_write_guid(self) -> bytes:
        """What changes with the disk's content: what children name."""
        return self._journal.header.data_write_guid

    @property
    def parent_candidates(self) -> tuple[str, ...]:
        """Relative to this file first, the absolute path last."""
        return disk_paths.candidates(
            self.win_path, self._locator.get('relative_path'),
            self._locator.get('volume_path'),
            self._locator.get('absolute_win32_path'))

    def check_parent(self, parent: Disk) -> None:
        """Compare the linkage with the parent's DataWriteGuid."""
        if not isinstance(parent, VhdxDisk):
            raise DiskError(disk_errors.ERROR_IN_PARENT,
                            f'{parent.win_path} is not a VHDX')
        linkages = {self._locator.get(key, '').lower()
                    for key in ('parent_linkage', 'parent_linkage2')}
        if vhdxformat.linkage_text(parent.data_write_guid) not in linkages:
            raise DiskError(
                disk_errors.PARENT_ID_MISMATCH,
                f'{parent.win_path} was changed after {self.win_path} was '
                'made of it, or is another disk')
        if parent.size_bytes > self.size_bytes:
            raise DiskError(disk_errors.PARENT_SIZE_MISMATCH,
                            f'{parent.win_path} is larger than its child')

    def _link(self, parent: Disk) -> None:
        assert isinstance(parent, VhdxDisk)
        pairs = locator_pairs(self.win_path, parent)
        self._replace_item(vhdxformat.PARENT_LOCATOR,
                           vhdxformat.pack_locator(pairs))
        self._locator = pairs
        self._journal.commit()
        # The file changed, what a user reads through it did not.
        self._journal.identify(data=False)

    def _replace_item(self, guid: bytes, value: bytes) -> None:
        """Overwrite a metadata item, moving it if its room is too short."""
        index = next(at for at, item in enumerate(self._items)
                     if item.guid == guid)
        old = self._items[index]
        after = [item.offset for item in self._items
                 if item.offset > old.offset]
        offset = old.offset
        if offset + len(value) > min(after, default=self._metadata
                                     .length_bytes):
            offset = round_up(max(item.offset + item.length_bytes
                                  for item in self._items), 8)
        require(offset + len(value) <= self._metadata.length_bytes,
                'metadata-full', 'The metadata region is full')
        new = vhdxformat.Item(guid=guid, offset=offset,
                              length_bytes=len(value), flags=old.flags)
        self._items = (*self._items[:index], new, *self._items[index + 1:])
        self._journal.write(self._metadata.offset + offset, value)
        self._journal.write(self._metadata.offset,
                            vhdxformat.pack_items(self._items))

    def _write_id(self, guid: str) -> None:
        self._id = structures.guid_bytes(guid)
        self._replace_item(vhdxformat.DISK_ID, self._id)
        self._journal.identify(data=False)

    # Writing.

    def flush(self) -> None:
        """Write metadata through the log."""
        self._journal.commit()

    def _before_write(self) -> None:
        if not self._written:
            self._written = True
            self._journal.identify(data=True)

    def _entry(self, index: int) -> int:
        raw = self._journal.read(self._table.offset + 8 * index, 8)
        return int.from_bytes(raw, 'little')

    def _set_entry(self, index: int, value: int) -> None:
        self._journal.write(self._table.offset + 8 * index,
                            _ENTRY.pack(value))

    def _index(self, block: int) -> int:
        return block + block // self._ratio

    def _bitmap_index(self, block: int) -> int:
        return block // self._ratio * (self._ratio + 1) + self._ratio

    def _state(self, block: int) -> State:
        entry = self._entry(self._index(block))
        return _STATES.get(entry & vhdxformat.ENTRY_STATE, State.ZERO)

    def _offset(self, block: int) -> int:
        return self._entry(self._index(block)) >> 20 << 20

    def _append(self, length: int) -> int:
        end = round_up(self.file.size_bytes, MIB)
        self.file.truncate(end + length)
        return end

    def _allocate(self, block: int, *, full: bool) -> None:
        state = vhdxformat.FULL if full else vhdxformat.PARTIAL
        self._set_entry(self._index(block),
                        self._append(self.block_bytes) | state)
        if full:
            return
        slot = self._bitmap_index(block)
        if self._entry(slot) & vhdxformat.ENTRY_STATE == vhdxformat.FULL:
            # A bitmap left by an earlier life of this block would lie.
            self._clear_bits(block)
        else:
            self._set_entry(slot, self._append(MIB) | vhdxformat.FULL)

    def _bit_place(self, block: int, sector: int) -> tuple[int, int]:
        """File offset of a sector's byte in the bitmap, and the bit."""
        bitmap = self._entry(self._bitmap_index(block)) >> 20 << 20
        per_block = self.block_bytes // self.sector_bytes
        byte, bit = divmod(block % self._ratio * per_block + sector, 8)
        return bitmap + byte, bit

    def _clear_bits(self, block: int) -> None:
        at, _ = self._bit_place(block, 0)
        self._journal.write(
            at, bytes(self.block_bytes // self.sector_bytes // 8))

    def _bits(self, block: int, first: int, count: int) -> int:
        at, bit = self._bit_place(block, first)
        raw = self._journal.read(at, -(-(bit + count) // 8))
        return int.from_bytes(raw, 'little') >> bit & ((1 << count) - 1)

    def _mark(self, block: int, first: int, count: int) -> None:
        if self._state(block) is not State.PARTIAL:
            return
        if count == self.block_bytes // self.sector_bytes:
            # Written as a whole: no bitmap lookups any more.
            self._set_entry(self._index(block),
                            self._offset(block) | vhdxformat.FULL)
            return
        at, bit = self._bit_place(block, first)
        length = -(-(bit + count) // 8)
        bits = int.from_bytes(self._journal.read(at, length), 'little')
        bits |= ((1 << count) - 1) << bit
        self._journal.write(at, bits.to_bytes(length, 'little'))

    # Size.

    def _set_size(self, size_bytes: int, *, unsafe: bool) -> None:
        if size_bytes > structures.VHDX_MAX_BYTES:
            raise DiskError(disk_errors.INVALID_SIZE,
                            f'{self.win_path}: VHDX ends at 64 TiB')
        if size_bytes < self.size_bytes:
            self._shrink(size_bytes, unsafe=unsafe)
            return
        self._before_write()
        old_blocks = self.blocks
        self._make_room(-(-size_bytes // self.block_bytes))
        self._store_size(size_bytes)
        if self.kind == 'fixed':
            for block in range(old_blocks, self.blocks):
                self._allocate(block, full=True)

    def _store_size(self, size_bytes: int) -> None:
        self._replace_item(vhdxformat.DISK_SIZE, _ENTRY.pack(size_bytes))
        self._journal.commit()
        self.size_bytes = size_bytes

    def _make_room(self, blocks: int) -> None:
        """Move the BAT to the file's end if it must grow."""
        entries = self._table_entries(blocks)
        if entries * 8 <= self._table.length_bytes:
            return
        self._journal.commit()
        length = round_up(entries * 8, MIB)
        offset = self._append(length)
        old = self._table
        for at in range(0, old.length_bytes, MIB):
            self.file.write(offset + at, self.file.read(old.offset + at, MIB))
        self._table = vhdxformat.Region(
            guid=vhdxformat.REGION_BAT, offset=offset, length_bytes=length)
        raw = vhdxformat.pack_regions((self._table, self._metadata))
        for at in vhdxformat.REGION_OFFSETS:
            self._journal.write(at, raw)
        self._journal.commit()

    def _shrink(self, size_bytes: int, *, unsafe: bool) -> None:
        if self.kind == 'differencing':
            raise DiskError(disk_errors.NOT_SUPPORTED,
                            f'{self.win_path}: a differencing disk cannot '
                            'be made smaller')
        if not unsafe:
            disk_partitions.check_shrink(self, size_bytes)
        self._before_write()
        keep = -(-size_bytes // self.block_bytes)
        edge = size_bytes % self.block_bytes
        if edge and self._state(keep - 1) is State.FULL:
            # A later growth must read zeros here.
            for at, length in list(self.file.data_runs(
                    self._offset(keep - 1) + edge, self.block_bytes - edge)):
                self.file.write(at, bytes(length))
        for block in range(keep, self.blocks):
            if self._entry(self._index(block)):
                self._set_entry(self._index(block), vhdxformat.NOT_PRESENT)
        self._store_size(size_bytes)
        self.file.truncate(self._used_end())

    def _used_end(self) -> int:
        ends = [self._journal.header.log_offset
                + self._journal.header.log_bytes,
                self._table.offset + self._table.length_bytes,
                self._metadata.offset + self._metadata.length_bytes]
        ends += [(entry >> 20 << 20) + self.block_bytes
                 for entry in self._entries()
                 if entry & vhdxformat.ENTRY_STATE == vhdxformat.FULL]
        return max(ends)

    def _table_entries(self, blocks: int) -> int:
        return vhdxformat.table_entries(
            blocks, self._ratio, child=self.kind == 'differencing')

    def _entries(self) -> Iterator[int]:
        total = self._table_entries(self.blocks)
        for at in range(0, total, _TABLE_STEP):
            count = min(_TABLE_STEP, total - at)
            raw = self._journal.read(self._table.offset + 8 * at, 8 * count)
            yield from struct.unpack(f'<{count}Q', raw)


def locator_pairs(child_path: str, parent: VhdxDisk) -> dict[str, str]:
    """The parent locator of a child at *child_path*."""
    pairs = {'parent_linkage': vhdxformat.linkage_text(parent.data_write_guid)}
    relative = disk_paths.relative_path(child_path, parent.win_path)
    if relative:
        pairs['relative_path'] = relative
    pairs['absolute_win32_path'] = parent.win_path
    return pairs
