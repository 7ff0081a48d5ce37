# SPDX-License-Identifier: Apache-2.0
"""Images from Glance: verified, inspected, converted.

A file gets its final name only when it is complete and sound; until then it
carries a name that only one call owns. The caller holds the lock of the
image (``locks.image``).
"""

from collections.abc import Collection
import contextlib
import json
from typing import Any
import uuid

from cryptography import exceptions as crypto_exc
from nova import exception
from nova.virt import images as nova_images
from oslo_log import log as logging

from compute_hyperv import commands
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths
from compute_hyperv.vhd import identity
from compute_hyperv.vhd import inspect

LOG = logging.getLogger(__name__)

#: Before the extension of an unfinished file: only its maker reads it.
PARTIAL_SUFFIX = '.part'

#: Glance's disk_format -> what the cached file will be.
_TARGETS = {
    'vhd': model.DiskFormat.VHD,
    'vhdx': model.DiskFormat.VHDX,
    'iso': model.DiskFormat.ISO,
    'qcow2': model.DiskFormat.VHDX,
    'raw': model.DiskFormat.VHDX,
    'vmdk': model.DiskFormat.VHDX,
}
_CONVERTED = ('qcow2', 'raw', 'vmdk')
#: Namespace of the identities of converted images.
_CONVERTED_IMAGES = uuid.UUID('0d6ae3f4-6f0e-4b0a-9a2f-5d3c1c4be7a1')
_SECTOR_BYTES = 512
_REPORT_S = 10.0
_INFO_TIMEOUT_S = 120


