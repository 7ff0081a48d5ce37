# SPDX-License-Identifier: Apache-2.0
"""compute_hyperv.simcloud.activation."""

import os
import queue
import tempfile
import time
import unittest

from compute_hyperv.simcloud import activation

_TIMEOUT_S = 60
_POLL_S = 0.01


class ActivationsTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.done = queue.SimpleQueue()
        self.wired = set()

    def activations(self, delay_s=0.0, activate=None, wired=None):
        made = activation.Activations(activate or self.done.put, delay_s,
                                      wired, _POLL_S)
        self.addCleanup(made.stop)
        return made

    def watching(self, delay_s=0.0):
        return self.activations(delay_s, wired=lambda: set(self.wired))

    def assert_active(self, port_id):
        self.assertEqual(port_id, self.done.get(timeout=_TIMEOUT_S))

    def assert_nothing_active(self):
        with self.assertRaises(queue.Empty):
            self.done.get(timeout=20 * _POLL_S)

    def test_port_is_active_after_the_delay_and_not_before(self):
        asked = time.monotonic()
        self.activations(0.2).ask('port')
        self.assert_active('port')
        self.assertGreaterEqual(time.monotonic() - asked, 0.2)

    def test_port_that_is_not_wired_stays_down(self):
        self.wired.add('other')
        self.watching().ask('port')
        self.assert_nothing_active()

    def test_port_is_active_when_it_is_wired(self):
        self.watching().ask('port')
        self.assert_nothing_active()
        self.wired.add('port')
        self.assert_active('port')

    def test_delay_counts_from_the_wiring(self):
        self.watching(0.2).ask('port')
        time.sleep(0.1)
        wired = time.monotonic()
        self.wired.add('port')
        self.assert_active('port')
        self.assertGreaterEqual(time.monotonic() - wired, 0.2)

    def test_port_that_waits_is_not_asked_for_twice(self):
        activations = self.watching()
        self.assertTrue(activations.ask('port'))
        self.assertFalse(activations.ask('port'))
        self.wired.add('port')
        self.assert_active('port')
        self.assert_nothing_active()

    def test_active_port_can_be_asked_for_again(self):
        activations = self.activations()
        for _ in range(2):
            activations.ask('port')
            self.assert_active('port')

    def test_failing_activation_does_not_stop_the_others(self):
        def activate(port_id):
            if port_id == 'bad':
                raise LookupError(port_id)
            self.done.put(port_id)

        activations = self.activations(activate=activate)
        with self.assertLogs(activation.LOG, 'ERROR') as logs:
            activations.ask('bad')
            activations.ask('good')
            self.assert_active('good')
        self.assertIn('bad', logs.output[0])

    def test_unreachable_fabric_is_told_and_asked_again(self):
        answers = iter([OSError('no server')])

        def wired():
            for exc in answers:
                raise exc
            return {'port'}

        with self.assertLogs(activation.LOG, 'WARNING') as logs:
            self.activations(wired=wired).ask('port')
            self.assert_active('port')
        self.assertIn('no server', logs.output[0])

    def test_stop_drops_what_waits(self):
        activations = self.activations(300)
        activations.ask('port')
        began = time.monotonic()
        activations.stop()
        self.assertLess(time.monotonic() - began, 60)
        self.assertTrue(self.done.empty())

    def test_no_server_is_an_os_error(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertRaises(OSError, activation.wired_ports,
                              os.path.join(folder, 'socket'))
