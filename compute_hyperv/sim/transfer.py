# SPDX-License-Identifier: Apache-2.0
"""Files that the management services of hosts write and can take back."""

from __future__ import annotations

import ntpath
import os
import shutil
import typing

from . import copy_ops
from . import handles
from . import winerror
from .winerror import WinError

if typing.TYPE_CHECKING:
    from .storage import Storage
    from .volumes import Volume


class Transfer:
    """Files and folders that were made for one purpose.

    What was there before is never touched; :meth:`undo` removes exactly
    what was made.
    """

    def __init__(self) -> None:
        self._files: list[tuple[str, Volume]] = []
        self._folders: list[str] = []

    def make_folder(self, storage: Storage, path: str) -> None:
        """Make a folder and those above it.

        :raises WinError: 3 no such drive, 5 not allowed, ...
        """
        found = storage.locate(path)
        local = found.local
        missing: list[str] = []
        while not os.path.isdir(local):
            missing.append(local)
            local = os.path.dirname(local)
        try:
            os.makedirs(found.local, exist_ok=True)
        except OSError as exc:
            raise winerror.from_os_error(exc, path) from exc
        self._folders += reversed(missing)

    def write(self, storage: Storage, path: str, data: bytes) -> None:
        """Make a file; its folder too.

        :raises WinError: 80 it is there already
        """
        found = self._new_file(storage, path)
        with open(found, 'xb') as file:
            file.write(data)

    def copy(self, source: Storage, source_path: str, target: Storage,
             target_path: str, *, overwrite: bool = False) -> None:
        """Copy a file from one host to another (or the same).

        Who has the source open does not matter: the management service
        reads what its own worker process writes.

        :param overwrite: a file that is there is replaced
        :raises WinError: 2, 3 not there; 80 target exists; 112 disk full
        """
        old = source.locate(source_path).need()
        target_at = target.locate(target_path)
        if overwrite and target_at.exists:
            target.shares.handles.check(target_path, target_at.local,
                                        handles.WRITE, 0)
            os.unlink(target_at.local)
        local = self._new_file(target, target_path)
        volume = target.locate(target_path).volume
        if os.path.getsize(old.local) > volume.free_bytes():
            raise WinError(winerror.DISK_FULL, target_path)
        with open(local, 'xb'):
            pass
        copy_ops.copy_bytes(old.local, local)
        shutil.copystat(old.local, local)
        volume.changed()

    def _new_file(self, storage: Storage, path: str) -> str:
        self.make_folder(storage, ntpath.dirname(path))
        found = storage.locate(path)
        if found.exists:
            raise WinError(winerror.FILE_EXISTS, path)
        self._files.append((found.local, found.volume))
        found.volume.changed()
        return found.local

    def undo(self) -> None:
        """Remove what was made; what is gone already is fine."""
        for local, volume in self._files:
            if os.path.lexists(local):
                os.unlink(local)
            volume.changed()
        for local in reversed(self._folders):
            if os.path.isdir(local) and not os.listdir(local):
                os.rmdir(local)
        self.keep()

    def keep(self) -> None:
        """What was made stays; :meth:`undo` does nothing any more."""
        self._files.clear()
        self._folders.clear()
