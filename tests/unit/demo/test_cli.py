# SPDX-License-Identifier: Apache-2.0
"""tools/demo as a person calls it, as far as nothing has to run for it."""

import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import ddt

_TOOLS = pathlib.Path(__file__).parents[3] / 'tools'
_DEMO = [sys.executable, '-c', f'import sys; sys.path[:0] = [{str(_TOOLS)!r}, '
         f'{str(_TOOLS.parent)!r}]; from cloud import cli; '
         f'sys.exit(cli.main(sys.argv[1:]))']
# What waits in a thread, as the starts of services do, beside a command.
_WAITS = '''
import pathlib, sys, time
from cloud import cli, layout, processes, tasks
def up(args, show):
    here = layout.Layout(cli._base_dir(args))
    here.make_dirs()
    tasks.run([
        tasks.Task("a", "Waiting", lambda: processes.until(
            lambda: print("waits", flush=True), 600, "never")),
        tasks.Task("b", "Sleeping", lambda: processes.run(
            here, ["sleep", "600"], "sleep", 600))], show)
cli._COMMANDS["up"] = up
sys.exit(cli.main(sys.argv[1:]))
'''


# The signal comes while the next task is handed to its thread.
_WAITS_EARLY = '''
import os, signal
from cloud import cli, processes, tasks
def up(args, show):
    def ready(waiting, done, find=tasks._ready):
        for task in find(waiting, done):
            yield task
            os.kill(os.getpid(), signal.SIGINT)
    tasks._ready = ready
    tasks.run([tasks.Task("a", "Waiting", lambda: processes.until(
        lambda: False, 600, "never"))], show)
cli._COMMANDS["up"] = up
sys.exit(cli.main(sys.argv[1:]))
'''


@ddt.ddt
class CommandTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name) / 'a cloud'

    def test_who_hangs_up_after_nohup_is_not_heard(self):
        shown = subprocess.run(
            ['nohup', *_DEMO[:2], _DEMO[2].replace(
                'sys.exit', 'import os, signal; cli._COMMANDS["status"] = '
                'lambda *_: (os.kill(os.getpid(), signal.SIGHUP), 7)[1]; '
                'sys.exit'), 'status', '--dir', str(self.folder)], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(7, shown.returncode, shown.stdout)

    def demo(self, *words):
        done = subprocess.run(
            [*_DEMO, *words, '--dir', str(self.folder)], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout

    @ddt.data(
        ('status', 1, r"No cloud in .*a cloud: .*up --dir '.*a cloud'"),
        ('down', 1, 'No cloud'), ('boot', 1, 'Which name'),
        ('boot x', 1, 'No cloud'), ('migrate', 1, 'No cloud'),
        ('clean', 0, 'There is nothing in'),
        ('up x', 2, 'up does not take x'),
        ('status --port 25000', 2, 'status does not take --port'),
        ('up --host HV1', 2, 'up does not take --host'),
        ('down --keep-packages', 2, 'down does not take --keep-packages'),
        ('up --port 70000', 1, '"--port" may be 1024 to 65476'),
        ('reboot', 2, 'invalid choice'))
    @ddt.unpack
    def test_what_cannot_be_done_is_told(self, words, code, text):
        found = self.demo(*words.split())
        self.assertEqual(code, found[0], found[1])
        self.assertRegex(found[1], text)
        self.assertNotIn('Traceback', found[1])
        self.assertNotIn('Errno', found[1])

    def test_folder_that_cannot_be_made(self):
        self.folder.touch()
        code, shown = self.demo('up', '--port', '25000')
        self.assertEqual(1, code)
        self.assertRegex(shown, 'Failed: .*a cloud.*: (Not a directory|File '
                         'exists)')

    @ddt.data(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    def test_interruption_ends_what_waits(self, number):
        began = time.monotonic()
        with subprocess.Popen(
                [*_DEMO[:2], re.sub('; from cloud.*', '', _DEMO[2]) + _WAITS,
                 'up', '--dir', str(self.folder)], text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                # Whoever runs the tests in the background ignores some.
                preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)
        ) as child, contextlib.ExitStack() as stack:
            stack.callback(child.kill)
            log = self.folder / 'cloud' / 'log' / 'sleep.log'
            while not log.exists():
                time.sleep(0.05)
                self.assertLess(time.monotonic(), began + 60)
            child.send_signal(number)
            shown, _errors = child.communicate(timeout=60)
        self.assertEqual(130, child.returncode, shown)
        self.assertEqual(2, shown.count('stop '), shown)
        self.assertIn('goes on from here', shown)
        self.assertNotIn('Traceback', shown)

    def test_interruption_between_two_tasks_ends_what_waits(self):
        done = subprocess.run(
            [*_DEMO[:2], re.sub('; from cloud.*', '', _DEMO[2]) +
             _WAITS_EARLY, 'up', '--dir', str(self.folder)], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.default_int_handler), check=False)
        self.assertEqual(130, done.returncode, done.stdout)
        self.assertIn('stop ', done.stdout)
