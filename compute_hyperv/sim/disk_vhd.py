# SPDX-License-Identifier: Apache-2.0
"""VHD files: blocks, bitmaps, growth, linkage.

A VHD has no log. A new block is written where the footer was, then the
footer behind it, then the BAT's entry: a killed process loses at most the
block that it was adding.
"""

import dataclasses
import uuid

from . import disk_errors
from . import disk_paths
from ..vhd import structures
from ..vhd.structures import Malformed
from ..vhd.structures import require
from ..vhd.structures import round_up
from ..vhd.structures import SECTOR_BYTES
from ..vhd import vhdformat
from ..vhd.vhdformat import FOOTER_BYTES
from .disk_block import Disk
from .disk_block import State
from .disk_errors import DiskError
from .disk_file import DiskFile

_KINDS = {vhdformat.FIXED: 'fixed', vhdformat.DYNAMIC: 'dynamic',
          vhdformat.DIFFERENCING: 'differencing'}


class VhdDisk(Disk):
    """An open VHD."""

    fmt = 'vhd'

    def __init__(self, file: DiskFile, win_path: str) -> None:
        super().__init__(file, win_path)
        end = file.size_bytes
        raw = file.read(end - FOOTER_BYTES, FOOTER_BYTES) if (
            end >= FOOTER_BYTES) else b''
        self._footer = vhdformat.Footer.parse(raw)
        require(self._footer.kind in _KINDS, 'kind',
                f'The disk type {self._footer.kind} is unknown')
        self.kind = _KINDS[self._footer.kind]
        self.size_bytes = self._footer.size_bytes
        self.block_bytes = structures.VHD_DEFAULT_BLOCK_BYTES
        self._locators: dict[bytes, str] = {}
        self._changed = False
        if self.kind != 'fixed':
            self._read_header(raw)
        elif self.size_bytes != end - FOOTER_BYTES:
            raise Malformed(
                'footer-size', 'The file is not as long as its footer says')

    def _read_header(self, footer: bytes) -> None:
        require(self.file.read(0, FOOTER_BYTES) == footer, 'footer-copies',
                'The copies of the footer differ')
        self._header = vhdformat.DynamicHeader.parse(self.file.read(
            self._footer.data_offset, vhdformat.HEADER_BYTES))
        self.block_bytes = self._header.block_bytes
        require(self.block_bytes >= SECTOR_BYTES
                and not self.block_bytes & (self.block_bytes - 1),
                'block-size', 'The block size is impossible')
        require(self._header.entries >= self.blocks, 'table',
                'The BAT is too short for the disk')
        self._bitmap_bytes = vhdformat.bitmap_bytes(self.block_bytes)
        for locator in self._header.locators:
            text = self.file.read(locator.offset, locator.length_bytes)
            self._locators[locator.code] = text.decode('utf-16-le', 'replace')

    # Identity and linkage.

    @property
    def id(self) -> str:
        """The unique id in the footer."""
        return str(uuid.UUID(bytes=self._footer.unique_id))

    @property
    def parent_candidates(self) -> tuple[str, ...]:
        """Relative to this file first, the absolute path last."""
        return disk_paths.candidates(
            self.win_path, self._locators.get(vhdformat.LOCATOR_RELATIVE),
            self._locators.get(vhdformat.LOCATOR_ABSOLUTE))

    def check_parent(self, parent: Disk) -> None:
        """Compare the parent's unique id and size.

        The time stamp that the header keeps of the parent is not compared:
        drivers that touched their cached parents ran on Hyper-V for years.
        """
        if not isinstance(parent, VhdDisk):
            raise DiskError(disk_errors.ERROR_IN_PARENT,
                            f'{parent.win_path} is not a VHD')
        if parent._footer.unique_id != self._header.parent_id:
            raise DiskError(disk_errors.PARENT_ID_MISMATCH,
                            f'{parent.win_path} is not the disk that '
                            f'{self.win_path} was made of')
        if parent.size_bytes != self.size_bytes:
            raise DiskError(disk_errors.PARENT_SIZE_MISMATCH,
                            f'{parent.win_path} is not as large as its child')

    def _link(self, parent: Disk) -> None:
        assert isinstance(parent, VhdDisk)
        texts = locator_texts(self.win_path, parent.win_path)
        raw, locators = pack_locators(texts, self._insert_room(texts))
        self.file.write(locators[0].offset, raw)
        self._locators = texts
        self._header = dataclasses.replace(
            self._header, locators=locators, parent_name=parent.win_path,
            parent_id=parent._footer.unique_id,
            parent_timestamp_s=parent.file_time_s)
        self._write_headers()

    def _insert_room(self, texts: dict[bytes, str]) -> int:
        raw, _ = pack_locators(texts, 0)
        return self._insert(len(raw))

    @property
    def file_time_s(self) -> int:
        """When the file was last written, in VHD's time."""
        return max(0, int(self.file.modified_s) - vhdformat.EPOCH_S)

    def _write_id(self, guid: str) -> None:
        self._footer = dataclasses.replace(
            self._footer, unique_id=uuid.UUID(guid).bytes)
        self._write_headers()

    # Writing.

    def flush(self) -> None:
        """Nothing waits in memory."""

    def _before_write(self) -> None:
        self._changed = True

    def _write_headers(self) -> None:
        footer = self._footer.pack()
        self.file.write(self.file.size_bytes - FOOTER_BYTES, footer)
        if self.kind != 'fixed':
            self.file.write(0, footer)
            self.file.write(self._footer.data_offset, self._header.pack())

    def _insert(self, length: int) -> int:
        """Room of *length* where the footer was; the footer follows it."""
        at = self.file.size_bytes - FOOTER_BYTES
        self.file.truncate(at + length + FOOTER_BYTES)
        self.file.write(at + length, self._footer.pack())
        self.file.write(at, bytes(min(length, FOOTER_BYTES)))
        return at

    def _entry(self, block: int) -> int:
        at = self._header.table_offset + 4 * block
        return int.from_bytes(self.file.read(at, 4), 'big')

    def _state(self, block: int) -> State:
        if self.kind == 'fixed':
            return State.FULL
        if self._entry(block) == vhdformat.NONE32:
            return State.ABSENT
        return State.PARTIAL if self.kind == 'differencing' else State.FULL

    def _offset(self, block: int) -> int:
        if self.kind == 'fixed':
            return block * self.block_bytes
        return self._entry(block) * SECTOR_BYTES + self._bitmap_bytes

    def _allocate(self, block: int, *, full: bool) -> None:
        at = self._insert(self._bitmap_bytes + self.block_bytes)
        if self.kind == 'dynamic':
            self.file.write(at, b'\xff' * self._bitmap_bytes)
        self.file.write(self._header.table_offset + 4 * block,
                        (at // SECTOR_BYTES).to_bytes(4, 'big'))

    def _bit_bytes(self, block: int, first: int,
                   count: int) -> tuple[int, int]:
        """File offset and length of the bitmap bytes of some sectors."""
        start, last = first // 8, (first + count - 1) // 8
        return (self._offset(block) - self._bitmap_bytes + start,
                last - start + 1)

    def _bits(self, block: int, first: int, count: int) -> int:
        at, length = self._bit_bytes(block, first, count)
        raw = self.file.read(at, length).translate(_REVERSED)
        bits = int.from_bytes(raw, 'little') >> first % 8
        return bits & ((1 << count) - 1)

    def _mark(self, block: int, first: int, count: int) -> None:
        if self.kind != 'differencing':
            return
        at, length = self._bit_bytes(block, first, count)
        raw = self.file.read(at, length).translate(_REVERSED)
        bits = int.from_bytes(raw, 'little')
        bits |= ((1 << count) - 1) << first % 8
        self.file.write(at, bits.to_bytes(length, 'little')
                        .translate(_REVERSED))

    # Size.

    def _set_size(self, size_bytes: int, *, unsafe: bool) -> None:
        if self.kind == 'differencing':
            raise DiskError(disk_errors.INVALID_TYPE,
                            f'{self.win_path}: a differencing VHD cannot '
                            'be resized')
        if size_bytes < self.size_bytes:
            raise DiskError(disk_errors.NOT_SUPPORTED,
                            f'{self.win_path}: a VHD cannot be made smaller')
        if size_bytes > structures.VHD_MAX_BYTES:
            raise DiskError(disk_errors.INVALID_SIZE,
                            f'{self.win_path}: VHD ends at 2040 GiB')
        if self.kind == 'fixed':
            self._insert(size_bytes - self.size_bytes)
        else:
            self._make_room(-(-size_bytes // self.block_bytes))
        self.size_bytes = size_bytes
        self._footer = dataclasses.replace(
            self._footer, size_bytes=size_bytes,
            chs=vhdformat.geometry(size_bytes // SECTOR_BYTES))
        self._write_headers()

    def _make_room(self, blocks: int) -> None:
        """Use the BAT's spare entries, or move it to the file's end."""
        old = self._header
        entry_bytes = 4 * old.entries
        if blocks * 4 > round_up(entry_bytes, SECTOR_BYTES):
            room = round_up(blocks * 4, SECTOR_BYTES)
            table = self.file.read(old.table_offset, entry_bytes)
            at = self._insert(room)
            self.file.write(at, table.ljust(room, b'\xff'))
            old = dataclasses.replace(old, table_offset=at)
        else:
            spare = blocks * 4 - entry_bytes
            self.file.write(old.table_offset + entry_bytes,
                            b'\xff' * max(0, spare))
        self._header = dataclasses.replace(
            old, entries=max(blocks, old.entries))


#: Bytes with their bits in reverse: VHD counts from the most significant.
_REVERSED = bytes(int(f'{value:08b}'[::-1], 2) for value in range(256))


def locator_texts(child_path: str, parent_path: str) -> dict[bytes, str]:
    """The parent's path in the spellings that a child stores."""
    texts = {vhdformat.LOCATOR_ABSOLUTE: parent_path}
    relative = disk_paths.relative_path(child_path, parent_path)
    if relative:
        texts[vhdformat.LOCATOR_RELATIVE] = relative
    return texts


def pack_locators(texts: dict[bytes, str], at: int) -> tuple[
        bytes, tuple[vhdformat.Locator, ...]]:
    """Stored paths and their entries, for a place in the file."""
    raw, locators = b'', []
    for code, text in texts.items():
        data = text.encode('utf-16-le')
        space = round_up(len(data), SECTOR_BYTES)
        locators.append(vhdformat.Locator(
            code=code, space_bytes=space, length_bytes=len(data),
            offset=at + len(raw)))
        raw += data.ljust(space, b'\0')
    return raw, tuple(locators)
