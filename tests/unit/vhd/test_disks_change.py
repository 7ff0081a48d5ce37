# SPDX-License-Identifier: Apache-2.0
"""The disk model: sizes, merges, conversions, access, the log."""

import os
import struct

import ddt

from compute_hyperv.sim import disk_errors
from compute_hyperv.sim import disks
from compute_hyperv.vhd import vhdformat
from tests.unit.vhd.folder import FolderTestCase
from tests.unit.vhd.folder import MIB

GIB = 1 << 30
FORMATS = ('vhd', 'vhdx')


def _gpt(last_sector):
    """The first 34 sectors of a disk with one partition."""
    mbr = bytearray(512)
    struct.pack_into('<B3sB3sII', mbr, 446, 0, b'\0\2\0', 0xEE, b'\xff' * 3,
                     1, 0xFFFFFFFF)
    mbr[510:] = b'\x55\xaa'
    header = b'EFI PART' + bytes(64) + struct.pack('<QII', 2, 128, 128)
    entry = b'T' * 16 + b'U' * 16 + struct.pack('<QQ', 34, last_sector)
    return bytes(mbr) + header.ljust(512, b'\0') + entry.ljust(128 * 128,
                                                               b'\0')


def _mbr(start, count):
    raw = bytearray(512)
    struct.pack_into('<B3xB3xII', raw, 446, 0x80, 7, start, count)
    raw[510:] = b'\x55\xaa'
    return bytes(raw)


