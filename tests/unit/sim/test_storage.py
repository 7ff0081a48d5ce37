# SPDX-License-Identifier: Apache-2.0
"""Files of a simulated host: names, errors, share modes, volumes.

Codes: Microsoft, "System Error Codes" and the pages of CreateFileW,
MoveFileExW, CopyFileW, DeleteFileW, RemoveDirectoryW; the errno of each is
Python's (PC/errmap.h).
"""

import os

import ddt
from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies

from compute_hyperv.sim.errors import Win32Error
from compute_hyperv.sim import file_ops
from compute_hyperv.sim import handles
from tests.unit.sim import onehost

GIB = 1 << 30
NAMES = strategies.text('abCD12_ß ', min_size=1, max_size=4).filter(
    lambda name: name == name.strip())
READ, WRITE, DELETE = handles.READ, handles.WRITE, handles.DELETE


class NamesTest(onehost.OneHostCase):

    def test_name_keeps_its_case_and_is_found_in_any(self):
        self.write(r'C:\Instances\Probe\Root.vhdx', b'x')
        self.assertEqual(['Probe'], self.files.list_dir(r'c:\INSTANCES'))
        self.assertEqual(b'x', self.read(r'C:/instances/PROBE/root.VHDX'))

    def test_writing_by_another_case_keeps_the_name(self):
        self.write(r'C:\dir\Name.txt', b'1')
        self.write(r'C:\DIR\NAME.TXT', b'2')
        self.assertEqual(['Name.txt'], self.files.list_dir('C:\\dir'))

    def test_rename_can_change_the_case_only(self):
        self.write('C:\\name')
        self.files.rename('C:\\name', 'C:\\NAME')
        self.assertIn('NAME', self.files.list_dir('C:\\'))

    def test_name_put_over_another_is_spelt_as_asked_for(self):
        self.write('C:\\old')
        self.write('C:\\Name')
        self.files.replace('C:\\old', 'C:\\nAME')
        self.assertIn('nAME', self.files.list_dir('C:\\'))
        self.assertNotIn('Name', self.files.list_dir('C:\\'))

    def test_names_are_listed_in_the_order_of_ntfs(self):
        for name in ('b', 'A', 'c_', 'C1'):
            self.write('C:\\x\\' + name)
        self.assertEqual(['A', 'b', 'C1', 'c_'],
                         self.files.list_dir('C:\\x'))

    def test_drives_are_apart(self):
        self.write('C:\\a')
        self.assertFalse(self.files.exists('D:\\a'))

    def test_other_shares_and_drives_do_not_exist(self):
        self.fabric.shares.add(r'\\FS\vms', GIB)
        self.assert_fails(3, self.files.list_dir, 'E:\\')
        self.assert_fails(53, self.files.stat, r'\\nowhere\vms\x')
        self.assert_fails(67, self.files.stat, r'\\FS\other\x')
        self.assertFalse(self.files.exists(r'\\nowhere\vms'))

    def test_administrative_share_is_the_drive(self):
        self.write('C:\\dir\\a', b'x')
        for server in ('HV1', 'hv1', 'localhost', '127.0.0.1'):
            self.assertEqual(b'x', self.read(r'\\%s\c$\dir\a' % server))

    def test_host_path_is_where_the_bytes_are(self):
        self.write('C:\\dir\\a', b'x')
        with open(self.files.host_path('c:\\DIR\\A'), 'rb') as file:
            self.assertEqual(b'x', file.read())

    def test_local_file_has_a_windows_path(self):
        self.write('C:\\dir\\a')
        self.assertEqual('C:\\dir\\a', self.storage.windows_path(
            self.files.host_path('C:\\dir\\a')))
        self.assertIsNone(self.storage.windows_path(os.__file__))


