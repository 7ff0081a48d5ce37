# SPDX-License-Identifier: Apache-2.0
"""os, shutil, tempfile and open as os-win's modules see them."""

import ast
import importlib.util
import inspect
import pathlib
import tempfile

import ddt

from compute_hyperv import osfiles
from compute_hyperv.sim import osmodules
from tests import base
from tests.unit.sim import onehost


class OsModulesCase(onehost.OneHostCase):

    def setUp(self):
        super().setUp()
        modules = osmodules.modules(self.host.port)
        self.os = modules['os']
        self.shutil = modules['shutil']
        self.tempfile = modules['tempfile']
        self.open = modules['open']
        self.fileutils = modules['oslo_utils.fileutils']


@ddt.ddt
class OsTest(OsModulesCase):

    def test_files_are_the_hosts(self):
        self.os.makedirs('C:\\a\\b')
        with self.open('C:\\a\\b\\f', 'w') as file:
            file.write('text')
        self.assertEqual(['f'], self.os.listdir('C:\\a\\b'))
        self.assertEqual(4, self.os.path.getsize('C:\\a\\b\\F'))
        self.assertEqual(4, self.os.stat('C:\\a\\b\\f').st_size)
        self.os.rename('C:\\a\\b\\f', 'C:\\a\\g')
        self.assertEqual([('C:\\a', ['b'], ['g']), ('C:\\a\\b', [], [])],
                         list(self.os.walk('C:\\a')))
        self.os.unlink('C:\\a\\g')
        self.os.rmdir('C:\\a\\b')
        self.assertEqual([], self.os.listdir('C:\\a'))

    def test_makedirs_minds_exist_ok(self):
        self.os.makedirs('C:\\a')
        self.os.makedirs('C:\\a', exist_ok=True)
        self.assert_fails(183, self.os.makedirs, 'C:\\a')

    def test_local_files_are_reached_and_their_errors_have_codes(self):
        with tempfile.NamedTemporaryFile() as file:
            self.assertTrue(self.os.path.exists(file.name))
            self.assertTrue(self.os.path.isfile(pathlib.Path(file.name)))
        self.assert_fails(2, self.open, file.name)
        self.assert_fails(2, self.os.remove, file.name)

    def test_read_only_file_stays(self):
        self.write('C:\\f')
        self.os.chmod('C:\\f', 0o444)
        self.assert_fails(5, self.os.remove, 'C:\\f')
        self.os.chmod('C:\\f', 0o666)
        self.os.remove('C:\\f')

    def test_links_are_followed_and_read(self):
        self.write('C:\\dir\\f', b'x')
        self.win.get_pathutils().create_sym_link('C:\\l', 'C:\\dir')
        self.assertTrue(self.os.path.islink('C:\\l'))
        self.assertEqual('C:\\dir', self.os.readlink('C:\\l'))
        self.assertTrue(self.os.path.samefile('C:\\l\\f', 'C:\\dir\\f'))
        self.assert_fails(4390, self.os.readlink, 'C:\\dir')
        self.assert_fails(5, self.os.remove, 'C:\\l')
        self.os.rmdir('C:\\l')
        self.assertEqual(['f'], self.os.listdir('C:\\dir'))

    @ddt.data(
        ('join', ('C:\\a', 'b', 'c'), 'C:\\a\\b\\c'),
        ('join', ('C:\\a', 'D:\\b'), 'D:\\b'),
        ('join', ('/a', 'b'), '/a/b'),
        ('basename', ('C:\\a\\b.vhdx',), 'b.vhdx'),
        ('basename', (r'\\s\h\b',), 'b'), ('basename', ('/a/b',), 'b'),
        ('dirname', ('C:\\a\\b',), 'C:\\a'),
        ('splitext', ('C:\\a.b\\c',), ('C:\\a.b\\c', '')),
        ('splitext', ('disk.vhdx',), ('disk', '.vhdx')),
        ('isabs', ('C:\\a',), True), ('isabs', ('/a',), True),
        ('isabs', ('a',), False),
        ('abspath', ('C:\\a\\..\\b',), 'C:\\b'),
        ('normpath', ('C:/a//b',), 'C:\\a\\b'))
    @ddt.unpack
    def test_path_function(self, name, args, expected):
        self.assertEqual(expected, getattr(self.os.path, name)(*args))

    def test_other_names_are_the_real_modules(self):
        import os
        self.assertIs(os.getpid, self.os.getpid)
        self.assertEqual(('nt', '\\'), (self.os.name, self.os.sep))


class ShutilTest(OsModulesCase):

    def test_tree_is_copied_and_removed(self):
        self.write('C:\\a\\b\\f', b'x')
        self.write('C:\\a\\g', b'y')
        self.shutil.copytree('C:\\a', 'D:\\new\\a')
        self.assertEqual(b'x', self.read('D:\\new\\a\\b\\f'))
        self.assert_fails(183, self.shutil.copytree, 'C:\\a', 'D:\\new\\a')
        self.shutil.rmtree('D:\\new')
        self.assertFalse(self.os.path.exists('D:\\new'))
        self.assert_fails(3, self.shutil.rmtree, 'D:\\new')
        self.shutil.rmtree('D:\\new', ignore_errors=True)

    def test_file_is_copied_into_a_folder(self):
        self.write('C:\\f', b'x')
        self.os.makedirs('D:\\dir')
        self.shutil.copy('C:\\f', 'D:\\dir')
        self.shutil.copyfile('C:\\f', 'D:\\dir\\g')
        self.assertEqual(['f', 'g'], self.os.listdir('D:\\dir'))
        usage = self.shutil.disk_usage('D:\\')
        self.assertEqual((1 << 30, 2), (usage.total, usage.used))


