# SPDX-License-Identifier: Apache-2.0
"""The files of a host, by Windows paths.

On Windows that is the operating system (:class:`OsFiles`); a simulated
host brings its own drives and shares.
"""

from collections.abc import Callable
import contextlib
import functools
import os
import shutil
import sys
from typing import Any
from typing import IO
from typing import Optional
from typing import Protocol

if sys.platform == 'win32':
    import ctypes
    from ctypes import wintypes

    _KERNEL32 = ctypes.WinDLL('kernel32', use_last_error=True)
    _KERNEL32.CreateFileW.argtypes = (
        wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, wintypes.LPVOID,
        wintypes.DWORD, wintypes.DWORD, wintypes.HANDLE)
    _KERNEL32.CreateFileW.restype = wintypes.HANDLE
    _KERNEL32.CloseHandle.argtypes = (wintypes.HANDLE,)
    _NO_HANDLE = wintypes.HANDLE(-1).value
else:
    import fcntl

#: Of CreateFile.
_GENERIC_WRITE, _DELETE = 0x40000000, 0x00010000
_OPEN_ALWAYS, _DELETE_ON_CLOSE = 4, 0x04000000
_ACCESS_DENIED, _SHARING_VIOLATION = 5, 32


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
        too when the process dies. The file is gone then; on Linux it stays
        when the process died.
    """
    if sys.platform == 'win32':
        return _try_to_own(path)
    stream = open(path, 'ab')
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(path, stream):
            return functools.partial(_remove_and_close, path, stream)
    except BlockingIOError:
        pass
    except OSError:
        stream.close()
        raise
    stream.close()
    return None


def _is_at(path: str, stream: IO[bytes]) -> bool:
    """Whether nobody removed the file before it was locked."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _remove_and_close(path: str, stream: IO[bytes]) -> None:
    # Those who wait for it see that it is gone (_is_at).
    with stream, contextlib.suppress(FileNotFoundError):
        os.remove(path)


if sys.platform == 'win32':
    def _try_to_own(path: str) -> Optional[Callable[[], None]]:
        """Open a file that no one else may, and which goes when it is closed.

        Unlike a locked range of a file that stays, this leaves nothing behind,
        whether it is closed here, by the end of the process, or by a file
        server that lost its client.
        """
        handle = _KERNEL32.CreateFileW(path, _GENERIC_WRITE | _DELETE, 0, None,
                                       _OPEN_ALWAYS, _DELETE_ON_CLOSE, None)
        if handle != _NO_HANDLE:
            return functools.partial(_KERNEL32.CloseHandle, handle)
        code = ctypes.get_last_error()
        # Denied is also what is on its way out: a scanner has it open still.
        if code == _SHARING_VIOLATION or (code == _ACCESS_DENIED
                                          and os.path.exists(path)):
            return None
        raise ctypes.WinError(code)
