# SPDX-License-Identifier: Apache-2.0
import threading
import unittest

import ddt

from compute_hyperv import errors
from compute_hyperv import locks
from tests.unit import fakes

A, B = locks.instance('a'), locks.instance('b')
IMAGE = locks.image('1')


class Recorder:
    """Backend that tells what was taken and released."""

    def __init__(self):
        self.log = []
        self.refuse = None

    def acquire(self, name, timeout_s):
        if name == self.refuse:
            raise errors.WaitTimeout(what=name, timeout_s=timeout_s)
        self.log.append(f'+{name}')
        return lambda: self.log.append(f'-{name}')


@ddt.ddt
class NamesTest(unittest.TestCase):

    def test_ranks_are_the_documented_order(self):
        ordered = [locks.failover('v'), locks.instance('u'),
                   locks.image('i'), locks.chain('c'), locks.target('t'),
                   locks.share('s')]
        self.assertEqual([1, 2, 3, 4, 5, 6], [one.rank for one in ordered])

    @ddt.data(r'\\SRV\share', '//srv/Share/', r'\\srv\SHARE')
    def test_spellings_of_a_share_are_one_lock(self, unc):
        """L121: forward slashes lock the same share."""
        self.assertEqual(locks.share(r'\\srv\share'), locks.share(unc))

    def test_target_names_ignore_case(self):
        """L116: target names are compared ignoring case."""
        self.assertEqual(locks.target('IQN.a'), locks.target('iqn.A'))


class LocksTest(unittest.TestCase):

    def setUp(self):
        self.process, self.cluster = Recorder(), Recorder()
        self.cluster.log = self.process.log
        self.locks = locks.Locks(self.process, self.cluster, 5)

    def test_taken_in_order_and_released_in_reverse(self):
        with self.locks.held(IMAGE, B, A):
            pass
        self.assertEqual(
            ['+instance-a', '+instance-b', '+image-1',
             '-image-1', '-instance-b', '-instance-a'], self.process.log)

    def test_scopes_choose_the_backend(self):
        self.cluster.log = []
        with self.locks.held(locks.target('t'), IMAGE):
            pass
        self.assertEqual(['+target-t', '-target-t'], self.process.log)
        self.assertEqual(['+image-1', '-image-1'], self.cluster.log)

    def test_nested_in_order_is_fine(self):
        with self.locks.held(A), self.locks.held(IMAGE):
            pass
        self.assertEqual(4, len(self.process.log))

    def test_wrong_order_is_refused_when_nested(self):
        with self.locks.held(IMAGE):
            with self.assertRaises(RuntimeError):
                with self.locks.held(A):
                    self.fail('a deadlock in waiting')
        self.assertEqual(['+image-1', '-image-1'], self.process.log)

    def test_the_same_lock_twice_is_refused(self):
        with self.locks.held(A), self.assertRaises(RuntimeError):
            with self.locks.held(A):
                self.fail('it would wait for itself')

    def test_another_thread_has_its_own_order(self):
        taken = []

        def take():
            with self.locks.held(A):
                taken.append(True)
        with self.locks.held(IMAGE):
            thread = threading.Thread(target=take)
            thread.start()
            thread.join()
        self.assertEqual([True], taken)

    def test_failing_to_take_one_releases_the_others(self):
        self.process.refuse = 'instance-b'
        with self.assertRaises(errors.WaitTimeout):
            with self.locks.held(A, B):
                self.fail('not held')
        self.assertEqual(['+instance-a', '-instance-a'], self.process.log)
        with self.locks.held(A):
            pass

    def test_an_error_inside_releases(self):
        with self.assertRaises(ValueError), self.locks.held(A):
            raise ValueError
        self.assertEqual('-instance-a', self.process.log[-1])


class ProcessBackendTest(unittest.TestCase):

    def test_excludes_threads_and_forgets_names(self):
        backend = locks.ProcessBackend()
        release = backend.acquire('x', 1)
        refused = []

        def other():
            try:
                backend.acquire('x', 0.01)
            except errors.WaitTimeout as exc:
                refused.append(str(exc))
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        release()
        self.assertIn('lock x', refused[0])
        self.assertEqual({}, backend._locks)
        backend.acquire('x', 0)()


class FileBackendTest(unittest.TestCase):

    def setUp(self):
        self.clock = fakes.Clock()
        self.names = []

    def backend(self, *answers):
        waiting = list(answers)

        def try_lock(name):
            self.names.append(name)
            return waiting.pop(0)
        return locks.FileBackend(try_lock, clock=self.clock)

    def test_waits_until_the_file_is_free(self):
        self.backend(None, None, len).acquire('image-1', 9)
        self.assertEqual([0.5, 0.5], self.clock.slept)

    def test_wait_is_bounded(self):
        with self.assertRaises(errors.WaitTimeout):
            self.backend(*[None] * 9).acquire('image-1', 2)

    def test_name_becomes_a_file_name(self):
        self.backend(len).acquire('share-\\\\srv\\x:y', 2)
        self.assertEqual(['share-__srv_x_y'], self.names)


class Coordinator:
    """Of tooz, as far as locks go."""

    def __init__(self, free):
        self.free, self.asked, self.released = free, [], 0

    def get_lock(self, name):
        self.asked.append(name)
        return self

    def acquire(self, blocking):
        self.asked.append(blocking)
        return self.free

    def release(self):
        self.released += 1


class ToozBackendTest(unittest.TestCase):

    def test_takes_and_releases(self):
        coordinator = Coordinator(free=True)
        locks.ToozBackend(coordinator).acquire('image-1', 7)()
        self.assertEqual([b'compute-hyperv-image-1', 7], coordinator.asked)
        self.assertEqual(1, coordinator.released)

    def test_another_holder(self):
        with self.assertRaises(errors.WaitTimeout):
            locks.ToozBackend(Coordinator(free=False)).acquire('image-1', 7)
