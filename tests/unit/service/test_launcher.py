# SPDX-License-Identifier: Apache-2.0
"""The child's launcher, the shims and the command line."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from unittest import mock

import ddt
from oslo_concurrency import processutils

from compute_hyperv.service import cli
from compute_hyperv.service import launcher
from compute_hyperv.service import settings
from compute_hyperv.service import shims
from tests import base


class Server:
    """A Nova service that notes what is asked of it."""

    def __init__(self):
        self.asked = []

    def start(self):
        self.asked.append('start')

    def stop(self):
        self.asked.append('stop')

    def wait(self):
        self.asked.append('wait')


class LauncherTest(base.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, 'status')
        self.launcher = launcher.Launcher(launcher.Status(self.path))

    def status(self):
        with open(self.path, encoding='utf-8') as stream:
            return json.load(stream)

    def test_serve_tells_that_nova_runs(self):
        server = Server()
        self.launcher.serve(server, workers=1, no_fork=True)
        self.assertEqual(['start'], server.asked)
        self.assertEqual({'pid': os.getpid(), 'state': 'running'},
                         self.status())

    def test_status_waits_for_a_reader_of_the_old_one(self):
        """Windows refuses to replace a file while it is being read."""
        replace, refusals = os.replace, [PermissionError(13, 'in use')] * 3

        def busy(*paths):
            if refusals:
                raise refusals.pop()
            replace(*paths)

        with mock.patch.object(launcher.os, 'replace', busy):
            launcher.Status(self.path).write(launcher.State.RUNNING)
        self.assertEqual('running', self.status()['state'])

    def test_end_of_input_stops_the_service_gracefully(self):
        server = Server()
        self.launcher.serve(server)
        waiting = threading.Thread(target=self.launcher.wait)
        waiting.start()
        launcher.watch(io.BytesIO(b''), self.launcher)
        waiting.join(30)
        self.assertEqual(['start', 'stop', 'wait'], server.asked)
        self.assertEqual('stopping', self.status()['state'])

    def test_stop_while_starting_ends_the_process(self):
        script = ('import io, sys\n'
                  'from compute_hyperv.service import launcher\n'
                  'one = launcher.Launcher(launcher.Status(sys.argv[1]))\n'
                  'launcher.watch(io.BytesIO(b"stop"), one)\n'
                  'sys.exit(9)\n')
        ended = subprocess.run([sys.executable, '-c', script, self.path],
                               timeout=60)
        self.assertEqual(0, ended.returncode)
        self.assertEqual('stopping', self.status()['state'])


class ShimsTest(base.TestCase):

    def test_nothing_is_applied_elsewhere(self):
        before = processutils.subprocess
        self.assertEqual((), shims.apply('linux'))
        self.assertIs(before, processutils.subprocess)

    def test_every_shim_tells_what_why_and_until(self):
        for shim in shims.SHIMS:
            for text in (shim.what, shim.why, shim.until):
                self.assertTrue(text.endswith('.'), shim.name)

    def test_processutils_runs_programs_without_preexec_fn(self):
        self.addCleanup(setattr, processutils, 'subprocess', subprocess)
        shims.mend_processutils()
        out, _ = processutils.execute(sys.executable, '-c', 'print(40 + 2)')
        self.assertEqual('42', out.strip())

    def test_changed_library_is_refused_by_name(self):
        self.addCleanup(setattr, processutils, 'subprocess', subprocess)
        processutils.subprocess = object()
        self.assert_refuses(shims.ShapeChanged, "'processutils'",
                            'preexec_fn', call=shims.mend_processutils)


@ddt.ddt
class CommandTest(base.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.conf = os.path.join(folder.name, 'nova ä.conf')
        open(self.conf, 'w').close()

    def run_cli(self, *args):
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            return cli.main(args), err.getvalue()

    def test_missing_configuration_file_is_named(self):
        code, err = self.run_cli('run', '--config-file', self.conf + '.x')
        self.assertEqual(1, code)
        self.assertIn(self.conf + '.x', err)

    @ddt.data('start', 'stop', 'status', 'remove')
    def test_services_exist_on_windows_only(self, command):
        if sys.platform == 'win32':
            self.skipTest('this is Windows')
        code, err = self.run_cli(command)
        self.assertEqual(2, code)
        self.assertIn('Windows only', err)

    def test_service_command_line_quotes_paths(self):
        options = settings.Settings(name='nova-compute', log_dir='l o g',
                                    config_files=(self.conf,))
        command = options.service_command()
        self.assertIn(f'--config-file "{self.conf}"', command)
        self.assertIn('--log-dir "l o g"', command)
        self.assertEqual(['--config-file', self.conf], options.nova_args())

    @ddt.data(('CORP\\nova$', None), ('NT AUTHORITY\\NetworkService', None),
              (None, None))
    @ddt.unpack
    def test_accounts_without_password_are_not_asked_for_one(
            self, account, expected):
        given = cli.make_parser().parse_args(
            ['install', '--config-file', self.conf] +
            (['--account', account] if account else []))
        self.assertEqual(expected, cli._password(given))
