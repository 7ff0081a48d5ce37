# SPDX-License-Identifier: Apache-2.0
"""Bounded reads of a file that nobody vouches for."""

from collections.abc import Iterable
from collections.abc import Iterator
import os
from typing import IO

from compute_hyperv.vhd.structures import Malformed
from compute_hyperv.vhd.structures import MIB
from compute_hyperv.vhd.structures import require


class TooLarge(Malformed):
    """The virtual size is over the caller's limit.

    :ivar size_bytes: the virtual size.
    """

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            'size-limit', f'The virtual size of {size_bytes} bytes is over '
            f'the limit of {limit_bytes} bytes')
        self.size_bytes = size_bytes


class Source:
    """A seekable file; every read is inside it or refused."""

    def __init__(self, file: IO[bytes], limit_bytes: int | None) -> None:
        self._file = file
        self._limit_bytes = limit_bytes
        self.end = file.seek(0, os.SEEK_END)    #: the file's length

    def get(self, offset: int, length: int) -> bytes:
        """Exactly *length* bytes.

        :raises Malformed: ``truncated``, some are outside the file.
        """
        require(0 <= offset and offset + length <= self.end, 'truncated',
                f'The file of {self.end} bytes ends before a structure at '
                f'{offset}')
        self._file.seek(offset)
        data = self._file.read(length)
        require(len(data) == length, 'truncated', 'The file became shorter')
        return data

    def peek(self, offset: int, length: int) -> bytes:
        """Up to *length* bytes, none past the end."""
        offset = max(0, offset)
        return self.get(offset, max(0, min(length, self.end - offset)))

    def pieces(self, offset: int, length: int,
               step: int = MIB) -> Iterator[bytes]:
        """The bytes of a range, *step* at a time."""
        for at in range(offset, offset + length, step):
            yield self.get(at, min(step, offset + length - at))

    def is_zero(self, offset: int, length: int) -> bool:
        """Whether a range holds nothing but zeros."""
        return not any(piece.strip(b'\0')
                       for piece in self.pieces(offset, length))

    def check_size(self, size_bytes: int, most_bytes: int,
                   sector_bytes: int = 512) -> None:
        """Refuse a virtual size that the format or the caller forbids."""
        require(0 < size_bytes <= most_bytes, 'size',
                f'A virtual size of {size_bytes} bytes is impossible')
        require(size_bytes % sector_bytes == 0, 'size',
                f'The virtual size of {size_bytes} bytes is not whole '
                'sectors')
        if self._limit_bytes is not None and size_bytes > self._limit_bytes:
            raise TooLarge(size_bytes, self._limit_bytes)


def require_disjoint(spans: Iterable[tuple[int, int]], end: int,
                     what: str) -> int:
    """Where the last of some ``(offset, length)`` ends.

    :raises Malformed: ``overlap``, two share a byte or one is not wholly
        before *end*.
    """
    last = 0
    for offset, length in sorted(spans):
        require(offset >= last and offset + length <= end, 'overlap',
                f'{what} overlap or leave the file')
        last = offset + length
    return last
