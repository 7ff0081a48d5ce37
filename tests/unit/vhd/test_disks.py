# SPDX-License-Identifier: Apache-2.0
"""The disk model: defaults, refusals with their Windows codes, linkage."""

import os
import struct
import uuid

import ddt

from compute_hyperv.sim import disk_errors
from compute_hyperv.sim import disks
from compute_hyperv.vhd import vhdformat
from tests import malformed_disks
from tests.unit.vhd.folder import FolderTestCase
from tests.unit.vhd.folder import MIB

GIB = 1 << 30
FORMATS = ('vhd', 'vhdx')


@ddt.ddt
class CreateTest(FolderTestCase):
    @ddt.data(('vhd', 2 * MIB), ('vhdx', 32 * MIB))
    @ddt.unpack
    def test_blocks_are_those_of_windows(self, fmt, block_bytes):
        self.create(f'd.{fmt}', size_bytes=GIB)
        with self.open(f'd.{fmt}') as disk:
            self.assertEqual((fmt, 'dynamic', GIB, block_bytes, 512),
                             (disk.fmt, disk.kind, disk.size_bytes,
                              disk.block_bytes, disk.sector_bytes))

    @ddt.data(*((fmt, kind) for fmt in FORMATS
                for kind in ('dynamic', 'fixed')))
    @ddt.unpack
    def test_new_disk_reads_zeros(self, fmt, kind):
        self.create(f'd.{fmt}', kind, size_bytes=5 * MIB)
        self.assertEqual(bytes(5 * MIB), self.content(f'd.{fmt}'))

    @ddt.data(*FORMATS)
    def test_id_is_what_was_asked_for(self, fmt):
        wanted = str(uuid.uuid4())
        self.create(f'd.{fmt}', size_bytes=MIB, disk_id=wanted)
        with self.open(f'd.{fmt}') as disk:
            self.assertEqual(wanted, disk.id)

    def test_fixed_vhd_is_its_data_and_a_footer(self):
        path = self.create('d.vhd', 'fixed', size_bytes=5 * MIB)
        self.assertEqual(5 * MIB + 512, os.path.getsize(path))

    @ddt.data(*FORMATS)
    def test_files_are_sparse(self, fmt):
        path = self.create(f'd.{fmt}', 'fixed', size_bytes=10 * GIB)
        self.assertLess(os.stat(path).st_blocks * 512, 2 * MIB)

    @ddt.data(('vhd', {'size_bytes': 0}, disk_errors.INVALID_PARAMETER),
              ('vhd', {}, disk_errors.INVALID_PARAMETER),
              ('vhd', {'size_bytes': 1000}, disk_errors.INVALID_PARAMETER),
              ('vhd', {'size_bytes': 2041 * GIB}, disk_errors.INVALID_SIZE),
              ('vhdx', {'size_bytes': (64 << 40) + 512},
               disk_errors.INVALID_SIZE),
              ('vhd', {'size_bytes': MIB, 'block_bytes': MIB},
               disk_errors.INVALID_BLOCK_SIZE),
              ('vhdx', {'size_bytes': MIB, 'block_bytes': 3 * MIB},
               disk_errors.INVALID_BLOCK_SIZE),
              ('vhd', {'size_bytes': MIB, 'sector_bytes': 4096},
               disk_errors.UNSUPPORTED_SECTOR_SIZE),
              ('vhdx', {'size_bytes': MIB, 'sector_bytes': 520},
               disk_errors.UNSUPPORTED_SECTOR_SIZE))
    @ddt.unpack
    def test_impossible_disk_is_refused(self, fmt, shape, code):
        self.assert_code(code, self.create, f'd.{fmt}', **shape)
        self.assertEqual([], os.listdir(self.dir))

    def test_existing_file_is_left_alone(self):
        path = self.create('d.vhd', size_bytes=MIB)
        with open(path, 'rb') as file:
            before = file.read()
        self.assert_code(disk_errors.FILE_EXISTS, self.create, 'd.vhd',
                         size_bytes=GIB)
        with open(path, 'rb') as file:
            self.assertEqual(before, file.read())

    @ddt.data('vhd', 'vhdx')
    def test_child_has_its_parents_size(self, fmt):
        self.create(f'p.{fmt}', size_bytes=7 * MIB)
        self.child(f'c.{fmt}', f'p.{fmt}')
        with self.open(f'c.{fmt}') as disk:
            self.assertEqual(('differencing', 7 * MIB, f'C:\\p.{fmt}'),
                             (disk.kind, disk.size_bytes, disk.parent_path))

    @ddt.data({'size_bytes': 8 * MIB}, {'block_bytes': 2 * MIB})
    def test_child_with_a_size_of_its_own_is_refused(self, shape):
        """L027: some builds of Windows made malformed disks of these."""
        self.create('p.vhdx', size_bytes=7 * MIB)
        self.assert_code(disk_errors.INVALID_PARAMETER, self.create,
                         'c.vhdx', 'differencing', parent='p.vhdx', **shape)

    def test_child_without_parent_file_is_refused(self):
        self.assert_code(disk_errors.PARENT_NOT_FOUND, self.child, 'c.vhdx',
                         'p.vhdx')

    def test_child_of_another_format_is_refused(self):
        self.create('p.vhd', size_bytes=7 * MIB)
        self.assert_code(disk_errors.INVALID_PARAMETER, self.child, 'c.vhdx',
                         'p.vhd')
        self.assertEqual(['p.vhd'], os.listdir(self.dir))

    @ddt.data(('vhdx', 160 << 10), ('vhd', 4 << 10))
    @ddt.unpack
    def test_cost_of_a_child_does_not_grow_with_the_parent(self, fmt,
                                                           limit_bytes):
        """A VHD child still has four bytes per block."""
        taken = []
        for size_bytes in (GIB, 100 * GIB):
            name = f'{size_bytes}.{fmt}'
            self.create(name, size_bytes=size_bytes)
            self.write(name, 0, b'x' * 6 * MIB)
            path = self.child(f'c{name}', name)
            table_bytes = size_bytes // (2 * MIB) * 4 if fmt == 'vhd' else 0
            taken.append(os.stat(path).st_blocks * 512 - table_bytes)
        self.assertLess(max(taken), limit_bytes + 4096)


