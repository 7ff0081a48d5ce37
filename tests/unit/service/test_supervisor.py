# SPDX-License-Identifier: Apache-2.0
"""The supervisor over real child processes."""

import os
import sys
import tempfile
import threading
import time

from compute_hyperv.service import processes
from compute_hyperv.service import supervisor
from tests import base

READY = ('import json, os, sys\n'
         'open(sys.argv[1], "w").write(json.dumps('
         '{"pid": os.getpid(), "state": "running"}))\n')
#: Says that it runs, and ends when it is asked to.
GOOD = READY + 'sys.stdin.readline()\nprint("bye", flush=True)\n'
DEAF = READY + 'import time\ntime.sleep(600)\n'
BROKEN = 'import sys\nprint("broken", flush=True)\nsys.exit(7)\n'
#: Never says that it runs.
SLOW = 'import sys\nsys.stdin.readline()\n'


class SupervisorTest(base.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.output_path = os.path.join(folder.name, 'output.log')
        self.status_path = os.path.join(folder.name, 'status')
        self.scripts = []
        self.pids = []
        self.states = []
        self.running = threading.Event()

    def launch(self):
        script = self.scripts.pop(0) if len(self.scripts) > 1 \
            else self.scripts[0]
        with processes.open_output(self.output_path) as output:
            child = processes.Child(
                [sys.executable, '-c', script, self.status_path],
                status_path=self.status_path, output=output)
        self.pids.append(child.pid)
        return child

    def report(self, state, text):
        self.states.append(state)
        if state is supervisor.State.RUNNING:
            self.running.set()

    def make(self, *scripts, **policy):
        self.scripts = list(scripts)
        policy = {'backoff_s': 0.01, 'stop_timeout_s': 20.0, **policy}
        one = supervisor.Supervisor(
            self.launch, policy=supervisor.Policy(**policy),
            report=self.report)
        one.POLL_S = 0.02
        return one

    def start(self, one):
        ended = []
        thread = threading.Thread(target=lambda: ended.append(one.run()))
        thread.start()
        self.addCleanup(thread.join, 30)
        self.addCleanup(one.stop)
        self.assertTrue(self.running.wait(30))

        def finish():
            one.stop()
            thread.join(30)
            return ended[0]
        return finish

    def output(self):
        with open(self.output_path, encoding='utf-8') as stream:
            return stream.read()

    def assert_gone(self, pid):
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    def test_child_is_stopped_gracefully(self):
        finish = self.start(self.make(GOOD))
        self.assertIs(supervisor.State.STOPPED, finish())
        self.assertIn('bye', self.output())
        self.assertEqual(
            [supervisor.State.STARTING, supervisor.State.RUNNING,
             supervisor.State.STOPPING, supervisor.State.STOPPED],
            self.states)
        self.assert_gone(self.pids[0])

    def test_deaf_child_is_ended_after_the_timeout(self):
        finish = self.start(self.make(DEAF, stop_timeout_s=0.3))
        self.assertIs(supervisor.State.STOPPED, finish())
        self.assert_gone(self.pids[0])

    def test_child_that_dies_is_started_again(self):
        finish = self.start(self.make(BROKEN, BROKEN, GOOD))
        self.assertEqual(3, len(self.pids))
        self.assertIs(supervisor.State.STOPPED, finish())
        self.assertIn(supervisor.State.WAITING, self.states)

    def test_killed_child_is_replaced(self):
        one = self.make(GOOD)
        finish = self.start(one)
        self.running.clear()
        os.kill(self.pids[0], 9)
        self.assertTrue(self.running.wait(30))
        self.assertNotEqual(self.pids[0], self.pids[1])
        self.assertIs(supervisor.State.STOPPED, finish())

    def test_gives_up_after_too_many_ends(self):
        one = self.make(BROKEN, max_restarts=2)
        self.assertIs(supervisor.State.FAILED, one.run())
        self.assertEqual(3, len(self.pids))
        self.assertEqual(7, one.last_exit_code)

    def test_counts_as_running_when_the_start_takes_too_long(self):
        finish = self.start(self.make(SLOW, start_timeout_s=0.1))
        self.assertIs(supervisor.State.STOPPED, finish())

    def test_status_of_an_earlier_child_does_not_count(self):
        with open(self.status_path, 'w', encoding='utf-8') as stream:
            stream.write('{"pid": 1, "state": "running"}')
        self.scripts = [SLOW]
        child = self.launch()
        self.addCleanup(child.close)
        self.addCleanup(child.kill)
        self.assertFalse(child.is_ready())

    def test_a_report_that_fails_does_not_end_the_child(self):
        def broken(state, text):
            self.report(state, text)
            raise OSError('no service manager')
        one = self.make(GOOD)
        one._report = broken
        self.assertIs(supervisor.State.STOPPED, self.start(one)())

    def test_stop_during_the_pause_starts_nothing_more(self):
        one = self.make(BROKEN, backoff_s=600.0)
        thread = threading.Thread(target=one.run)
        thread.start()
        deadline = time.monotonic() + 30
        while supervisor.State.WAITING not in self.states:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        one.stop()
        thread.join(30)
        self.assertFalse(thread.is_alive())
        self.assertEqual(1, len(self.pids))


class PolicyTest(base.TestCase):

    def test_pauses_double_up_to_the_longest(self):
        policy = supervisor.Policy(backoff_s=5, max_backoff_s=60)
        self.assertEqual([5, 10, 20, 40, 60, 60],
                         [policy.pause_s(ends) for ends in range(1, 7)])


class OutputTest(base.TestCase):

    def test_a_large_file_is_set_aside(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'logs', 'output.log')
            processes.open_output(path).close()
            os.truncate(path, processes.MAX_OUTPUT_BYTES + 1)
            with processes.open_output(path) as stream:
                stream.write(b'new')
            self.assertEqual(3, os.path.getsize(path))
            self.assertGreater(os.path.getsize(path + '.1'), 3)
