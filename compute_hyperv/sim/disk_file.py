# SPDX-License-Identifier: Apache-2.0
"""A local file read and written at offsets."""

from collections.abc import Iterator
import os

from ..vhd.structures import Malformed


class DiskFile:
    """An open file of the simulated host's storage."""

    def __init__(self, path: str, *, writable: bool) -> None:
        self.path = path
        self.writable = writable
        self._file = open(path, 'r+b' if writable else 'rb', buffering=0)

    @classmethod
    def make(cls, path: str) -> 'DiskFile':
        """Make a new, empty file.

        :raises FileExistsError: there is one already.
        """
        open(path, 'xb').close()
        return cls(path, writable=True)

    def close(self) -> None:
        """Close the file; a second close does nothing."""
        self._file.close()

    @property
    def size_bytes(self) -> int:
        """The file's length."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def identity(self) -> tuple[int, int]:
        """What tells this file from every other one."""
        stat = os.fstat(self._file.fileno())
        return stat.st_dev, stat.st_ino

    @property
    def modified_s(self) -> float:
        """When the file was last written, seconds since the epoch."""
        return os.fstat(self._file.fileno()).st_mtime

    def read(self, offset: int, length: int) -> bytes:
        """Exactly *length* bytes.

        :raises Malformed: ``truncated``, the file ends before them.
        """
        self._file.seek(offset)
        data = self._file.read(length) or b''
        while 0 < len(data) < length:
            more = self._file.read(length - len(data))
            if not more:
                break
            data += more
        if len(data) != length:
            raise Malformed('truncated',
                            f'The file ends before {offset + length} bytes')
        return data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of *data*."""
        self._file.seek(offset)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0:]

    def truncate(self, size_bytes: int) -> None:
        """Set the file's length; new bytes are zeros and take no room."""
        self._file.truncate(size_bytes)

    def data_runs(self, offset: int,
                  length: int) -> Iterator[tuple[int, int]]:
        """Parts ``(offset, length)`` of a range that are not holes."""
        if not hasattr(os, 'SEEK_DATA'):
            yield offset, length
            return
        handle, end = self._file.fileno(), offset + length
        while offset < end:
            try:
                start = os.lseek(handle, offset, os.SEEK_DATA)
            except OSError:         # ENXIO: nothing but a hole is left
                return
            if start >= end:
                return
            stop = min(end, os.lseek(handle, start, os.SEEK_HOLE))
            yield start, stop - start
            offset = stop
