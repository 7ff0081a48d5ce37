# SPDX-License-Identifier: Apache-2.0
"""Volumes as sparse raw files in one folder."""

from __future__ import annotations

from collections.abc import Iterator
import errno
import os
import pathlib
import shutil

GIB = 2 ** 30
_COPY_BYTES = 2 ** 20


class SparseFiles:
    """The files of a folder; names are volumes' and snapshots' ids."""

    def __init__(self, folder: str) -> None:
        self._folder = pathlib.Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> pathlib.Path:
        """Where a volume's bytes are."""
        return self._folder / f'{name}.raw'

    def create(self, name: str, size_gib: int) -> None:
        """An empty volume, which takes no space yet.

        :raises FileExistsError: there is one of that name.
        """
        with open(self.path(name), 'xb') as volume:
            volume.truncate(size_gib * GIB)

    def delete(self, name: str) -> None:
        """Remove a volume, if it is there."""
        self.path(name).unlink(missing_ok=True)

    def extend(self, name: str, size_gib: int) -> None:
        """Grow a volume.

        :raises ValueError: it would become smaller.
        """
        path = self.path(name)
        if size_gib * GIB < path.stat().st_size:
            raise ValueError(f'{path} is larger than {size_gib} GiB')
        os.truncate(path, size_gib * GIB)

    def copy(self, source: str, name: str, size_gib: int) -> None:
        """A volume with the bytes of another, and room behind them.

        :raises ValueError: *size_gib* is less than the source's size.
        """
        begun = self.path(name).with_suffix('.part')
        try:
            copy_sparse(self.path(source), begun)
            if size_gib * GIB < begun.stat().st_size:
                raise ValueError(
                    f'{source} does not fit into {size_gib} GiB')
            os.truncate(begun, size_gib * GIB)
            begun.replace(self.path(name))
        finally:
            begun.unlink(missing_ok=True)

    def disk_usage(self) -> tuple[float, float]:
        """Total and free space of the folder's file system, in GiB."""
        usage = shutil.disk_usage(self._folder)
        return usage.total / GIB, usage.free / GIB


def copy_sparse(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a file; its holes stay holes."""
    with open(source, 'rb') as reader, open(target, 'wb') as writer:
        for begin, end in _extents(reader.fileno()):
            reader.seek(begin)
            writer.seek(begin)
            while begin < end:
                block = reader.read(min(_COPY_BYTES, end - begin))
                begin += writer.write(block)
        writer.truncate(os.fstat(reader.fileno()).st_size)


def _extents(file_number: int) -> Iterator[tuple[int, int]]:
    """Begin and end of the parts of a file that hold data."""
    end = 0
    while True:
        try:
            begin = os.lseek(file_number, end, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno != errno.ENXIO:
                raise
            return                    # only a hole is left
        end = os.lseek(file_number, begin, os.SEEK_HOLE)
        yield begin, end
