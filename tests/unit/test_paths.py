# SPDX-License-Identifier: Apache-2.0
import errno
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

import ddt

from compute_hyperv import errors
from compute_hyperv import instanceroots
from compute_hyperv import osfiles
from compute_hyperv import paths
from tests.unit import fakes

MAX_PATH = instanceroots.MAX_PATH
ROOT = r'C:\OpenStack\Instances'


@ddt.ddt
class ComparisonTest(unittest.TestCase):

    @ddt.data((r'C:\A\b.vhdx', r'c:\a\B.VHDX', True),
              (r'C:\A\b', 'C:/a/b/', True),
              (r'\\srv\share\x', '//SRV/Share/X', True),
              (r'C:\A\..\B', r'c:\b', True),
              (r'C:\a', r'D:\a', False))
    @ddt.unpack
    def test_case_and_slashes_do_not_count(self, one, other, expected):
        """L165: comparisons ignore case and accept both slashes."""
        self.assertEqual(expected, paths.same(one, other))

    @ddt.data((r'C:\a\B\c', r'c:\A\b', True), (r'C:\a\bc', r'C:\a\b', False),
              (r'C:\a\b', r'C:\a\b', False), (r'C:\x', 'C:\\', True))
    @ddt.unpack
    def test_is_below(self, path, directory, expected):
        self.assertEqual(expected, paths.is_below(path, directory))


@ddt.ddt
class LayoutTest(unittest.TestCase):

    def paths(self, instances_path=ROOT, **options):
        return paths.Paths(fakes.FolderFiles('/nowhere'),
                           instances_path=instances_path, **options)

    @ddt.data(
        ('instance_dir', ('vm',), r'\vm'),
        ('revert_dir', ('vm',), r'\vm_revert'),
        ('export_dir', ('vm',), r'\export\vm'),
        ('root_path', ('vm', 'VHDX'), r'\vm\root.vhdx'),
        ('ephemeral_path', ('vm', 1, 'vhd'), r'\vm\eph1.vhd'),
        ('swap_path', ('vm', 'vhdx'), r'\vm\swap.vhdx'),
        ('config_path', ('vm', 'iso'), r'\vm\configdrive.iso'),
        ('config_path', ('vm', 'vhd', True), r'\vm\configdrive-rescue.vhd'),
        ('console_path', ('vm',), r'\vm\console.log'))
    @ddt.unpack
    def test_tree_is_that_of_older_drivers(self, method, args, expected):
        self.assertEqual(ROOT + expected,
                         getattr(self.paths(), method)(*args))

    def test_planner_s_layout_agrees(self):
        own, layout = self.paths(), self.paths().layout('vm')
        self.assertEqual(own.root_path('vm', 'vhd'),
                         layout.root_stem + '.vhd')
        self.assertEqual(own.ephemeral_path('vm', 2, 'vhdx'),
                         layout.ephemeral_stem + '2.vhdx')
        self.assertEqual(own.config_path('vm', 'iso'),
                         layout.config_stem + '.iso')
        self.assertEqual(own.base_dir, layout.base_dir)

    @ddt.data('C:/OpenStack/Instances/', r'\\srv\instances$\nova',
              r'C:\ClusterStorage\Volume1\Instances')
    def test_local_unc_and_csv_paths_are_kept(self, path):
        """L084: a share or CSV path is used as it is."""
        self.assertTrue(paths.same(path, self.paths(path).instances_dir))

    @ddt.data('C:\\Open Stack\\My Instances', 'D:\\Instanzen für Zürich',
              '\\\\Datei-Server\\Instanzen\\日本語', 'C:\\a\\..\\Instances\\.')
    def test_blanks_and_other_alphabets_are_kept(self, path):
        own = self.paths(path)
        root = own.root_path('instance-00000001', 'vhdx')
        self.assertTrue(paths.is_below(root, path.upper()))
        self.assertTrue(root.endswith(r'\instance-00000001\root.vhdx'))

    @ddt.data(
        (17, '_base', rf'_base\{"0" * 36}.{"f" * 32}.part.qcow2'),
        (17, 'images of Glance',
         rf'images of Glance\{"0" * 36}.{"f" * 32}.part.qcow2'),
        (41, '_base', rf'{"x" * 41}_revert\Virtual Machines\{"0" * 36}.vmcx'),
        (41, '_base', rf'export\{"x" * 41}\Virtual Machines\{"0" * 36}.vmcx'))
    @ddt.unpack
    def test_longest_path_that_fits_is_accepted(self, longest_name, cache,
                                                deepest):
        """L168: long paths work or are refused at configuration time."""
        longest = 'C:\\' + 'x' * (MAX_PATH - 1 - len(deepest) - 4)
        options = {'longest_name': longest_name, 'cache_dir_name': cache}
        self.assertEqual(longest, self.paths(longest, **options).instances_dir)
        self.assertEqual(MAX_PATH - 1, len(f'{longest}\\{deepest}'))
        with self.assertRaises(errors.BadOption) as caught:
            self.paths(longest + 'x', **options)
        for word in ('instances_path', 'instance_name_template',
                     longest_name, len(longest) + 1):
            self.assertIn(str(word), str(caught.exception))


