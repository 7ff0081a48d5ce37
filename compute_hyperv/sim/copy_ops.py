# SPDX-License-Identifier: Apache-2.0
"""Copying files of simulated hosts, holes kept."""

import os
import shutil
from typing import Any
from typing import Dict

from . import file_ops
from . import handles
from . import winerror
from .ports import op
from .storage import Storage
from .winerror import WinError


def _copy_label(args: Dict[str, Any]) -> str:
    return 'CopyFileW %s -> %s' % (args['source'], args['target'])


@op('dll.kernel32.CopyFileW', label=_copy_label)
@op('file.copy', label=_copy_label)
def file_copy(host: Any, *, source: str, target: str,
              fail_if_exists: bool = False, client: str = '') -> None:
    """CopyFile: 5 a folder, 32 in use, 80 target exists, 112 disk full."""
    storage: Storage = host.storage
    old = storage.locate(source).need()
    new = storage.locate(target).need_parent()
    if os.path.isdir(old.local) or os.path.isdir(new.local):
        raise WinError(winerror.ACCESS_DENIED, source)
    if new.exists and fail_if_exists:
        raise WinError(winerror.FILE_EXISTS, target)
    reader = storage.shares.handles.open(
        source, old.local, access=handles.READ,
        share=handles.READ | handles.DELETE, owner='CopyFile', client=client,
        host=host.name)
    try:
        size = os.path.getsize(old.local)
        if size > new.volume.free_bytes():
            raise WinError(winerror.DISK_FULL, target)
        made = not new.exists
        writer = file_ops.file_open(
            host, path=target, access=handles.WRITE, share=0,
            disposition=file_ops.CREATE_ALWAYS, owner='CopyFile',
            client=client)
        try:
            copy_bytes(old.local, writer['local'])
            shutil.copystat(old.local, writer['local'])
        except OSError as error:
            if made:
                os.unlink(writer['local'])
            raise winerror.from_os_error(error, target) from error
        finally:
            file_ops.file_close(host, handle=writer['handle'])
    finally:
        reader.close()


def copy_bytes(source: str, target: str) -> None:
    """Copy a local file and keep its holes."""
    size = os.path.getsize(source)
    with open(source, 'rb') as reader, open(target, 'r+b') as writer:
        writer.truncate(size)
        if not hasattr(os, 'SEEK_DATA'):
            shutil.copyfileobj(reader, writer, 1 << 20)
            return
        offset = 0
        while offset < size:
            try:
                start = os.lseek(reader.fileno(), offset, os.SEEK_DATA)
            except OSError:
                return                  # ENXIO: only a hole is left
            offset = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            reader.seek(start)
            writer.seek(start)
            left = offset - start
            while left:
                chunk = reader.read(min(left, 1 << 20))
                writer.write(chunk)
                left -= len(chunk)