class Images:
    """Brings images to this host.

    :param win: the host.
    :param paths: its files.
    :param qemu_img_cmd: program that converts images.
    :param convert_timeout_s: longest conversion, seconds.
    :param vmdk_types: the VMDK subtypes that the operator allows.
    """

    def __init__(self, win: oswin.Win, paths: paths.Paths, *,
                 qemu_img_cmd: str, convert_timeout_s: int,
                 vmdk_types: Collection[str]) -> None:
        self._win = win
        self._paths = paths
        self._qemu_img = qemu_img_cmd
        self._convert_timeout_s = convert_timeout_s
        self._vmdk_types = vmdk_types

    def fetch(self, context: Any, image_id: str, target_stem: str, *,
              trusted_certs: Any = None,
              max_bytes: int | None = None) -> model.CachedImage:
        """Download an image, check it, and convert it if need be.

        The format is that of the content; Glance's ``disk_format`` must
        agree with it. A signed image is verified by Nova while it is
        written, before anything reads it.

        :param target_stem: path of the result without its extension.
        :param trusted_certs: Nova's TrustedCerts of the instance.
        :param max_bytes: the largest virtual size to accept.
        :returns: where it is and what: VHD, VHDX or ISO.
        :raises ImageUnacceptable: malformed, differencing, encrypted, of
            another or an unknown format, or wrongly signed. Nothing is
            left on the host.
        :raises FlavorDiskSmallerThanImage: larger than *max_bytes*;
            nothing is left either.
        :raises CommandFailed: the conversion failed or took too long.
        """
        progress = operation.Progress(f'Image {image_id}',
                                      interval_s=_REPORT_S)
        image = nova_images.get_info(context, image_id)
        declared = image.get('disk_format')
        if declared not in _TARGETS:
            raise _unacceptable(
                image_id, f'the disk format {declared} is not supported, '
                'only ' + ', '.join(sorted(_TARGETS)))
        with contextlib.ExitStack() as cleanup:
            part = self._partial(target_stem, declared, cleanup)
            self._download(context, image, part, trusted_certs, progress)
            progress.step('inspection')
            info = self._inspect(image_id, part, declared, max_bytes)
            if declared in _CONVERTED:
                part = self._convert(image_id, part, info, target_stem,
                                     cleanup, progress)
            result = model.CachedImage(
                path=f'{target_stem}.{_TARGETS[declared].value}',
                format=_TARGETS[declared],
                virtual_size_bytes=info.virtual_size_bytes)
            self._paths.rename(part, result.path)
        LOG.info("Image %s: %s of %d bytes fetched in %.1f seconds",
                 image_id, declared, info.file_size_bytes,
                 progress.elapsed_s)
        return result

    def size_bytes(self, context: Any, image_id: str) -> int | None:
        """What an image takes in Glance; None if this user has no such."""
        try:
            image = nova_images.get_info(context, image_id)
        except (exception.ImageNotFound, exception.ImageNotAuthorized):
            return None
        return int(image.get('size') or 0)

    def _partial(self, target_stem: str, fmt: str,
                 cleanup: contextlib.ExitStack) -> str:
        """A file name of this call's own; what is left of it is removed."""
        # os-win tells formats by the extension.
        path = f'{target_stem}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}.{fmt}'
        cleanup.callback(self._paths.remove, path)
        return path

    def _download(self, context: Any, image: dict[str, Any], part: str,
                  trusted_certs: Any, progress: operation.Progress) -> None:
        progress.step('download')
        try:
            with progress.watching(
                    lambda: self._paths.written_bytes(part),
                    image.get('size') or 0):
                nova_images.fetch(context, image['id'],
                                  self._paths.host_path(part),
                                  trusted_certs=trusted_certs)
        except crypto_exc.InvalidSignature as exc:
            raise _unacceptable(
                image['id'], 'its signature does not match its data'
            ) from exc

    def _inspect(self, image_id: str, path: str, fmt: str,
                 max_bytes: int | None) -> inspect.ImageInfo:
        try:
            with self._paths.open(path, 'rb') as stream:
                return inspect.inspect(stream, fmt, max_bytes or None)
        except inspect.TooLarge as exc:
            raise exception.FlavorDiskSmallerThanImage(
                flavor_size=max_bytes, image_size=exc.size_bytes) from exc
        except inspect.Malformed as exc:
            raise _unacceptable(image_id, exc.reason) from exc

    def _convert(self, image_id: str, source: str, info: inspect.ImageInfo,
                 target_stem: str, cleanup: contextlib.ExitStack,
                 progress: operation.Progress) -> str:
        """Convert to a dynamic VHDX; qemu-img never guesses a format.

        Windows makes the file, qemu-img fills it: files that qemu-img
        makes on Windows are sparse ones, which Hyper-V does not attach
        (0xC03A001A; QEMU's issue 136).
        """
        self._second_opinion(image_id, source, info)
        target = self._partial(target_stem, 'vhdx', cleanup)
        self._win.vhd.create_dynamic_vhd(target, _whole_sectors(info))
        progress.step('conversion')
        with progress.watching(lambda: self._paths.written_bytes(target),
                               info.virtual_size_bytes):
            commands.run(
                self._qemu_img, 'convert', '-n', '--target-is-zero',
                '-f', info.fmt, '-O', 'vhdx',
                self._paths.host_path(source), self._paths.host_path(target),
                timeout_s=self._convert_timeout_s)
        self._paths.remove(source)
        made = self._inspect(image_id, target, 'vhdx', None)
        self._same_size(image_id, info, made.virtual_size_bytes)
        self._stamp(image_id, target)
        return target

    def _stamp(self, image_id: str, path: str) -> None:
        """Give a converted image the same identity on every host.

        Disks that refer to it can move live then, wherever it is.
        """
        try:
            with self._paths.open(path, 'r+b') as stream:
                identity.stamp(stream,
                               uuid.uuid5(_CONVERTED_IMAGES, image_id))
        except inspect.Malformed as exc:
            raise _unacceptable(image_id, exc.reason) from exc

    def _second_opinion(self, image_id: str, path: str,
                        info: inspect.ImageInfo) -> None:
        """Have qemu-img see the same disk as we do, and no other file."""
        text = commands.run(
            self._qemu_img, 'info', '--output=json', '-f', info.fmt,
            self._paths.host_path(path), timeout_s=_INFO_TIMEOUT_S)
        found = json.loads(text)
        specific = (found.get('format-specific') or {}).get('data') or {}
        if found.get('backing-filename') or specific.get('data-file'):
            raise _unacceptable(image_id, 'it refers to another file')
        vmdk_type = specific.get('create-type')
        if info.fmt == 'vmdk' and vmdk_type not in self._vmdk_types:
            raise _unacceptable(
                image_id, f'VMDK images of the type {vmdk_type} are not '
                'allowed here ([compute] vmdk_allowed_types)')
        self._same_size(image_id, info, found['virtual-size'])

    def _same_size(self, image_id: str, info: inspect.ImageInfo,
                   size_bytes: int) -> None:
        if size_bytes != _whole_sectors(info):
            raise _unacceptable(
                image_id, f'qemu-img sees {size_bytes} bytes where its '
                f'{info.fmt} structures say {info.virtual_size_bytes}')


def _whole_sectors(info: inspect.ImageInfo) -> int:
    """The size of an image's disk.

    Raw data that ends within a sector is filled up with zeros.
    """
    return -(-info.virtual_size_bytes // _SECTOR_BYTES) * _SECTOR_BYTES


def _unacceptable(image_id: str, reason: str) -> exception.ImageUnacceptable:
    return exception.ImageUnacceptable(image_id=image_id, reason=reason)
