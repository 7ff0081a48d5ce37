# SPDX-License-Identifier: Apache-2.0
"""The files of an instance's local disks: made, grown, described."""

from __future__ import annotations

import collections.abc

from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths

LOG = logging.getLogger(__name__)

#: VIRTUAL_STORAGE_TYPE_DEVICE_*, as os-win reports formats.
_FORMATS = {1: model.DiskFormat.ISO, 2: model.DiskFormat.VHD,
            3: model.DiskFormat.VHDX}
_SECTOR_BYTES = 512
_VHD_FOOTER_BYTES = 512
_VHD_HEADER_BYTES = 1024
_VHD_ENTRY_BYTES = 4


class DiskOps:
    """Makes and changes virtual disks.

    :param win: the host.
    :param paths: its files.
    """

    def __init__(self, win: oswin.Win, paths: paths.Paths) -> None:
        self._win = win
        self._paths = paths

    def create(self, disks: collections.abc.Iterable[model.DiskSpec],
               undo: operation.Rollback) -> None:
        """Make the files of a plan, except the config drive.

        The directory of the instance exists, the files do not; those from
        an image have their ``parent_path``.

        :param undo: removes what was made when the operation fails.
        """
        make = {
            model.DiskSource.IMAGE_CHILD: self._create_child,
            model.DiskSource.IMAGE_COPY: self._create_copy,
            model.DiskSource.BLANK: self._create_blank,
        }
        for disk in disks:
            if disk.source is model.DiskSource.CONFIG_DRIVE:
                continue
            # Before, for a disk can be left half made.
            undo.on_failure(self._paths.remove, disk.path)
            make[disk.source](disk)
            LOG.debug("Made %s", disk)

    def info(self, path: str) -> model.VhdInfo:
        """What Windows knows of a virtual disk; its parents stay closed."""
        found = self._win.vhd.get_vhd_info(path)
        return model.VhdInfo(
            path=path, format=_FORMATS[found['DeviceId']],
            type=model.DiskType(found['ProviderSubtype']),
            virtual_size_bytes=found['VirtualSize'],
            file_size_bytes=found['PhysicalSize'],
            block_bytes=found['BlockSize'],
            parent_path=found.get('ParentPath') or None)

    def fitting_size_bytes(self, path: str, size_bytes: int) -> int:
        """The largest disk whose file stays within a size.

        A file holds its own metadata beside the data: a virtual disk as
        large as the flavor would outgrow it once fully written, and so
        would every image made from it.

        :param path: an existing disk; of a differencing disk the root of
            its chain decides.
        """
        return self._fitting_chain_bytes(self.info(path), size_bytes)

    def _fitting_chain_bytes(self, info: model.VhdInfo,
                             size_bytes: int) -> int:
        while info.parent_path is not None:
            info = self.info(info.parent_path)
        return self._fitting_bytes(info, size_bytes)

    def _fitting_bytes(self, info: model.VhdInfo, size_bytes: int) -> int:
        if (info.format is model.DiskFormat.VHD
                and info.type is model.DiskType.DYNAMIC):
            # os-win leaves out the sectors' bitmaps here, and its result is
            # no multiple of a sector: Windows resizes to nothing else.
            return _fitting_vhd_bytes(size_bytes, info.block_bytes)
        fitting_bytes = self._win.vhd.get_internal_vhd_size_by_file_size(
            info.path, size_bytes)
        return int(fitting_bytes) // model.MIB * model.MIB

    def resize(self, path: str, size_bytes: int) -> None:
        """Give a disk another size; the same one changes nothing.

        :param size_bytes: what the guest shall see.
        :raises DiskOperationFailed: it would shrink, which cuts off the
            end of the guest's file system.  The file is untouched.
        """
        current_bytes = self.info(path).virtual_size_bytes
        if size_bytes < current_bytes:
            raise errors.DiskOperationFailed(
                reason=f'{path} has {current_bytes} bytes and is not '
                       f'shrunk to {size_bytes}')
        if size_bytes > current_bytes:
            self._resize(path, size_bytes)

    def grow_to_flavor(self, path: str, size_gib: int) -> None:
        """Grow the disk of an instance to what fits into a flavor's size.

        A differencing VHD cannot be resized: it becomes a full copy first.
        """
        info = self.info(path)
        target_bytes = self._fitting_chain_bytes(info, size_gib * model.GIB)
        if target_bytes <= info.virtual_size_bytes:
            return
        if info.format is model.DiskFormat.VHD and info.parent_path:
            self._flatten(path, info.parent_path)
        self._resize(path, target_bytes)

    def _flatten(self, path: str, parent_path: str) -> None:
        """Merge a differencing disk into a private copy of its parent."""
        copy_path = f'{path}.merged.vhd'
        with operation.Rollback(f'merge of {path}') as undo:
            undo.on_failure(self._paths.remove, copy_path)
            self._paths.copy(parent_path, copy_path)
            undo.on_failure(self.set_parent, path, parent_path)
            self.set_parent(path, copy_path)
            self._win.vhd.merge_vhd(path, delete_merged_image=False)
        self._paths.replace(copy_path, path)

    def set_parent(self, path: str, parent_path: str) -> None:
        """Let a differencing disk refer to its parent at another path."""
        self._win.vhd.reconnect_parent_vhd(path, parent_path)

    def _resize(self, path: str, size_bytes: int) -> None:
        self._win.vhd.resize_vhd(path, size_bytes, is_file_max_size=False,
                                 validate_new_size=False)

    def _create_child(self, disk: model.DiskSpec) -> None:
        self._win.vhd.create_differencing_vhd(disk.path, disk.parent_path)
        # A differencing VHD cannot grow: the cache holds a parent for each
        # size.  A VHDX grows, but must not be created larger than its
        # parent: Windows makes a malformed disk then.
        if disk.format is model.DiskFormat.VHDX:
            self._grow(disk)

    def _create_copy(self, disk: model.DiskSpec) -> None:
        assert disk.parent_path is not None     # Planner.with_image sets it
        self._paths.copy(disk.parent_path, disk.path)
        if disk.format is not model.DiskFormat.ISO:
            self._grow(disk)

    def _create_blank(self, disk: model.DiskSpec) -> None:
        self._win.vhd.create_dynamic_vhd(disk.path, disk.size_bytes)

    def _grow(self, disk: model.DiskSpec) -> None:
        """Grow a copy of an image to what fits into the flavor's size.

        An image between that and the flavor's size keeps its own.
        """
        if not disk.size_bytes or disk.parent_path is None:
            return
        # Child and copy are as large as the image, which is no differencing
        # disk itself: asking about it is enough.
        image = self.info(disk.parent_path)
        target_bytes = self._fitting_bytes(image, disk.size_bytes)
        if target_bytes > image.virtual_size_bytes:
            self._resize(disk.path, target_bytes)


def _fitting_vhd_bytes(file_bytes: int, block_bytes: int) -> int:
    """The largest dynamic VHD whose file has no more than *file_bytes*.

    Source: Virtual Hard Disk Image Format Specification, "Dynamic Disk
    Header Format" and "Block Allocation Table and Data Blocks".
    """
    bitmap_bytes = _round_up(block_bytes // _SECTOR_BYTES // 8)
    room_bytes = file_bytes - 2 * _VHD_FOOTER_BYTES - _VHD_HEADER_BYTES
    blocks = room_bytes // (block_bytes + bitmap_bytes + _VHD_ENTRY_BYTES)
    table_bytes = _round_up(blocks * _VHD_ENTRY_BYTES)
    if blocks * (block_bytes + bitmap_bytes) + table_bytes > room_bytes:
        blocks -= 1
    return blocks * block_bytes


def _round_up(size_bytes: int) -> int:
    return -(-size_bytes // _SECTOR_BYTES) * _SECTOR_BYTES
