# SPDX-License-Identifier: Apache-2.0
"""The files of a host, by Windows paths.

On Windows that is the operating system (:class:`OsFiles`); a simulated
host brings its own drives and shares.
"""

from collections.abc import Callable
import errno
import os
import shutil
import sys
from typing import Any
from typing import IO
from typing import Optional
from typing import Protocol

if sys.platform == 'win32':
    import ctypes
    import msvcrt
    _KERNEL32 = ctypes.WinDLL('kernel32', use_last_error=True)
else:
    import fcntl

#: Windows code of a file that another has locked: lock violation.
_LOCKED = 33


class Files(Protocol):
    """The files of a host, by Windows paths.

    Every OSError of a name carries ``winerror``, but those of ``open`` and
    ``copy`` on Windows, where Python gives only ``errno``.
    """

    def exists(self, path: str) -> bool:
        """Whether a file or directory is there."""

    def is_file(self, path: str) -> bool:
        """Whether it is there and a file."""

    def is_dir(self, path: str) -> bool:
        """Whether it is there and a directory."""

    def list_dir(self, path: str) -> list[str]:
        """Names (not paths) of what is in a directory."""

    def make_dirs(self, path: str) -> None:
        """Create a directory and its parents; there already is fine."""

    def open(self, path: str, mode: str = 'r',
             encoding: Optional[str] = None) -> IO[Any]:
        """Open a file like the builtin."""

    def remove(self, path: str) -> None:
        """Remove a file."""

    def remove_dir(self, path: str) -> None:
        """Remove an empty directory."""

    def rename(self, source: str, target: str) -> None:
        """Rename; a target that exists is an error, as on Windows."""

    def replace(self, source: str, target: str) -> None:
        """Rename, replacing a file that is there."""

    def copy(self, source: str, target: str) -> None:
        """Copy the bytes of a file; a target is overwritten."""

    def size_bytes(self, path: str) -> int:
        """Length of a file."""

    def mtime(self, path: str) -> float:
        """Seconds since the epoch of the last change."""

    def touch(self, path: str, mtime: Optional[float] = None) -> None:
        """Set the time of the last change; creates nothing."""

    def disk_usage(self, path: str) -> tuple[int, int]:
        """``(total_bytes, free_bytes)`` of the volume."""

    def host_path(self, path: str) -> str:
        """What programs such as qemu-img must be given for *path*."""


class OsFiles:
    """:class:`Files` of the machine that this process runs on."""

    exists = staticmethod(os.path.exists)
    is_file = staticmethod(os.path.isfile)
    is_dir = staticmethod(os.path.isdir)
    list_dir = staticmethod(os.listdir)
    remove = staticmethod(os.remove)
    remove_dir = staticmethod(os.rmdir)
    rename = staticmethod(os.rename)
    replace = staticmethod(os.replace)
    size_bytes = staticmethod(os.path.getsize)
    mtime = staticmethod(os.path.getmtime)

    def make_dirs(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def open(self, path: str, mode: str = 'r',
             encoding: Optional[str] = None) -> IO[Any]:
        return open(path, mode, encoding=encoding)

    def copy(self, source: str, target: str) -> None:
        shutil.copyfile(source, target)

    def touch(self, path: str, mtime: Optional[float] = None) -> None:
        os.utime(path, None if mtime is None else (mtime, mtime))

    def disk_usage(self, path: str) -> tuple[int, int]:
        usage = shutil.disk_usage(path)
        return usage.total, usage.free

    def host_path(self, path: str) -> str:
        return path


def try_lock(path: str) -> Optional[Callable[[], None]]:
    """Lock a file of this machine, made if need be, if nobody has it.

    :returns: what releases it, or None. The operating system releases it
        too when the process dies.
    """
    stream = open(path, 'ab')
    try:
        _lock(stream)
    except OSError as exc:
        stream.close()
        if (exc.errno != errno.EWOULDBLOCK
                and getattr(exc, 'winerror', None) != _LOCKED):
            raise
        return None
    return stream.close


def _lock(stream: IO[bytes]) -> None:
    if sys.platform == 'win32':
        # msvcrt.locking tells no codes: a share that fails and a lock that
        # another has look the same (and under Wine there is not even errno).
        handle = ctypes.c_void_p(msvcrt.get_osfhandle(stream.fileno()))
        if not _KERNEL32.LockFile(handle, 0, 0, 1, 0):
            raise ctypes.WinError(ctypes.get_last_error())
    else:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