@ddt.ddt
class BrokenFileTest(FolderTestCase):
    """Which code each broken structure gives; see disk_errors."""

    @ddt.data(
        ('v-tail-footer-missing.vhd', disk_errors.FOOTER_MISSING),
        ('v-bad-footer-checksum.vhd', disk_errors.FOOTER_CHECKSUM),
        ('v-footer-copies-disagree-tail-1TiB.vhd',
         disk_errors.FOOTER_CORRUPT),
        ('v-bad-dyn-header-checksum.vhd', disk_errors.HEADER_CHECKSUM),
        ('v-block-size-3000.vhd', disk_errors.INVALID_BLOCK_SIZE),
        ('v-max-entries-1.vhd', disk_errors.TABLE_CORRUPT),
        ('v-disk-type-9.vhd', disk_errors.INVALID_TYPE),
        ('x-headers-bad-crc.vhdx', disk_errors.FILE_CORRUPT),
        ('x-region-bad-crc-both.vhdx', disk_errors.FILE_CORRUPT),
        ('x-log-guid-set-no-entries.vhdx', disk_errors.FILE_CORRUPT),
        ('x-block-size-0.vhdx', disk_errors.INVALID_BLOCK_SIZE))
    @ddt.unpack
    def test_broken_file_cannot_be_opened(self, name, code):
        case = next(one for one in malformed_disks.CASES if one.name == name)
        malformed_disks.Maker(self.dir).make(case)
        self.assert_code(code, self.open, name)

    def test_other_files_are_no_disks(self):
        with open(os.path.join(self.dir, 'd.vhd'), 'wb') as file:
            file.write(b'hello' * 1000)
        self.assert_code(disk_errors.NOT_VIRTUAL_DISK, self.open, 'd.vhd')

    def test_missing_file(self):
        self.assert_code(disk_errors.FILE_NOT_FOUND, self.open, 'd.vhd')

    def test_format_is_told_by_content_not_by_name(self):
        os.rename(self.create('d.vhdx', size_bytes=MIB),
                  os.path.join(self.dir, 'd.vhd'))
        with self.open('d.vhd') as disk:
            self.assertEqual('vhdx', disk.fmt)

    def test_broken_parent_is_told_as_such(self):
        parent = self.create('p.vhdx', size_bytes=MIB)
        self.child('c.vhdx', 'p.vhdx')
        os.truncate(parent, 1000)
        self.assert_code(disk_errors.ERROR_IN_PARENT, self.open, 'c.vhdx')


