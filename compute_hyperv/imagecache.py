# SPDX-License-Identifier: Apache-2.0
r"""The image cache: one download per image, grown copies, ageing.

::

    _base\<image id>.vhdx           as downloaded (or converted)
    _base\<image id>_<GiB>.vhd      grown copy: a differencing VHD cannot
                                    be resized, so each flavor size has one
    _base\*.part.vhdx, *.part       unfinished; the maker removes it

A file under a final name is complete and sound. The lock of the image lies
with the cache, so hosts with one cache on shared storage share it too.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import ntpath
import time
from typing import Any

from nova import exception
from nova.virt import imagecache as nova_imagecache
from oslo_log import log as logging

from compute_hyperv import cachenames
from compute_hyperv import diskops
from compute_hyperv import errors
from compute_hyperv import images
from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import paths as paths_module

LOG = logging.getLogger(__name__)

_GIB = 1 << 30
_FORMATS = (model.DiskFormat.VHDX, model.DiskFormat.VHD, model.DiskFormat.ISO)
_DISK_EXTENSIONS = ('.vhd', '.vhdx', '.avhd', '.avhdx')
#: How long ageing waits for an image that somebody works on.
_BUSY_WAIT_S = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ages:
    """How long unused files stay."""

    original_s: float
    resized_s: float


class ImageCache(nova_imagecache.ImageCacheManager):
    """The cache below the instances path.

    :param use_cow: instances get differencing disks of cached images.
    :param ages: how long unused images are kept.
    :param now: seconds since the epoch, as file times are counted.
    """

    def __init__(self, *, paths: paths_module.Paths, locks: locks.Locks,
                 disks: diskops.DiskOps, images: images.Images,
                 use_cow: bool, ages: Ages,
                 now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._paths = paths
        self._locks = locks
        self._disks = disks
        self._images = images
        self._use_cow = use_cow
        self._ages = ages
        self._now = now

    # -- getting images ---------------------------------------------------

    def get(self, context: Any, instance: Any, image_meta: Any, *,
            root_size_bytes: int = 0) -> model.CachedImage:
        """The cached image that a root disk is made from.

        Fetched if it is not there, by one caller however many ask. With
        copy on write, an image in the VHD format comes grown to what fits
        into *root_size_bytes*.

        :param root_size_bytes: the flavor's root disk; 0: as the image.
        :raises FlavorDiskSmallerThanImage: the image is larger.
        :raises ImageUnacceptable: see :meth:`images.Images.fetch`.
        """
        image_id = cachenames.image_id_of(instance, image_meta)
        image = self._find(image_id)
        if image is None:
            with self._locks.held(locks.image(image_id)):
                image = self._find(image_id) or self._fetch(
                    context, image_id, instance.trusted_certs,
                    root_size_bytes)
        self._check_size(image, root_size_bytes)
        if (self._use_cow and root_size_bytes
                and image.format is model.DiskFormat.VHD):
            return self._grown(image, image_id, root_size_bytes)
        return image

    def fetch_apart(self, context: Any, instance: Any, image_meta: Any,
                    stem: str, *, root_size_bytes: int) -> model.CachedImage:
        """Fetch an image that nobody else will use, past the cache.

        :param stem: path of the new file without its extension.
        :raises FlavorDiskSmallerThanImage, ImageUnacceptable: as
            :meth:`get`.
        """
        image = self._images.fetch(
            context, cachenames.image_id_of(instance, image_meta), stem,
            trusted_certs=instance.trusted_certs, max_bytes=root_size_bytes)
        self._check_size(image, root_size_bytes)
        return image

    def cache_image(self, context: Any, image_id: str) -> bool:
        """Fetch an image before anybody needs it.

        :returns: False if it was there already.
        """
        if self._find(image_id):
            return False
        with self._locks.held(locks.image(image_id)):
            if self._find(image_id):
                return False
            self._fetch(context, image_id, None, 0)
            return True

    def missing_bytes(self, context: Any, image_id: str,
                      directory: str) -> int:
        """How much would come here, at least, for an image of another host.

        :param directory: that host's cache, see :meth:`take_over`.
        :raises ImageNotFound: the image cannot be had here.
        """
        if self._paths.can_read(directory):
            return sum(
                self._paths.size_bytes(ntpath.join(directory, name))
                for name in self._names(image_id, directory)
                if not self._paths.exists(ntpath.join(self._get_base(), name)))
        if self._find(image_id) is not None:
            return 0
        size_bytes = self._images.size_bytes(context, image_id)
        if size_bytes is None:
            raise exception.ImageNotFound(
                f'Image {image_id} is neither cached here nor in Glance, '
                f'and {directory} of the other host cannot be read.')
        return size_bytes

    def take_over(self, image_id: str, directory: str) -> bool:
        """Copy what another host's cache has of an image.

        Unlike those fetched anew, such files are for certain what a disk
        of that host refers to.

        :param directory: that cache, as this host reaches it.
        :returns: whether it could be read; it may have nothing.
        :raises OSError: a file cannot be copied.
        """
        if not self._paths.can_read(directory):
            return False
        for name in self._names(image_id, directory):
            path = ntpath.join(self._paths.base_dir, name)
            if not self._mark_used(path):
                with self._locks.held(locks.image(image_id)):
                    if not self._mark_used(path):
                        self._paths.make_dir(self._paths.base_dir)
                        self._paths.copy(ntpath.join(directory, name), path)
        return True

    def _names(self, image_id: str, directory: str) -> list[str]:
        return cachenames.of_image(self._paths.list_dir(directory), image_id)

    def _find(self, image_id: str) -> model.CachedImage | None:
        """The complete image, marked as used just now."""
        for fmt in _FORMATS:
            path = f'{self._stem(image_id)}.{fmt.value}'
            if self._mark_used(path):
                return self._describe(path, fmt)
        return None

    def _mark_used(self, path: str) -> bool:
        """Refresh a file's age; False if it is not there."""
        if not self._paths.exists(path):
            return False
        try:
            self._paths.touch(path)
        except FileNotFoundError:
            # Aged out in between: to be fetched again.
            return False
        return True

    def _describe(self, path: str,
                  fmt: model.DiskFormat) -> model.CachedImage:
        size_bytes = (self._paths.size_bytes(path)
                      if fmt is model.DiskFormat.ISO
                      else self._disks.info(path).virtual_size_bytes)
        return model.CachedImage(path=path, format=fmt,
                                 virtual_size_bytes=size_bytes)

    def _fetch(self, context: Any, image_id: str, trusted_certs: Any,
               max_bytes: int) -> model.CachedImage:
        self._paths.make_dir(self._paths.base_dir)
        self._drop_partial(image_id)
        image = self._images.fetch(
            context, image_id, self._stem(image_id),
            trusted_certs=trusted_certs, max_bytes=max_bytes)
        with operation.Rollback(f'fetch of image {image_id}') as undo:
            undo.on_failure(self._paths.remove, image.path)
            seen = self._describe(image.path, image.format)
            if seen.virtual_size_bytes < image.virtual_size_bytes:
                raise exception.ImageUnacceptable(
                    image_id=image_id,
                    reason=f'Windows sees {seen.virtual_size_bytes} bytes '
                           f'where there should be '
                           f'{image.virtual_size_bytes}')
        return seen

    def _check_size(self, image: model.CachedImage,
                    root_size_bytes: int) -> None:
        if image.format is not model.DiskFormat.ISO and (
                0 < root_size_bytes < image.virtual_size_bytes):
            raise exception.FlavorDiskSmallerThanImage(
                flavor_size=root_size_bytes,
                image_size=image.virtual_size_bytes)

    # -- grown copies -----------------------------------------------------

    def _grown(self, image: model.CachedImage, image_id: str,
               root_size_bytes: int) -> model.CachedImage:
        """A copy of a VHD that is as large as the flavor allows."""
        size_bytes = self._disks.fitting_size_bytes(image.path,
                                                    root_size_bytes)
        if size_bytes <= image.virtual_size_bytes:
            return image
        path = self.grown_path(image_id, root_size_bytes)
        if not self._mark_used(path):
            with self._locks.held(locks.image(image_id)):
                if not self._mark_used(path):
                    self._make_grown(image.path, path, size_bytes)
        return self._describe(path, model.DiskFormat.VHD)

    def grown_path(self, image_id: str, root_size_bytes: int) -> str:
        """Where the copy for a flavor's root disk is, if there is one."""
        gib = -(-root_size_bytes // _GIB)
        return f'{self._stem(image_id)}_{gib}.vhd'

    def _make_grown(self, source: str, path: str, size_bytes: int) -> None:
        started_s = time.monotonic()
        # os-win tells formats by the extension.
        part = f'{path}{images.PARTIAL_SUFFIX}.vhd'
        self._paths.remove(part)
        with operation.Rollback(f'growing {source}') as undo:
            undo.on_failure(self._paths.remove, part)
            self._paths.copy(source, part)
            self._disks.resize(part, size_bytes)
            self._paths.rename(part, path)
        LOG.info("Made %s of %d bytes in %.1f seconds", path, size_bytes,
                 time.monotonic() - started_s)

    # -- ageing: the contract of Nova's ImageCacheManager -----------------

    def update(self, context: Any, all_instances: Any) -> None:
        """Mark what instances use; remove what nobody used for long.

        :param all_instances: Nova's instances of all hosts that share the
            instances path.
        """
        self._age_and_verify_cached_images(context, all_instances,
                                           self._get_base())

    def get_disk_usage(self) -> int:
        """Bytes that the files of the cache take."""
        base_dir = self._get_base()
        return sum(self._paths.size_bytes(ntpath.join(base_dir, name))
                   for name in self._paths.list_dir(base_dir))

    def _get_base(self) -> str:
        return self._paths.base_dir

    def _scan_base_images(self, base_dir: str) -> dict[str, list[str]]:
        """Paths of finished files by image id; the grown ones first."""
        found: dict[str, list[str]] = {}
        for name in self._paths.list_dir(base_dir):
            if match := cachenames.ENTRY.fullmatch(name):
                files = found.setdefault(match['image_id'].lower(), [])
                files.insert(0 if match['gib'] else len(files),
                             ntpath.join(base_dir, name))
        return found

    def _age_and_verify_cached_images(self, context: Any, all_instances: Any,
                                      base_dir: str) -> None:
        cached = self._scan_base_images(base_dir)
        used = {str(instance.image_ref).lower()
                for instance in all_instances}
        for image_id in cached.keys() & used:
            for path in cached[image_id]:
                self._mark_used(path)
        if not self.remove_unused_base_images:
            return
        self.drop_partials()
        old = {image_id: expired for image_id, files in cached.items()
               if image_id not in used and (expired := self._old(files))}
        if not old:
            return
        parents = self._parents_in_use()
        if parents is None:
            return
        for image_id, expired in old.items():
            self._remove_old(image_id, expired, parents)

    def _old(self, files: list[str]) -> list[str]:
        """Which files of an unused image are past their age.

        Grown copies go before, and at the latest with, their original.
        """
        grown = [path for path in files if cachenames.is_grown(path)]
        originals = [path for path in files if path not in grown]
        if originals and all(self._is_past(path, self._ages.original_s)
                             for path in originals):
            return grown + originals
        return [path for path in grown
                if self._is_past(path, self._ages.resized_s)]

    def _is_past(self, path: str, age_s: float) -> bool:
        return (self._paths.exists(path)
                and self._now() - self._paths.mtime(path) > age_s)

    def _remove_old(self, image_id: str, expired: list[str],
                    parents: set[str]) -> None:
        if any(paths_module.normal(path) in parents for path in expired):
            LOG.info("Image %s is unknown to Nova but still the parent of "
                     "a disk in %s: kept", image_id,
                     self._paths.instances_dir)
            return
        try:
            with self._locks.held(locks.image(image_id),
                                  timeout_s=_BUSY_WAIT_S):
                # Somebody may have used it while we looked around.
                for path in self._old(expired):
                    self._paths.remove(path)
                    LOG.info("Removed the unused cached image %s", path)
        except errors.WaitTimeout:
            LOG.debug("Image %s is being worked on, not removed", image_id)
        except OSError as exc:
            LOG.warning("An unused file of image %s cannot be removed now; "
                        "the next run tries again: %s", image_id, exc)

    def _parents_in_use(self) -> set[str] | None:
        """Parents of all disks in the instances path; None if unknown.

        Nova's list can lack instances: of a host that did not report for a
        day, rescued with another image, or half way through a move.
        Deleting a parent destroys every disk made of it.
        """
        parents = set()
        for path in self._disks_of_instances():
            try:
                parent = self._disks.info(path).parent_path
            except (*errors.OS_WIN_ERRORS, OSError) as exc:
                with contextlib.suppress(OSError):
                    if not self._paths.exists(path):
                        continue        # the instance went away meanwhile
                LOG.warning("Unused images are kept: the parent of %s "
                            "cannot be told: %s", path, exc)
                return None
            if parent:
                parents.add(paths_module.normal(parent))
        return parents

    def _disks_of_instances(self) -> Iterator[str]:
        for directory in self._paths.instance_dirs():
            for name in self._paths.list_dir(directory):
                if name.lower().endswith(_DISK_EXTENSIONS):
                    yield ntpath.join(directory, name)

    # -- leftovers --------------------------------------------------------

    def _drop_partial(self, image_id: str) -> None:
        """Remove what a killed process left; the caller holds the lock."""
        for name in cachenames.of_image(
                self._paths.list_dir(self._paths.base_dir), image_id,
                cachenames.PARTIAL):
            self._paths.remove(ntpath.join(self._paths.base_dir, name))

    def drop_partials(self) -> None:
        """Remove unfinished files that nobody works on."""
        names = self._paths.list_dir(self._paths.base_dir)
        found = {match['image_id'] for name in names
                 if (match := cachenames.PARTIAL.fullmatch(name))}
        for image_id in found:
            try:
                with self._locks.held(locks.image(image_id),
                                      timeout_s=_BUSY_WAIT_S):
                    self._drop_partial(image_id)
            except errors.WaitTimeout:
                LOG.debug("Image %s is being fetched", image_id)

    def _stem(self, image_id: str) -> str:
        return ntpath.join(self._paths.base_dir, image_id)
