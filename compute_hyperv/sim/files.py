# SPDX-License-Identifier: Apache-2.0
"""The files of a simulated host, as a program on it uses them.

Names are looked up, and handles kept, by the fabric; bytes are read and
written here.  Errors are the OSErrors of Python for Windows, with
``.winerror``.
"""

import contextlib
import io
import os
import stat
from typing import Any
from typing import Dict
from typing import IO
from typing import Iterator
from typing import List
from typing import Optional
from typing import Tuple

from . import winerror
from .winerror import WinError

_READ = 1
_WRITE = 2
#: CreateFile's dispositions by the letter of open()'s mode.
_DISPOSITION = {'r': 3, 'w': 2, 'a': 4, 'x': 1}


@contextlib.contextmanager
def os_errors(path: Optional[str] = None,
              path2: Optional[str] = None) -> Iterator[None]:
    """Turn WinError into the OSError of Python for Windows."""
    try:
        yield
    except WinError as error:
        raise winerror.os_error(error.winerror, path, path2) from error


class _RawFile(io.FileIO):
    """A file of the host; closing it gives the host's handle back.

    What a process still had in its buffers when it was killed is lost.
    """

    def __init__(self, local: str, mode: str, path: str, port: Any,
                 handle: int) -> None:
        self._port = port
        self._handle: Optional[Tuple[Any, int]] = (port, handle)
        super().__init__(local, mode)
        self.name = path

    def write(self, data: Any) -> int:
        if not self._port.alive:
            return len(data)
        return super().write(data)

    def close(self) -> None:
        held, self._handle = self._handle, None
        try:
            super().close()
        finally:
            if held is not None and self._port.alive:
                held[0].call('file.close', handle=held[1])


def open_file(port: Any, path: str, mode: str = 'r', buffering: int = -1,
              encoding: Optional[str] = None, errors: Optional[str] = None,
              newline: Optional[str] = None) -> IO[Any]:
    """The builtin open() for a Windows path.

    Others may read and write meanwhile, but not delete or rename: so the
    C runtime opens files.
    """
    kind = [letter for letter in mode if letter in 'rwax']
    if len(kind) != 1 or set(mode) - set('rwaxbt+U') or (
            'b' in mode and 't' in mode):
        raise ValueError('invalid mode: %r' % mode)
    binary = 'b' in mode
    if buffering == 0 and not binary:
        raise ValueError("can't have unbuffered text I/O")
    plus = '+' if '+' in mode else ''
    access = (_READ if kind == ['r'] or plus else 0) | (
        _WRITE if kind != ['r'] or plus else 0)
    with os_errors(path):
        opened = port.call(
            'file.open', path=path, access=access, share=_READ | _WRITE,
            disposition=_DISPOSITION[kind[0]], owner='open()',
            client=port.client)
    # It exists by now, and was emptied if that was asked for.
    local_mode = 'a' + plus if kind == ['a'] else (
        'r+' if access & _WRITE else 'r')
    if kind[0] in 'wx' and not plus:
        local_mode = 'w'
    raw = _RawFile(opened['local'], local_mode, path, port, opened['handle'])
    return _wrapped(raw, mode, access, buffering, encoding, errors, newline)


def _wrapped(raw: _RawFile, mode: str, access: int, buffering: int,
             encoding: Optional[str], errors: Optional[str],
             newline: Optional[str]) -> IO[Any]:
    """The buffers that io.open puts around a raw file."""
    if buffering == 0:
        return raw
    line_buffering = buffering == 1 and 'b' not in mode
    size = io.DEFAULT_BUFFER_SIZE if buffering <= 1 else buffering
    buffer: Any
    if access == _READ | _WRITE:
        buffer = io.BufferedRandom(raw, size)
    elif access == _WRITE:
        buffer = io.BufferedWriter(raw, size)
    else:
        buffer = io.BufferedReader(raw, size)
    if 'b' in mode:
        result: IO[Any] = buffer
        return result
    text: Any = io.TextIOWrapper(buffer, encoding, errors, newline,
                                 line_buffering)
    text.mode = mode
    wrapped: IO[Any] = text
    return wrapped


