# SPDX-License-Identifier: Apache-2.0
"""``os``, ``shutil``, ``tempfile`` and ``open`` as os_win's modules see them.

A Windows path goes to the simulated host; anything else (POSIX paths of
this machine, file descriptors) to the real module.  Either way an OSError
carries ``winerror``, as it does on Windows, where os_win reads it.
"""

import builtins
import importlib
import ntpath
import os
import random
import shutil
import stat
import tempfile
import types
from typing import Any
from typing import Callable
from typing import Dict
from typing import Iterator
from typing import List
from typing import Optional
from typing import Tuple

from . import winerror
from . import winpath
from .files import Files
from .files import open_file
from .files import os_errors

__all__ = ('Files', 'modules')

#: Where services of the system account have their temporary files.
TEMP_DIR = 'C:\\Windows\\Temp'


class _Proxy(types.ModuleType):
    """Answers some names itself and forwards the rest to a module."""

    def __init__(self, module_name: str, **own: Any) -> None:
        super().__init__(module_name)
        self._module_name = module_name     # 'os' answers 'nt' to .name
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._module_name), name)


def modules(port: Any) -> Dict[str, Any]:
    """What os_win's modules get on a simulated host.

    :param port: the host's port.
    :returns: dotted module names with their stand-ins, and ``'open'``.
    """
    files = Files(port)
    path = _path_module(files)
    os_module = _os_module(files, path)
    opener = _opener(port)
    return {
        'os': os_module, 'os.path': path,
        'shutil': _shutil_module(files, os_module),
        'tempfile': _tempfile_module(files),
        'oslo_concurrency.processutils': _Proxy(
            'oslo_concurrency.processutils', execute=_execute(port)),
        'oslo_utils.fileutils': _fileutils_module(os_module),
        # pathutils takes open() from there, exceptions WindowsError.
        'six.moves.builtins': _Proxy('builtins', open=opener,
                                     WindowsError=OSError),
        'open': opener,
    }