@ddt.ddt
class FilesTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.clock = fakes.Clock()
        self.files = fakes.FolderFiles(folder.name)
        self.paths = paths.Paths(self.files, instances_path=ROOT,
                                 busy_timeout_s=15, clock=self.clock)
        self.directory = self.paths.instance_dir('vm')

    def write(self, name, content=b'x'):
        path = f'{self.directory}\\{name}'
        self.paths.make_dir(path.rpartition('\\')[0])
        with self.paths.open(path, 'wb') as stream:
            stream.write(content)
        return path

    def test_delete_tree_removes_all(self):
        self.write('root.vhdx')
        self.write(r'Virtual Machines\a\b.vmcx')
        self.paths.delete_tree(self.directory)
        self.assertFalse(self.paths.exists(self.directory))

    def test_names_with_blanks_and_other_alphabets_work(self):
        path = self.write('Snapshot von gestern – Größe 1.vhdx', b'abc')
        copy = f'{self.directory}\\コピー.vhdx'
        self.paths.copy(path, copy)
        self.assertEqual(b'abc', self.paths.read_bytes(copy))
        self.assertEqual(2, len(self.paths.list_dir(self.directory)))

    def test_delete_tree_of_nothing_is_fine(self):
        self.paths.delete_tree(self.directory)

    def test_delete_tree_waits_for_files_in_use(self):
        """L012: retried on sharing violation, then it works."""
        self.files.busy[self.write('root.vhdx')] = 3
        self.paths.delete_tree(self.directory)
        self.assertEqual([1, 1, 1], self.clock.slept)
        self.assertFalse(self.paths.exists(self.directory))

    def test_delete_tree_waits_for_a_directory_that_fills_up(self):
        """L012: retried on "directory not empty"."""
        self.write('root.vhdx')
        self.files.code = 145
        self.files.busy[self.directory] = 2
        self.paths.delete_tree(self.directory)
        self.assertFalse(self.paths.exists(self.directory))

    def test_the_wait_is_bounded(self):
        """L012: for a configurable time (default 15 s)."""
        self.files.busy[self.write('root.vhdx')] = 99
        with self.assertRaises(PermissionError):
            self.paths.delete_tree(self.directory)
        self.assertEqual(15, sum(self.clock.slept))

    def test_other_errors_are_not_retried(self):
        """L012: other errors are not retried."""
        self.files.code = 5
        self.files.busy[self.write('root.vhdx')] = 1
        with self.assertRaises(PermissionError):
            self.paths.remove(f'{self.directory}\\root.vhdx')
        self.assertEqual([], self.clock.slept)

    def test_rename_and_remove_wait_the_same_way(self):
        """L012: renames and single-file removals wait the same way."""
        source = self.write('a')
        self.files.busy[source] = 1
        self.paths.rename(source, f'{self.directory}\\b')
        self.files.busy[f'{self.directory}\\b'] = 1
        self.paths.remove(f'{self.directory}\\b')
        self.assertEqual([1, 1], self.clock.slept)

    def test_remove_of_nothing_is_fine(self):
        self.paths.remove(f'{self.directory}\\nothing')

    def test_what_cannot_be_read_is_not_missing(self):
        """L086: what seems not to be there would be deleted, or made anew."""
        self.write('root.vhdx')
        root = self.paths.root_path('vm', 'vhdx')
        self.files.unreachable = True
        for call in (lambda: self.paths.list_dir(self.directory),
                     lambda: self.paths.exists(root),
                     lambda: self.paths.is_dir(self.directory),
                     lambda: self.paths.find_root('vm'),
                     lambda: self.paths.make_dir(self.directory),
                     lambda: self.paths.delete_tree(self.directory),
                     lambda: list(self.paths.instance_dirs())):
            self.assertRaises(OSError, call)
        self.assertFalse(self.paths.can_read(self.directory))
        self.files.unreachable = False
        self.assertTrue(self.paths.can_read(self.directory))
        self.assertEqual(root, self.paths.find_root('vm'))

    def test_what_is_missing_is_told_by_its_code(self):
        path = self.write('file')
        for missing in (f'{self.directory}2', f'{path}\\below'):
            self.assertEqual([], self.paths.list_dir(missing))
            self.assertFalse(self.paths.exists(missing))
            self.assertFalse(self.paths.is_dir(missing))
            self.assertFalse(self.paths.can_read(missing))
        self.assertFalse(self.paths.is_dir(path))
        self.assertTrue(self.paths.is_dir(self.directory))

    def test_copy_appears_complete_or_not_at_all(self):
        source = self.write('a', b'content')
        self.paths.copy(source, f'{self.directory}\\b')
        self.assertEqual(b'content',
                         self.paths.read_bytes(f'{self.directory}\\b'))
        with self.assertRaises(FileExistsError):
            self.paths.copy(source, f'{self.directory}\\b')
        self.assertEqual(['a', 'b'], self.paths.list_dir(self.directory))

    def test_make_dir_says_who_made_it(self):
        self.assertTrue(self.paths.make_dir(self.directory))
        self.assertFalse(self.paths.make_dir(self.directory))

    def test_find_root_and_config_drive(self):
        self.assertIsNone(self.paths.find_root('vm'))
        self.assertIsNone(self.paths.find_config_drive('vm'))
        root, config = self.write('root.vhd'), self.write('configdrive.iso')
        self.assertEqual(root, self.paths.find_root('vm'))
        self.assertEqual(config, self.paths.find_config_drive('vm'))

    @ddt.data('D:\\', 'D:\\vms', 'D:\\vms\\')
    def test_share_of_the_instances_path_is_found_from_elsewhere(self, path):
        """D9: also one of a whole drive."""
        there = paths.Paths(self.files, instances_path=path)
        self.assertEqual(
            r'\\hv2\instances\vm',
            there.unc(there.instance_dir('vm'), 'hv2', 'instances'))

    def test_instance_dirs_are_only_those(self):
        self.assertEqual([], list(self.paths.instance_dirs()))
        self.write('root.vhdx')
        for directory in (self.paths.base_dir, self.paths.locks_dir,
                          self.paths.export_dir('vm')):
            self.paths.make_dir(directory)
        # What Windows has at the root of a drive is not to be read.
        for name in ('System Volume Information', '$RECYCLE.BIN'):
            self.paths.make_dir(f'{ROOT}\\{name}')
        self.assertEqual([f'{ROOT}\\vm'], list(self.paths.instance_dirs()))

    def test_reading_nothing_is_empty(self):
        """L060: no log yet gives empty output, not an error."""
        self.assertEqual(b'', self.paths.read_bytes(f'{ROOT}\\vm\\x.log'))

    def test_a_lock_file_excludes_others(self):
        """L016: the lock lives with the cache, not in the process."""
        other = paths.Paths(self.files, instances_path=ROOT)
        release = self.paths.try_lock('image-1')
        self.assertIsNone(other.try_lock('image-1'))
        other.try_lock('image-2')()
        release()
        other.try_lock('image-1')()

    def test_lock_file_goes_with_the_lock(self):
        """And one that a process left does no harm."""
        self.paths.make_dir(self.paths.locks_dir)
        with self.paths.open(self.lock_path, 'wb'):
            pass
        release = self.paths.try_lock('image-1')
        self.assertEqual(['hyperv-image-1.lock'], self.lock_files())
        release()
        self.assertEqual([], self.lock_files())

    def test_one_holder_at_a_time_while_files_come_and_go(self):
        holders, most, taken = [], [], []

        def work():
            for _number in range(200):
                release = self.paths.try_lock('image-1')
                if release is not None:
                    holders.append(None)
                    most.append(len(holders))
                    time.sleep(0.0001)
                    holders.pop()
                    release()
                    taken.append(None)
        threads = [threading.Thread(target=work) for _number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(1, max(most))
        self.assertGreater(len(taken), 4)
        self.assertEqual([], self.lock_files())

    @property
    def lock_path(self):
        return self.paths.locks_dir + r'\hyperv-image-1.lock'

    def lock_files(self):
        return self.paths.list_dir(self.paths.locks_dir)

    @unittest.skipIf(sys.platform == 'win32', 'Windows has another call')
    def test_lock_that_fails_otherwise_is_not_waited_for(self):
        """A file system that knows no locks: an error, not an hour."""
        failure = OSError(errno.ENOLCK, 'no locks available')
        with mock.patch.object(osfiles.fcntl, 'flock', autospec=True,
                               side_effect=failure):
            self.assertRaises(OSError, self.paths.try_lock, 'image-1')

    @unittest.skipIf(sys.platform != 'win32', 'a call of Windows')
    def test_share_that_is_not_there_is_not_waited_for(self):
        """An error with its code, not an hour."""
        with self.assertRaises(OSError) as caught:
            osfiles.try_lock(r'C:\no such folder\image-1.lock')
        self.assertEqual(3, caught.exception.winerror)
