# SPDX-License-Identifier: Apache-2.0
"""The block model that VHD and VHDX share.

A disk is cut into blocks. A block is absent (ask the parent, or zeros),
zero, full, or partial: then a bitmap says which sectors are here.
"""

import abc
from collections.abc import Callable
from collections.abc import Iterator
import enum
import types

from . import disk_errors
from .disk_errors import DiskError
from .disk_errors import windows_codes
from .disk_file import DiskFile

_COPY_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_ZEROS = bytes(_PIECE_BYTES)


class State(enum.Enum):
    """What a block's own file says about it."""

    ABSENT = 0
    ZERO = 1
    FULL = 2
    PARTIAL = 3


def bit_runs(bits: int, count: int) -> Iterator[tuple[bool, int, int]]:
    """Runs ``(is_set, first, length)`` of *bits*, lowest bit first."""
    at = 0
    while at < count:
        rest = bits >> at
        is_set = bool(rest & 1)
        flipped = ~rest if is_set else rest
        end = (flipped & -flipped).bit_length() - 1 if flipped else count
        length = min(end, count - at)
        yield is_set, at, length
        at += length


class Disk(abc.ABC):
    """An open virtual disk; one thread at a time.

    Sizes and offsets are bytes. ``parent_path`` and ``win_path`` are
    Windows paths. Leave the ``with`` block, or close(), to finish writes.
    """

    fmt: str                    #: 'vhd' or 'vhdx'
    kind: str                   #: 'fixed', 'dynamic' or 'differencing'
    size_bytes: int             #: what the guest sees
    block_bytes: int
    sector_bytes: int = 512
    physical_sector_bytes: int = 512

    def __init__(self, file: DiskFile, win_path: str) -> None:
        self.file = file
        self.win_path = win_path
        self.parent: Disk | None = None
        #: Opens a file of this format by its Windows path, for reading.
        self.open_other: Callable[[str], Disk] | None = None

    # What a format must say.

    @property
    @abc.abstractmethod
    def id(self) -> str:
        """The disk's identifier, a GUID in lower case."""

    @property
    @abc.abstractmethod
    def parent_candidates(self) -> tuple[str, ...]:
        """Absolute Windows paths to look for the parent at, in order."""

    @abc.abstractmethod
    def check_parent(self, parent: 'Disk') -> None:
        """Refuse a parent that is not the one this child was made of."""

    @abc.abstractmethod
    def _state(self, block: int) -> State:
        ...

    @abc.abstractmethod
    def _offset(self, block: int) -> int:
        ...

    @abc.abstractmethod
    def _allocate(self, block: int, *, full: bool) -> None:
        ...

    @abc.abstractmethod
    def _bits(self, block: int, first: int, count: int) -> int:
        ...

    @abc.abstractmethod
    def _mark(self, block: int, first: int, count: int) -> None:
        ...

    @abc.abstractmethod
    def _before_write(self) -> None:
        ...

    @abc.abstractmethod
    def _set_size(self, size_bytes: int, *, unsafe: bool) -> None:
        ...

    @abc.abstractmethod
    def _link(self, parent: 'Disk') -> None:
        ...

    @abc.abstractmethod
    def _write_id(self, guid: str) -> None:
        ...

    @abc.abstractmethod
    def flush(self) -> None:
        """Bring what is still in memory to the file, in a safe order."""

    # What both have in common.

    def close(self) -> None:
        """Finish writes and close the chain."""
        try:
            if self.file.writable:
                with windows_codes(self.win_path):
                    self.flush()
        finally:
            self.file.close()
            if self.parent is not None:
                self.parent.close()

    def abandon(self) -> None:
        """Close the chain without finishing writes."""
        self.file.close()
        if self.parent is not None:
            self.parent.abandon()

    def __enter__(self) -> 'Disk':
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        self.close()

    @property
    def file_size_bytes(self) -> int:
        """Length of this disk's own file."""
        return self.file.size_bytes

    @property
    def parent_path(self) -> str | None:
        """Where the parent is, or should be; None without a parent."""
        if self.parent is not None:
            return self.parent.win_path
        candidates = self.parent_candidates
        return candidates[-1] if candidates else None

    @property
    def chain(self) -> tuple[str, ...]:
        """Windows paths of the open files, this disk's first."""
        upper = self.parent.chain if self.parent is not None else ()
        return (self.win_path, *upper)

    @property
    def blocks(self) -> int:
        """How many blocks the disk has."""
        return -(-self.size_bytes // self.block_bytes)

    def read(self, offset: int, length: int) -> bytes:
        """What a guest would read; shorter at the end of the disk."""
        with windows_codes(self.win_path):
            return self._read(offset, length)

    def _read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size_bytes - offset))
        parts: list[bytes] = []
        while length:
            block, start = divmod(offset, self.block_bytes)
            count = min(length, self.block_bytes - start)
            parts += self._block_parts(block, start, count)
            offset, length = offset + count, length - count
        return b''.join(parts)

    def _block_parts(self, block: int, start: int,
                     count: int) -> Iterator[bytes]:
        state, base = self._state(block), block * self.block_bytes
        if state is State.FULL:
            yield self.file.read(self._offset(block) + start, count)
        elif state is State.ZERO:
            yield bytes(count)
        elif state is State.ABSENT:
            yield self._from_parent(base + start, count)
        else:
            for here, at, length in self._own_runs(block, start, count):
                yield (self.file.read(self._offset(block) + at, length)
                       if here else self._from_parent(base + at, length))

    def _own_runs(self, block: int, start: int,
                  count: int) -> Iterator[tuple[bool, int, int]]:
        """``(is_here, offset in block, length)`` of a partial block."""
        first = start // self.sector_bytes
        last = -(-(start + count) // self.sector_bytes)
        bits = self._bits(block, first, last - first)
        for here, at, length in bit_runs(bits, last - first):
            begin = max(start, (first + at) * self.sector_bytes)
            end = min(start + count,
                      (first + at + length) * self.sector_bytes)
            yield here, begin, end - begin

    def _from_parent(self, offset: int, length: int) -> bytes:
        # A grown child is larger than its parent: past its end are zeros.
        data = self.parent._read(offset, length) if self.parent else b''
        return data.ljust(length, b'\0')

    def write(self, offset: int, data: bytes) -> None:
        """Write as a guest would, at any offset.

        :raises DiskError: past the end of the disk, or opened read-only.
        """
        if not self.file.writable:
            raise DiskError(disk_errors.ACCESS_DENIED,
                            f'{self.win_path} is open for reading only')
        if offset < 0 or offset + len(data) > self.size_bytes:
            raise DiskError(disk_errors.INVALID_PARAMETER,
                            f'{self.win_path}: write past the end')
        with windows_codes(self.win_path):
            self._write(offset, data)

    def _write(self, offset: int, data: bytes) -> None:
        if data:
            self._before_write()
        view = memoryview(data)
        while view:
            block, start = divmod(offset, self.block_bytes)
            count = min(len(view), self.block_bytes - start)
            self._write_in_block(block, start, view[:count])
            offset, view = offset + count, view[count:]

    def _write_in_block(self, block: int, start: int,
                        data: memoryview) -> None:
        sector, chunk = self.sector_bytes, data
        first, head = divmod(start, sector)
        last = -(-(start + len(data)) // sector)
        if head or (start + len(data)) % sector:
            base = block * self.block_bytes
            old = bytearray(self._read(base + first * sector,
                                       (last - first) * sector))
            old[head:head + len(data)] = data
            chunk = memoryview(old)
        state = self._state(block)
        if state in (State.ABSENT, State.ZERO):
            self._allocate(block, full=(state is State.ZERO
                                        or self.kind != 'differencing'))
        self.file.write(self._offset(block) + first * sector, chunk)
        self._mark(block, first, last - first)

    def resize(self, size_bytes: int, *, unsafe: bool = False) -> None:
        """Change the virtual size.

        :param unsafe: shrink even where partitions end after the new size.
        :raises DiskError: the size is impossible, the format or kind does
            not allow it, or data would be cut off.
        """
        if size_bytes <= 0 or size_bytes % self.sector_bytes:
            raise DiskError(disk_errors.INVALID_PARAMETER,
                            f'{self.win_path}: {size_bytes} bytes are not '
                            'whole sectors')
        if size_bytes != self.size_bytes:
            with windows_codes(self.win_path):
                self._set_size(size_bytes, unsafe=unsafe)

    def merge(self, depth: int = 1) -> None:
        """Write this child's content into its parent, *depth* levels up.

        The cost is what the merged files hold. They are stale afterwards;
        removing them is the caller's business.

        :raises DiskError: 0xC03A001B, there are not so many parents.
        """
        levels = [self]
        for _ in range(depth):
            upper = levels[-1].parent
            if upper is None:
                raise DiskError(disk_errors.INVALID_TYPE,
                                f'{self.win_path} has not {depth} parents')
            levels.append(upper)
        top = levels.pop()
        with windows_codes(self.win_path):
            target = type(top)(DiskFile(top.file.path, writable=True),
                               top.win_path)
            target.parent = top.parent
            try:
                if self.size_bytes > target.size_bytes:
                    target.resize(self.size_bytes)
                for level in reversed(levels):
                    level.copy_runs(target, level)
            finally:
                target.parent = None        # it is the chain's to close
                target.close()

    def reconnect(self, parent_path: str, *, relink: bool = False) -> None:
        """Write another path of the same parent into this child.

        :param parent_path: Windows path.
        :param relink: take a parent of another identity (what Set-VHD
            calls IgnoreIdMismatch).
        """
        if self.kind != 'differencing' or self.open_other is None:
            raise DiskError(disk_errors.INVALID_TYPE,
                            f'{self.win_path} is not a differencing disk')
        parent = self.open_other(parent_path)
        try:
            if not relink:
                self.check_parent(parent)
            with windows_codes(self.win_path):
                self._link(parent)
        finally:
            parent.close()

    def set_id(self, guid: str) -> None:
        """Give the disk another identifier."""
        with windows_codes(self.win_path):
            self._write_id(guid)

    def own_runs(self) -> Iterator[tuple[int, int]]:
        """Ranges of the disk that this file itself may have data for.

        Zeros that hide a parent's data are among them; holes of the file
        are not, unless this is a child.
        """
        for block in range(self.blocks):
            state, base = self._state(block), block * self.block_bytes
            count = min(self.block_bytes, self.size_bytes - base)
            if state is State.PARTIAL:
                for here, at, length in self._own_runs(block, 0, count):
                    if here:
                        yield base + at, length
            elif state is State.FULL and self.kind != 'differencing':
                start = self._offset(block)
                for at, length in self.file.data_runs(start, count):
                    yield base + at - start, length
            elif state is State.FULL or (state is State.ZERO
                                         and self.kind == 'differencing'):
                yield base, count

    def copy_runs(self, target: 'Disk', source: 'Disk') -> None:
        """Write what *source* reads in this file's own runs to *target*."""
        for start, length in self.own_runs():
            for offset in range(start, start + length, _COPY_BYTES):
                count = min(_COPY_BYTES, start + length - offset)
                target.write_thin(offset, source._read(offset, count))

    def write_thin(self, offset: int, data: bytes) -> None:
        """Write *data*, but no zeros where the disk reads zeros anyway."""
        for at in range(0, len(data), _PIECE_BYTES):
            piece = data[at:at + _PIECE_BYTES]
            if piece != _ZEROS[:len(piece)] or (
                    self._read(offset + at, len(piece)) != piece):
                self._write(offset + at, piece)
