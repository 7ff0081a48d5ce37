# SPDX-License-Identifier: Apache-2.0
"""The file operations that programs on a simulated host ask for.

Each is one call over the port, named after the Win32 function that it
stands for, and fails with that function's code.  Reading and writing the
bytes of an open file is done by the program itself, on the local path it
gets back: fabric and programs share a machine.
"""

import os
import stat
from typing import Any
from typing import Dict
from typing import List
from typing import Optional

from . import fabric
from . import handles
from . import winerror
from . import winpath
from .ports import op
from .storage import Located
from .storage import Storage
from .winerror import WinError

#: CreateFile's dispositions.
CREATE_NEW = 1
CREATE_ALWAYS = 2
OPEN_EXISTING = 3
OPEN_ALWAYS = 4
TRUNCATE_EXISTING = 5


@fabric.check
def _shared_volumes(whole: fabric.Fabric) -> List[str]:
    return whole.shares.problems()


@op('file.stat')
def file_stat(host: Any, *, path: str) -> Dict[str, Any]:
    """Where a path leads: ``local``, ``missing`` (names), ``path``.

    The path comes back in full, absolute form.
    """
    storage: Storage = host.storage
    found = storage.locate(path)
    full = path if path.startswith('\\\\?\\') else str(
        winpath.parse(path, long_paths=True))
    return {'local': found.local, 'missing': found.missing, 'path': full}


@op('dll.kernel32.GetFileInformationByHandleEx')
def file_identity(host: Any, *, handle: int) -> Dict[str, Any]:
    """``serial`` of the volume and ``file_id`` of an open file."""
    shares = host.storage.shares
    opened = shares.handles.get(handle)
    return {'serial': shares.volume_at(opened.local).serial,
            'file_id': list(opened.key)}


@op('dll.kernel32.GetFileAttributesW')
def file_attributes(host: Any, *, path: str) -> int:
    """FILE_ATTRIBUTE_* of a file, folder or link."""
    found = host.storage.locate(path).need()
    bits = 0x10 if os.path.isdir(found.local) else 0x20
    if os.path.islink(found.local):
        bits |= 0x400
        if _is_dir_link(host.storage, found.local):
            bits |= 0x10
    elif _is_read_only(found.local):
        bits |= 1
    return bits


@op('file.list')
def file_list(host: Any, *, path: str) -> List[str]:
    """Names in a folder, in NTFS order.

    :raises WinError: 3 not there, 267 not a folder.
    """
    found = host.storage.locate(path)
    if not found.exists:
        raise WinError(winerror.PATH_NOT_FOUND, path)
    if not os.path.isdir(found.local):
        raise WinError(winerror.DIRECTORY, path)
    return sorted(os.listdir(found.local), key=winpath.fold)


@op('dll.kernel32.CreateFileW')
@op('file.open')
def file_open(host: Any, *, path: str, access: int, share: int,
              disposition: int = OPEN_EXISTING, owner: str = '',
              directory: bool = False, client: str = '') -> Dict[str, Any]:
    """CreateFile.

    :returns: ``handle``, the ``local`` path to work on, whether the file
        ``existed`` before.
    :raises WinError: 2, 3, 5 (a folder, read-only), 32, 80.
    """
    storage: Storage = host.storage
    with storage.shares.lock:
        found = storage.locate(path)
        existed = found.exists and os.path.exists(found.local)
        if existed:
            if disposition == CREATE_NEW:
                raise WinError(winerror.FILE_EXISTS, path)
            _may_open(found, access, directory)
        elif disposition in (OPEN_EXISTING, TRUNCATE_EXISTING):
            found.need()
            raise WinError(winerror.FILE_NOT_FOUND, path)   # dangling link
        else:
            found.need_parent()
            _make_file(found)
        opened = storage.shares.handles.open(
            path, found.local, access=access, share=share, owner=owner,
            client=client, host=host.name)
        if existed and disposition in (CREATE_ALWAYS, TRUNCATE_EXISTING):
            os.truncate(found.local, 0)
    if access & handles.WRITE:
        found.volume.changed()
    return {'handle': opened.number, 'local': os.path.realpath(found.local),
            'existed': existed}


def _may_open(found: Located, access: int, directory: bool) -> None:
    if os.path.isdir(found.local):
        if not directory or access & handles.WRITE:
            raise WinError(winerror.ACCESS_DENIED, found.path)
        return
    if access & handles.WRITE and _is_read_only(found.local):
        raise WinError(winerror.ACCESS_DENIED, found.path)


