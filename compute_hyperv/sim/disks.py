# SPDX-License-Identifier: Apache-2.0
"""Real VHD and VHDX files: make, open, convert.

A file names its parent by Windows paths; *resolve* turns one into a local
path (of a file that need not exist). Nothing here takes locks: share modes
belong to the storage that hands the files out; ``Disk.chain`` tells it
which files an open disk uses.
"""

from collections.abc import Callable
import functools
import os
import uuid

from . import disk_errors
from ..vhd import structures
from ..vhd.structures import KIB
from ..vhd.structures import Malformed
from ..vhd.structures import MIB
from ..vhd import vhdformat
from ..vhd import vhdxformat
from .disk_block import Disk
from .disk_create import make_vhd
from .disk_create import make_vhdx
from .disk_create import Shape
from .disk_errors import DiskError
from .disk_errors import windows_codes
from .disk_file import DiskFile
from .disk_vhd import VhdDisk
from .disk_vhdx import VhdxDisk

__all__ = ('convert', 'create', 'Disk', 'DiskError', 'open_disk', 'probe')

Resolve = Callable[[str], str]

_MAX_BYTES = {'vhd': structures.VHD_MAX_BYTES,
              'vhdx': structures.VHDX_MAX_BYTES}
_DEFAULT_BLOCK = {'vhd': structures.VHD_DEFAULT_BLOCK_BYTES,
                  'vhdx': structures.VHDX_DEFAULT_BLOCK_BYTES}
_BLOCKS = {'vhd': (512 * KIB, 2 * MIB),
           'vhdx': tuple(MIB << power for power in range(9))}
_SECTORS = {'vhd': (512,), 'vhdx': (512, 4096)}


def probe(local: str) -> str | None:
    """The format that a file's content says: 'vhd', 'vhdx' or None."""
    with open(local, 'rb') as file:
        head = file.read(8)
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, size_bytes - vhdformat.FOOTER_BYTES))
        tail = file.read(8)
    if head == vhdxformat.MAGIC:
        return 'vhdx'
    if vhdformat.FOOTER_MAGIC in (head, tail):
        return 'vhd'
    return None


def create(local: str, *, fmt: str, kind: str, win_path: str,
           resolve: Resolve, size_bytes: int | None = None,
           block_bytes: int | None = None, parent: str | None = None,
           sector_bytes: int = 512, physical_sector_bytes: int = 512,
           disk_id: str | None = None) -> None:
    """Make a disk.

    :param local: path of the new file; must not exist.
    :param fmt: 'vhd' or 'vhdx'.
    :param kind: 'fixed', 'dynamic' or 'differencing'.
    :param size_bytes: virtual size; of a child, nothing (its parent's).
    :param block_bytes: nothing for the default of Windows; of a child,
        nothing.
    :param parent: Windows path of a child's parent.
    :raises DiskError: 80 exists, 87 impossible arguments, 0xC03A0012 size,
        0xC03A000B block size, 0xC03A001D sector size, or what opening the
        parent gives. No file is left.
    """
    _check_arguments(fmt, kind, size_bytes, block_bytes, parent)
    if os.path.lexists(local):
        raise DiskError(disk_errors.FILE_EXISTS, f'{win_path} exists')
    upper = _open_for_child(fmt, parent, resolve=resolve) if parent else None
    try:
        shape = Shape(
            kind=kind, size_bytes=size_bytes or 0,
            block_bytes=block_bytes or _DEFAULT_BLOCK[fmt],
            sector_bytes=sector_bytes or 512,
            physical_sector_bytes=physical_sector_bytes or 512,
            disk_id=uuid.UUID(disk_id) if disk_id else uuid.uuid4())
        if upper is not None:
            shape = _shape_of_child(shape, upper)
        _check_shape(fmt, shape, win_path)
        _make(local, fmt, win_path, shape, upper)
    finally:
        if upper is not None:
            upper.close()


def _check_arguments(fmt: str, kind: str, size_bytes: int | None,
                     block_bytes: int | None, parent: str | None) -> None:
    child = kind == 'differencing'
    if (fmt not in _MAX_BYTES
            or kind not in ('fixed', 'dynamic', 'differencing')
            or child != bool(parent)
            or child and bool(size_bytes or block_bytes)
            or not child and not size_bytes):
        # A child created with a size of its own is a malformed disk on
        # some builds of Windows: CreateVirtualDisk documents it as wrong.
        raise DiskError(disk_errors.INVALID_PARAMETER,
                        f'{fmt} {kind}: size {size_bytes}, block size '
                        f'{block_bytes}, parent {parent}')


def _open_for_child(fmt: str, parent: str, *, resolve: Resolve) -> Disk:
    """Open a disk that is to be a child's parent."""
    local = _find((parent,), resolve)
    if local is None:
        raise DiskError(disk_errors.PARENT_NOT_FOUND,
                        f'{parent} does not exist')
    upper = open_disk(local[1], writable=False, resolve=resolve,
                      win_path=parent)
    if upper.fmt != fmt:
        upper.close()
        raise DiskError(disk_errors.INVALID_PARAMETER,
                        f'{parent} is not a {fmt.upper()}')
    return upper


def _shape_of_child(shape: Shape, parent: Disk) -> Shape:
    block = (parent.block_bytes if parent.fmt == 'vhdx'
             else structures.VHD_DEFAULT_BLOCK_BYTES)
    return Shape(kind=shape.kind, size_bytes=parent.size_bytes,
                 block_bytes=block, sector_bytes=parent.sector_bytes,
                 physical_sector_bytes=parent.physical_sector_bytes,
                 disk_id=shape.disk_id)


