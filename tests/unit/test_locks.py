# SPDX-License-Identifier: Apache-2.0
import pathlib
import threading
import unittest
from unittest import mock

import ddt
import fixtures
import tooz

from compute_hyperv import errors
from compute_hyperv import locks
from tests import base
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


@ddt.ddt
class WindowsAddressTest(unittest.TestCase):
    """Where tooz' file driver puts its locks on Windows."""

    @ddt.data(('file:///C:/OpenStack/Lock', 'file:C:\\OpenStack\\Lock'),
              ('file:C:\\OpenStack\\Lock', 'file:C:\\OpenStack\\Lock'),
              ('file:////nas/locks/nova', 'file:\\\\nas\\locks\\nova'),
              ('file://nas/locks?timeout=5', 'file:\\\\nas\\locks?timeout=5'),
              ('etcd3+http://h:2379', 'etcd3+http://h:2379'))
    @ddt.unpack
    def test_folder_is_written_as_windows_does(self, given, expected):
        self.assertEqual(expected, locks.on_windows(given))


class ToozBackendTest(base.TestCase, fixtures.TestWithFixtures):

    def setUp(self):
        super().setUp()
        self.url = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path).as_uri()
        self.one, self.other = self.connect('HV1'), self.connect('HV2')

    def connect(self, host):
        backend = locks.ToozBackend.connect(self.url, host)
        self.addCleanup(backend._coordinator.stop)
        return backend

    def test_two_hosts_exclude_each_other(self):
        release = self.one.acquire('image-1', 5)
        with self.assertRaises(errors.WaitTimeout):
            self.other.acquire('image-1', 0.2)
        self.other.acquire('image-2', 0.2)()
        release()
        self.other.acquire('image-1', 5)()

    def test_failing_service_is_told_as_such(self):
        def fail(*args):
            raise tooz.ToozError('no answer from http://user:secret@db/x')
        self.one._coordinator.get_lock = fail
        with self.assertRaises(errors.LockFailed) as caught:
            self.one.acquire('image-1', 1)
        self.assertIn('no answer from http://***@db/x', str(caught.exception))

    def test_session_that_ends_with_the_work_done_is_no_failure(self):
        release = self.one.acquire('image-1', 5)
        with mock.patch('tooz.drivers.file.FileLock.release',
                        side_effect=tooz.ToozError('expired'),
                        autospec=True):
            release()

    def test_address_that_cannot_be_used_is_a_bad_option(self):
        with self.assertRaises(errors.BadOption) as caught:
            locks.ToozBackend.connect('nothing://x', 'HV1')
        self.assertIn('[coordination] backend_url', str(caught.exception))
