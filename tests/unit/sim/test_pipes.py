# SPDX-License-Identifier: Apache-2.0
"""COM pipes of machines under os-win's real NamedPipeHandler.

Rules: Microsoft, "Named Pipes" (WaitNamedPipe, CreateFile on pipes), "I/O
Completion Routines"; what os-win needs: oswin-surface.md 7.1, 8.
"""

import os
import threading
import time
from unittest import mock

import ddt
import fixtures

from compute_hyperv.sim.errors import NotSimulated
from compute_hyperv.sim.errors import Win32Error
from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim import install
from compute_hyperv.sim import native
from compute_hyperv.sim import pipes
from compute_hyperv.sim import poller
from tests import base
from tests.unit.sim import onehost

NAME = r'\\.\pipe\vm-1'
LOG = r'C:\console.log'


class PipeCase(onehost.OneHostCase):
    """A machine that echoes, and os-win's handler for its pipe."""

    def setUp(self):
        super().setUp()
        self.typed = native.SimpleQueue()
        self.clients = native.SimpleQueue()
        self.pipe = self.serve()
        self.connected = threading.Event()
        self.io = self.oswin_module('os_win.utils.io.ioutils')
        self.exceptions = self.oswin_module('os_win.exceptions')

    def serve(self):
        pipe = self.host.pipes.open(NAME, self.typed.put,
                                    lambda: self.clients.put(None))
        self.addCleanup(pipe.close)
        return pipe

    def handler(self, log=None, interactive=True):
        queues = {}
        if interactive:
            self.connected.set()
            self.input = self.io.IOQueue(self.connected)
            self.output = self.io.IOQueue(self.connected)
            queues = {'input_queue': self.input, 'output_queue': self.output,
                      'connect_event': self.connected}
        handler = self.win.get_named_pipe_handler(NAME, log_file=log,
                                                  **queues)
        self.addCleanup(self.stop, handler)
        handler.start()
        return handler

    def stop(self, handler):
        # As the driver does: os-win's writer polls its queue only while
        # the client counts as connected.
        self.connected.clear()
        handler.stop()

    def until(self, check):
        deadline = time.monotonic() + 60
        while not check():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)

    def output_of(self, size):
        data = b''
        while len(data) < size:
            data += self.output.get()
        return data


class HandlerTest(PipeCase):

    def test_both_directions(self):
        self.handler()
        self.pipe.write(b'boot\r\n')
        self.assertEqual(b'boot\r\n', self.output.get())
        self.input.put('ls\n')
        self.assertEqual(b'ls\n', self.typed.get(timeout=60))

    def test_much_data_arrives_whole_and_in_order(self):
        self.handler()
        data = os.urandom(300_000)
        self.assertEqual(len(data), self.pipe.write(data))
        self.assertEqual(data, self.output_of(len(data)))

    def test_log_is_written_and_rotated(self):
        handler = self.handler(LOG, interactive=False)
        line = b'x' * 1023 + b'\n'
        for _ in range(600):
            self.pipe.write(line)
        self.until(lambda: handler.flush_log_file() or 600 * 1024 == (
            self.total(LOG) + self.total(LOG + '.1')))
        self.assertLessEqual(self.files.size_bytes(LOG + '.1'), 512 * 1024)
        self.stop(handler)

    def total(self, path):
        return self.files.size_bytes(path) if self.files.exists(path) else 0

    def test_stop_ends_workers_and_frees_the_pipe(self):
        handler = self.handler(LOG)
        workers = list(handler._workers)
        self.stop(handler)
        self.assertEqual([False, False],
                         [worker.is_alive() for worker in workers])
        self.until(lambda: not self.pipe.is_busy)
        self.files.remove(LOG)
        self.assertEqual(0, self.pipe.write(b'lost'))

    def test_reader_alone_stops_at_once(self):
        """A writer would look once a second only."""
        took_s = []
        for _turn in range(5):
            handler = self.handler(LOG, interactive=False)
            began = time.monotonic()
            self.stop(handler)
            took_s.append(time.monotonic() - began)
            self.until(lambda: not self.pipe.is_busy)
        self.assertLess(min(took_s), 1)

    def test_machine_that_stops_ends_the_handler(self):
        handler = self.handler(LOG, interactive=False)
        self.pipe.write(b'last words')
        self.pipe.close()
        self.until(lambda: not handler._workers[0].is_alive())
        self.assertEqual(b'last words', self.read(LOG))
        self.stop(handler)
        self.assert_clean()

    def test_machine_restarts_and_the_log_goes_on(self):
        for round_ in range(3):
            handler = self.handler(LOG, interactive=False)
            self.pipe.write(b'%d' % round_)
            self.until(lambda: handler.flush_log_file()
                       or self.read(LOG).endswith(b'%d' % round_))
            self.pipe.close()
            self.stop(handler)
            self.pipe = self.serve()
        self.assertEqual(b'012', self.read(LOG))

    def test_handlers_come_and_go(self):
        for _ in range(5):
            handler = self.handler(interactive=False)
            self.stop(handler)
        self.until(lambda: not self.pipe.is_busy)

    def test_without_a_machine_there_is_no_pipe(self):
        self.pipe.close()
        with self.assertRaisesRegex(self.exceptions.OSWinException,
                                    'Error code: 2'):
            self.handler()

    def test_second_client_is_refused(self):
        self.handler()
        with self.assertRaisesRegex(self.exceptions.OSWinException,
                                    'Error code: 121'):
            self.handler()

    def test_many_machines_at_once(self):
        handlers, machines = [], []
        for number in range(40):
            name = r'\\.\pipe\vm-many-%d' % number
            machines.append(self.host.pipes.open(name, self.typed.put))
            handler = self.win.get_named_pipe_handler(
                name, log_file=r'C:\log\%d' % number)
            self.files.make_dirs('C:\\log')
            handler.start()
            handlers.append(handler)
        for number, machine in enumerate(machines):
            machine.write(b'machine %d' % number)
        self.until(lambda: not any(
            handler.flush_log_file() for handler in handlers) and all(
                self.read(r'C:\log\%d' % number) == b'machine %d' % number
                for number in range(40)))
        for machine, handler in zip(machines, handlers):
            machine.close()
            handler.stop()

    def test_worker_that_waits_for_a_client_sleeps_in_real_time(self):
        worker = self.oswin_module('os_win.utils.io.namedpipe')
        self.assertNotIsInstance(worker.time, install.HurriedTime)
        other = self.oswin_module('os_win.utils.jobutils')
        self.assertIsInstance(other.time, install.HurriedTime)


