# SPDX-License-Identifier: Apache-2.0
import threading
import unittest

from compute_hyperv import errors
from compute_hyperv import operation
from tests.unit import fakes


class RollbackTest(unittest.TestCase):

    def setUp(self):
        self.undone = []

    def run_and_fail(self, *undo):
        with self.assertRaises(ZeroDivisionError):
            with operation.Rollback('work') as rollback:
                for action in undo:
                    rollback.on_failure(action)
                raise ZeroDivisionError

    def test_nothing_is_undone_after_success(self):
        with operation.Rollback('work') as rollback:
            rollback.on_failure(self.undone.append, 'a')
        self.assertEqual([], self.undone)

    def test_steps_are_undone_in_reverse_order(self):
        self.run_and_fail(lambda: self.undone.append('first'),
                          lambda: self.undone.append('second'))
        self.assertEqual(['second', 'first'], self.undone)

    def test_what_is_left_as_it_is_stays_done(self):
        def fail():
            with operation.Rollback('work') as rollback:
                rollback.on_failure(self.undone.append, 'before')
                rollback.leave()
                rollback.on_failure(self.undone.append, 'after')
                raise ZeroDivisionError
        self.assertRaises(ZeroDivisionError, fail)
        self.assertEqual(['after'], self.undone)

    def test_a_failing_undo_hides_neither_the_error_nor_the_others(self):
        with self.assertLogs('compute_hyperv.operation', 'ERROR') as logs:
            self.run_and_fail(lambda: self.undone.append('first'),
                              fakes.Failing(ValueError('broken undo')))
        self.assertEqual(['first'], self.undone)
        self.assertIn('Rollback of work', logs.output[0])

    def test_keyboard_interrupt_is_undone_too(self):
        with self.assertRaises(KeyboardInterrupt):
            with operation.Rollback('work') as rollback:
                rollback.on_failure(self.undone.append, 'a')
                raise KeyboardInterrupt
        self.assertEqual(['a'], self.undone)


class UntilTest(unittest.TestCase):

    def setUp(self):
        self.clock = fakes.Clock()

    def until(self, results, **kwargs):
        return operation.until(iter(results).__next__, what='the disk',
                               clock=self.clock, **kwargs)

    def test_first_true_result_is_returned_without_sleeping(self):
        self.assertEqual('x', self.until(['x'], timeout_s=0))
        self.assertEqual([], self.clock.slept)

    def test_it_asks_every_interval(self):
        self.assertEqual(
            3, self.until([0, None, 3], timeout_s=10, interval_s=2))
        self.assertEqual([2, 2], self.clock.slept)

    def test_it_never_sleeps_past_the_deadline(self):
        with self.assertRaises(errors.WaitTimeout) as caught:
            self.until([0] * 9, timeout_s=5, interval_s=3)
        self.assertEqual([3, 2], self.clock.slept)
        self.assertIn('the disk: not done within 5 seconds',
                      str(caught.exception))


class RetryTest(unittest.TestCase):

    def setUp(self):
        self.clock = fakes.Clock()

    def retry(self, call, **kwargs):
        kwargs.setdefault('on', (OSError,))
        return operation.retry(call, clock=self.clock, **kwargs)

    def test_arguments_and_result_pass(self):
        self.assertEqual(5, operation.retry(max, 2, 5, on=(OSError,),
                                            attempts=1))

    def test_it_tries_again_after_the_delay(self):
        call = fakes.Failing(OSError(), OSError(), result='done')
        self.assertEqual('done', self.retry(call, attempts=3, delay_s=4))
        self.assertEqual([4, 4], self.clock.slept)

    def test_the_last_error_is_raised(self):
        call = fakes.Failing(OSError(1), OSError(2), OSError(3))
        with self.assertRaises(OSError) as caught:
            self.retry(call, attempts=2)
        self.assertEqual((2,), caught.exception.args)

    def test_the_time_limit_ends_it(self):
        """L012: waits a configurable time."""
        call = fakes.Failing(*[OSError()] * 99)
        with self.assertRaises(OSError):
            self.retry(call, timeout_s=15, delay_s=1)
        self.assertEqual(15, sum(self.clock.slept))

    def test_other_errors_are_not_retried(self):
        """L012, L164: only what passes is retried."""
        call = fakes.Failing(ValueError())
        with self.assertRaises(ValueError):
            self.retry(call, attempts=5)
        self.assertEqual(1, call.calls)

    def test_only_if_decides_further(self):
        call = fakes.Failing(OSError('permanent'))
        with self.assertRaises(OSError):
            self.retry(call, attempts=5, only_if=lambda exc: False)
        self.assertEqual(1, call.calls)

    def test_each_call_has_its_own_budget(self):
        """L164: no static counter."""
        for _time in range(3):
            self.retry(fakes.Failing(OSError(), OSError()), attempts=3)

    def test_a_limit_is_required(self):
        with self.assertRaises(ValueError):
            self.retry(fakes.Failing())


class BoundedTest(unittest.TestCase):

    def bounded(self, call, *args, timeout_s=60):
        return operation.bounded(call, *args, what='the job',
                                 timeout_s=timeout_s)

    def test_result_passes(self):
        self.assertEqual(3, self.bounded(max, 1, 3))
        self.assertIsNone(self.bounded(fakes.Failing()))

    def test_error_passes(self):
        failure = KeyError('x')
        with self.assertRaises(KeyError) as caught:
            self.bounded(fakes.Failing(failure))
        self.assertIs(failure, caught.exception)

    def test_it_gives_up(self):
        endless = threading.Event()
        self.addCleanup(endless.set)
        with self.assertRaises(errors.WaitTimeout) as caught:
            self.bounded(endless.wait, timeout_s=0.05)
        self.assertIn('the job: not done within 0.05 seconds',
                      str(caught.exception))


class ProgressTest(unittest.TestCase):

    def setUp(self):
        self.clock = fakes.Clock()
        self.progress = operation.Progress('Copy', clock=self.clock)

    def test_it_reports_at_most_once_per_interval(self):
        self.progress.step('root disk')
        with self.assertLogs('compute_hyperv.operation', 'INFO') as logs:
            for done in range(0, 40):
                self.clock.sleep(1)
                self.progress.report(done, 40)
        self.assertEqual(4, len(logs.output))
        self.assertIn('Copy: root disk, 9 of 40 bytes (22 %), 10 s so far',
                      logs.output[0])

    def test_abort_stops_at_the_next_step(self):
        self.progress.step('one')
        self.progress.abort()
        with self.assertRaises(errors.Aborted) as caught:
            self.progress.step('two')
        self.assertIn("Copy was aborted before 'two'", str(caught.exception))
        with self.assertRaises(errors.Aborted):
            self.progress.report(1, 2)

    def test_it_watches_a_file_that_grows(self):
        progress = operation.Progress('Copy', interval_s=0.01)
        progress.step('writing')
        sizes = iter([FileNotFoundError('renamed'), 7])
        asked = threading.Event()

        def done_bytes():
            size = next(sizes, None)
            if isinstance(size, OSError):
                raise size
            if size is None:
                asked.set()
            return size or 9
        with (self.assertLogs('compute_hyperv.operation', 'INFO') as logs,
              progress.watching(done_bytes, 9)):
            self.assertTrue(asked.wait(60))
        self.assertIn('Copy: writing, 7 of 9 bytes', logs.output[0])

    def test_an_empty_part_is_complete(self):
        self.clock.sleep(60)
        with self.assertLogs('compute_hyperv.operation', 'INFO') as logs:
            self.progress.report(0, 0)
        self.assertIn('100 %', logs.output[0])