def _make_file(found: Located) -> None:
    try:
        os.close(os.open(found.local, os.O_CREAT | os.O_WRONLY, 0o644))
    except NotADirectoryError as error:
        raise WinError(winerror.PATH_NOT_FOUND, found.path) from error
    except OSError as error:
        raise winerror.from_os_error(error, found.path) from error


@op('file.close')
def file_close(host: Any, *, handle: int) -> bool:
    """CloseHandle; False if there is no such handle."""
    storage: Storage = host.storage
    opened = storage.shares.handles.close(handle)
    if opened is None:
        return False
    if opened.access & handles.WRITE:
        for volume in storage.shares.volumes():
            volume.changed()
    return True


@op('file.make_dir')
def file_make_dir(host: Any, *, path: str) -> None:
    """CreateDirectory: 3 no parent, 183 there already, 206 too long."""
    storage: Storage = host.storage
    with storage.shares.lock:
        found = storage.locate(path, directory=True).need_parent()
        if found.exists:
            raise WinError(winerror.ALREADY_EXISTS, path)
        try:
            os.mkdir(found.local)
        except OSError as error:
            raise winerror.from_os_error(error, path) from error


@op('file.remove')
def file_remove(host: Any, *, path: str) -> None:
    """DeleteFile: 2, 3, 5 a folder or read-only, 32 in use."""
    storage: Storage = host.storage
    with storage.shares.lock:
        found = storage.locate(path).need()
        _remove(storage, found)


def _remove(storage: Storage, found: Located) -> None:
    local = found.local
    if os.path.islink(local):
        if _is_dir_link(storage, local):
            raise WinError(winerror.ACCESS_DENIED, found.path)
    elif os.path.isdir(local) or _is_read_only(local):
        raise WinError(winerror.ACCESS_DENIED, found.path)
    else:
        storage.shares.handles.check(found.path, local, handles.DELETE)
        storage.shares.acls.pop(
            handles.Handles.key_of(found.path, local), None)
    os.unlink(local)
    found.volume.changed()


@op('file.remove_dir')
def file_remove_dir(host: Any, *, path: str) -> None:
    """RemoveDirectory: 145 not empty, 267 not a folder."""
    storage: Storage = host.storage
    with storage.shares.lock:
        found = storage.locate(path).need()
        _remove_dir(storage, found)


def _remove_dir(storage: Storage, found: Located) -> None:
    local = found.local
    if os.path.islink(local):
        if not _is_dir_link(storage, local):
            raise WinError(winerror.DIRECTORY, found.path)
        os.unlink(local)
        return
    if not os.path.isdir(local):
        raise WinError(winerror.DIRECTORY, found.path)
    if local == found.volume.root:
        raise WinError(winerror.ACCESS_DENIED, found.path)
    try:
        os.rmdir(local)
    except OSError as error:
        raise winerror.from_os_error(error, found.path) from error


@op('file.remove_tree')
def file_remove_tree(host: Any, *, path: str) -> None:
    """Delete a folder and all in it, file by file, to the first error."""
    storage: Storage = host.storage
    with storage.shares.lock:
        found = storage.locate(path)
        if not found.exists:
            raise WinError(winerror.PATH_NOT_FOUND, path)
        if os.path.islink(found.local):
            raise WinError(winerror.DIRECTORY, path)
        if not os.path.isdir(found.local):
            raise WinError(winerror.DIRECTORY, path)
        _remove_tree(storage, found)


def _remove_tree(storage: Storage, found: Located) -> None:
    for name in sorted(os.listdir(found.local), key=winpath.fold):
        inner = Located(found.path.rstrip('\\/') + '\\' + name, found.volume,
                        os.path.join(found.local, name), 0)
        if os.path.islink(inner.local) and _is_dir_link(storage,
                                                        inner.local):
            os.unlink(inner.local)
        elif os.path.isdir(inner.local) and not os.path.islink(inner.local):
            _remove_tree(storage, inner)
        else:
            _remove(storage, inner)
    _remove_dir(storage, found)


