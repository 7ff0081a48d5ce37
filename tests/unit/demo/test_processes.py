# SPDX-License-Identifier: Apache-2.0
"""tools/cloud/processes.py, with real processes."""

import os
import sys

from cloud import errors
from cloud import layout
from cloud import processes
from tests.unit.demo import foldercase

_TIMEOUT_S = 60
# Runs until it is killed; tells when its signal handler is in place.
_STUBBORN = ('import signal, time; signal.signal(signal.SIGTERM, '
             'signal.SIG_IGN); print("ready", flush=True); time.sleep(600)')
# Ends at once and leaves a child in a session of its own, as epmd does.
_DAEMON = ('import subprocess, sys; subprocess.Popen([sys.executable, "-c", '
           '"import time; time.sleep(600)"], start_new_session=True)')
_PARENT = ('import subprocess, sys; subprocess.run([sys.executable, "-c", '
           '"import time; time.sleep(600)"])')


class ProcessesTest(foldercase.FolderCase):

    def setUp(self):
        super().setUp()
        self.procs = processes.Processes(self.layout)
        self.addCleanup(self.procs.sweep)

    def python(self, name, code):
        return self.procs.start(name, [sys.executable, '-c', code])

    def sleeper(self, name):
        return self.python(name, 'import time; time.sleep(600)')

    def wait_for_output(self, name):
        path = self.procs.log_path(name)
        processes.until(lambda: path.stat().st_size > 0, _TIMEOUT_S, name)

    def wait_for_count(self, count):
        processes.until(lambda: len(self.procs.belonging()) == count,
                        _TIMEOUT_S, f'{count} processes')

    def test_started_process_is_found_again_by_another_object(self):
        self.sleeper('api')
        found = processes.Processes(self.layout).find('api')
        self.assertEqual({found.pid}, self.procs.belonging())
        # The kernel counts the pages of a new process a bit late.
        processes.until(lambda: self.procs.find('api').rss_mib > 0,
                        _TIMEOUT_S, 'the process takes memory')

    def test_start_does_nothing_while_it_runs(self):
        self.assertTrue(self.sleeper('api'))
        first = self.procs.find('api').pid
        self.assertFalse(self.sleeper('api'))
        self.assertEqual(first, self.procs.find('api').pid)

    def test_record_of_an_older_process_with_the_same_pid_is_stale(self):
        self.sleeper('api')
        record = self.layout.run_dir / 'api.json'
        text = record.read_text()
        record.write_text(text.replace('"ticks": ', '"ticks": 1'))
        self.assertIsNone(self.procs.find('api'))
        record.write_text(text)

    def test_stop_ends_the_children_too(self):
        self.python('service', _PARENT)
        self.wait_for_count(2)
        self.assertEqual(set(), self.procs.stop(['service'], grace_s=5))
        self.assertEqual(set(), self.procs.belonging())

    def test_stop_kills_what_does_not_listen(self):
        self.python('stubborn', _STUBBORN)
        self.wait_for_output('stubborn')
        pid = self.procs.find('stubborn').pid
        self.assertEqual({pid}, self.procs.stop(['stubborn'], grace_s=0.2))
        self.assertIsNone(self.procs.find('stubborn'))

    def test_stop_leaves_others_alone(self):
        self.sleeper('one')
        self.sleeper('two')
        self.procs.stop(['one', 'never-started'], grace_s=5)
        self.assertIsNone(self.procs.find('one'))
        self.assertIsNotNone(self.procs.find('two'))

    def test_sweep_finds_daemons_of_processes_that_are_gone(self):
        self.python('rabbitmq', _DAEMON)
        processes.until(lambda: self.procs.find('rabbitmq') is None,
                        _TIMEOUT_S, 'the parent ends')
        self.wait_for_count(1)
        self.assertEqual(1, len(self.procs.sweep()))
        self.assertEqual(set(), self.procs.belonging())

    def test_sweep_leaves_another_cloud_alone(self):
        other = layout.Layout(self.layout.base_dir, 'check')
        other.make_dirs()
        others = processes.Processes(other)
        self.addCleanup(others.sweep)
        others.start('api', [sys.executable, '-c',
                             'import time; time.sleep(600)'])
        self.assertEqual([], self.procs.sweep())
        self.assertIsNotNone(others.find('api'))

    def test_wait_tells_of_a_process_that_ended(self):
        self.python('api', 'print("no configuration")')
        with self.assertRaisesRegex(errors.DemoError, 'api ended') as caught:
            self.procs.wait('api', lambda: False, _TIMEOUT_S, 'api answers')
        self.assertEqual(['no configuration'],
                         errors.tail(caught.exception.log_path))

    def test_wait_is_bounded_and_names_the_log(self):
        self.sleeper('api')
        with self.assertRaisesRegex(errors.DemoError,
                                    'api answers: not within') as caught:
            self.procs.wait('api', lambda: False, 0.1, 'api answers')
        self.assertEqual(self.procs.log_path('api'),
                         caught.exception.log_path)

    def test_process_that_is_not_ready_in_time_is_ended(self):
        # The next "up" would wait for it again instead of starting it anew.
        self.python('api', _STUBBORN)
        self.wait_for_output('api')
        with self.assertRaisesRegex(errors.DemoError, 'not within'):
            self.procs.wait('api', lambda: False, 0.1, 'api answers', 0.1)
        self.assertIsNone(self.procs.find('api'))

    def test_interrupted_wait_leaves_the_process(self):
        self.sleeper('api')

        def interrupted():
            raise errors.Interrupted('api: not waited for.')

        with self.assertRaises(errors.Interrupted):
            self.procs.wait('api', interrupted, _TIMEOUT_S, 'api answers')
        self.assertIsNotNone(self.procs.find('api'))

    def test_log_of_the_run_before_is_kept(self):
        for word in ('first', 'second'):
            self.python('api', f'print("{word}")')
            self.wait_for_output('api')
            self.procs.stop(['api'], grace_s=5)
        path = self.procs.log_path('api')
        self.assertEqual('second\n', path.read_text())
        self.assertEqual('first\n',
                         path.with_suffix('.log.1').read_text())


