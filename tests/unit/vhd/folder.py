# SPDX-License-Identifier: Apache-2.0
"""A folder of disks under Windows names, for tests."""

import os
import random
import shutil
import tempfile

from compute_hyperv.sim import disks
from tests import base

MIB = 1 << 20
#: What qemu-img calls the formats.
QEMU = {'vhd': 'vpc', 'vhdx': 'vhdx'}


class FolderTestCase(base.TestCase):
    r"""``C:\a\b.vhdx`` is the file ``a/b.vhdx`` below ``self.dir``."""

    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.random = random.Random(self.id())

    def local(self, win_path):
        return os.path.join(self.dir, *win_path.split('\\')[1:])

    def create(self, name, kind='dynamic', **kwargs):
        """Make ``C:\\<name>``; the format is the extension."""
        path = f'C:\\{name}'
        os.makedirs(os.path.dirname(self.local(path)), exist_ok=True)
        if kind == 'differencing':
            kwargs['parent'] = f'C:\\{kwargs["parent"]}'
        disks.create(self.local(path), fmt=name.rpartition('.')[2],
                     kind=kind, win_path=path, resolve=self.local, **kwargs)
        return self.local(path)

    def child(self, name, parent):
        return self.create(name, 'differencing', parent=parent)

    def open(self, name, writable=False, parents=True):
        path = f'C:\\{name}'
        return disks.open_disk(self.local(path), writable=writable,
                               resolve=self.local, win_path=path,
                               parents=parents)

    def content(self, name):
        with self.open(name) as disk:
            return disk.read(0, disk.size_bytes)

    def write(self, name, offset, data):
        with self.open(name, writable=True) as disk:
            disk.write(offset, data)

    def scribble(self, name, model, count=30, longest=100000):
        """Write at random to a disk and to a bytearray alike."""
        with self.open(name, writable=True) as disk:
            for _ in range(count):
                offset = self.random.randrange(len(model))
                length = min(self.random.randrange(1, longest),
                             len(model) - offset)
                data = self.random.randbytes(length)
                disk.write(offset, data)
                model[offset:offset + length] = data

    def assert_code(self, code, call, *args, **kwargs):
        """*call* fails with this Windows error code."""
        exc = self.assert_refuses(disks.DiskError, f'0x{code:08X}',
                                  call=lambda: call(*args, **kwargs))
        self.assertEqual(code, exc.code)
        return exc
