# SPDX-License-Identifier: Apache-2.0
"""The fabric's time."""

import threading
import time
import unittest

import ddt

from compute_hyperv.sim import clock as sim_clock
from compute_hyperv.sim import install
from compute_hyperv.sim import native


@ddt.ddt
class ClockTest(unittest.TestCase):

    def clock(self, mode, **facts):
        found = sim_clock.Clock(mode, native.RLock(), **facts)
        self.addCleanup(found.close)
        return found

    @ddt.data(('instant', 0.0), ('real', 0.5), ('stepped', 0.5))
    @ddt.unpack
    def test_durations(self, mode, expected):
        self.assertEqual(expected, self.clock(mode, scale=0.25).duration(2))

    def test_unknown_mode_is_refused(self):
        self.assertRaises(ValueError, self.clock, 'sometimes')

    def test_stepped_time_stands_still(self):
        clock = self.clock('stepped')
        began = clock.time(), clock.monotonic()
        time.sleep(0.01)
        self.assertEqual(began, (clock.time(), clock.monotonic()))
        clock.sleep(60)
        self.assertEqual((began[0] + 60, 60.0),
                         (clock.time(), clock.monotonic()))

    def test_advance_runs_timers_in_order_at_their_time(self):
        clock = self.clock('stepped')
        seen = []

        def note(name):
            seen.append((name, clock.monotonic()))
        clock.call_later(20, lambda: note('late'))
        clock.call_later(10, lambda: (
            note('early'), clock.call_later(5, lambda: note('again'))))
        clock.call_later(5, lambda: note('cancelled')).cancel()
        clock.advance(30)
        self.assertEqual([('early', 10), ('again', 15), ('late', 20)], seen)
        self.assertEqual(30, clock.monotonic())

    @ddt.data('instant', 'real')
    def test_timer_runs_by_itself(self, mode):
        clock = self.clock(mode)
        ran = []
        clock.call_later(3600, lambda: ran.append('late'))
        clock.call_later(0.02, lambda: ran.append('soon'))
        deadline_s = time.monotonic() + 60
        while not ran and time.monotonic() < deadline_s:
            time.sleep(0.01)
        self.assertEqual(['soon'], ran)

    def test_instant_time_can_be_advanced(self):
        clock = self.clock('instant')
        ran = []
        clock.call_later(300, lambda: ran.append(1))
        clock.advance(299)
        self.assertEqual([], ran)
        clock.advance(2)
        self.assertEqual([1], ran)

    def test_closed_clock_runs_nothing(self):
        clock = self.clock('real')
        ran = []
        clock.call_later(0.02, lambda: ran.append(1))
        clock.close()
        time.sleep(0.05)
        self.assertEqual([], ran)


class HurriedTimeTest(unittest.TestCase):
    """What os-win's ``time.sleep`` does where time runs ahead."""

    def test_sleep_is_short_and_moves_the_clock(self):
        hurried = install.HurriedTime()
        real_s, began_s = time.monotonic(), hurried.time()
        hurried.sleep(200)
        self.assertLess(time.monotonic() - real_s, 60)
        self.assertGreaterEqual(hurried.time() - began_s, 200)
        self.assertLess(hurried.time() - began_s, 260)

    def test_other_threads_keep_their_time(self):
        hurried = install.HurriedTime()
        thread = threading.Thread(target=hurried.sleep, args=(100,))
        began = hurried.monotonic()
        thread.start()
        thread.join()
        self.assertLess(hurried.monotonic() - began, 60)