@ddt.ddt
class LinkageTest(FolderTestCase):
    def _family(self, fmt):
        self.create(f'base\\p.{fmt}', size_bytes=5 * MIB)
        self.write(f'base\\p.{fmt}', 0, b'parent')
        self.child(f'vm\\c.{fmt}', f'base\\p.{fmt}')
        return f'base\\p.{fmt}', f'vm\\c.{fmt}'

    @ddt.data(*FORMATS)
    def test_parent_is_found_beside_when_both_moved(self, fmt):
        self._family(fmt)
        os.mkdir(os.path.join(self.dir, 'new'))
        for name in ('base', 'vm'):
            os.rename(os.path.join(self.dir, name),
                      os.path.join(self.dir, 'new', name))
        with self.open(f'new\\vm\\c.{fmt}') as disk:
            self.assertEqual(f'C:\\new\\base\\p.{fmt}', disk.parent_path)
            self.assertEqual(b'parent', disk.read(0, 6))

    @ddt.data(*FORMATS)
    def test_parent_is_found_where_it_was_when_the_child_moved(self, fmt):
        parent, child = self._family(fmt)
        os.mkdir(os.path.join(self.dir, 'deep'))
        os.mkdir(os.path.join(self.dir, 'deep', 'er'))
        os.rename(self.local(f'C:\\{child}'),
                  os.path.join(self.dir, 'deep', 'er', f'c.{fmt}'))
        with self.open(f'deep\\er\\c.{fmt}') as disk:
            self.assertEqual(f'C:\\{parent}', disk.parent_path)

    @ddt.data(*FORMATS)
    def test_missing_parent(self, fmt):
        parent, child = self._family(fmt)
        os.remove(self.local(f'C:\\{parent}'))
        self.assert_code(disk_errors.PARENT_NOT_FOUND, self.open, child)
        with self.open(child, parents=False) as disk:
            self.assertEqual(f'C:\\{parent}', disk.parent_path)

    @ddt.data(*FORMATS)
    def test_another_disk_in_the_parents_place_is_refused(self, fmt):
        parent, child = self._family(fmt)
        os.remove(self.local(f'C:\\{parent}'))
        self.create(parent, size_bytes=5 * MIB)
        self.assert_code(disk_errors.PARENT_ID_MISMATCH, self.open, child)

    def test_written_vhdx_parent_is_refused(self):
        parent, child = self._family('vhdx')
        self.write(parent, 100, b'changed')
        self.assert_code(disk_errors.PARENT_ID_MISMATCH, self.open, child)

    def test_grown_vhd_parent_is_refused(self):
        parent, child = self._family('vhd')
        with self.open(parent, writable=True) as disk:
            disk.resize(6 * MIB)
        self.assert_code(disk_errors.PARENT_SIZE_MISMATCH, self.open, child)

    def test_touched_parent_is_accepted(self):
        """Drivers touch cached parents to mark them as used."""
        parent, child = self._family('vhd')
        os.utime(self.local(f'C:\\{parent}'), (1, 1))
        self.assertEqual(b'parent', self.content(child)[:6])

    @ddt.data(*FORMATS)
    def test_reconnected_child_finds_a_copy_of_its_parent(self, fmt):
        parent, child = self._family(fmt)
        os.rename(self.local(f'C:\\{parent}'),
                  os.path.join(self.dir, f'copy.{fmt}'))
        with self.open(child, writable=True, parents=False) as disk:
            disk.reconnect(f'C:\\copy.{fmt}')
        with self.open(child) as disk:
            self.assertEqual(f'C:\\copy.{fmt}', disk.parent_path)
            self.assertEqual(b'parent', disk.read(0, 6))

    @ddt.data(*FORMATS)
    def test_longer_path_of_the_parent_fits(self, fmt):
        parent, child = self._family(fmt)
        place = '\\'.join(['n' * 60] * 4)
        copy = f'{place}\\p.{fmt}'
        os.makedirs(os.path.dirname(self.local(f'C:\\{copy}')))
        os.rename(self.local(f'C:\\{parent}'), self.local(f'C:\\{copy}'))
        for _ in range(3):
            with self.open(child, writable=True, parents=False) as disk:
                disk.reconnect(f'C:\\{copy}')
        self.assertEqual(b'parent', self.content(child)[:6])

    @ddt.data(*FORMATS)
    def test_foreign_parent_needs_relink(self, fmt):
        _, child = self._family(fmt)
        self.create(f'other.{fmt}', size_bytes=5 * MIB)
        self.write(f'other.{fmt}', 0, b'foreign')
        with self.open(child, writable=True, parents=False) as disk:
            self.assert_code(disk_errors.PARENT_ID_MISMATCH, disk.reconnect,
                             f'C:\\other.{fmt}')
            disk.reconnect(f'C:\\other.{fmt}', relink=True)
        self.assertEqual(b'foreign', self.content(child)[:7])

    def test_reconnect_leaves_the_childs_own_children_in_place(self):
        """It changes the file, not what is read through it."""
        parent, child = self._family('vhdx')
        self.child('g.vhdx', child)
        with self.open(child, writable=True, parents=False) as disk:
            disk.reconnect(f'C:\\{parent}')
        self.assertEqual(b'parent', self.content('g.vhdx')[:6])

    @ddt.data(*FORMATS)
    def test_only_children_have_a_parent_to_reconnect(self, fmt):
        self.create(f'a.{fmt}', size_bytes=MIB)
        self.create(f'b.{fmt}', size_bytes=MIB)
        with self.open(f'a.{fmt}', writable=True) as disk:
            self.assert_code(disk_errors.INVALID_TYPE, disk.reconnect,
                             f'C:\\b.{fmt}')

    def test_circular_chain_is_refused(self):
        parent, child = self._family('vhd')
        grandchild = self.child('g.vhd', child)
        # The root becomes a child of its own grandchild.
        with self.open(child, writable=True, parents=False) as disk:
            disk.reconnect('C:\\g.vhd', relink=True)
        self.assertTrue(os.path.exists(grandchild))
        self.assert_code(disk_errors.CHAIN_CYCLE, self.open, 'g.vhd')

    def test_new_id_of_a_vhd_parent_orphans_its_child(self):
        parent, child = self._family('vhd')
        with self.open(parent, writable=True) as disk:
            disk.set_id(str(uuid.uuid4()))
        self.assert_code(disk_errors.PARENT_ID_MISMATCH, self.open, child)

    @ddt.data(*FORMATS)
    def test_new_id_is_kept(self, fmt):
        parent, _ = self._family(fmt)
        wanted = str(uuid.uuid4())
        with self.open(parent, writable=True) as disk:
            disk.set_id(wanted)
        with self.open(parent) as disk:
            self.assertEqual(wanted, disk.id)

    def test_chain_names_every_open_file(self):
        parent, child = self._family('vhdx')
        self.child('g.vhdx', child)
        with self.open('g.vhdx') as disk:
            self.assertEqual(('C:\\g.vhdx', f'C:\\{child}', f'C:\\{parent}'),
                             disk.chain)

    def test_parents_are_not_written(self):
        parent, child = self._family('vhdx')
        with open(self.local(f'C:\\{parent}'), 'rb') as file:
            before = file.read()
        self.write(child, 0, b'c' * MIB)
        with open(self.local(f'C:\\{parent}'), 'rb') as file:
            self.assertEqual(before, file.read())


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
