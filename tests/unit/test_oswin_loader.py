# SPDX-License-Identifier: Apache-2.0
"""Running the unmodified os-win; most of it in processes of their own."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import ddt

from compute_hyperv import osfiles
from compute_hyperv import oswin_loader

START = """\
import sys
from nova import monkey_patch
monkey_patch.patch()
from compute_hyperv import oswin_loader
"""


@ddt.ddt
class ProcessTest(unittest.TestCase):

    def output(self, code, threading=True):
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', START + code],
            env=dict(os.environ, OS_NOVA_DISABLE_EVENTLET_PATCHING=str(
                int(threading))),
            capture_output=True, text=True)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout.split()

    ALL = """
import importlib, pathlib
oswin_loader.install()
oswin_loader.install()
import os_win
folder = pathlib.Path(os_win.__file__).parent
count = 0
for path in sorted(folder.rglob('*.py')):
    parts = path.relative_to(folder.parent).with_suffix('').parts
    if 'tests' in parts or '_hacking' in parts:
        continue
    importlib.import_module('.'.join(parts).replace('.__init__', ''))
    count += 1
print(count)
"""

    def test_every_module_can_be_imported_with_native_threads(self):
        count, has_stub, refused = self.output(self.ALL + """
print('eventlet' in sys.modules)
try:
    import eventlet
    print('given')
except ImportError:
    print('refused')
""")
        self.assertGreater(int(count), 50)
        self.assertEqual(('False', 'refused'), (has_stub, refused))

    def test_every_module_can_be_imported_with_green_threads(self):
        count, real = self.output(self.ALL + """
import eventlet
from os_win.utils.compute import vmutils
print(vmutils.patcher is eventlet.patcher)
""", threading=False)
        self.assertGreater(int(count), 50)
        self.assertEqual('True', real)

    def test_nothing_else_sees_an_answer(self):
        self.assertEqual(['False', 'linux', 'True'], self.output("""
oswin_loader.install()
import os_win
before = 'pkg_resources' in sys.modules
import builtins, os_win.exceptions
print(before, sys.platform, __import__ is builtins.__import__)
"""))

    def test_os_win_is_not_changed(self):
        path, = self.output("""
oswin_loader.install()
import inspect
from os_win.utils import jobutils
assert 'class JobUtils' in inspect.getsource(jobutils)
print(jobutils.__file__)
""")
        self.assertTrue(path.endswith('os_win/utils/jobutils.py'))

    @ddt.data('install()', 'provide(lambda: None)')
    def test_too_late_is_an_error(self, call):
        self.assertEqual(['refused'], self.output(f"""
import types
sys.modules['os_win'] = types.ModuleType('os_win')
try:
    oswin_loader.{call}
except RuntimeError:
    print('refused')
"""))

    def test_provider_names_the_host(self):
        self.assertEqual(['HV7', 'factory', 'refused'], self.output("""
import types
factory = types.SimpleNamespace(get_vmutils=lambda: 'factory')
host = oswin_loader.BoundHost('HV7', factory, None)
known = []
def provider():
    if not known:
        raise LookupError('no host')
    return known[0]
oswin_loader.provide(provider)
known.append(host)
print(oswin_loader.bind().name)
from os_win import utilsfactory
print(utilsfactory.get_vmutils())
known.clear()
try:
    utilsfactory.get_vmutils
except LookupError:
    print('refused')
"""))


@ddt.ddt
class VersionTest(unittest.TestCase):

    @ddt.data(('9.10', '9.2'), ('10.0', '9.3'), ('6.2', '5.0'),
              ('254.0', '12.0'))
    @ddt.unpack
    def test_versions_compare_as_numbers(self, newer, older):
        self.assertGreater(oswin_loader.parse_version(newer),
                           oswin_loader.parse_version(older))


class OsFilesTest(unittest.TestCase):
    """The files of the machine, by the driver's protocol."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.files = osfiles.OsFiles()
        self.path = os.path.join(self.folder, 'a', 'b')
        self.files.make_dirs(self.path)
        self.files.make_dirs(self.path)
        self.file = os.path.join(self.path, 'f')
        with self.files.open(self.file, 'w', encoding='utf-8') as stream:
            stream.write('text')

    def test_what_is_there(self):
        files = self.files
        self.assertEqual(['f'], files.list_dir(self.path))
        self.assertTrue(files.is_dir(self.path))
        self.assertTrue(files.is_file(self.file))
        self.assertFalse(files.is_file(self.path))
        self.assertEqual(4, files.size_bytes(self.file))
        self.assertEqual(self.file, files.host_path(self.file))
        total_bytes, free_bytes = files.disk_usage(self.path)
        self.assertLessEqual(free_bytes, total_bytes)

    def test_changes(self):
        files, other = self.files, self.file + '2'
        files.copy(self.file, other)
        files.touch(other, 1000.0)
        self.assertEqual(1000.0, files.mtime(other))
        files.replace(other, self.file)
        self.assertFalse(files.exists(other))
        files.rename(self.file, other)
        files.remove(other)
        files.remove_dir(self.path)
        self.assertFalse(files.exists(self.path))