class Files:
    """The driver's Files protocol over a host's port."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def _call(self, operation: str, *, path: str, **args: Any) -> Any:
        with os_errors(path):
            return self._port.call('file.' + operation, path=path, **args)

    def find(self, path: str) -> Optional[str]:
        """The local path of what is there; None for nothing.

        A path that is no path (bad characters, unknown share) is nothing
        too, as os.path.exists has it.
        """
        try:
            found: Dict[str, Any] = self._port.call('file.stat', path=path)
        except WinError:
            return None
        return None if found['missing'] else str(found['local'])

    def stat(self, path: str, follow: bool = True) -> os.stat_result:
        """os.stat of a Windows path."""
        found = self._call('stat', path=path)
        if found['missing']:
            raise winerror.os_error(
                winerror.FILE_NOT_FOUND if found['missing'] == 1
                else winerror.PATH_NOT_FOUND, path)
        try:
            return os.stat(found['local'], follow_symlinks=follow)
        except OSError as error:
            code = winerror.from_os_error(error).winerror
            raise winerror.os_error(code, path) from error

    def _mode(self, path: str) -> int:
        local = self.find(path)
        try:
            return os.stat(local).st_mode if local is not None else 0
        except OSError:
            return 0                    # a link to nothing

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        return bool(self._mode(path))

    def is_file(self, path: str) -> bool:
        """Whether it is there and a file."""
        return stat.S_ISREG(self._mode(path))

    def is_dir(self, path: str) -> bool:
        """Whether it is there and a folder."""
        return stat.S_ISDIR(self._mode(path))

    def is_link(self, path: str) -> bool:
        """Whether it is a symbolic link, to something or nothing."""
        local = self.find(path)
        return local is not None and os.path.islink(local)

    def list_dir(self, path: str) -> List[str]:
        """Names of what is in a folder."""
        names: List[str] = self._call('list', path=path)
        return names

    def make_dir(self, path: str) -> None:
        """Create a folder; its parent must exist, it must not."""
        self._call('make_dir', path=path)

    def make_dirs(self, path: str, exist_ok: bool = True) -> None:
        """Create a folder and its parents."""
        try:
            found = self._port.call('file.stat', path=path)
        except WinError:
            self.make_dir(path)         # fails with a folder's error code
            return
        missing = parents(found['path'])[-max(1, found['missing']):]
        for number, folder in enumerate(missing):
            try:
                self.make_dir(folder)
            except FileExistsError:
                last = number == len(missing) - 1
                if last and not (exist_ok and self.is_dir(path)):
                    raise

    def open(self, path: str, mode: str = 'r',
             encoding: Optional[str] = None) -> IO[Any]:
        """Open a file like the builtin."""
        return open_file(self._port, path, mode, encoding=encoding)

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._call('remove', path=path)

    def remove_dir(self, path: str) -> None:
        """Remove an empty folder."""
        self._call('remove_dir', path=path)

    def remove_tree(self, path: str) -> None:
        """Remove a folder with all that is in it."""
        self._call('remove_tree', path=path)

    def rename(self, source: str, target: str) -> None:
        """Rename; a target that exists is an error."""
        with os_errors(source, target):
            self._port.call('file.rename', source=source, target=target)

    def replace(self, source: str, target: str) -> None:
        """Rename, replacing a file that is there."""
        with os_errors(source, target):
            self._port.call('file.rename', source=source, target=target,
                            replace=True)

    def copy(self, source: str, target: str) -> None:
        """Copy a file; a target is overwritten."""
        with os_errors(source, target):
            self._port.call('file.copy', source=source, target=target,
                            client=self._port.client)

    def size_bytes(self, path: str) -> int:
        """Length of a file."""
        return self.stat(path).st_size

    def mtime(self, path: str) -> float:
        """Seconds since the epoch of the last change."""
        return self.stat(path).st_mtime

    def touch(self, path: str, mtime: Optional[float] = None) -> None:
        """Set the time of the last change."""
        self._call('set_times', path=path, times_s=None if mtime is None
                   else [mtime, mtime])

    def disk_usage(self, path: str) -> Tuple[int, int]:
        """``(total_bytes, free_bytes)`` of the volume."""
        total, free = self._call('disk_usage', path=path)
        return int(total), int(free)

    def host_path(self, path: str) -> str:
        """The path on this machine, for qemu-img and other programs."""
        return str(self._call('stat', path=path)['local'])


def parents(path: str) -> List[str]:
    """A full path and the folders above it, outermost first.

    ``C:\\a\\b`` -> ``['C:\\', 'C:\\a', 'C:\\a\\b']``
    """
    names = path.split('\\')
    size = 1                            # C:
    if path.startswith('\\\\?\\'):
        size = 6 if names[3:4] and names[3].upper() == 'UNC' else 4
    elif path.startswith('\\\\'):
        size = 4                        # '', '', server, share
    rest = [name for name in names[size:] if name]
    root = '\\'.join(names[:size])
    result = [root + '\\']
    for name in rest:
        root = root + '\\' + name
        result.append(root)
    return result
