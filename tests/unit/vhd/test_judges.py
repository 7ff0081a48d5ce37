# SPDX-License-Identifier: Apache-2.0
"""Independent readers read what the disk model wrote.

Whom to trust with what: qemu-img with anything but children, libvhdi with
VHDX chains (its VHD side has two defects), 7-Zip with chains of both formats
whose disks all have the same size, in whole MiB.
"""

import os
import shutil
import subprocess
import unittest

import ddt

from tests.unit.vhd.folder import FolderTestCase
from tests.unit.vhd.folder import MIB
from tests.unit.vhd.folder import QEMU

try:
    import pyvhdi
except ImportError:
    pyvhdi = None

SIZE_BYTES = 37 * MIB
_SHAPES = (('vhd', 'dynamic', {}), ('vhd', 'fixed', {}),
           ('vhd', 'dynamic', {'block_bytes': 512 << 10}),
           ('vhdx', 'dynamic', {}), ('vhdx', 'fixed', {}),
           ('vhdx', 'dynamic', {'block_bytes': MIB}),
           ('vhdx', 'dynamic', {'block_bytes': MIB, 'sector_bytes': 4096,
                                'physical_sector_bytes': 4096}))


class _JudgeTestCase(FolderTestCase):
    def make(self, name, kind='dynamic', size_bytes=SIZE_BYTES, **shape):
        """A disk with random content; the content."""
        self.create(name, kind, size_bytes=size_bytes, **shape)
        model = bytearray(size_bytes)
        self.scribble(name, model)
        return model

    def chain(self, fmt, **shape):
        """Three disks 0, 1 and 2; what the last one reads."""
        model = self.make(f'0.{fmt}', **shape)
        for level in (1, 2):
            self.child(f'{level}.{fmt}', f'{level - 1}.{fmt}')
            self.scribble(f'{level}.{fmt}', model)
        return bytes(model)


@ddt.ddt
@unittest.skipUnless(shutil.which('qemu-img'), 'needs qemu-img')
class QemuImgTest(_JudgeTestCase):
    def _qemu_img(self, *args):
        done = subprocess.run(('qemu-img', *args), cwd=self.dir, text=True,
                              capture_output=True)
        return done.returncode, done.stdout + done.stderr

    def assert_reads(self, name, model):
        with open(os.path.join(self.dir, 'model.raw'), 'wb') as file:
            file.write(model)
        fmt = name.rpartition('.')[2]
        code, text = self._qemu_img('compare', '-f', QEMU[fmt], '-F', 'raw',
                                    name, 'model.raw')
        self.assertEqual((0, 'Images are identical.\n'), (code, text))
        if fmt == 'vhdx':
            code, text = self._qemu_img('check', '-f', 'vhdx', name)
            self.assertEqual(0, code, text)

    @ddt.data(*_SHAPES[:-1])
    @ddt.unpack
    def test_written_disk(self, fmt, kind, shape):
        self.assert_reads(f'd.{fmt}', self.make(f'd.{fmt}', kind, **shape))

    @ddt.data(*_SHAPES[:-1])
    @ddt.unpack
    def test_grown_disk(self, fmt, kind, shape):
        model = self.make(f'd.{fmt}', kind, **shape)
        with self.open(f'd.{fmt}', writable=True) as disk:
            disk.resize(50 * MIB)
        model.extend(bytes(13 * MIB))
        self.scribble(f'd.{fmt}', model)
        self.assert_reads(f'd.{fmt}', model)

    def test_shrunk_disk(self):
        model = self.make('d.vhdx', block_bytes=MIB)
        with self.open('d.vhdx', writable=True) as disk:
            disk.resize(20 * MIB, unsafe=True)
        self.assert_reads('d.vhdx', model[:20 * MIB])

    @ddt.data('vhd', 'vhdx')
    def test_parent_after_a_merge(self, fmt):
        content = self.chain(fmt)
        with self.open(f'2.{fmt}', writable=True) as disk:
            disk.merge(depth=2)
        self.assert_reads(f'0.{fmt}', content)

    def test_table_of_a_vhdx_after_it_moved(self):
        self.create('d.vhdx', size_bytes=100 << 30, block_bytes=MIB)
        with self.open('d.vhdx', writable=True) as disk:
            disk.write(99 << 30, b'before')
            disk.resize(400 << 30)
        code, text = self._qemu_img('check', '-f', 'vhdx', 'd.vhdx')
        self.assertEqual(0, code, text)
        _, text = self._qemu_img('info', '-f', 'vhdx', 'd.vhdx')
        self.assertIn('400 GiB (429496729600 bytes)', text)

    def test_log_of_a_killed_writer_is_replayed_alike(self):
        model = self.make('d.vhdx', block_bytes=MIB)
        disk = self.open('d.vhdx', writable=True)
        for block in range(30):
            disk.write(block * MIB + 77, b'last words')
            start = block * MIB + 77
            model[start:start + 10] = b'last words'
        disk._journal.commit(in_place=False)
        disk.abandon()
        code, _ = self._qemu_img('check', '-f', 'vhdx', 'd.vhdx')
        self.assertEqual(1, code)
        code, text = self._qemu_img('check', '-r', 'all', '-f', 'vhdx',
                                    'd.vhdx')
        self.assertEqual(0, code, text)
        self.assert_reads('d.vhdx', model)

    @ddt.data(('vhdx', 'subformat=dynamic'), ('vhdx', 'subformat=fixed'),
              ('vpc', 'subformat=dynamic,force_size=on'),
              ('vpc', 'subformat=fixed,force_size=on'))
    @ddt.unpack
    def test_its_disks_are_read_written_and_grown(self, driver, options):
        """The other way round: a file of qemu-img's under our hands."""
        model = bytearray(self.random.randbytes(10 * MIB))
        model[3 * MIB:7 * MIB] = bytes(4 * MIB)
        with open(os.path.join(self.dir, 'in.raw'), 'wb') as file:
            file.write(model)
        name = 'd.' + {'vpc': 'vhd'}.get(driver, driver)
        self._qemu_img('convert', '-f', 'raw', '-O', driver, '-o', options,
                       'in.raw', name)
        self.assertEqual(bytes(model), self.content(name))
        with self.open(name, writable=True) as disk:
            disk.resize(30 * MIB)
        model.extend(bytes(20 * MIB))
        self.scribble(name, model)
        self.assert_reads(name, model)


