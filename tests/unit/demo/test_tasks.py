# SPDX-License-Identifier: Apache-2.0
"""tools/cloud/tasks.py and progress.py."""

import io
import threading
import unittest

from cloud import progress
from cloud import tasks

_TIMEOUT_S = 60


class RunTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.out = io.StringIO()
        self.show = progress.Progress(self.out)
        self.done = []

    def task(self, name, *after, answer='', error=None):
        def action():
            self.done.append(name)
            if error is not None:
                raise error
            return answer
        return tasks.Task(name, f'Title of {name}', action, after)

    def test_needs_come_first(self):
        tasks.run([self.task('roof', 'walls'), self.task('walls', 'floor'),
                   self.task('floor')], self.show)
        self.assertEqual(['floor', 'walls', 'roof'], self.done)

    def test_independent_tasks_run_at_the_same_time(self):
        meeting = threading.Barrier(2, timeout=_TIMEOUT_S)

        def action():
            meeting.wait()
            return ''

        tasks.run([tasks.Task('one', 'One', action),
                   tasks.Task('two', 'Two', action)], self.show)
        self.assertFalse(meeting.broken)

    def test_failure_stops_what_has_not_begun(self):
        error = LookupError('no bricks')
        with self.assertRaises(LookupError) as caught:
            tasks.run([self.task('walls', error=error),
                       self.task('roof', 'walls'),
                       self.task('paint', 'roof')], self.show)
        self.assertIs(error, caught.exception)
        self.assertEqual(['walls'], self.done)

    def test_unknown_need_is_refused_before_anything_runs(self):
        with self.assertRaisesRegex(ValueError, 'cellar'):
            tasks.run([self.task('floor'), self.task('walls', 'cellar')],
                      self.show)
        self.assertEqual([], self.done)

    def test_cycle_is_refused(self):
        with self.assertRaisesRegex(ValueError, 'wait for each other'):
            tasks.run([self.task('hen', 'egg'), self.task('egg', 'hen')],
                      self.show)

    def test_each_task_is_one_line_with_its_remark(self):
        tasks.run([self.task('walls', answer='of brick')], self.show)
        self.assertRegex(self.out.getvalue(),
                         r'^  ok +0\.\d s  Title of walls +of brick\n$')

    def test_task_with_nothing_to_do_leaves_no_line(self):
        tasks.run([self.task('walls', answer=tasks.NOTHING)], self.show)
        self.assertEqual('', self.out.getvalue())

    def test_failed_task_leaves_a_line(self):
        with self.assertRaises(LookupError):
            tasks.run([self.task('walls', error=LookupError())], self.show)
        self.assertRegex(self.out.getvalue(), r'^FAIL .* Title of walls\n$')


class ProgressTest(unittest.TestCase):

    def test_columns_are_aligned(self):
        out = io.StringIO()
        show = progress.Progress(out)
        show.line('ok', 0.24, 'Short', 'remark')
        show.line('FAIL', 123.46, 'A longer title', 'remark')
        first, second = out.getvalue().splitlines()
        self.assertEqual(first.index('remark'), second.index('remark'))
        self.assertEqual('FAIL  123.5 s  A longer title', second[:29])

    def test_no_escape_codes_outside_of_a_terminal(self):
        out = io.StringIO()
        show = progress.Progress(out)
        show.title('Title')
        with show.step('Step'):
            show.say('in between')
        show.close()
        self.assertNotIn('\033', out.getvalue())
        self.assertNotIn('\r', out.getvalue())