def _check_shape(fmt: str, shape: Shape, win_path: str) -> None:
    if (shape.sector_bytes not in _SECTORS[fmt]
            or shape.physical_sector_bytes not in (512, 4096)):
        raise DiskError(disk_errors.UNSUPPORTED_SECTOR_SIZE,
                        f'{win_path}: {shape.sector_bytes}-byte sectors')
    if shape.block_bytes not in _BLOCKS[fmt]:
        raise DiskError(disk_errors.INVALID_BLOCK_SIZE,
                        f'{win_path}: blocks of {shape.block_bytes} bytes')
    if shape.size_bytes % shape.sector_bytes or shape.size_bytes < 0:
        raise DiskError(disk_errors.INVALID_PARAMETER,
                        f'{win_path}: {shape.size_bytes} bytes are not '
                        'whole sectors')
    if shape.size_bytes > _MAX_BYTES[fmt]:
        raise DiskError(disk_errors.INVALID_SIZE,
                        f'{win_path}: {fmt.upper()} ends at '
                        f'{_MAX_BYTES[fmt]} bytes')


def _make(local: str, fmt: str, win_path: str, shape: Shape,
          parent: Disk | None) -> None:
    with windows_codes(win_path):
        file = DiskFile.make(local)
        try:
            if fmt == 'vhdx':
                assert parent is None or isinstance(parent, VhdxDisk)
                make_vhdx(file, win_path, shape, parent)
            else:
                assert parent is None or isinstance(parent, VhdDisk)
                make_vhd(file, win_path, shape, parent)
        except BaseException:
            file.close()
            os.remove(local)
            raise
        file.close()


def open_disk(local: str, *, writable: bool, resolve: Resolve,
              win_path: str | None = None, parents: bool = True) -> Disk:
    """Open a disk and, unless told otherwise, its chain of parents.

    :param writable: this file is; its parents never.
    :param win_path: where Windows sees the file; parents next to it are
        found by it. Without it, only the absolute path in the file helps.
    :param parents: False opens a child alone (its reads lack the parent).
    :raises DiskError: 2 not found, 0xC03A0001 ... for a broken file,
        0xC03A000D parent not found, 0xC03A000E/0xC03A0017 not its parent,
        0xC03A0018 chain in a circle, 0xC03A0019 broken parent.
    """
    disk = _open_one(local, writable, resolve, win_path or local)
    try:
        level, seen = disk, {disk.file.identity}
        while parents and level.kind == 'differencing':
            level = _open_parent(level, resolve, seen)
    except BaseException:
        disk.abandon()
        raise
    return disk


def _open_one(local: str, writable: bool, resolve: Resolve,
              win_path: str) -> Disk:
    with windows_codes(win_path):
        file = DiskFile(local, writable=writable)
        try:
            disk = _disk_of(file, win_path)
        except BaseException:
            file.close()
            raise
    disk.open_other = functools.partial(_open_for_child, disk.fmt,
                                        resolve=resolve)
    return disk


def _disk_of(file: DiskFile, win_path: str) -> Disk:
    kind = probe(file.path)
    if kind == 'vhdx':
        return VhdxDisk(file, win_path)
    if kind == 'vhd':
        return VhdDisk(file, win_path)
    raise Malformed('not-a-disk', 'The file is no virtual disk')


def _find(candidates: tuple[str, ...],
          resolve: Resolve) -> tuple[str, str] | None:
    """The first path that there is a file at, and the local path."""
    for candidate in candidates:
        try:
            local = resolve(candidate)
        except OSError:
            continue
        if os.path.isfile(local):
            return candidate, local
    return None


def _open_parent(child: Disk, resolve: Resolve,
                 seen: set[tuple[int, int]]) -> Disk:
    """Open a child's parent, tie them together, compare the linkage."""
    found = _find(child.parent_candidates, resolve)
    if found is None:
        raise DiskError(
            disk_errors.PARENT_NOT_FOUND,
            f'{child.win_path}: no parent at '
            + ' or '.join(child.parent_candidates))
    try:
        parent = _open_one(found[1], False, resolve, found[0])
    except DiskError as exc:
        raise DiskError(disk_errors.ERROR_IN_PARENT, exc.text) from exc
    child.parent = parent
    if parent.file.identity in seen:
        raise DiskError(disk_errors.CHAIN_CYCLE,
                        f'{child.win_path}: the chain is circular')
    seen.add(parent.file.identity)
    child.check_parent(parent)
    return parent


def convert(source: Disk, local: str, *, fmt: str, kind: str, win_path: str,
            resolve: Resolve, size_bytes: int | None = None,
            block_bytes: int | None = None,
            disk_id: str | None = None) -> None:
    """Copy what *source* reads, its chain included, into a new disk.

    :param size_bytes: virtual size of the copy, not below the source's.
    :raises DiskError: as for create(); no file is left.
    """
    size_bytes = size_bytes or source.size_bytes
    if size_bytes < source.size_bytes:
        raise DiskError(disk_errors.INVALID_SIZE,
                        f'{win_path} would be smaller than its source')
    create(local, fmt=fmt, kind=kind, win_path=win_path, resolve=resolve,
           size_bytes=size_bytes, block_bytes=block_bytes, disk_id=disk_id,
           sector_bytes=source.sector_bytes,
           physical_sector_bytes=source.physical_sector_bytes)
    try:
        with open_disk(local, writable=True, resolve=resolve,
                       win_path=win_path) as target, windows_codes(win_path):
            level: Disk | None = source
            while level is not None:
                level.copy_runs(target, source)
                level = level.parent
    except BaseException:
        os.remove(local)
        raise