@ddt.ddt
class ResizeTest(FolderTestCase):
    @ddt.data(*((fmt, kind) for fmt in FORMATS
                for kind in ('dynamic', 'fixed')))
    @ddt.unpack
    def test_growth_keeps_content_and_adds_zeros(self, fmt, kind):
        name = f'd.{fmt}'
        self.create(name, kind, size_bytes=5 * MIB)
        self.write(name, 5 * MIB - 4, b'last')
        with self.open(name, writable=True) as disk:
            disk.resize(9 * MIB)
        self.assertEqual(bytes(5 * MIB - 4) + b'last' + bytes(4 * MIB),
                         self.content(name))

    def test_growth_of_a_child_past_its_parent(self):
        self.create('p.vhdx', size_bytes=5 * MIB)
        self.write('p.vhdx', 5 * MIB - 4, b'last')
        self.child('c.vhdx', 'p.vhdx')
        with self.open('c.vhdx', writable=True) as disk:
            disk.resize(70 * MIB)
        self.write('c.vhdx', 69 * MIB, b'child')
        content = self.content('c.vhdx')
        self.assertEqual(b'last', content[5 * MIB - 4:5 * MIB])
        self.assertEqual(64 * MIB, content[5 * MIB:69 * MIB].count(0))
        self.assertEqual(b'child', content[69 * MIB:69 * MIB + 5])

    def test_same_size_changes_nothing(self):
        path = self.create('d.vhdx', size_bytes=5 * MIB)
        with open(path, 'rb') as file:
            before = file.read()
        with self.open('d.vhdx', writable=True) as disk:
            disk.resize(5 * MIB)
        with open(path, 'rb') as file:
            self.assertEqual(before, file.read())

    @ddt.data(('vhd', 1000, disk_errors.INVALID_PARAMETER),
              ('vhdx', 0, disk_errors.INVALID_PARAMETER),
              ('vhd', 4 * MIB, disk_errors.NOT_SUPPORTED),
              ('vhd', 2041 * GIB, disk_errors.INVALID_SIZE),
              ('vhdx', 65 << 40, disk_errors.INVALID_SIZE))
    @ddt.unpack
    def test_refusals(self, fmt, size_bytes, code):
        self.create(f'd.{fmt}', size_bytes=5 * MIB)
        with self.open(f'd.{fmt}', writable=True) as disk:
            self.assert_code(code, disk.resize, size_bytes)
            self.assertEqual(5 * MIB, disk.size_bytes)

    def test_differencing_vhd_is_not_resized(self):
        """L028: it has to be merged into a copy of its parent first."""
        self.create('p.vhd', size_bytes=5 * MIB)
        self.child('c.vhd', 'p.vhd')
        with self.open('c.vhd', writable=True) as disk:
            self.assert_code(disk_errors.INVALID_TYPE, disk.resize, 6 * MIB)

    def test_table_of_a_vhd_moves_when_it_is_full(self):
        self.create('d.vhd', size_bytes=200 * MIB, block_bytes=512 << 10)
        model = bytearray(200 * MIB)
        self.scribble('d.vhd', model, 10)
        with self.open('d.vhd', writable=True) as disk:
            disk.resize(400 * MIB)
        model.extend(bytes(200 * MIB))
        self.scribble('d.vhd', model, 10)
        self.assertEqual(bytes(model), self.content('d.vhd'))

    def test_table_of_a_vhdx_moves_when_it_is_full(self):
        name = 'd.vhdx'
        self.create(name, size_bytes=100 * GIB, block_bytes=MIB)
        self.write(name, 99 * GIB, b'before')
        with self.open(name, writable=True) as disk:
            disk.resize(400 * GIB)
            disk.write(399 * GIB, b'behind')
        with self.open(name) as disk:
            self.assertEqual(b'before', disk.read(99 * GIB, 6))
            self.assertEqual(b'behind', disk.read(399 * GIB, 6))

    @ddt.data(('gpt', 0, disk_errors.WOULD_TRUNCATE_DATA),
              ('mbr', -512, disk_errors.WOULD_TRUNCATE_DATA),
              ('none', 0, disk_errors.NO_MINIMUM_SIZE))
    @ddt.unpack
    def test_shrink_that_cuts_partitions_off_is_refused(self, table, less,
                                                        code):
        """A GPT needs 33 sectors for its copy behind the partitions."""
        end = 4 * MIB
        self._partitioned(table, end)
        with self.open('d.vhdx', writable=True) as disk:
            self.assert_code(code, disk.resize, end + less)

    @ddt.data(('gpt', 33 * 512), ('mbr', 0))
    @ddt.unpack
    def test_shrink_behind_the_partitions(self, table, more):
        end = 4 * MIB
        self._partitioned(table, end)
        self.write('d.vhdx', 9 * MIB, b'cut off')
        self.write('d.vhdx', end - 4, b'kept')
        with self.open('d.vhdx', writable=True) as disk:
            disk.resize(end + more)
            disk.resize(10 * MIB)
        content = self.content('d.vhdx')
        self.assertEqual(b'kept', content[end - 4:end])
        self.assertEqual(6 * MIB, content[end:].count(0))

    def _partitioned(self, table, end):
        self.create('d.vhdx', size_bytes=10 * MIB, block_bytes=MIB)
        raw = {'gpt': _gpt(end // 512 - 1), 'mbr': _mbr(63, end // 512 - 63),
               'none': b''}[table]
        self.write('d.vhdx', 0, raw)

    def test_unsafe_shrink_needs_no_partitions(self):
        path = self.create('d.vhdx', size_bytes=10 * MIB, block_bytes=MIB)
        self.write('d.vhdx', 0, b'x' * 10 * MIB)
        before = os.path.getsize(path)
        with self.open('d.vhdx', writable=True) as disk:
            disk.resize(3 * MIB, unsafe=True)
        self.assertEqual(b'x' * 3 * MIB, self.content('d.vhdx'))
        self.assertLessEqual(os.path.getsize(path), before - 7 * MIB)

    def test_child_is_not_shrunk(self):
        self.create('p.vhdx', size_bytes=5 * MIB)
        self.child('c.vhdx', 'p.vhdx')
        with self.open('c.vhdx', writable=True) as disk:
            self.assert_code(disk_errors.NOT_SUPPORTED, disk.resize, MIB)


@ddt.ddt
class MergeAndConvertTest(FolderTestCase):
    def _chain(self, fmt):
        """Three disks; what the last one reads."""
        model = bytearray(9 * MIB)
        for at, name in enumerate(('a', 'b', 'c')):
            if at:
                self.child(f'{name}.{fmt}', f'{"abc"[at - 1]}.{fmt}')
            else:
                self.create(f'{name}.{fmt}', size_bytes=9 * MIB)
            self.scribble(f'{name}.{fmt}', model)
        return bytes(model)

    @ddt.data(*FORMATS)
    def test_merge_into_the_parent(self, fmt):
        content = self._chain(fmt)
        with self.open(f'c.{fmt}', writable=True) as disk:
            disk.merge()
        self.assertEqual(content, self.content(f'b.{fmt}'))

    @ddt.data(*FORMATS)
    def test_merge_two_levels(self, fmt):
        content = self._chain(fmt)
        with self.open(f'c.{fmt}', writable=True) as disk:
            disk.merge(depth=2)
        self.assertEqual(content, self.content(f'a.{fmt}'))

    @ddt.data(*FORMATS)
    def test_merge_needs_parents(self, fmt):
        self._chain(fmt)
        with self.open(f'c.{fmt}', writable=True) as disk:
            self.assert_code(disk_errors.INVALID_TYPE, disk.merge, 3)

    @ddt.data(*FORMATS)
    def test_zeros_written_to_a_child_reach_the_parent(self, fmt):
        content = bytearray(self._chain(fmt))
        self.write(f'c.{fmt}', 0, bytes(4 * MIB))
        content[:4 * MIB] = bytes(4 * MIB)
        with self.open(f'c.{fmt}', writable=True) as disk:
            disk.merge(depth=2)
        self.assertEqual(bytes(content), self.content(f'a.{fmt}'))

    @ddt.data(*FORMATS)
    def test_merged_zeros_hide_what_the_grandparent_has(self, fmt):
        self.create(f'a.{fmt}', size_bytes=9 * MIB)
        self.write(f'a.{fmt}', 0, b'a' * 9 * MIB)
        self.child(f'b.{fmt}', f'a.{fmt}')
        self.child(f'c.{fmt}', f'b.{fmt}')
        self.write(f'c.{fmt}', 4 * MIB, bytes(MIB))
        with self.open(f'c.{fmt}', writable=True) as disk:
            disk.merge()
        self.assertEqual(b'a' * 4 * MIB + bytes(MIB) + b'a' * 4 * MIB,
                         self.content(f'b.{fmt}'))

    def test_sibling_of_a_merged_vhdx_is_refused(self):
        self._chain('vhdx')
        self.child('d.vhdx', 'b.vhdx')
        with self.open('c.vhdx', writable=True) as disk:
            disk.merge()
        self.assert_code(disk_errors.PARENT_ID_MISMATCH, self.open, 'd.vhdx')

    def test_merge_grows_the_parent(self):
        self.create('a.vhdx', size_bytes=9 * MIB)
        self.child('b.vhdx', 'a.vhdx')
        with self.open('b.vhdx', writable=True) as disk:
            disk.resize(20 * MIB)
            disk.write(19 * MIB, b'far')
            disk.merge()
        self.assertEqual(b'far', self.content('a.vhdx')[19 * MIB:][:3])

    @ddt.data(*((source, target, kind) for source in FORMATS
                for target in FORMATS for kind in ('dynamic', 'fixed')))
    @ddt.unpack
    def test_convert_flattens_the_chain(self, source, target, kind):
        content = self._chain(source)
        with self.open(f'c.{source}') as disk:
            disks.convert(disk, self.local(f'C:\\n.{target}'), fmt=target,
                          kind=kind, win_path=f'C:\\n.{target}',
                          resolve=self.local)
        self.assertEqual(content, self.content(f'n.{target}'))

    def test_convert_to_a_smaller_disk_is_refused(self):
        self.create('a.vhdx', size_bytes=9 * MIB)
        with self.open('a.vhdx') as disk:
            self.assert_code(
                disk_errors.INVALID_SIZE, disks.convert, disk,
                self.local('C:\\n.vhdx'), fmt='vhdx', kind='dynamic',
                win_path='C:\\n.vhdx', resolve=self.local,
                size_bytes=5 * MIB)

    def test_convert_of_a_sparse_disk_is_sparse(self):
        self.create('a.vhd', 'fixed', size_bytes=10 * GIB)
        self.write('a.vhd', 5 * GIB, b'x')
        with self.open('a.vhd') as disk:
            disks.convert(disk, self.local('C:\\n.vhdx'), fmt='vhdx',
                          kind='dynamic', win_path='C:\\n.vhdx',
                          resolve=self.local)
        size_bytes = os.path.getsize(self.local('C:\\n.vhdx'))
        self.assertLess(size_bytes, 64 * MIB)


class AccessTest(FolderTestCase):
    def test_disk_open_for_reading_is_not_written(self):
        self.create('d.vhdx', size_bytes=MIB)
        with self.open('d.vhdx') as disk:
            self.assert_code(disk_errors.ACCESS_DENIED, disk.write, 0, b'x')

    def test_write_past_the_end_is_refused(self):
        self.create('d.vhdx', size_bytes=MIB)
        with self.open('d.vhdx', writable=True) as disk:
            self.assert_code(disk_errors.INVALID_PARAMETER, disk.write,
                             MIB - 1, b'xx')

    def test_read_ends_with_the_disk(self):
        self.create('d.vhdx', size_bytes=MIB)
        with self.open('d.vhdx') as disk:
            self.assertEqual(bytes(10), disk.read(MIB - 10, 100))
            self.assertEqual(b'', disk.read(MIB + 10, 100))

    def test_original_size_stays_when_a_vhd_grows(self):
        path = self.create('d.vhd', size_bytes=4 * MIB)
        with self.open('d.vhd', writable=True) as disk:
            disk.resize(8 * MIB)
        with open(path, 'rb') as file:
            footer = vhdformat.Footer.parse(file.read(512))
        self.assertEqual((4 * MIB, 8 * MIB), (footer.original_size_bytes,
                                              footer.size_bytes))


class LogTest(FolderTestCase):
    """A killed process leaves a log; MS-VHDX 2.3.3."""

    def setUp(self):
        super().setUp()
        self.create('d.vhdx', size_bytes=40 * MIB, block_bytes=MIB)
        self.model = bytearray(40 * MIB)
        self.scribble('d.vhdx', self.model)
        disk = self.open('d.vhdx', writable=True)
        disk.write(30 * MIB, b'last words')
        self.model[30 * MIB:30 * MIB + 10] = b'last words'
        disk._journal.commit(in_place=False)
        disk.abandon()

    def test_reader_sees_through_the_log_and_leaves_it(self):
        with open(self.local('C:\\d.vhdx'), 'rb') as file:
            before = file.read()
        self.assertEqual(bytes(self.model), self.content('d.vhdx'))
        with open(self.local('C:\\d.vhdx'), 'rb') as file:
            self.assertEqual(before, file.read())

    def test_writer_replays_it(self):
        self.scribble('d.vhdx', self.model)
        with self.open('d.vhdx') as disk:
            self.assertEqual(bytes(16), disk._journal.header.log_guid)
        self.assertEqual(bytes(self.model), self.content('d.vhdx'))
