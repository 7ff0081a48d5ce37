# SPDX-License-Identifier: Apache-2.0
"""A volume of the fabric: a folder of this machine with a capacity."""

import os
from typing import Iterator
from typing import Optional
from typing import Tuple
import zlib

from . import native

#: How long a measured volume stays measured when nobody told us of a
#: change: programs write their bytes without asking (seconds).
MEASURE_S = 0.5


class Volume:
    """One volume: a folder with a capacity.

    :ivar name: ``C:``, ``\\\\server\\share`` or the CSV's name.
    """

    def __init__(self, name: str, root: str, capacity_bytes: int) -> None:
        self.name = name
        self.root = root
        self.capacity_bytes = capacity_bytes
        self.serial = zlib.crc32(root.encode('utf-8', 'surrogateescape'))
        self._measured: Optional[Tuple[float, int]] = None
        os.makedirs(root, exist_ok=True)

    def used_bytes(self) -> int:
        """Sum of the files' sizes, as NTFS counts ordinary files."""
        measured = self._measured
        now = native.monotonic()
        if measured is None or now - measured[0] > MEASURE_S:
            measured = self._measured = (now, _sum_sizes(self.root))
        return measured[1]

    def free_bytes(self) -> int:
        """Capacity less use, never negative."""
        return max(0, self.capacity_bytes - self.used_bytes())

    def listing(self) -> Iterator[str]:
        """Windows paths of all files, links and empty folders.

        Folders end in a backslash; CSVs have their name for a root.
        """
        for folder, folders, names in os.walk(self.root):
            names += [name for name in folders
                      if os.path.islink(os.path.join(folder, name))]
            inner = self.name + folder[len(self.root):].replace(os.sep, '\\')
            if not folders and not names and folder != self.root:
                yield inner + '\\'
            for name in names:
                yield inner + '\\' + name

    def changed(self) -> None:
        """Measure again when asked next."""
        self._measured = None


def _sum_sizes(folder: str) -> int:
    total = 0
    pending = [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif not entry.is_symlink():
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue                    # removed while we looked
    return total
