# SPDX-License-Identifier: Apache-2.0
"""kernel32.dll and its last errors, under os-win's real wrappers.

What os-win uses and expects: oswin-surface.md 7.1; texts and codes:
Microsoft, "System Error Codes".
"""

import ctypes
import signal
import subprocess
import sys

import ddt

from compute_hyperv.sim.dll import system
from compute_hyperv.sim.errors import NotSimulated
from compute_hyperv.sim import native
from tests.unit.sim import onehost


class Kernel32Case(onehost.OneHostCase):

    def setUp(self):
        super().setUp()
        self.dll = self.oswin_module(
            'os_win.utils.winapi.libs.kernel32').lib_handle
        self.win32 = self.oswin_module(
            'os_win.utils.win32utils').Win32Utils()
        self.exceptions = self.oswin_module('os_win.exceptions')
        self.processes = self.oswin_module(
            'os_win.utils.processutils').ProcessUtils()

    def assert_last_error(self, code):
        self.assertEqual(code, self.dll.GetLastError())

    def assert_code(self, code, call, *args, **kwargs):
        with self.assertRaises(self.exceptions.Win32Exception) as caught:
            call(*args, **kwargs)
        self.assertEqual(code, caught.exception.error_code)

    def in_thread(self, call):
        """Run *call* in another native thread to its end."""
        results = []
        native.Thread(lambda: results.append(call())).start().join(60)
        return results[0]


@ddt.ddt
class ErrorsTest(Kernel32Case):

    def test_last_error_is_each_threads_own(self):
        self.dll.SetLastError(5)
        self.assertEqual(0, self.in_thread(self.dll.GetLastError))
        self.assert_last_error(5)

    @ddt.data(
        (2, b'The system cannot find the file specified.\r\n'),
        (32, b'The process cannot access the file because it is being used '
             b'by another process.\r\n'),
        (80, b'The file exists.\r\n'),
        (112, b'There is not enough space on the disk.\r\n'),
        (0xC03A001B, b'The requested operation cannot be performed on a '
                     b'virtual disk of this type.\r\n'),
        (0xEFFF0003, None))
    @ddt.unpack
    def test_message_of_code(self, code, text):
        self.assertEqual(text, self.win32.get_error_message(code))

    def test_memory_is_freed_once(self):
        buffer = ctypes.c_char_p()
        self.assertGreater(self.dll.FormatMessageA(
            0x1300, None, 2, 0, ctypes.byref(buffer), 0, None), 0)
        address = ctypes.cast(buffer, ctypes.c_void_p)
        self.assertIsNone(self.dll.LocalFree(address))
        self.assertEqual(address.value, self.dll.LocalFree(address))
        self.assertIsNone(self.dll.LocalFree(None))

    def test_closing_what_is_not_open_fails(self):
        self.assertEqual(0, self.dll.CloseHandle(0x1234))
        self.assert_last_error(6)

    def test_host_facts(self):
        first = self.dll.GetTickCount64()
        self.fabric.clock.advance(2)
        self.assertGreaterEqual(self.dll.GetTickCount64(), first + 2000)
        self.assertEqual((1, 0), (self.dll.IsProcessorFeaturePresent(10),
                                  self.dll.IsProcessorFeaturePresent(7)))