@ddt.ddt
@unittest.skipUnless(pyvhdi, 'needs libvhdi-python')
class LibvhdiTest(_JudgeTestCase):
    def _open_chain(self, *names):
        files = []
        for name in names:
            file = pyvhdi.file()
            file.open(os.path.join(self.dir, name))
            self.addCleanup(file.close)
            if files:
                file.set_parent(files[-1])
            files.append(file)
        return files[-1]

    def assert_reads(self, file, content):
        self.assertEqual(len(content), file.get_media_size())
        for _ in range(200):
            offset = self.random.randrange(len(content))
            length = min(self.random.randrange(1, 90000),
                         len(content) - offset)
            self.assertEqual(
                content[offset:offset + length],
                file.read_buffer_at_offset(length, offset))

    @ddt.data(*_SHAPES)
    @ddt.unpack
    def test_written_disk(self, fmt, kind, shape):
        content = bytes(self.make(f'd.{fmt}', kind, **shape))
        self.assert_reads(self._open_chain(f'd.{fmt}'), content)

    @ddt.data({}, {'block_bytes': MIB}, {'block_bytes': 256 * MIB},
              {'sector_bytes': 4096, 'physical_sector_bytes': 4096})
    def test_chain_of_three(self, shape):
        content = self.chain('vhdx', **shape)
        self.assert_reads(self._open_chain('0.vhdx', '1.vhdx', '2.vhdx'),
                          content)

    def test_chain_that_was_reconnected(self):
        content = self.chain('vhdx')
        os.rename(os.path.join(self.dir, '0.vhdx'),
                  os.path.join(self.dir, 'new.vhdx'))
        with self.open('1.vhdx', writable=True, parents=False) as disk:
            disk.reconnect('C:\\new.vhdx')
        self.assert_reads(self._open_chain('new.vhdx', '1.vhdx', '2.vhdx'),
                          content)


@ddt.ddt
@unittest.skipUnless(shutil.which('7zz'), 'needs 7zz')
class SevenZipTest(_JudgeTestCase):
    """7-Zip finds the parents by the locators alone."""

    def _extract(self, name):
        done = subprocess.run(
            ('7zz', 'x', '-so', '-t' + name.rpartition('.')[2],
             os.path.join(self.dir, name)), capture_output=True)
        return done.stdout

    @ddt.data(('vhd', {}), ('vhd', {'block_bytes': 512 << 10}), ('vhdx', {}),
              ('vhdx', {'block_bytes': MIB}))
    @ddt.unpack
    def test_chain_of_three(self, fmt, shape):
        content = self.chain(fmt, **shape)
        self.assertTrue(content == self._extract(f'2.{fmt}'))

    @ddt.data('vhd', 'vhdx')
    def test_chain_that_was_reconnected(self, fmt):
        content = self.chain(fmt)
        # It does not look into other folders than the child's.
        os.rename(os.path.join(self.dir, f'0.{fmt}'),
                  os.path.join(self.dir, f'a-longer-name.{fmt}'))
        with self.open(f'1.{fmt}', writable=True, parents=False) as disk:
            disk.reconnect(f'C:\\a-longer-name.{fmt}')
        self.assertTrue(content == self._extract(f'2.{fmt}'))
