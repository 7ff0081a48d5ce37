# SPDX-License-Identifier: Apache-2.0
"""Who has which file open, and who may open it as well.

The rule of CreateFile: every opener says what it does (access) and what it
bears others doing (share); both have to fit for each pair of openers.
Files are known by device and inode, so that a rename, another spelling, a
share or a link of the same file count as the same.
"""

import dataclasses
import itertools
import os
from typing import Dict
from typing import List
from typing import Optional
from typing import Tuple

from . import native
from . import winerror
from .winerror import WinError

READ = 1
WRITE = 2
DELETE = 4

#: Names for the share modes that other modules use.
SHARE = {'none': 0, 'read': READ, 'readwrite': READ | WRITE,
         'all': READ | WRITE | DELETE}

Key = Tuple[int, int]


@dataclasses.dataclass(frozen=True)
class OpenFile:
    """One open handle.

    :ivar path: the Windows path it was opened by.
    :ivar local: the file behind it.
    :ivar access, share: sums of READ, WRITE, DELETE.
    :ivar owner: who holds it, for people ('vm <guid>', 'open()').
    :ivar client: the process that asked, or '' for the host itself.
    :ivar host: the host that it runs on.
    """

    table: 'Handles' = dataclasses.field(repr=False)
    number: int
    key: Key
    path: str
    local: str
    access: int
    share: int
    owner: str
    client: str
    host: str

    def close(self) -> None:
        """Give the handle back; again is harmless."""
        self.table.close(self.number)

    def __str__(self) -> str:
        return '%s is open by %s' % (self.path, self.owner or 'somebody')


class Handles:
    """All open files of a fabric."""

    def __init__(self) -> None:
        self._lock = native.RLock()
        self._numbers = itertools.count(1)
        self._open: Dict[int, OpenFile] = {}
        self._by_key: Dict[Key, List[OpenFile]] = {}

    def open(self, path: str, local: str, *, access: int, share: int,
             owner: str = '', client: str = '', host: str = '') -> OpenFile:
        """Open an existing file.

        :raises WinError: 32 another opener does not allow it, 2 vanished.
        """
        with self._lock:
            key = self.key_of(path, local)
            self._check(key, path, access, share)
            opened = OpenFile(self, next(self._numbers), key, path, local,
                              access, share, owner, client, host)
            self._open[opened.number] = opened
            self._by_key.setdefault(key, []).append(opened)
            return opened

    def check(self, path: str, local: str, access: int,
              share: int = READ | WRITE | DELETE) -> None:
        """Raise WinError 32 if such an open would be refused."""
        with self._lock:
            self._check(self.key_of(path, local), path, access, share)

    def _check(self, key: Key, path: str, access: int, share: int) -> None:
        if not access:
            return                      # attributes only: never in the way
        for other in self._by_key.get(key, ()):
            if other.access and (access & ~other.share
                                 or other.access & ~share):
                raise WinError(winerror.SHARING_VIOLATION, path)

    @staticmethod
    def key_of(path: str, local: str) -> Key:
        """Device and inode of a file."""
        try:
            found = os.stat(local)
        except OSError as error:
            raise winerror.from_os_error(error, path) from error
        return found.st_dev, found.st_ino

    def close(self, number: int) -> Optional[OpenFile]:
        """Forget a handle; None if there is no such."""
        with self._lock:
            opened = self._open.pop(number, None)
            if opened is not None:
                same = self._by_key[opened.key]
                same.remove(opened)
                if not same:
                    del self._by_key[opened.key]
            return opened

    def get(self, number: int) -> OpenFile:
        """The open handle of this number; WinError 6 if there is none."""
        with self._lock:
            try:
                return self._open[number]
            except KeyError:
                raise WinError(winerror.INVALID_HANDLE) from None

    def of_file(self, key: Key) -> List[OpenFile]:
        """Everybody who has this file open."""
        with self._lock:
            return list(self._by_key.get(key, ()))

    def below(self, local_dir: str) -> List[OpenFile]:
        """The handles of files in a folder, at any depth."""
        prefix = local_dir.rstrip(os.sep) + os.sep
        with self._lock:
            return [opened for opened in self._open.values()
                    if opened.local.startswith(prefix)]

    def of_host(self, host: str) -> List[OpenFile]:
        """Everything that is open on a host."""
        with self._lock:
            return [opened for opened in self._open.values()
                    if opened.host == host]