@ddt.ddt
class FilesTest(Kernel32Case):

    def setUp(self):
        super().setUp()
        self.path = self.win.get_pathutils()

    def open(self, path, access=0, share=7, disposition=3, flags=0):
        return self.dll.CreateFileW(path, access, share, None, disposition,
                                    flags, None)

    def test_copy_and_its_refusals(self):
        self.write('C:\\f', b'x')
        self.path.copy('C:\\f', 'C:\\g')
        self.assertEqual(b'x', self.read('C:\\g'))
        with self.assertRaises(IOError) as caught:
            self.path.copy('C:\\f', 'C:\\g')
        self.assertIn('80', str(caught.exception))
        self.path.copy('C:\\f', 'C:\\g', fail_if_exists=False)
        self.files.make_dirs('C:\\dir')
        self.path.copy('C:\\f', 'C:\\dir')
        self.assertEqual(['f'], self.files.list_dir('C:\\dir'))

    @ddt.data((0x80000000, 3, 2), (0x40000000, 3, 2), (0, 3, 2))
    @ddt.unpack
    def test_open_of_nothing_is_an_invalid_handle(self, access, disposition,
                                                  code):
        handle = self.open('C:\\none', access, 7, disposition)
        self.assertEqual(ctypes.c_void_p(-1).value, handle)
        self.assert_last_error(code)

    def test_bytes_of_an_open_file(self):
        handle = self.open('C:\\f', 0xC0000000, 0, 1)
        done = ctypes.c_uint32()
        self.assertEqual(1, self.dll.WriteFile(
            handle, b'data', 4, ctypes.byref(done), None))
        self.assertEqual(4, done.value)
        self.assert_fails(32, self.files.open, 'C:\\f')
        self.dll.CloseHandle(handle)
        handle = self.open('C:\\f', 0x80000000)
        buffer = ctypes.create_string_buffer(8)
        self.assertEqual(1, self.dll.ReadFile(
            handle, buffer, 8, ctypes.byref(done), None))
        self.assertEqual((4, b'data'), (done.value, buffer.value))
        self.dll.CloseHandle(handle)
        self.assert_clean()

    def test_same_file_by_links_and_shares(self):
        self.write('C:\\dir\\f')
        self.write('C:\\dir\\g')
        self.path.create_sym_link('C:\\l', 'C:\\dir')
        for other in ('c:\\DIR\\F', 'C:\\l\\f', r'\\HV1\c$\dir\f'):
            self.assertTrue(self.path.is_same_file('C:\\dir\\f', other))
        self.assertFalse(self.path.is_same_file('C:\\dir\\f', 'C:\\dir\\g'))
        self.assert_code(2, self.path.is_same_file, 'C:\\dir\\f', 'C:\\x')
        self.assert_clean()

    @ddt.data(('C:\\dir', 0x10), ('C:\\dir\\f', 0x20), ('C:\\l', 0x410),
              ('C:\\m', 0x420), ('C:\\none', 0xFFFFFFFF))
    @ddt.unpack
    def test_attributes(self, path, attributes):
        self.write('C:\\dir\\f')
        self.path.create_sym_link('C:\\l', 'C:\\dir')
        self.path.create_sym_link('C:\\m', 'C:\\dir\\f', False)
        self.assertEqual(attributes, self.dll.GetFileAttributesW(path))

    def test_link_where_something_is_fails(self):
        self.write('C:\\f')
        self.assert_code(183, self.path.create_sym_link, 'C:\\f', 'C:\\x')

    def test_space_of_a_volume(self):
        disk = self.win.get_diskutils()
        self.write('D:\\f', bytes(1000))
        self.assertEqual((1 << 30, (1 << 30) - 1000),
                         disk.get_disk_capacity('D:\\'))
        self.assertEqual((0, 0), disk.get_disk_capacity(
            'E:\\', ignore_errors=True))
        self.assert_code(3, disk.get_disk_capacity, 'E:\\')

    def test_anonymous_pipe(self):
        io = self.oswin_module('os_win.utils.io.ioutils').IOUtils()
        reader, writer = io.create_pipe()
        self.assertEqual(3, io.write_file(writer, io.get_buffer(3, 'abc'),
                                          3))
        buffer = io.get_buffer(8)
        self.assertEqual(3, io.read_file(reader, buffer, 8))
        self.assertEqual(b'abc', io.get_buffer_data(buffer, 3))
        io.close_handle(writer)
        self.assert_code(109, io.read_file, reader, buffer, 8)
        io.close_handle(reader)

    def test_facts_that_os_win_does_not_ask_for_are_not_simulated(self):
        self.write('C:\\f')
        handle = self.open('C:\\f')
        with self.assertRaises(NotSimulated):
            self.dll.GetFileInformationByHandleEx(handle, 0, None, 0)
        self.dll.CloseHandle(handle)


