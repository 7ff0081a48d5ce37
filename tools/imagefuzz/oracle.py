# SPDX-License-Identifier: Apache-2.0
"""What must hold for every file that the inspector sees."""

import io
import json
import os
import shutil
import subprocess
import time

from compute_hyperv.sim import disks
from compute_hyperv.vhd import inspect

LIMIT_BYTES = 100 << 30
_READ_BYTES = 64 << 20
_SLOW_S = 10.0
_QEMU = {'vhd': 'vpc', 'vhdx': 'vhdx', 'qcow2': 'qcow2', 'vmdk': 'vmdk'}


class Finding(Exception):
    """The inspector is wrong about a file."""


class _Counted(io.BytesIO):
    """Counts reads: the further the inspector gets, the more there are."""

    reads = 0

    def read(self, size=-1):
        self.reads += 1
        return super().read(size)


class Oracle:
    """Judges the inspector's verdicts.

    1. It ends with a verdict: Malformed or ImageInfo, never another error,
       and in time.
    2. A VHD or VHDX that it accepts can be opened, has no parent, the size
       that it told, and can be read to its end by the disk model.
    3. qemu-img, if asked for, sees the same size.

    :param folder: for files that the second readers open.
    :param with_qemu: ask qemu-img too; 100 times slower for sound files.
    """

    def __init__(self, folder, with_qemu=False):
        self._path = os.path.join(folder, 'accepted')
        self._qemu = with_qemu and shutil.which('qemu-img')
        self.verdicts = {}
        self.reads = 0

    def judge(self, image):
        """Inspect a file and check the verdict.

        :returns: the rule that refused the file, or 'accepted'.
        :raises Finding: the inspector is wrong.
        """
        file, started = _Counted(image), time.monotonic()
        try:
            info = inspect.inspect(file, None, LIMIT_BYTES)
        except inspect.Malformed as exc:
            verdict = exc.rule
        else:
            verdict = 'accepted'
            self._second_readers(image, info)
        if time.monotonic() - started > _SLOW_S:
            raise Finding(f'took more than {_SLOW_S} seconds')
        self.reads = file.reads
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
        return verdict

    def _second_readers(self, image, info):
        with open(self._path, 'wb') as file:
            file.write(image)
        if info.fmt in ('vhd', 'vhdx'):
            self._read_all(info)
        if self._qemu and info.fmt in _QEMU:
            self._compare_qemu(info)

    def _read_all(self, info):
        try:
            with disks.open_disk(self._path, writable=False, resolve=str,
                                 parents=False) as disk:
                if (disk.fmt, disk.kind, disk.size_bytes) != (
                        info.fmt, info.kind, info.virtual_size_bytes):
                    raise Finding(f'{info} but the disk model sees '
                                  f'{disk.kind}, {disk.size_bytes} bytes')
                if disk.size_bytes <= _READ_BYTES:
                    disk.read(0, disk.size_bytes)
        except disks.DiskError as exc:
            raise Finding(f'accepted but unreadable: {exc}') from exc

    def _compare_qemu(self, info):
        done = subprocess.run(
            ('qemu-img', 'info', '--output=json', '-f', _QEMU[info.fmt],
             self._path), capture_output=True, text=True)
        if done.returncode == 0:
            size_bytes = json.loads(done.stdout)['virtual-size']
            if size_bytes != info.virtual_size_bytes:
                raise Finding(f'{info} but qemu-img sees {size_bytes} bytes')
