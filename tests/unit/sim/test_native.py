# SPDX-License-Identifier: Apache-2.0
"""Native locks, threads and the poller, also where eventlet has patched."""

import subprocess
import sys
import time

import ddt

from compute_hyperv.sim import native
from compute_hyperv.sim import poller
from tests import base

AFTER_EVENTLET = '''
import eventlet
eventlet.monkey_patch()
from compute_hyperv.sim import native
lock = native.Lock()
lock.acquire()
seen = []
def run():
    native.sleep(0.05)
    seen.append(native.get_ident())
    lock.release()
thread = native.Thread(run).start()
assert lock.acquire(True, 10)           # the hub does not run meanwhile
assert thread.join(60)
assert seen and seen[0] != native.get_ident(), seen
print(type(lock).__module__)
'''


class PatchedTest(base.TestCase):

    def test_native_threads_and_locks_after_eventlet_patched(self):
        result = subprocess.run([sys.executable, '-W', 'ignore', '-c',
                                 AFTER_EVENTLET], capture_output=True,
                                text=True, check=False)
        self.assertEqual(('_thread\n', 0),
                         (result.stdout, result.returncode), result.stderr)


class RLockTest(base.TestCase):

    def test_owner_may_take_it_again_and_others_wait(self):
        lock, other = native.RLock(), native.SimpleQueue()
        with lock, lock:
            native.Thread(lambda: other.put(lock.acquire(False))).start()
            self.assertFalse(other.get(timeout=60))
        native.Thread(lambda: other.put(lock.acquire(True, 10))).start()
        self.assertTrue(other.get(timeout=60))
        with self.assertRaises(RuntimeError):
            lock.release()

    def test_threads_exclude_each_other(self):
        lock, counter = native.RLock(), [0]

        def count():
            for _ in range(500):
                with lock:
                    value = counter[0]
                    native.sleep(0)
                    counter[0] = value + 1
        threads = [native.Thread(count).start() for _ in range(4)]
        self.assertTrue(all([thread.join(60) for thread in threads]))
        self.assertEqual(2000, counter[0])


class ConditionTest(base.TestCase):

    def test_waiting_ends_by_notice_or_time(self):
        condition, done = native.Condition(), native.SimpleQueue()

        def wait():
            with condition:
                done.put(condition.wait(60))
        thread = native.Thread(wait).start()
        while not condition._waiters:
            time.sleep(0.001)
        with condition:
            condition.notify_all()
        self.assertTrue(done.get(timeout=60))
        thread.join()
        with condition:
            self.assertFalse(condition.wait(0.001))
        self.assertEqual([], condition._waiters)


@ddt.ddt
class PollerTest(base.TestCase):

    def setUp(self):
        super().setUp()
        self.poller = poller.Poller()
        self.seen = native.SimpleQueue()

    def pair(self):
        first, second = native.socketpair()
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        self.addCleanup(self.poller.forget, first.fileno())
        return first, second

    def test_what_can_be_read_is_called(self):
        first, second = self.pair()
        self.poller.watch(first.fileno(),
                          lambda: self.seen.put(first.recv(10)))
        second.send(b'x')
        self.assertEqual(b'x', self.seen.get(timeout=60))

    def test_what_can_be_written_is_called(self):
        first, _ = self.pair()

        def writable():
            self.poller.watch(first.fileno())
            self.seen.put('writable')
        self.poller.watch(first.fileno(), None, writable)
        self.assertEqual('writable', self.seen.get(timeout=60))

    def test_thread_ends_with_the_last_descriptor_and_starts_again(self):
        for data in (b'1', b'2', b'3'):
            first, second = self.pair()
            self.poller.watch(first.fileno(), lambda: self.seen.put(
                first.recv(10)))
            thread = self.poller._thread
            second.send(data)
            self.assertEqual(data, self.seen.get(timeout=60))
            self.poller.forget(first.fileno())
            self.assertIsNone(self.poller._thread)
            self.assertTrue(thread.join(60))