@op('file.rename')
def file_rename(host: Any, *, source: str, target: str,
                replace: bool = False) -> None:
    """MoveFileEx without copying.

    :raises WinError: 2, 3, 5 open files inside, 17 other volume, 32 in
        use, 183 target exists.
    """
    storage: Storage = host.storage
    with storage.shares.lock:
        old = storage.locate(source).need()
        new = storage.locate(target).need_parent()
        other = new.exists and not (
            os.path.lexists(new.local) and
            os.path.samestat(os.lstat(old.local), os.lstat(new.local)))
        if other:
            _may_replace(storage, old, new, replace)
        _may_move(storage, old)
        if old.volume is not new.volume:
            raise WinError(winerror.NOT_SAME_DEVICE, source)
        # The name gets the case that was asked for, over another one too.
        name = winpath.parse(target, long_paths=True).parts[-1]
        try:
            if other:
                os.unlink(new.local)
            os.replace(old.local,
                       os.path.join(os.path.dirname(new.local), name))
        except OSError as error:
            raise winerror.from_os_error(error, source) from error
        new.volume.changed()


def _may_replace(storage: Storage, old: Located, new: Located,
                 replace: bool) -> None:
    if not replace:
        raise WinError(winerror.ALREADY_EXISTS, new.path)
    if os.path.isdir(new.local) or os.path.isdir(old.local) or (
            _is_read_only(new.local)):
        raise WinError(winerror.ACCESS_DENIED, new.path)
    try:
        storage.shares.handles.check(new.path, new.local, handles.DELETE)
    except WinError as error:
        # MoveFileEx reports a target in use as "access denied".
        raise WinError(winerror.ACCESS_DENIED, new.path) from error


def _may_move(storage: Storage, old: Located) -> None:
    if os.path.islink(old.local):
        return
    if not os.path.isdir(old.local):
        storage.shares.handles.check(old.path, old.local, handles.DELETE)
    elif storage.shares.handles.below(os.path.realpath(old.local)):
        raise WinError(winerror.ACCESS_DENIED, old.path)


@op('dll.kernel32.CreateSymbolicLinkW')
def file_symlink(host: Any, *, link: str, target: str,
                 is_dir: bool = False) -> None:
    """CreateSymbolicLink; the target need not exist."""
    storage: Storage = host.storage
    with storage.shares.lock:
        new = storage.locate(link).need_parent()
        if new.exists:
            raise WinError(winerror.ALREADY_EXISTS, link)
        if not winpath.is_windows(target):
            base = str(winpath.parse(link, long_paths=True).parent)
            target = base.rstrip('\\') + '\\' + target
        os.symlink(storage.locate(target).local, new.local)
        if is_dir:
            made = os.lstat(new.local)
            storage.shares.dir_links.add((made.st_dev, made.st_ino))


def _is_dir_link(storage: Storage, local: str) -> bool:
    link = os.lstat(local)
    return os.path.isdir(local) or (
        (link.st_dev, link.st_ino) in storage.shares.dir_links)


def _is_read_only(local: str) -> bool:
    return not os.stat(local).st_mode & stat.S_IWUSR


@op('file.read_link')
def file_read_link(host: Any, *, path: str) -> str:
    """What a link was made to point at; WinError 4390 if it is none."""
    found = host.storage.locate(path).need()
    if not os.path.islink(found.local):
        raise WinError(winerror.NOT_A_REPARSE_POINT, path)
    target: Optional[str] = host.storage.windows_path(
        os.readlink(found.local))
    if target is None:
        raise WinError(winerror.FILE_NOT_FOUND, path)
    return target


@op('file.set_times')
def file_set_times(host: Any, *, path: str,
                   times_s: Optional[List[float]] = None) -> None:
    """Set the times of last access and change (now, if not given)."""
    found = host.storage.locate(path).need()
    os.utime(found.local, None if times_s is None
             else (times_s[0], times_s[1]))


@op('file.set_read_only')
def file_set_read_only(host: Any, *, path: str, read_only: bool) -> None:
    """Set or clear the read-only attribute of a file."""
    found = host.storage.locate(path).need()
    mode = os.stat(found.local).st_mode
    os.chmod(found.local, mode & ~0o222 if read_only else mode | 0o200)


@op('dll.kernel32.GetDiskFreeSpaceExW')
@op('file.disk_usage')
def file_disk_usage(host: Any, *, path: str) -> List[int]:
    """Total and free bytes of the volume that holds an existing folder."""
    found = host.storage.locate(path)
    if not found.exists:
        raise WinError(winerror.PATH_NOT_FOUND, path)
    if not os.path.isdir(found.local):
        raise WinError(winerror.DIRECTORY, path)
    return [found.volume.capacity_bytes, found.volume.free_bytes()]