class OverlappedTest(PipeCase):
    """Calls in the order of os-win's workers, and some that it avoids."""

    def setUp(self):
        super().setUp()
        self.utils = self.io.IOUtils()
        self.dll = self.oswin_module(
            'os_win.utils.winapi.libs.kernel32').lib_handle
        self.handle = self.connect()
        self.addCleanup(self.dll.CloseHandle, self.handle)
        self.overlapped = self.utils.get_new_overlapped_structure()
        self.addCleanup(self.dll.CloseHandle, self.overlapped.hEvent)
        self.buffer = self.utils.get_buffer(16)
        self.done = []
        self.routine = self.utils.get_completion_routine(self.done.append)

    def connect(self):
        return self.utils.open(NAME, 0xC0000000, 3, 3, 0x40000000)

    def start_read(self):
        return self.dll.ReadFileEx(self.handle, self.buffer, 16,
                                   self.overlapped, self.routine)

    def wait(self, timeout_ms=60000):
        return self.dll.WaitForSingleObjectEx(self.overlapped.hEvent,
                                              timeout_ms, True)

    def test_routine_runs_only_in_an_alertable_wait(self):
        self.pipe.write(b'data')
        self.start_read()
        self.assertEqual(258, self.dll.WaitForSingleObject(
            self.overlapped.hEvent, 50))
        self.assertEqual([], self.done)
        self.assertEqual(0xC0, self.wait())
        self.assertEqual([4], self.done)
        self.assertEqual(0, self.wait(0))
        self.assertEqual(b'data', self.utils.get_buffer_data(self.buffer, 4))

    def test_read_waits_for_data(self):
        self.start_read()
        self.assertEqual(258, self.wait(20))
        self.pipe.write(b'0123456789abcdefgh')
        self.assertEqual(0xC0, self.wait())
        self.assertEqual([16], self.done)

    def test_cancelled_read_completes_with_nothing(self):
        self.start_read()
        self.utils.cancel_io(self.handle, self.overlapped)
        self.assertEqual(0xC0, self.wait())
        self.assertEqual([0], self.done)
        self.utils.cancel_io(self.handle)       # 1168 is ignored

    def test_cancel_of_another_overlapped_leaves_the_read(self):
        other = self.utils.get_new_overlapped_structure()
        self.start_read()
        self.utils.cancel_io(self.handle, other)
        self.assertEqual(258, self.wait(20))
        self.dll.CloseHandle(other.hEvent)

    def test_cancel_on_a_closed_handle(self):
        handle = self.handle
        self.dll.CloseHandle(handle)
        self.utils.cancel_io(handle, ignore_invalid_handle=True)
        with self.assertRaises(self.exceptions.Win32IOException):
            self.utils.cancel_io(handle)

    def test_closing_the_handle_aborts_the_read(self):
        self.start_read()
        self.dll.CloseHandle(self.handle)
        self.assertEqual(0xC0, self.wait())
        self.assertEqual([0], self.done)

    def test_read_after_the_end_is_a_broken_pipe(self):
        self.pipe.close()
        self.start_read()
        self.assertEqual(0xC0, self.wait())
        self.assertEqual(0, self.start_read())
        self.assertEqual(109, self.dll.GetLastError())

    def test_write_after_the_end_fails(self):
        self.pipe.close()
        self.start_read()
        self.wait()
        self.assertEqual(0, self.dll.WriteFileEx(
            self.handle, b'x', 1, self.overlapped, self.routine))
        self.assertEqual(232, self.dll.GetLastError())

    def test_synchronous_calls(self):
        self.pipe.write(b'data')
        self.assertEqual(4, self.utils.read_file(self.handle, self.buffer,
                                                 16))
        self.assertEqual(2, self.utils.write_file(
            self.handle, self.utils.get_buffer(2, 'hi'), 2))
        self.assertEqual(b'hi', self.typed.get(timeout=60))
        with self.assertRaises(NotSimulated):
            self.dll.ReadFile(self.handle, self.buffer, 16, None,
                              self.overlapped)

    def test_busy_pipe_gives_its_code(self):
        with self.assertRaises(self.exceptions.Win32IOException) as caught:
            self.connect()
        self.assertEqual(231, caught.exception.error_code)