class TempfileTest(OsModulesCase):

    def test_names_are_on_the_host_and_free(self):
        descriptor, path = self.tempfile.mkstemp(suffix='.vhdx')
        self.os.write(descriptor, b'x')
        self.os.close(descriptor)
        self.assertTrue(path.startswith('C:\\Windows\\Temp\\tmp'))
        self.assertEqual(b'x', self.read(path))
        self.fileutils.delete_if_exists(path)
        self.fileutils.delete_if_exists(path)
        self.assertFalse(self.os.path.exists(path))
        folder = self.tempfile.mkdtemp(prefix='p', dir='D:\\x')
        self.assertTrue(self.os.path.isdir(folder))

    def test_temporary_file_has_a_path_and_goes(self):
        with self.tempfile.TemporaryFile(suffix='.x') as file:
            file.write(b'data')
            file.flush()
            self.assertEqual(b'data', self.read(file.name))
        self.assertFalse(self.os.path.exists(file.name))


@ddt.ddt
class OpenTest(OsModulesCase):

    @ddt.data(('r', 'old'), ('rb', b'old'), ('r+', 'old'), ('w', None),
              ('wb', None), ('w+', ''), ('a', None), ('a+', ''),
              ('ab+', b''))
    @ddt.unpack
    def test_mode(self, mode, content):
        self.write('C:\\f', b'old')
        with self.open('C:\\f', mode) as file:
            if content is not None:
                self.assertEqual(content, file.read())
            else:
                self.assertFalse(file.readable())
        left = b'' if 'w' in mode else b'old'
        self.assertEqual(left, self.read('C:\\f'))
        self.assert_clean()

    @ddt.data('', 'rw', 'bt', 'q', 'rbt')
    def test_mode_that_is_none(self, mode):
        self.write('C:\\f')
        with self.assertRaises(ValueError):
            self.open('C:\\f', mode)
        self.assert_clean()

    def test_appending_goes_on_at_the_end(self):
        self.write('C:\\f', b'old')
        with self.open('C:\\f', 'ab', 1) as file:
            self.assertEqual(3, file.tell())
            file.write(b'new')
        self.assertEqual(b'oldnew', self.read('C:\\f'))

    def test_exclusive_mode_makes_or_refuses(self):
        self.open('C:\\f', 'x').close()
        self.assert_fails(80, self.open, 'C:\\f', 'x')

    def test_dropped_file_is_closed(self):
        self.write('C:\\f')
        with self.assertWarns(ResourceWarning):
            self.open('C:\\f')
        self.assert_clean()

    def test_unbuffered_file_and_text_options(self):
        with self.open('C:\\f', 'wb', 0) as file:
            file.write(b'now')
            self.assertEqual(b'now', self.read('C:\\f'))
        with self.assertRaises(ValueError):
            self.open('C:\\f', 'w', 0)
        with self.open('C:\\f', 'w', encoding='utf-16-le') as file:
            file.write('é')
        self.assertEqual('é'.encode('utf-16-le'), self.read('C:\\f'))


@ddt.ddt
class FilesProtocolTest(base.TestCase):
    """The simulator's Files and the operating system's are alike."""

    @ddt.data(*(name for name in vars(osfiles.Files)
                if not name.startswith('_')))
    def test_method_takes_the_same_arguments(self, name):
        wanted = list(inspect.signature(
            getattr(osfiles.Files, name)).parameters)[1:]
        for kind in (osmodules.Files, osfiles.OsFiles):
            method = getattr(kind(None) if kind is osmodules.Files
                             else kind(), name)
            given = inspect.signature(method).parameters.values()
            # Functions of `os` name their arguments otherwise, and have
            # more of them, all optional or by keyword only.
            needed = [one.name for one in given
                      if one.default is one.empty
                      and one.kind is not one.KEYWORD_ONLY]
            self.assertLessEqual(len(needed), len(wanted))
            if kind is osmodules.Files:
                self.assertEqual(wanted, [one.name for one in given]
                                 [:len(wanted)])


class ImportsOfOsWinTest(onehost.OneHostCase):

    def test_oswin_imports_no_other_module_that_windows_differs_in(self):
        """What os-win 5.9.0 imports is known and answered or harmless."""
        known = {
            # answered by the simulated host
            'os', 'sys', 'ctypes', 'shutil', 'tempfile', 'platform',
            'socket', 'time', 'wmi', 'eventlet', 'pkg_resources', 'six',
            'importlib', 'builtins',
            # the same everywhere
            'abc', 'ast', 'collections', 'contextlib', 'copy', 'errno',
            'functools', 'inspect', 'itertools', 'json', 're', 'struct',
            'sys', 'textwrap', 'threading', 'types', 'uuid', 'netaddr',
            'pbr', 'oslo_concurrency', 'oslo_config', 'oslo_i18n',
            'oslo_log', 'oslo_utils', 'os_win', 'math', 'operator',
            'traceback', 'Queue', 'queue', 'warnings', 'random'}
        root = pathlib.Path(importlib.util.find_spec('os_win').origin).parent
        found = set()
        for path in root.rglob('*.py'):
            if {'tests', '_hacking'} & set(path.parts):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {name.name.partition('.')[0]
                              for name in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(node.module.partition('.')[0])
        self.assertEqual(set(), found - known)
