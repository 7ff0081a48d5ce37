# SPDX-License-Identifier: Apache-2.0
"""compute_hyperv.simcloud.volumes."""

import os
import tempfile
import unittest

from compute_hyperv.simcloud import volumes


class SparseFilesTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = volumes.SparseFiles(os.path.join(folder.name, 'new'))

    def size_gib(self, name):
        return self.files.path(name).stat().st_size / volumes.GIB

    def used_bytes(self, name):
        return self.files.path(name).stat().st_blocks * 512

    def write(self, name, offset_bytes, content):
        with open(self.files.path(name), 'r+b') as volume:
            volume.seek(offset_bytes)
            volume.write(content)

    def read(self, name, offset_bytes, count):
        with open(self.files.path(name), 'rb') as volume:
            volume.seek(offset_bytes)
            return volume.read(count)

    def test_new_volume_has_its_size_and_takes_no_space(self):
        self.files.create('one', 3)
        self.assertEqual(3, self.size_gib('one'))
        self.assertLess(self.used_bytes('one'), 2 ** 20)

    def test_volume_is_not_created_over_another(self):
        self.files.create('one', 1)
        self.write('one', 0, b'data')
        self.assertRaises(FileExistsError, self.files.create, 'one', 1)
        self.assertEqual(b'data', self.read('one', 0, 4))

    def test_delete_bears_repetition(self):
        self.files.create('one', 1)
        self.files.delete('one')
        self.files.delete('one')
        self.assertFalse(self.files.path('one').exists())

    def test_extend_keeps_the_content(self):
        self.files.create('one', 1)
        self.write('one', volumes.GIB - 4, b'tail')
        self.files.extend('one', 2)
        self.assertEqual(2, self.size_gib('one'))
        self.assertEqual(b'tail\0', self.read('one', volumes.GIB - 4, 5))

    def test_extend_refuses_to_shrink(self):
        self.files.create('one', 2)
        self.assertRaises(ValueError, self.files.extend, 'one', 1)
        self.assertEqual(2, self.size_gib('one'))

    def test_copy_has_the_bytes_and_stays_sparse(self):
        self.files.create('one', 1)
        self.write('one', 0, b'head')
        self.write('one', 512 * 2 ** 20 - 2, b'middle')
        self.files.copy('one', 'two', 2)
        self.assertEqual(2, self.size_gib('two'))
        self.assertEqual(b'head', self.read('two', 0, 4))
        self.assertEqual(b'middle', self.read('two', 512 * 2 ** 20 - 2, 6))
        self.assertLess(self.used_bytes('two'), 16 * 2 ** 20)

    def test_copy_of_zeros_ends_where_its_source_ends(self):
        self.files.create('one', 1)
        self.files.copy('one', 'two', 1)
        self.assertEqual(1, self.size_gib('two'))

    def test_copy_that_does_not_fit_leaves_nothing(self):
        self.files.create('one', 2)
        self.assertRaises(ValueError, self.files.copy, 'one', 'two', 1)
        left = [path.name for path in self.files.path('two').parent.iterdir()]
        self.assertEqual(['one.raw'], left)

    def test_disk_usage_is_that_of_the_file_system(self):
        total_gib, free_gib = self.files.disk_usage()
        self.assertGreater(total_gib, free_gib)
        self.assertGreater(free_gib, 0)