def _local_errors(real: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the real module whose OSErrors have ``winerror``."""
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return real(*args, **kwargs)
        except OSError as error:
            error.winerror = (          # type: ignore[attr-defined]
                winerror.from_os_error(error).winerror)
            raise
    call.__name__ = real.__name__
    return call


def _switch(ours: Callable[..., Any],
            real: Callable[..., Any]) -> Callable[..., Any]:
    """*ours* for a Windows path as first argument, else *real*."""
    theirs = _local_errors(real)

    def call(path: Any = '.', *args: Any, **kwargs: Any) -> Any:
        path = os.fspath(path) if isinstance(path, os.PathLike) else path
        if winpath.is_windows(path):
            return ours(path, *args, **kwargs)
        return theirs(path, *args, **kwargs)
    call.__name__ = real.__name__
    return call


def _text_switch(name: str) -> Callable[..., Any]:
    """A function of ntpath, or of posixpath for a POSIX path."""
    windows, local = getattr(ntpath, name), getattr(os.path, name)

    def call(path: Any, *args: Any) -> Any:
        posix = not isinstance(path, (str, os.PathLike)) or (
            os.fspath(path)[:1] == '/' and not winpath.is_windows(path))
        return (local if posix else windows)(path, *args)
    call.__name__ = name
    return call


def _path_module(files: Files) -> types.ModuleType:
    def same_file(first: str, second: str) -> bool:
        return os.path.samestat(files.stat(first), files.stat(second))

    def link_exists(path: str) -> bool:
        return files.find(path) is not None

    ours: Dict[str, Callable[..., Any]] = {
        'exists': files.exists, 'lexists': link_exists,
        'isfile': files.is_file, 'isdir': files.is_dir,
        'islink': files.is_link, 'getsize': files.size_bytes,
        'getmtime': files.mtime, 'samefile': same_file,
        'abspath': ntpath.normpath,
    }
    own: Dict[str, Any] = {
        name: _switch(function, getattr(os.path, name))
        for name, function in ours.items()}
    for name in ('basename', 'dirname', 'isabs', 'join', 'normcase',
                 'normpath', 'split', 'splitdrive', 'splitext'):
        own[name] = _text_switch(name)
    own.update(sep='\\', altsep='/', pathsep=';', curdir='.', pardir='..')
    return _Proxy('os.path', **own)


def _os_module(files: Files, path: types.ModuleType) -> types.ModuleType:
    def make_dir(name: str, mode: int = 0o777) -> None:
        files.make_dir(name)

    def make_dirs(name: str, mode: int = 0o777,
                  exist_ok: bool = False) -> None:
        files.make_dirs(name, exist_ok)

    def link_stat(name: str) -> os.stat_result:
        return files.stat(name, follow=False)

    def set_times(name: str,
                  times: Optional[Tuple[float, float]] = None) -> None:
        files._call('set_times', path=name,
                    times_s=None if times is None else list(times))

    def set_mode(name: str, mode: int) -> None:
        files._call('set_read_only', path=name,
                    read_only=not mode & stat.S_IWRITE)

    def access(name: str, mode: int) -> bool:
        return files.exists(name)

    def read_link(name: str) -> str:
        return str(files._call('read_link', path=name))

    ours: Dict[str, Callable[..., Any]] = {
        'listdir': files.list_dir, 'mkdir': make_dir, 'makedirs': make_dirs,
        'remove': files.remove, 'unlink': files.remove,
        'rmdir': files.remove_dir, 'rename': files.rename,
        'replace': files.replace, 'stat': files.stat, 'lstat': link_stat,
        'utime': set_times, 'chmod': set_mode, 'access': access,
        'readlink': read_link, 'walk': _walker(files),
    }
    own: Dict[str, Any] = {
        name: _switch(function, getattr(os, name))
        for name, function in ours.items()}
    own.update(path=path, name='nt', sep='\\', altsep='/', pathsep=';',
               linesep='\r\n')
    return _Proxy('os', **own)


def _walker(files: Files) -> Callable[..., Any]:
    def walk(top: str) -> Iterator[Tuple[str, List[str], List[str]]]:
        folders: List[str] = []
        names: List[str] = []
        for name in files.list_dir(top):
            inner = ntpath.join(top, name)
            (folders if files.is_dir(inner) else names).append(name)
        yield top, folders, names
        for name in folders:
            yield from walk(ntpath.join(top, name))
    return walk


def _shutil_module(files: Files, os_module: Any) -> types.ModuleType:
    def remove_tree(path: str, ignore_errors: bool = False) -> None:
        try:
            files.remove_tree(path)
        except OSError:
            if not ignore_errors:
                raise

    def copy_tree(source: str, target: str) -> str:
        names = files.list_dir(source)
        files.make_dirs(target, exist_ok=False)
        for name in names:
            old, new = ntpath.join(source, name), ntpath.join(target, name)
            if files.is_dir(old):
                copy_tree(old, new)
            else:
                files.copy(old, new)
        return target

    def copy_into(source: str, target: str) -> str:
        if files.is_dir(target):
            target = ntpath.join(target, ntpath.basename(source))
        files.copy(source, target)
        return target

    def copy_file(source: str, target: str) -> str:
        files.copy(source, target)
        return target

    ours: Dict[str, Callable[..., Any]] = {
        'rmtree': remove_tree, 'copytree': copy_tree, 'copy': copy_into,
        'copy2': copy_into, 'copyfile': copy_file,
        'disk_usage': lambda path: _usage(*files.disk_usage(path)),
    }
    return _Proxy('shutil', os=os_module, **{
        name: _switch(function, getattr(shutil, name))
        for name, function in ours.items()})


def _usage(total: int, free: int) -> Any:
    return types.SimpleNamespace(total=total, used=total - free, free=free)


def _tempfile_module(files: Files) -> types.ModuleType:
    def free_name(suffix: Optional[str], prefix: Optional[str],
                  folder: Optional[str]) -> str:
        folder = folder or TEMP_DIR
        files.make_dirs(folder)
        while True:
            name = '%s%08x%s' % ('tmp' if prefix is None else prefix,
                                 random.getrandbits(32), suffix or '')
            path = ntpath.join(folder, name)
            if not files.exists(path):
                return path

    def make_file(suffix: Optional[str] = None, prefix: Optional[str] = None,
                  dir: Optional[str] = None,
                  text: bool = False) -> Tuple[int, str]:
        if dir is not None and not winpath.is_windows(dir):
            return tempfile.mkstemp(suffix, prefix, dir, text)
        path = free_name(suffix, prefix, dir)
        files.open(path, 'xb').close()
        return os.open(files.host_path(path), os.O_RDWR), path

    def make_folder(suffix: Optional[str] = None,
                    prefix: Optional[str] = None,
                    dir: Optional[str] = None) -> str:
        if dir is not None and not winpath.is_windows(dir):
            return tempfile.mkdtemp(suffix, prefix, dir)
        path = free_name(suffix, prefix, dir)
        files.make_dir(path)
        return path

    def open_file_named(mode: str = 'w+b', suffix: Optional[str] = None,
                        prefix: Optional[str] = None,
                        dir: Optional[str] = None) -> Any:
        # On Windows tempfile.TemporaryFile is NamedTemporaryFile.
        return _NamedFile(files, free_name(suffix, prefix, dir), mode)

    return _Proxy('tempfile', mkstemp=make_file, mkdtemp=make_folder,
                  gettempdir=lambda: TEMP_DIR, TemporaryFile=open_file_named,
                  NamedTemporaryFile=open_file_named)


class _NamedFile:
    """A temporary file with a name, which goes when it is closed."""

    def __init__(self, files: Files, path: str, mode: str) -> None:
        self.name = path
        self._files = files
        self._file: Any = files.open(path, mode.replace('w', 'x'))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> '_NamedFile':
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close and remove the file; again is harmless."""
        if not self._file.closed:
            self._file.close()
            self._files.remove(self.name)


def _execute(port: Any) -> Callable[..., Tuple[str, str]]:
    """oslo's processutils.execute for the programs that a host has."""
    def execute(*command: str, **options: Any) -> Tuple[str, str]:
        program = ntpath.basename(command[0]).lower().partition('.')[0]
        with os_errors(command[0]):
            return str(port.call('program.' + program,
                                 arguments=list(command[1:]))), ''
    return execute


def _fileutils_module(os_module: Any) -> types.ModuleType:
    """oslo_utils.fileutils: os_win removes its temporary files with it."""
    def delete_if_exists(path: str, remove: Any = None) -> None:
        try:
            (remove or os_module.unlink)(path)
        except FileNotFoundError:
            return
    return _Proxy('oslo_utils.fileutils', delete_if_exists=delete_if_exists)


def _opener(port: Any) -> Callable[..., Any]:
    def ours(path: str, *args: Any, **kwargs: Any) -> Any:
        return open_file(port, path, *args, **kwargs)
    return _switch(ours, builtins.open)
