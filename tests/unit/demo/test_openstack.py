# SPDX-License-Identifier: Apache-2.0
"""tools/cloud/openstack.py and warm.py, with a client of the test's own."""

import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest

from cloud import errors
from cloud import layout
from cloud import openstack
from cloud import warm

#: Stands where openstackclient is in the cloud's venv.
CLIENT = textwrap.dedent('''
    import os
    import sys
    import time

    def main(argv):
        if argv == ['sleep']:
            time.sleep(60)
        if argv == ['die']:
            os._exit(3)
        if argv == ['help']:
            sys.exit(0)
        print(os.getpid(), os.environ.get('OS_NAME'), os.getcwd(), *argv)
        print('to the log', file=sys.stderr)
        return 4 if 'fail' in argv else None
''')


class OpenstackTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        base_dir = pathlib.Path(folder.name, 'with a space')
        self.layout = layout.Layout(base_dir)
        self.layout.make_dirs()
        package = base_dir / 'openstackclient'
        package.mkdir()
        (package / '__init__.py').write_text('')
        (package / 'shell.py').write_text(CLIENT)
        # -P keeps PYTHONPATH, which the program drops from the environment.
        python = self.layout.venv_dir / 'bin' / 'python'
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{base_dir}" exec '
                          f'{sys.executable} "$@"\n')
        python.chmod(0o755)
        self.openstack = openstack.Openstack(self.layout, {'OS_NAME': 'me'})
        self.addCleanup(self.openstack.close)

    def log(self):
        return (self.layout.log_dir / 'openstack.log').read_text()

    def test_commands_run_in_processes_of_their_own(self):
        first = self.openstack.run(['server', 'list'], 20).split()
        second = self.openstack.run(['a b'], 20).split()
        self.assertEqual(['me', os.getcwd(), 'server', 'list'], first[1:])
        self.assertEqual(['a', 'b'], second[3:])
        self.assertEqual(3, len({first[0], second[0], str(os.getpid())}))
        self.assertIn('$ openstack server list\nto the log\n', self.log())
        self.assertEqual('', self.openstack.run(['help'], 20))

    def test_failures_are_told(self):
        for words, seconds, text in ((['fail'], 20, 'failed with code 4'),
                                     (['die'], 20, 'ended'),
                                     (['sleep'], 0.5, 'took longer than')):
            with self.subTest(words), self.assertRaisesRegex(
                    errors.DemoError, text) as caught:
                self.openstack.run(words, seconds)
            self.assertEqual('openstack.log', caught.exception.log_path.name)
        self.assertIn('again', self.openstack.run(['again'], 20))

    def test_program_stands_for_openstack_in_a_shell(self):
        sock = self.openstack.socket()
        done = subprocess.run(
            [sys.executable, '-I', warm.__file__, 'run', 'volume', 'fail'],
            pass_fds=[sock.fileno()], capture_output=True, text=True,
            cwd='/', env={warm.VARIABLE: str(sock.fileno()),
                          'OS_NAME': 'other'})
        self.assertEqual((4, 'to the log\n'), (done.returncode, done.stderr))
        self.assertEqual('other / volume fail',
                         done.stdout.strip().partition(' ')[2])

    def test_server_ends_with_its_commands(self):
        self.openstack.run(['one'], 20)
        server = self.openstack._server
        self.openstack.close()
        self.assertIsNotNone(server.returncode)