class NamesPropertyTest(onehost.OneHostCase):

    @settings(max_examples=50, suppress_health_check=[
        HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(strategies.lists(NAMES, min_size=1, max_size=4),
           strategies.randoms(use_true_random=False))
    def test_tree_is_found_in_any_case(self, names, random):
        path = 'C:\\t\\' + '\\'.join(names)
        self.files.make_dirs(path)
        other = ''.join(
            char if char == 'ß' else random.choice(
                (char.lower(), char.upper())) for char in path)
        self.assertTrue(self.files.is_dir(other))
        self.assertEqual(self.files.host_path(path),
                         self.files.host_path(other))
        self.files.remove_tree('C:\\T')
        self.assertFalse(self.files.exists(path))


@ddt.ddt
class RefusalsTest(onehost.OneHostCase):
    """One row per refusal: operation, arguments, code."""

    def setUp(self):
        super().setUp()
        self.write('C:\\file', b'x')
        self.write('C:\\full\\inner')
        self.write('C:\\held', b'x')
        self.files.make_dirs('C:\\empty')
        self.write('C:\\readonly')
        self.host.port.call('file.set_read_only', path='C:\\readonly',
                            read_only=True)
        held = self.storage.hold('C:\\held', write=True, share='none',
                                 owner='vm 1')
        self.addCleanup(held.close)

    @ddt.data(
        ('list_dir', ('C:\\none',), 3), ('list_dir', ('C:\\file',), 267),
        ('open', ('C:\\none',), 2), ('open', ('C:\\no\\file',), 3),
        ('open', ('C:\\file\\x',), 3), ('open', ('C:\\empty',), 5),
        ('open', ('C:\\no\\file', 'w'), 3), ('open', ('C:\\held',), 32),
        ('open', ('C:\\held', 'w'), 32), ('open', ('C:\\file', 'x'), 80),
        ('open', ('C:\\readonly', 'a'), 5), ('open', ('C:\\a*b', 'w'), 123),
        ('make_dir', ('C:\\empty',), 183), ('make_dir', ('C:\\no\\x',), 3),
        ('make_dir', ('C:\\file',), 183), ('make_dirs', ('C:\\file',), 183),
        ('make_dirs', ('C:\\' + 'dir\\' * 70,), 206),
        ('remove', ('C:\\none',), 2), ('remove', ('C:\\no\\x',), 3),
        ('remove', ('C:\\empty',), 5), ('remove', ('C:\\held',), 32),
        ('remove', ('C:\\readonly',), 5),
        ('remove_dir', ('C:\\none',), 2), ('remove_dir', ('C:\\full',), 145),
        ('remove_dir', ('C:\\file',), 267), ('remove_dir', ('C:\\',), 5),
        ('remove_tree', ('C:\\none',), 3), ('remove_tree', ('C:\\file',),
                                            267),
        ('rename', ('C:\\none', 'C:\\x'), 2),
        ('rename', ('C:\\file', 'C:\\full\\inner'), 183),
        ('rename', ('C:\\file', 'C:\\no\\x'), 3),
        ('rename', ('C:\\held', 'C:\\x'), 32),
        ('rename', ('C:\\file', 'D:\\x'), 17),
        ('replace', ('C:\\file', 'C:\\empty'), 5),
        ('replace', ('C:\\file', 'C:\\held'), 5),
        ('copy', ('C:\\none', 'C:\\x'), 2), ('copy', ('C:\\held', 'C:\\x'),
                                             32),
        ('copy', ('C:\\file', 'C:\\held'), 32),
        ('copy', ('C:\\full', 'C:\\x'), 5),
        ('copy', ('C:\\file', 'C:\\no\\x'), 3),
        ('size_bytes', ('C:\\none',), 2), ('touch', ('C:\\none',), 2),
        ('disk_usage', ('C:\\none',), 3), ('disk_usage', ('C:\\file',), 267))
    @ddt.unpack
    def test_refused(self, name, args, code):
        before = self.files.list_dir('C:\\')
        error = self.assert_fails(code, getattr(self.files, name), *args)
        self.assertEqual(args[0], error.filename)
        self.assertEqual(before, self.files.list_dir('C:\\'))

    @ddt.data((2, FileNotFoundError), (3, FileNotFoundError),
              (5, PermissionError), (32, PermissionError),
              (80, FileExistsError), (183, FileExistsError),
              (267, NotADirectoryError), (206, FileNotFoundError),
              (53, FileNotFoundError), (109, BrokenPipeError))
    @ddt.unpack
    def test_code_gives_the_exception_of_python_for_windows(self, code,
                                                            expected):
        from compute_hyperv.sim import winerror
        error = winerror.os_error(code, 'C:\\x')
        self.assertIs(expected, type(error))
        self.assertEqual((code, 'C:\\x'), (error.winerror, error.filename))


class TreeTest(onehost.OneHostCase):

    def test_remove_tree_stops_at_a_file_in_use(self):
        for name in 'acb':
            self.write('C:\\dir\\' + name)
        held = self.storage.hold('C:\\dir\\b', owner='vm 1')
        self.assert_fails(32, self.files.remove_tree, 'C:\\dir')
        self.assertEqual(['b', 'c'], self.files.list_dir('C:\\dir'))
        held.close()
        self.files.remove_tree('C:\\dir')
        self.assertFalse(self.files.exists('C:\\dir'))

    def test_remove_tree_leaves_what_links_point_at(self):
        self.write('C:\\kept\\a')
        self.files.make_dirs('C:\\dir')
        self.win.get_pathutils().create_sym_link('C:\\dir\\l', 'C:\\kept')
        self.files.remove_tree('C:\\dir')
        self.assertEqual(['a'], self.files.list_dir('C:\\kept'))

    def test_folder_with_open_file_cannot_be_renamed(self):
        self.write('C:\\dir\\sub\\a')
        with self.files.open('C:\\dir\\sub\\a'):
            self.assert_fails(5, self.files.rename, 'C:\\dir', 'C:\\new')
        self.files.rename('C:\\dir', 'C:\\new')
        self.assertTrue(self.files.exists('C:\\new\\sub\\a'))

    def test_make_dirs_makes_parents_once(self):
        self.files.make_dirs('C:\\a\\b\\c')
        self.files.make_dirs('C:\\A\\B\\C')
        self.assertEqual(['c'], self.files.list_dir('C:\\a\\b'))

    def test_long_path_needs_the_prefix(self):
        path = 'C:\\' + '\\'.join(['folder'] * 60)
        self.assert_fails(206, self.files.make_dirs, path)
        self.files.make_dirs('\\\\?\\' + path)
        self.assertTrue(self.files.is_dir('\\\\?\\' + path))
        self.assertFalse(self.files.is_dir(path))


@ddt.ddt
class ShareModesTest(onehost.OneHostCase):
    """CreateFileW: access and share of both openers must fit."""

    @ddt.data(
        # access, share of the first; access, share of the second; allowed
        (READ, READ, READ, READ, True),
        (READ, READ, WRITE, READ, False),
        (READ, READ | WRITE, WRITE, READ, True),
        (READ, READ | WRITE, WRITE, 0, False),
        (WRITE, READ, READ, READ, False),
        (WRITE, READ, READ, READ | WRITE, True),
        (WRITE, 0, READ, READ | WRITE, False),
        (READ | WRITE, READ | WRITE, READ | WRITE, READ | WRITE, True),
        (READ, READ | WRITE, DELETE, READ | WRITE | DELETE, False),
        (READ, READ | WRITE | DELETE, DELETE, READ, True),
        (READ | WRITE, 0, 0, 0, True),
        (READ | WRITE, 0, 0, READ | WRITE | DELETE, True),
        (0, 0, READ | WRITE, 0, True))
    @ddt.unpack
    def test_second_opener(self, access, share, access2, share2, allowed):
        self.write('C:\\f')
        local = self.storage.local('C:\\f')
        table = self.fabric.shares.handles
        first = table.open('C:\\f', local, access=access, share=share)
        try:
            table.open('c:\\F', local, access=access2, share=share2).close()
            self.assertTrue(allowed)
        except Win32Error as error:
            self.assertEqual((False, 32), (allowed, error.winerror))
        first.close()

    def test_file_is_the_same_by_all_its_paths(self):
        self.write('C:\\dir\\f')
        self.win.get_pathutils().create_sym_link('C:\\link', 'C:\\dir')
        held = self.storage.hold('C:\\dir\\f', write=True, share='none')
        for path in ('C:\\DIR\\F', r'\\HV1\C$\dir\f', 'C:\\link\\f'):
            self.assert_fails(32, self.files.open, path)
        held.close()
        self.files.open('C:\\link\\f').close()

    def test_file_opened_by_python_cannot_go(self):
        self.write('C:\\f')
        with self.files.open('C:\\f', 'a') as file:
            self.assert_fails(32, self.files.remove, 'C:\\f')
            self.assert_fails(32, self.files.rename, 'C:\\f', 'C:\\g')
            with self.files.open('C:\\f', 'rb'):
                file.write('x')
        self.files.remove('C:\\f')

    def test_handles_of_a_process_end_with_it(self):
        self.write('C:\\f')
        self.host.port.call('file.open', path='C:\\f', access=READ, share=0,
                            client='nova')
        self.host.storage.client_gone('other')
        self.assert_fails(32, self.files.remove, 'C:\\f')
        self.host.storage.client_gone('nova')
        self.files.remove('C:\\f')


class VolumesTest(onehost.OneHostCase):

    MORE_HOSTS = ('HV2',)

    def test_capacity_is_the_hosts_and_files_take_of_it(self):
        self.assertEqual(['C', 'D'], self.storage.volumes())
        total, free = self.files.disk_usage('D:\\')
        self.assertEqual(GIB, total)
        self.write('D:\\a', bytes(4096))
        self.assertEqual((total, free - 4096), self.files.disk_usage('D:\\'))
        self.files.remove('D:\\a')
        self.assertEqual((total, free), self.storage.volume('D'))

    def test_copy_that_does_not_fit_leaves_nothing(self):
        self.write('C:\\big')
        with self.files.open('C:\\big', 'r+b') as file:
            file.truncate(2 * GIB)
        self.assert_fails(112, self.files.copy, 'C:\\big', 'D:\\big')
        self.assertEqual([], self.files.list_dir('D:\\'))

    def test_copy_keeps_holes_bytes_and_time(self):
        self.write('C:\\a', b'begin')
        with self.files.open('C:\\a', 'r+b') as file:
            file.seek(64 << 20)
            file.write(b'end')
        self.files.touch('C:\\a', 1_600_000_000)
        self.files.copy('C:\\a', 'D:\\b')
        self.assertEqual(self.read('C:\\a'), self.read('D:\\b'))
        self.assertEqual(1_600_000_000, self.files.mtime('D:\\b'))
        blocks = os.stat(self.files.host_path('D:\\b')).st_blocks
        self.assertLess(blocks * 512, 1 << 20)

    def test_cluster_volume_is_mounted_on_every_node(self):
        volume = self.fabric.shares.add_csv('Volume1', 10 * GIB,
                                            [self.storage])
        path = r'C:\ClusterStorage\Volume1'
        self.write(path + r'\vm\a', b'x')
        self.assertEqual(10 * GIB, self.files.disk_usage(path)[0])
        self.assertEqual(1, volume.used_bytes())
        self.assert_fails(17, self.files.rename, path + r'\vm\a', 'C:\\a')
        self.assertEqual(path + r'\vm\a', self.storage.windows_path(
            self.storage.local(path + r'\vm\a')))

    def test_cluster_volume_is_there_again_after_a_restart(self):
        for _ in range(2):
            self.fabric.shares.add_csv('Volume1', GIB, [self.storage])
        self.assertEqual(['Volume1'],
                         self.files.list_dir('C:\\ClusterStorage'))

    def test_shares_are_seen_and_locked_by_all_hosts(self):
        self.fabric.shares.add(r'\\FS\vms', GIB)
        path = self.write(r'\\FS\vms\vm1\root.vhdx', b'x')
        held = self.storage.hold(path, write=True, share='none')
        other = self.fabric.host('HV2').port
        with self.assertRaises(Win32Error) as caught:
            other.call('file.open', path=path.lower(), access=READ, share=7)
        self.assertEqual(32, caught.exception.winerror)
        held.close()


class CleanTest(onehost.OneHostCase):

    def test_what_is_left_behind_is_named(self):
        self.write('C:\\before')
        self.storage.mark()
        self.assert_clean()
        self.write('C:\\dir\\after')
        file = self.files.open('C:\\before')
        self.assertEqual(['C:\\before is open by open()',
                          'left behind: C:\\dir\\after'],
                         self.storage.problems())
        file.close()
        self.storage.ignored = [r'\\dir\\']
        self.assert_clean()

    def test_empty_folders_and_links_are_left_behind_too(self):
        self.files.make_dirs('C:\\kept')
        self.storage.mark()
        self.files.make_dirs('C:\\new\\inner')
        self.files.make_dirs('C:\\kept\\x')
        self.files.remove_dir('C:\\kept\\x')
        self.win.get_pathutils().create_sym_link('C:\\l', 'C:\\kept')
        self.assertEqual(['left behind: C:\\l',
                          'left behind: C:\\new\\inner\\'],
                         self.storage.problems())

    def test_shared_volumes_are_looked_at_once(self):
        self.fabric.shares.add(r'\\FS\vms', GIB)
        self.fabric.mark()
        self.write(r'\\FS\vms\x')
        self.assertEqual(['left behind: \\\\FS\\vms\\x'],
                         self.fabric.problems())

    def test_power_cut_closes_everything(self):
        self.write('C:\\f')
        file = self.files.open('C:\\f')
        self.storage.power_cut()
        self.assertEqual([], self.storage.problems())
        file.close()

    def test_lists_and_links_outlive_the_process(self):
        self.write('C:\\f')
        path = self.win.get_pathutils()
        path.create_sym_link('C:\\l', 'C:\\gone', target_is_dir=True)
        path.add_acl_rule('C:\\f', 'Everyone', 0x10000000, 1)
        shares = self.fabric.shares
        dumped = shares.dump()
        shares.acls, shares.dir_links = {}, set()
        shares.load(dumped)
        self.assertEqual('Everyone', self.host.port.call(
            'dll.advapi32.GetNamedSecurityInfoW',
            path='C:\\f')[0]['trustee'])
        self.files.remove_dir('C:\\l')

    def test_dispositions_of_create_file(self):
        call = self.host.port.call
        common = {'path': 'C:\\f', 'access': WRITE, 'share': 0}
        made = call('file.open', disposition=file_ops.OPEN_ALWAYS, **common)
        self.assertFalse(made['existed'])
        self.assertTrue(call('file.close', handle=made['handle']))
        self.assertFalse(call('file.close', handle=made['handle']))
        with open(made['local'], 'wb') as file:
            file.write(b'old')
        again = call('file.open', disposition=file_ops.TRUNCATE_EXISTING,
                     **common)
        call('file.close', handle=again['handle'])
        self.assertEqual(b'', self.read('C:\\f'))
