# SPDX-License-Identifier: Apache-2.0
"""D9: instances on several cluster shared volumes."""

import errno
import tempfile
import unittest

import ddt

from compute_hyperv import paths
from tests.unit import fakes

CSV = 'C:\\ClusterStorage\\'
PRIMARY = CSV + r'Volume1\Nova\Instances'
SECOND = CSV + r'Volume2\Nova\Instances'


class VolumeFiles(fakes.FolderFiles):
    """With volumes of sizes, and some that cannot be read."""

    def __init__(self, root):
        super().__init__(root)
        self.free = {}
        self.offline = set()

    def _check(self, path):
        if any(path.startswith(volume) for volume in self.offline):
            raise self._error(OSError, errno.EIO, 1117)

    def mtime(self, path):
        self._check(path)
        return super().mtime(path)

    def list_dir(self, path):
        self._check(path)
        return super().list_dir(path)

    def disk_usage(self, path):
        self._check(path)
        return 1000, next(free for volume, free in self.free.items()
                          if path.startswith(volume))


@ddt.ddt
class RootsTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = VolumeFiles(folder.name)
        for path in (PRIMARY, SECOND, CSV + 'Volume3'):
            self.files.make_dirs(path)
        self.files.free = {CSV + 'Volume1': 10, CSV + 'Volume2': 20,
                           CSV + 'Volume3': 30}
        self.paths = self.paths_of(PRIMARY)

    def paths_of(self, instances_path):
        return paths.Paths(self.files, instances_path=instances_path)

    def test_new_instance_goes_where_the_most_space_is(self):
        self.paths.choose_volume('vm')
        self.assertEqual(SECOND + r'\vm', self.paths.instance_dir('vm'))
        self.assertEqual(SECOND + r'\vm_revert', self.paths.revert_dir('vm'))
        self.assertEqual(SECOND + r'\export\vm', self.paths.export_dir('vm'))
        self.assertEqual(SECOND + r'\vm',
                         self.paths.layout('vm').instance_dir)
        # What is of no instance is in one place.
        self.assertEqual(PRIMARY + r'\_base', self.paths.base_dir)
        self.assertEqual(PRIMARY + r'\locks', self.paths.locks_dir)

    def test_choice_is_for_new_ones(self):
        self.paths.make_dir(PRIMARY + r'\vm')
        self.paths.choose_volume('vm')
        self.assertEqual(PRIMARY + r'\vm', self.paths.instance_dir('vm'))

    @ddt.data('vm', 'vm_revert')
    def test_instance_is_found_where_it_lies(self, name):
        """L147: also by another node, which never chose."""
        self.paths.make_dir(f'{SECOND}\\{name}')
        self.assertEqual(SECOND + r'\vm',
                         self.paths_of(PRIMARY).instance_dir('vm'))

    def test_all_are_listed(self):
        self.paths.make_dir(PRIMARY + r'\one')
        self.paths.make_dir(SECOND + r'\two')
        self.paths.make_dir(self.paths.base_dir)
        self.assertEqual([PRIMARY + r'\one', SECOND + r'\two'],
                         list(self.paths.instance_dirs()))
        self.assertEqual([PRIMARY, SECOND], self.paths.readable_roots())

    def test_both_of_one_name_are_listed(self):
        """L022: the parents of the disks in either must stay."""
        for directory in (PRIMARY + r'\vm', SECOND + r'\vm'):
            self.paths.make_dir(directory)
        self.assertEqual([PRIMARY + r'\vm', SECOND + r'\vm'],
                         list(self.paths.instance_dirs()))

    def test_volume_that_cannot_be_read_is_not_empty(self):
        """Its instances must not be taken for missing, nor their parents."""
        self.paths.make_dir(PRIMARY + r'\one')
        self.paths.make_dir(SECOND + r'\two')
        self.files.offline = {CSV + 'Volume2'}
        self.assertRaises(OSError, self.paths.instance_dir, 'two')
        self.assertRaises(OSError, list, self.paths.instance_dirs())
        # The others do not suffer, and new ones go elsewhere.
        self.assertEqual(PRIMARY + r'\one', self.paths.instance_dir('one'))
        self.assertEqual([PRIMARY], self.paths.readable_roots())
        self.paths.choose_volume('new')

    @ddt.data(r'C:\ClusterStorage\Volume1', r'C:\Nova\Instances',
              r'\\nas\ClusterStorage\Volume1\Nova')
    def test_other_places_stay_alone(self, path):
        own = self.paths_of(path)
        own.choose_volume('vm')
        self.assertEqual([path], own.readable_roots())
        self.assertEqual(path + r'\vm', own.instance_dir('vm'))

    def test_too_long_a_path_is_not_used(self):
        long = CSV + 'V' * 150 + r'\Nova\Instances'
        self.files.make_dirs(long)
        self.assertEqual([PRIMARY, SECOND], self.paths.readable_roots())
