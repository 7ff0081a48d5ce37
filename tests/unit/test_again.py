# SPDX-License-Identifier: Apache-2.0
import threading
import unittest

from compute_hyperv import again

#: Only a failure waits that long.
_TIMEOUT_S = 60


class AgainTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.again = again.Again(first_s=0.01)
        self.addCleanup(self.again.stop)
        self.done = threading.Event()

    def start(self, call):
        self.again.start('it', call)

    def test_call_is_repeated_until_it_works(self):
        answers = iter((KeyError('not yet'), OSError('nor now')))

        def call():
            for error in answers:
                raise error
            self.done.set()

        self.start(call)
        self.assertTrue(self.done.wait(_TIMEOUT_S))

    def test_nothing_is_repeated_after_the_end(self):
        called = threading.Event()
        threads = set(threading.enumerate())

        def call():
            called.set()
            raise KeyError('not yet')

        self.start(call)
        self.assertTrue(called.wait(_TIMEOUT_S))
        self.again.stop()
        for thread in set(threading.enumerate()) - threads:
            thread.join(_TIMEOUT_S)
            self.assertFalse(thread.is_alive())

    def test_service_that_begins_anew_may_repeat_calls(self):
        """A9: Nova ends and starts a service in one process on SIGHUP."""
        self.again.stop()
        self.start(self.done.set)
        self.assertTrue(self.done.wait(_TIMEOUT_S))


if __name__ == '__main__':
    unittest.main()
