# SPDX-License-Identifier: Apache-2.0
r"""Where things lie on a host, and the only hands that touch files.

Paths are Windows paths (drives, UNC, CSV) on every platform: ``ntpath``
decides about them, a :class:`Files` object carries operations out. The tree
is that of the in-tree driver and of compute-hyperv 14, so that their
instances are adopted::

    <instances_path>\
        _base\                         [image_cache] subdirectory_name
            <image id>.vhdx            as downloaded (or converted)
            <image id>_<GiB>.vhd       grown copy for VHD with CoW
        locks\                         lock files, shared by all hosts here
        instance-0000002a\             one per instance, by its VM name
            root.vhdx  root.vhd        system disk; root.iso: copy of an image
            eph0.vhdx  eph1.vhdx ...   ephemeral disks; swap.vhdx
            configdrive.iso|vhd  console.log  console.log.1
            Virtual Machines\ ...      Hyper-V's own files
        instance-0000002a_revert\      before a resize is confirmed
        export\instance-0000002a\      a snapshot being made
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import ntpath
import time
from typing import Any
from typing import IO

from nova import utils as nova_utils

from compute_hyperv import instanceroots
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import osfiles

#: Windows codes that pass when Hyper-V, a backup or a virus scanner lets go:
#: sharing violation, directory not empty.
BUSY = (32, 145)
_NOT_FOUND = (2, 3)
#: Of a file that is not whole yet.
PARTIAL_SUFFIX = '.part'

_DISK_FORMATS = ('vhdx', 'vhd')
#: At the root of a drive; not even administrators may read the first one.
_WINDOWS_OWN = ('system volume information', '$recycle.bin')


def same(one: str, other: str) -> bool:
    """Whether two spellings name one path: case and slashes do not count."""
    return normal(one) == normal(other)


def normal(path: str) -> str:
    """The spelling of *path* by which paths are compared."""
    return ntpath.normcase(ntpath.normpath(path))


def is_below(path: str, directory: str) -> bool:
    """Whether *path* lies in *directory*, at any depth."""
    return normal(path).startswith(normal(directory).rstrip('\\') + '\\')


def is_shared(path: str) -> bool:
    """Whether a path means the same files on every host that has it."""
    below = ntpath.splitdrive(normal(path))[1].split('\\')
    return path.startswith('\\\\') or below[1:2] == ['clusterstorage']


class Paths:
    """Directory layout and file operations of one host.

    :param files: the host's files, see ``osfiles.Files``.
    :param instances_path: Windows path, local, CSV or UNC.
    :param cache_dir_name: name of the image cache below it.
    :param longest_name: characters that the name of an instance may have.
    :param busy_timeout_s: how long deletions and renames wait for files that
        are in use.
    :raises BadOption: the path leaves no room for Hyper-V's own files.
    """

    def __init__(self, files: osfiles.Files, *, instances_path: str,
                 cache_dir_name: str = '_base', busy_timeout_s: float = 15,
                 longest_name: int = len('instance-00000000'),
                 clock: operation.Clock = time) -> None:
        self._files = files
        self.instances_dir = ntpath.normpath(instances_path)
        longest = instanceroots.check_length(
            self.instances_dir, longest_name, cache_dir_name)
        self.base_dir = ntpath.join(self.instances_dir, cache_dir_name)
        self.locks_dir = ntpath.join(self.instances_dir, 'locks')
        self._roots = instanceroots.InstanceRoots(
            files, self.instances_dir, longest)
        self._busy_timeout_s = busy_timeout_s
        self._clock = clock

    # -- layout -----------------------------------------------------------

    def choose_volume(self, vm_name: str) -> None:
        """See :meth:`instanceroots.InstanceRoots.choose`."""
        self._roots.choose(vm_name)

    def readable_roots(self) -> list[str]:
        """See :meth:`instanceroots.InstanceRoots.all`."""
        return self._roots.all(readable=True)

    def instance_dir(self, vm_name: str) -> str:
        """Directory of one instance."""
        return ntpath.join(self._roots.of(vm_name), vm_name)

    def revert_dir(self, vm_name: str) -> str:
        """Where a resize keeps what it would restore."""
        return ntpath.join(self._roots.of(vm_name), f'{vm_name}_revert')

    def export_dir(self, vm_name: str) -> str:
        """Where a snapshot is put together."""
        return ntpath.join(self._roots.of(vm_name), 'export', vm_name)

    def root_path(self, vm_name: str, disk_format: str) -> str:
        """The system disk; *disk_format* is vhd, vhdx or iso."""
        return self._in(vm_name, f'root.{disk_format.lower()}')

    def ephemeral_path(self, vm_name: str, index: int,
                       disk_format: str) -> str:
        """The ephemeral disk number *index*, from 0."""
        return self._in(vm_name, f'eph{index}.{disk_format.lower()}')

    def swap_path(self, vm_name: str, disk_format: str) -> str:
        """The swap disk."""
        return self._in(vm_name, f'swap.{disk_format.lower()}')

    def config_path(self, vm_name: str, disk_format: str,
                    rescue: bool = False) -> str:
        """The config drive; *disk_format* is iso or vhd."""
        suffix = '-rescue' if rescue else ''
        return self._in(vm_name, f'configdrive{suffix}.{disk_format.lower()}')

    def console_path(self, vm_name: str) -> str:
        """The console log; its archive is ``<this>.1``."""
        return self._in(vm_name, 'console.log')

    def layout(self, vm_name: str) -> model.InstanceLayout:
        """Where the planner may put the files of an instance."""
        return model.InstanceLayout(
            instance_dir=self.instance_dir(vm_name),
            root_stem=self._in(vm_name, 'root'),
            ephemeral_stem=self._in(vm_name, 'eph'),
            swap_stem=self._in(vm_name, 'swap'),
            config_stem=self._in(vm_name, 'configdrive'),
            console_path=self.console_path(vm_name),
            base_dir=self.base_dir)

    def find_root(self, vm_name: str) -> str | None:
        """The system disk that exists, whatever its format.

        :raises OSError: nobody can tell; that is not the same as none.
        """
        return self._find(vm_name, (self.root_path(vm_name, fmt)
                                    for fmt in _DISK_FORMATS))

    def find_config_drive(self, vm_name: str) -> str | None:
        """The config drive that exists, whatever its format.

        :raises OSError: nobody can tell.
        """
        return self._find(vm_name, (
            self.config_path(vm_name, fmt)
            for fmt in ('iso', *reversed(_DISK_FORMATS))))

    def _find(self, vm_name: str, paths: Iterable[str]) -> str | None:
        names = {name.lower() for name
                 in self.list_dir(self.instance_dir(vm_name))}
        return next((path for path in paths
                     if ntpath.basename(path) in names), None)

    def unc(self, path: str, host: str, share: str = '') -> str:
        r"""How other hosts reach a local path of *host*.

        UNC paths and cluster shared volumes are the same everywhere.

        :param share: name of the share of the instances path; else the
            administrative share of the drive (``C$``) is used.
        """
        if is_shared(path):
            return path
        if share and is_below(path, self.instances_dir):
            # The root of a drive ends with the backslash.
            below = ntpath.normpath(path)[
                len(self.instances_dir.rstrip('\\')):]
            return rf'\\{host}\{share}{below}'
        drive, rest = ntpath.splitdrive(path)
        return rf'\\{host}\{drive[0]}${rest}'

    def instance_dirs(self) -> Iterator[str]:
        """Paths of what can be directories of instances.

        All directories below the instances path except the cache, the
        locks, exports, and what Windows has at the root of a drive. On
        several volumes, some of one name may lie on more than one.
        """
        own = {ntpath.basename(self.base_dir).lower(), 'locks', 'export',
               *_WINDOWS_OWN}
        for root in self._roots.all():
            for name in self.list_dir(root):
                path = ntpath.join(root, name)
                if name.lower() not in own and self.is_dir(path):
                    yield path

    def _in(self, vm_name: str, file_name: str) -> str:
        return ntpath.join(self.instance_dir(vm_name), file_name)

    # -- files ------------------------------------------------------------

    def host_path(self, path: str) -> str:
        """What other programs (qemu-img, mkisofs) must be given."""
        return self._files.host_path(path)

    def exists(self, path: str) -> bool:
        """Whether a file or directory is there.

        :raises OSError: nobody can tell; that is not the same as no.
        """
        return _leads_on(self._files.mtime, path)

    def is_dir(self, path: str) -> bool:
        """Whether *path* is a directory; raises as :meth:`exists` does."""
        return _leads_on(self._files.list_dir, path)

    def can_read(self, directory: str) -> bool:
        """Whether a directory is there and this service may read it."""
        with contextlib.suppress(OSError):
            return self.is_dir(directory)
        return False

    def list_dir(self, path: str) -> list[str]:
        """Names in a directory; none if it does not exist.

        :raises OSError: it cannot be read: that is not the same as empty.
        """
        try:
            return list(self._files.list_dir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def make_dir(self, path: str) -> bool:
        """Make a directory and its parents; whether this call made it."""
        if self.is_dir(path):
            return False
        self._files.make_dirs(path)
        return True

    def open(self, path: str, mode: str = 'r',
             encoding: str | None = None) -> IO[Any]:
        """Open a file, as :func:`open` does."""
        return self._files.open(path, mode, encoding)

    def read_bytes(self, path: str) -> bytes:
        """The content of a file; nothing if it does not exist."""
        try:
            with self._files.open(path, 'rb') as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return b''

    def size_bytes(self, path: str) -> int:
        """Size of the file as it lies on disk."""
        return self._files.size_bytes(path)

    def written_bytes(self, path: str) -> int:
        """Size of a file that is being made; 0 if it is not there yet."""
        try:
            return self.size_bytes(path)
        except OSError:         # not there yet, or just renamed
            return 0

    def mtime(self, path: str) -> float:
        """Time of the last change, seconds since the epoch."""
        return self._files.mtime(path)

    def touch(self, path: str, mtime: float | None = None) -> None:
        """Set the time of the last change, now by default."""
        self._files.touch(path, mtime)

    def disk_usage(self, path: str) -> tuple[int, int]:
        """Total and free bytes of the volume (or share) of *path*."""
        return self._files.disk_usage(path)

    def copy(self, source: str, target: str) -> None:
        """Copy a file; *target* appears only when it is complete.

        Tells the log how far it is, if it takes long.
        """
        partial = target + PARTIAL_SUFFIX
        progress = operation.Progress(f'Copy of {source}')
        progress.step('writing')
        try:
            with progress.watching(lambda: self.written_bytes(partial),
                                   self.size_bytes(source)):
                # With eventlet, in a thread of its own: it may take minutes.
                nova_utils.tpool_wrap(self._files.copy)(source, partial)
            self.rename(partial, target)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(partial)
            raise

    def remove(self, path: str) -> None:
        """Delete a file; a missing one is fine.

        Waits for a file in use, see *busy_timeout_s*.
        """
        self._patient(self._remove, path)

    def rename(self, source: str, target: str) -> None:
        """Rename within a volume; *target* must not exist."""
        self._patient(self._files.rename, source, target)

    def replace(self, source: str, target: str) -> None:
        """Rename within a volume over an existing *target*."""
        self._patient(self._files.replace, source, target)

    def delete_tree(self, path: str) -> None:
        """Delete a directory and all below; a missing one is fine.

        Hyper-V keeps files of a VM open for a moment after it is gone: waits
        for them, see *busy_timeout_s*.
        """
        self._patient(self._delete_tree, path)

    def _patient(self, call: Callable[..., None], *args: str) -> None:
        operation.retry(call, *args, on=(OSError,), only_if=_is_busy,
                        timeout_s=self._busy_timeout_s, clock=self._clock)

    def _remove(self, path: str) -> None:
        try:
            self._files.remove(path)
        except OSError as exc:
            if not _is_missing(exc):
                raise

    def _delete_tree(self, path: str) -> None:
        try:
            for name in self._files.list_dir(path):
                below = ntpath.join(path, name)
                if self.is_dir(below):
                    self._delete_tree(below)
                else:
                    self._remove(below)
            self._files.remove_dir(path)
        except OSError as exc:
            if not _is_missing(exc):
                raise

    # -- locks ------------------------------------------------------------

    def try_lock(self, name: str) -> Callable[[], None] | None:
        """Take the lock file *name* if nobody has it.

        :returns: what releases it, or None. The operating system releases it
            too when the process dies.
        """
        self.make_dir(self.locks_dir)
        path = ntpath.join(self.locks_dir, f'hyperv-{name}.lock')
        return osfiles.try_lock(self._files.host_path(path))


def _is_busy(exc: BaseException) -> bool:
    return getattr(exc, 'winerror', None) in BUSY


def _is_missing(exc: OSError) -> bool:
    return (isinstance(exc, FileNotFoundError) or
            getattr(exc, 'winerror', None) in _NOT_FOUND)


def _leads_on(call: Callable[[str], object], path: str) -> bool:
    """Whether *call* found what it needs at *path*."""
    try:
        call(path)
    except OSError as exc:
        if isinstance(exc, NotADirectoryError) or _is_missing(exc):
            return False
        raise
    return True
