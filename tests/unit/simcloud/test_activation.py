# SPDX-License-Identifier: Apache-2.0
"""compute_hyperv.simcloud.activation."""

import queue
import time
import unittest

from compute_hyperv.simcloud import activation

_TIMEOUT_S = 10


class DelayedTest(unittest.TestCase):

    def delayed(self, delay_s, action=None):
        self.done = queue.SimpleQueue()
        later = activation.Delayed(action or self.done.put, delay_s)
        self.addCleanup(later.stop)
        return later

    def test_action_runs_after_the_delay_and_not_before(self):
        later = self.delayed(0.2)
        asked = time.monotonic()
        later.ask('port')
        self.assertEqual('port', self.done.get(timeout=_TIMEOUT_S))
        self.assertGreaterEqual(time.monotonic() - asked, 0.2)

    def test_keys_are_served_in_the_order_of_asking(self):
        later = self.delayed(0.05)
        for key in ('b', 'a', 'c'):
            later.ask(key)
        served = [self.done.get(timeout=_TIMEOUT_S) for _ in range(3)]
        self.assertEqual(['b', 'a', 'c'], served)

    def test_key_that_waits_is_not_queued_twice(self):
        later = self.delayed(0.2)
        self.assertTrue(later.ask('port'))
        self.assertFalse(later.ask('port'))
        later.ask('last')
        served = [self.done.get(timeout=_TIMEOUT_S) for _ in range(2)]
        self.assertEqual(['port', 'last'], served)

    def test_served_key_can_be_asked_for_again(self):
        later = self.delayed(0.01)
        for _ in range(2):
            self.assertTrue(later.ask('port'))
            self.assertEqual('port', self.done.get(timeout=_TIMEOUT_S))

    def test_failing_action_does_not_stop_the_others(self):
        def action(key):
            if key == 'bad':
                raise LookupError(key)
            self.done.put(key)

        later = self.delayed(0.01, action)
        later.ask('bad')
        later.ask('good')
        with self.assertLogs(activation.LOG, 'ERROR') as logs:
            self.assertEqual('good', self.done.get(timeout=_TIMEOUT_S))
        self.assertIn('bad', logs.output[0])

    def test_stop_drops_what_waits(self):
        later = self.delayed(30)
        later.ask('port')
        began = time.monotonic()
        later.stop()
        self.assertLess(time.monotonic() - began, 5)
        self.assertTrue(self.done.empty())
