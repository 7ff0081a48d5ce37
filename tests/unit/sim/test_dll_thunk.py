# SPDX-License-Identifier: Apache-2.0
"""How ctypes reaches the simulated DLLs."""

import ctypes

import ddt

from compute_hyperv.sim import dll
from compute_hyperv.sim.dll import thunk
from compute_hyperv.sim.errors import NotSimulated
from compute_hyperv.sim.errors import Win32Error
from tests import base
from tests.unit.sim import onehost


class Sample(thunk.Library):
    """A DLL for these tests."""

    dll_name = 'sample'

    def do_Add(self, first, second):
        return first + second

    def do_Text(self, text, size):
        return len(text) if text is not None else -1

    @thunk.wants_addresses
    def do_Fill(self, buffer, size):
        text = ctypes.create_unicode_buffer('filled')
        ctypes.memmove(buffer, text, ctypes.sizeof(text))
        return 0

    def do_Fail(self, code):
        raise Win32Error(code)

    def do_Break(self, text):
        raise KeyError(text)

    def do_Void(self):
        raise KeyError('void')


class FakePort:
    client = ''

    def call(self, op, **args):
        raise NotSimulated(op)


class ThunkTest(base.TestCase):

    def setUp(self):
        super().setUp()
        self.dll = Sample(FakePort())

    def register(self, name, restype, *argtypes):
        function = getattr(self.dll, name)
        function.argtypes = list(argtypes)
        function.restype = restype
        return function

    def test_arguments_are_converted_as_declared(self):
        add = self.register('Add', ctypes.c_uint32, ctypes.c_uint32,
                            ctypes.c_int32)
        self.assertEqual(3, add(ctypes.c_uint32(5), -2))
        self.assertEqual(0xFFFFFFFF, add(0, -1))
        with self.assertRaises(ctypes.ArgumentError):
            add('5', 1)
        with self.assertRaises(TypeError):
            add(5)

    def test_strings_arrive_and_null_is_none(self):
        text = self.register('Text', ctypes.c_int32, ctypes.c_wchar_p,
                             ctypes.c_uint32)
        self.assertEqual(2, text('äö', 0))
        self.assertEqual(2, text(ctypes.c_wchar_p('ab'), 0))
        self.assertEqual(-1, text(None, 0))
        with self.assertRaises(ctypes.ArgumentError):
            text(b'bytes', 0)

    def test_buffer_of_the_caller_is_filled(self):
        fill = self.register('Fill', ctypes.c_uint32, ctypes.c_wchar_p,
                             ctypes.c_uint32)
        buffer = ctypes.create_unicode_buffer(20)
        fill(buffer, 20)
        self.assertEqual('filled', buffer.value)

    def test_windows_error_becomes_the_result(self):
        fail = self.register('Fail', ctypes.c_uint32, ctypes.c_uint32)
        self.assertEqual(0xC03A001B, fail(0xC03A001B))

    def test_other_exceptions_cross_the_call(self):
        broken = self.register('Break', ctypes.c_void_p, ctypes.c_wchar_p)
        with self.assertRaisesRegex(KeyError, 'why'):
            broken('why')
        void = self.register('Void', None)
        with self.assertRaisesRegex(KeyError, 'void'):
            void()
        self.assertEqual(3, self.register(
            'Add', ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)(1, 2))

    def test_result_type_may_be_set_again(self):
        add = self.register('Add', ctypes.c_uint32, ctypes.c_int32,
                            ctypes.c_int32)
        self.assertEqual(0xFFFFFFFF, add(0, -1))
        add.restype = ctypes.c_int32
        self.assertEqual(-1, add(0, -1))

    def test_function_that_was_never_registered_is_an_error(self):
        with self.assertRaisesRegex(TypeError, 'Add'):
            self.dll.Add(1, 2)

    def test_absent_function_is_not_simulated(self):
        absent = self.register('Absent', ctypes.c_uint32, ctypes.c_uint32)
        with self.assertRaisesRegex(NotSimulated, 'dll.sample.Absent'):
            absent(1)

    def test_only_functions_are_found(self):
        for name in ('_hidden', 'lower'):
            with self.assertRaises(AttributeError):
                getattr(self.dll, name)


@ddt.ddt
class RegisteredTest(onehost.OneHostCase):
    """Every function that os-win registers is there."""

    @ddt.data('kernel32', 'virtdisk', 'advapi32', 'iscsidsc',
              'hbaapi')
    def test_library_implements_all_that_os_win_registers(self, name):
        library = self.library(name)
        self.assertTrue(library._functions)
        self.assertEqual([], [
            function for function in library._functions
            if not hasattr(library, 'do_' + function)])

    @ddt.data('clusapi')
    def test_functions_of_later_work_say_so(self, name):
        library = self.library(name)
        self.assertTrue(library._functions)
        for function in library._functions.values():
            with self.assertRaises(NotSimulated):
                function(*[None if hasattr(kind, 'contents')
                           or kind in (ctypes.c_void_p, ctypes.c_wchar_p,
                                       ctypes.c_char_p) else kind()
                           for kind in function.argtypes])
        self.assertEqual(len(library._functions),
                         len(self.fabric.not_simulated))

    def library(self, name):
        self.win.get_hostutils()
        return self.oswin_module(
            'os_win.utils.winapi.libs.' + name).lib_handle

    @ddt.data(('hbaapi.dll', 'hbaapi'), ('C:\\x\\HBAAPI.DLL', 'hbaapi'))
    @ddt.unpack
    def test_library_is_found_by_file_name(self, name, found):
        libraries = dll.load(self.host.port)
        self.assertIs(getattr(libraries, found), libraries.LoadLibrary(name))

    def test_other_library_is_not_found(self):
        self.assert_fails(126, dll.load(self.host.port).LoadLibrary,
                          'other.dll')

    def test_longs_have_the_size_of_windows(self):
        windows = dll.load(self.host.port).ctypes()
        self.assertEqual([4, 4, 8], [ctypes.sizeof(kind) for kind in (
            windows.c_long, windows.c_ulong, windows.c_void_p)])
        self.assertIs(ctypes.Structure, windows.Structure)