class OutputTest(foldercase.FolderCase):

    def run_python(self, code, timeout_s=_TIMEOUT_S):
        return processes.output(self.layout, [sys.executable, '-c', code],
                                'command', timeout_s)

    def test_output_is_returned_and_logged(self):
        self.assertEqual('done\n', self.run_python('print("done")'))
        log = (self.layout.log_dir / 'command.log').read_text()
        self.assertIn('print("done")', log)
        self.assertTrue(log.endswith('done\n'))

    def test_all_that_a_long_command_prints_goes_to_its_log(self):
        code = ('import sys; print("one", flush=True); '
                'print("two", file=sys.stderr)')
        processes.run(self.layout, [sys.executable, '-c', code], 'pip',
                      _TIMEOUT_S)
        log = (self.layout.log_dir / 'pip.log').read_text()
        self.assertTrue(log.endswith('one\ntwo\n'), log)

    def test_failure_names_the_code_and_the_log(self):
        with self.assertRaisesRegex(errors.DemoError, 'code 3') as caught:
            self.run_python('import sys; print("why", file=sys.stderr); '
                            'sys.exit(3)')
        self.assertEqual('why', errors.tail(caught.exception.log_path)[-1])

    def test_command_that_hangs_is_ended(self):
        with self.assertRaisesRegex(errors.DemoError, 'longer than'):
            self.run_python('import time; time.sleep(600)', timeout_s=0.3)
        self.assertEqual(
            set(), processes.Processes(self.layout).belonging())

    def test_credentials_of_the_person_do_not_reach_commands(self):
        os.environ['OS_CLOUD'] = 'production'
        self.addCleanup(os.environ.pop, 'OS_CLOUD')
        self.assertEqual('None\n', self.run_python(
            'import os; print(os.environ.get("OS_CLOUD"))'))
