# SPDX-License-Identifier: Apache-2.0
"""The config drive: metadata, user data and files as a CD or a disk.

The files are laid out below the instance's directory, ``mkisofs`` makes an
ISO 9660 file system of them, and for a disk ``qemu-img`` wraps that into a
VHD or VHDX; guests find it by the label ``config-2`` either way.
"""

from __future__ import annotations

import dataclasses
import ntpath
from typing import Any

from nova.api.metadata import base as instance_metadata
from nova import objects
from oslo_log import log as logging

from compute_hyperv import commands
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import paths

LOG = logging.getLogger(__name__)

#: Label by which guests look for the drive.
_LABEL = 'config-2'
#: Windows opens no virtual disk below 3 MiB.
_MINIMUM_BYTES = 4 * model.MIB
_QEMU_FORMAT = {model.DiskFormat.VHD: 'vpc', model.DiskFormat.VHDX: 'vhdx'}


class ConfigDrive:
    """Builds config drives.

    :param paths: the host's files.
    :param mkisofs_cmd: program that makes ISO 9660 file systems.
    :param qemu_img_cmd: program that converts them to disks.
    :param inject_password: whether the administrator's password may be
        written where every user of the guest can read it.
    :param timeout_s: how long each of the programs may take.
    """

    def __init__(self, paths: paths.Paths, *, mkisofs_cmd: str,
                 qemu_img_cmd: str, inject_password: bool,
                 timeout_s: int = 300) -> None:
        self._paths = paths
        self._mkisofs_cmd = mkisofs_cmd
        self._qemu_img_cmd = qemu_img_cmd
        self._inject_password = inject_password
        self._timeout_s = timeout_s

    def metadata(self, instance: objects.Instance, network_info: Any,
                 injected_files: Any, admin_password: str | None
                 ) -> instance_metadata.InstanceMetadata:
        """What goes onto the drive of an instance.

        :param network_info: Nova's ``NetworkInfo``; addresses of networks
            without DHCP, and the template of injected networks, are part
            of it.
        :param injected_files: list of ``(path, content bytes)``.
        :param admin_password: None when nobody chose one.
        """
        extra = {}
        if admin_password and self._inject_password:
            extra['admin_pass'] = admin_password
        return instance_metadata.InstanceMetadata(
            instance, content=injected_files, extra_md=extra,
            network_info=network_info)

    def create(self, disk: model.DiskSpec,
               metadata: instance_metadata.InstanceMetadata,
               undo: operation.Rollback) -> None:
        """Make a drive.

        One that is there is replaced at last, and not removed again: a host
        that an instance could not be evacuated from goes on with it.

        :param disk: path and format; the directory exists.
        :param undo: removes a new drive when the operation fails.
        :raises CommandFailed: a program failed; nothing is left over.
        """
        if not self._paths.exists(disk.path):
            self._create(disk, metadata, undo)
            return
        partial = dataclasses.replace(
            disk, path=disk.path + paths.PARTIAL_SUFFIX)
        self._create(partial, metadata, undo)
        self._paths.replace(partial.path, disk.path)

    def drop_others(self, disk: model.DiskSpec) -> None:
        """Remove an instance's drives of other formats.

        Those are of the host that it was evacuated from. It runs: no trouble
        with them is worth an error.
        """
        stem = ntpath.splitext(disk.path)[0]
        for other in model.DiskFormat:
            if other is not disk.format:
                path = f'{stem}.{other.value}'
                try:
                    self._paths.remove(path)
                except OSError as exc:
                    LOG.warning("Cannot delete %s, an old config drive: %s",
                                path, exc)

    def _create(self, disk: model.DiskSpec,
                metadata: instance_metadata.InstanceMetadata,
                undo: operation.Rollback) -> None:
        undo.on_failure(self._paths.remove, disk.path)
        if disk.format is model.DiskFormat.ISO:
            # It may be the removal of these files that fails.
            undo.on_failure(self._paths.delete_tree, _files_dir(disk.path))
            self._make_iso(metadata, disk.path)
            return
        iso_path = f'{disk.path}.iso'
        converted_path = f'{disk.path}.converted'
        undo.on_failure(self._paths.remove, converted_path)
        undo.on_failure(self._paths.remove, iso_path)
        undo.on_failure(self._paths.delete_tree, _files_dir(iso_path))
        try:
            self._make_iso(metadata, iso_path)
            self._convert(iso_path, converted_path, disk.format)
            # Files that qemu-img makes on Windows are sparse ones, which
            # Hyper-V does not attach (0xC03A001A; QEMU's issue 136); a plain
            # copy is not.
            self._paths.copy(converted_path, disk.path)
        finally:
            self._paths.remove(iso_path)
            self._paths.remove(converted_path)

    def _make_iso(self, metadata: instance_metadata.InstanceMetadata,
                  iso_path: str) -> None:
        files_dir = _files_dir(iso_path)
        # A service that was killed may have left some.
        self._paths.delete_tree(files_dir)
        try:
            for name, content in metadata.metadata_for_config_drive():
                self._write(files_dir, name, content)
            commands.run(
                self._mkisofs_cmd, '-o', self._paths.host_path(iso_path),
                '-ldots', '-allow-lowercase', '-allow-multidot', '-l',
                '-publisher', 'OpenStack Nova', '-quiet', '-J', '-r',
                '-V', _LABEL, self._paths.host_path(files_dir),
                timeout_s=self._timeout_s)
        except BaseException:
            self._paths.remove(iso_path)
            raise
        finally:
            self._paths.delete_tree(files_dir)

    def _write(self, files_dir: str, name: str,
               content: str | bytes) -> None:
        path = ntpath.join(files_dir, ntpath.normpath(name))
        self._paths.make_dir(ntpath.dirname(path))
        if isinstance(content, str):
            content = content.encode('utf-8')
        with self._paths.open(path, 'wb') as stream:
            stream.write(content)

    def _convert(self, iso_path: str, target_path: str,
                 disk_format: model.DiskFormat) -> None:
        size_bytes = self._paths.size_bytes(iso_path)
        with self._paths.open(iso_path, 'r+b') as stream:
            stream.truncate(max(size_bytes, _MINIMUM_BYTES))
        commands.run(
            self._qemu_img_cmd, 'convert', '-f', 'raw',
            '-O', _QEMU_FORMAT[disk_format],
            self._paths.host_path(iso_path),
            self._paths.host_path(target_path), timeout_s=self._timeout_s)


def _files_dir(iso_path: str) -> str:
    """Where the files of an image are put together."""
    return f'{iso_path}.files'