@ddt.ddt
class ServerTest(PipeCase):

    def test_name_is_taken_once_whatever_its_case(self):
        with self.assertRaises(Win32Error) as caught:
            self.host.pipes.open(NAME.upper(), print)
        self.assertEqual(5, caught.exception.winerror)

    @ddt.data(r'\\.\pipe\x', r'\\.\PIPE\X', '//./pipe/x', r'\\?\pipe\x', 'x')
    def test_names_are_compared_without_the_prefix(self, name):
        self.assertEqual('X', pipes.short_name(name))

    def test_client_is_announced(self):
        self.handler(interactive=False)
        self.clients.get(timeout=60)
        self.assertTrue(self.pipe.has_client)

    def test_writing_never_waits_and_loses_what_is_too_much(self):
        io = self.io.IOUtils()
        handle = io.open(NAME, 0xC0000000, 3, 3, 0x40000000)
        taken = sum(self.pipe.write(bytes(1 << 20)) for _ in range(4))
        self.assertTrue(1 << 20 <= taken < 4 << 20)
        io.close_handle(handle)

    def test_stranger_without_ticket_is_turned_away(self):
        self.host.pipes.connect(NAME, 'nova')
        stranger = poller.unix_socket()
        with pipes.short_address(self.host.pipes.address) as address:
            stranger.connect(address)
        stranger.send(b'0' * 16)
        self.assertEqual(b'', stranger.recv(1))
        stranger.close()
        self.assertFalse(self.pipe.has_client)

    def test_waiting_ends_when_the_client_goes(self):
        with mock.patch.object(pipes, 'RESERVED_S', 120):
            self.host.pipes.connect(NAME, 'nova')
        began = time.monotonic()
        self.soon(self.host.pipes.client_gone, 'nova')
        self.host.pipes.wait(NAME, 120)
        self.assertLess(time.monotonic() - began, 60)
        self.assertFalse(self.pipe.is_busy)

    def test_power_cut_ends_all_pipes(self):
        handler = self.handler(interactive=False)
        self.host.pipes.power_cut()
        self.until(lambda: not handler._workers[0].is_alive())
        self.assert_clean()
        self.pipe = self.serve()

    def test_served_pipe_is_no_clean_host(self):
        self.assertEqual(['pipe %s is served' % NAME],
                         self.host.pipes.problems())


class DeepFolderTest(base.TestCase, fixtures.TestWithFixtures):

    def test_socket_path_may_be_longer_than_sun_path(self):
        folder = os.path.join(self.useFixture(fixtures.TempDir()).path,
                              *['folder'] * 20)
        os.makedirs(folder)
        fabric = sim_fabric.Fabric(folder, hosts=['HV1'])
        self.addCleanup(fabric.close)
        host = fabric.host('HV1')
        host.pipes.open(NAME, print)
        opened = host.pipes.connect(NAME, '')
        self.assertGreater(len(opened['address']), 108)
        client = poller.unix_socket()
        with pipes.short_address(opened['address']) as address:
            client.connect(address)
        client.send(opened['ticket'].encode())
        self.assertEqual(pipes.WELCOME, client.recv(1))
        client.close()
