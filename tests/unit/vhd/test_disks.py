# SPDX-License-Identifier: Apache-2.0
"""The disk model: defaults, refusals with their Windows codes, linkage."""

import os
import uuid

import ddt

from compute_hyperv.sim import disk_errors
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
