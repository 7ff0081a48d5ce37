# SPDX-License-Identifier: Apache-2.0
"""Sound VHD and VHDX files with known content, made by the simulator."""

import os

from compute_hyperv.sim import disks

MIB = 1 << 20
SIZE_BYTES = 16 * MIB           #: of every file

SOUND = ('ok.vhdx', 'ok.vhd', 'okfixed.vhd', 'okfixed.vhdx')
CHILDREN = ('child.vhdx', 'child.vhd')


class Maker:
    """Makes each file once, in a folder."""

    def __init__(self, directory: str) -> None:
        self._dir = directory

    def path(self, name: str) -> str:
        """Where a file of this name is."""
        return os.path.join(self._dir, name)

    def sound(self, name: str) -> str:
        """The path of one of SOUND or CHILDREN."""
        path = self.path(name)
        if os.path.exists(path):
            return path
        fmt = name.rpartition('.')[2]
        if name in CHILDREN:
            self._make_child(name, fmt)
        else:
            kind = 'fixed' if 'fixed' in name else 'dynamic'
            self._create(name, fmt, kind, size_bytes=SIZE_BYTES,
                         block_bytes=MIB if fmt == 'vhdx' else None)
            if kind == 'dynamic':
                self._fill(name, (0, b'A' * 3 * MIB), (9 * MIB, b'B' * MIB))
        return path

    def _make_child(self, name: str, fmt: str) -> None:
        base = f'base.{fmt}'
        self._create(base, fmt, 'dynamic', size_bytes=SIZE_BYTES,
                     block_bytes=MIB if fmt == 'vhdx' else None)
        self._fill(base, (5 * MIB, b'S' * MIB))
        self._create(name, fmt, 'differencing', parent=f'C:\\{base}')
        self._fill(name, (0, b'C' * 1000))

    def _create(self, name: str, fmt: str, kind: str,
                **kwargs: object) -> None:
        disks.create(self.path(name), fmt=fmt, kind=kind,
                     win_path=f'C:\\{name}', resolve=self._resolve, **kwargs)

    def _fill(self, name: str, *writes: tuple[int, bytes]) -> None:
        with disks.open_disk(self.path(name), writable=True,
                             resolve=self._resolve,
                             win_path=f'C:\\{name}') as disk:
            for offset, data in writes:
                disk.write(offset, data)

    def _resolve(self, win_path: str) -> str:
        return self.path(win_path.rpartition('\\')[2])