@ddt.ddt
class WaitTest(Kernel32Case):

    def event(self, manual=True, is_set=False, name=None):
        return self.dll.CreateEventW(None, manual, is_set, name)

    def test_manual_event_stays_set_and_automatic_does_not(self):
        for manual, second in ((True, 0), (False, 258)):
            handle = self.event(manual, True)
            self.assertEqual(0, self.dll.WaitForSingleObject(handle, 0))
            self.assertEqual(second, self.dll.WaitForSingleObject(handle, 0))
            self.dll.CloseHandle(handle)

    def test_event_wakes_who_waits(self):
        handle = self.event()
        self.soon(self.dll.SetEvent, handle)
        self.win32.wait_for_single_object(handle, 10000)
        self.dll.ResetEvent(handle)
        with self.assertRaises(self.exceptions.Timeout):
            self.win32.wait_for_single_object(handle, 10)

    def test_waiting_for_all_takes_all_or_none(self):
        first, second = self.event(False, True), self.event(False)
        with self.assertRaises(self.exceptions.Timeout):
            self.win32.wait_for_multiple_objects([first, second], True, 10)
        self.dll.SetEvent(second)
        self.assertEqual(0, self.win32.wait_for_multiple_objects(
            [first, second], True, 10))
        self.assertEqual(258, self.dll.WaitForSingleObject(first, 0))

    def test_waiting_for_any_names_it(self):
        handles = [self.event(), self.event(), self.event(True, True)]
        self.assertEqual(2, self.win32.wait_for_multiple_objects(
            handles, False, 1000))

    @ddt.data(([], 87), ([0x1234], 6), (range(0x100, 0x400, 4), 87))
    @ddt.unpack
    def test_bad_list_of_objects(self, handles, code):
        self.assert_code(code, self.win32.wait_for_multiple_objects,
                         list(handles), True, 0)

    def test_named_event_is_one_object(self):
        first = self.event(name='Global\\x')
        self.assert_last_error(0)
        second = self.event(name='Global\\x')
        self.assert_last_error(183)
        self.dll.SetEvent(first)
        self.dll.CloseHandle(first)
        self.assertEqual(0, self.dll.WaitForSingleObject(second, 0))
        self.assertIsNone(self.dll.CreateMutexW(None, 0, 'Global\\x'))
        self.assert_last_error(6)
        self.dll.CloseHandle(second)
        self.assertIsNotNone(self.dll.CreateMutexW(None, 0, 'Global\\x'))

    def test_mutex_belongs_to_a_thread(self):
        mutex = self.dll.CreateMutexW(None, True, None)
        self.assertEqual(0, self.dll.WaitForSingleObject(mutex, 0))
        self.assertEqual(258, self.in_thread(
            lambda: self.dll.WaitForSingleObject(mutex, 0)))
        self.assertEqual(0, self.in_thread(
            lambda: self.dll.ReleaseMutex(mutex)))
        self.processes.release_mutex(mutex)
        self.processes.release_mutex(mutex)
        self.assert_code(288, self.processes.release_mutex, mutex)
        self.assertEqual(0, self.in_thread(
            lambda: self.dll.WaitForSingleObject(mutex, 0)))

    def test_many_threads_count_under_one_mutex(self):
        mutex = self.dll.CreateMutexW(None, False, None)
        counter = [0]

        def count():
            for _ in range(200):
                self.dll.WaitForSingleObject(mutex, 0xFFFFFFFF)
                value = counter[0]
                native.sleep(0)
                counter[0] = value + 1
                self.dll.ReleaseMutex(mutex)
        threads = [native.Thread(count).start() for _ in range(4)]
        self.assertTrue(all([thread.join(60) for thread in threads]))
        self.assertEqual(800, counter[0])

    def test_completions_run_in_alertable_waits_of_their_thread_only(self):
        kernel = system.System(self.host.port)
        ran = []
        me = native.get_ident()
        kernel.queue_call(me, lambda: ran.append(native.get_ident()))
        self.assertEqual(system.WAIT_TIMEOUT, kernel.wait([], timeout_ms=0))
        self.assertEqual(system.WAIT_TIMEOUT, self.in_thread(
            lambda: kernel.wait([], timeout_ms=0, alertable=True)))
        self.assertEqual([], ran)
        self.assertEqual(system.WAIT_IO_COMPLETION,
                         kernel.wait([], timeout_ms=0, alertable=True))
        self.assertEqual([me], ran)


class ProcessesTest(Kernel32Case):

    def start(self):
        process = subprocess.Popen(
            [sys.executable, '-c', 'import sys; sys.stdin.read()'],
            stdin=subprocess.PIPE)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_end_of_processes_is_waited_for(self):
        first, second = self.start(), self.start()
        pids = [first.pid, second.pid]
        with self.assertRaises(self.exceptions.Timeout):
            self.processes.wait_for_multiple_processes(pids,
                                                       milliseconds=10)
        second.kill()
        self.assertEqual(1, self.processes.wait_for_multiple_processes(
            pids, wait_all=False, milliseconds=10000))
        first.kill()
        self.processes.wait_for_multiple_processes(pids, milliseconds=10000)
        first.wait()
        second.wait()

    def test_unknown_process_is_an_invalid_parameter(self):
        process = self.start()
        process.kill()
        process.wait()
        self.assert_code(87, self.processes.open_process, process.pid,
                         0x100000)

    def test_process_dies_with_its_job(self):
        process = self.start()
        job = self.processes.kill_process_on_job_close(process.pid)
        self.assertIsNone(process.poll())
        self.dll.CloseHandle(job)
        self.assertEqual(-signal.SIGKILL, process.wait(60))

    def test_job_without_the_limit_kills_nobody(self):
        process = self.start()
        handle = self.processes.open_process(process.pid, 0x101)
        job = self.processes.create_job_object()
        self.processes.assign_process_to_job_object(job, handle)
        self.dll.CloseHandle(job)
        self.dll.CloseHandle(handle)
        self.assertIsNone(process.poll())
