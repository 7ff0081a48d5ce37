# SPDX-License-Identifier: Apache-2.0
"""What the text of a Windows path means.

Sources: Microsoft, "Naming Files, Paths, and Namespaces", "Maximum Path
Length Limitation"; Python's ntpath, which knows part of it.
"""

import ntpath
import string

import ddt
from hypothesis import given
from hypothesis import strategies

from compute_hyperv.sim.errors import Win32Error
from compute_hyperv.sim import winpath
from tests import base

LETTERS = string.ascii_letters + string.digits + ' .-_éßÀ'
NAMES = strategies.text(LETTERS, min_size=1, max_size=12).filter(
    lambda name: name.strip(' .') == name and name and name[-1] not in '. '
    and not winpath.is_reserved(name))
PATHS = strategies.lists(NAMES, max_size=8).map(
    lambda names: 'C:\\' + '\\'.join(names))


@ddt.ddt
class ParseTest(base.TestCase):

    @ddt.data(
        ('C:\\a\\b', 'C:\\a\\b'),
        ('c:/a/b', 'C:\\a\\b'),
        ('C:', 'C:\\'),
        ('C:\\', 'C:\\'),
        ('C:\\a\\.\\b\\..\\c', 'C:\\a\\c'),
        ('C:\\..\\..\\a', 'C:\\a'),
        ('C:\\a\\\\b\\', 'C:\\a\\b'),
        ('C:\\name. . ', 'C:\\name'),
        ('C:\\inner.\\x', 'C:\\inner\\x'),
        ('\\\\SRV\\share\\x', '\\\\SRV\\share\\x'),
        ('//SRV/share/x/..', '\\\\SRV\\share'),
        ('\\\\?\\C:\\a', 'C:\\a'),
        ('\\\\?\\UNC\\SRV\\share\\x', '\\\\SRV\\share\\x'),
        ('\\\\?\\C:\\name.', 'C:\\name.'),
        ('\\\\.\\C:\\a', 'C:\\a'),
        ('\\\\.\\pipe\\vm', '\\\\.\\pipe\\vm'),
        ('\\\\.\\PhysicalDrive3', '\\\\.\\PhysicalDrive3'),
        ('\\rooted', 'C:\\rooted'))
    @ddt.unpack
    def test_path_means(self, path, meaning):
        self.assertEqual(meaning, str(winpath.parse(path)))

    @ddt.data(
        ('', 3), ('C:\\a<b', 123), ('C:\\a|b\\c', 123), ('C:\\a:stream', 123),
        ('C:\\a\x01', 123), ('C:\\what?', 123), ('C:\\' + 'n' * 256, 123),
        ('\\\\?\\C:\\' + 'n' * 256, 123), ('C:\\con', 123),
        ('C:\\aux.txt', 123), ('C:\\x\\COM1', 123), ('C:\\lpt¹', 123),
        ('\\\\?\\C:\\a\\..\\b', 123), ('\\\\?\\C:\\a/b', 123),
        ('\\\\server', 161), ('\\\\server\\', 161))
    @ddt.unpack
    def test_bad_path_gives_code(self, path, code):
        with self.assertRaises(Win32Error) as caught:
            winpath.parse(path)
        self.assertEqual(code, caught.exception.winerror)

    @ddt.data((False, 259, None), (False, 260, 3), (True, 247, None),
              (True, 248, 206))
    @ddt.unpack
    def test_length_is_limited(self, directory, characters, code):
        path = 'C:\\' + 'a\\' * 100
        path += 'b' * (characters - len(path))
        if code is None:
            self.assertEqual(path, str(winpath.parse(path,
                                                     directory=directory)))
            return
        with self.assertRaises(Win32Error) as caught:
            winpath.parse(path, directory=directory)
        self.assertEqual(code, caught.exception.winerror)

    @ddt.data(True, False)
    def test_length_is_free_where_long_paths_are_enabled(self, directory):
        path = 'C:\\' + '\\'.join(['name'] * 100)
        self.assertEqual(path, str(winpath.parse(
            path, directory=directory, long_paths=True)))
        self.assertEqual(path, str(winpath.parse('\\\\?\\' + path)))

    def test_directory_of_reserved_name_is_invalid_directory(self):
        with self.assertRaises(Win32Error) as caught:
            winpath.parse('C:\\nul', directory=True)
        self.assertEqual(267, caught.exception.winerror)

    @ddt.data(('C:\\x', True), ('c:/x', True), ('\\\\s\\h', True),
              ('//s/h', True), ('\\x', True), ('/etc/nova', False),
              ('nova.conf', False), (3, False), (None, False))
    @ddt.unpack
    def test_windows_paths_are_told_from_local_ones(self, path, expected):
        self.assertEqual(expected, winpath.is_windows(path))

    @ddt.data(('a', 'A'), ('é', 'É'), ('ß', 'ß'), ('ﬁ', 'ﬁ'), ('ÿ', 'Ÿ'))
    @ddt.unpack
    def test_folding_keeps_the_length(self, name, folded):
        self.assertEqual(folded, winpath.fold(name))


class ParsePropertyTest(base.TestCase):

    @given(PATHS)
    def test_plain_path_is_its_own_meaning(self, path):
        self.assertEqual(path, str(winpath.parse(path, long_paths=True)))

    @given(PATHS, strategies.lists(
        strategies.sampled_from(['.', '..', 'x', ''])))
    def test_dots_resolve_as_in_ntpath(self, path, extra):
        path = '\\'.join([path.rstrip('\\')] + extra) + '\\'
        self.assertEqual(ntpath.normpath(path), str(winpath.parse(
            path, long_paths=True)))

    @given(PATHS)
    def test_slashes_are_equal(self, path):
        self.assertEqual(winpath.parse(path, long_paths=True),
                         winpath.parse(path.replace('\\', '/'),
                                       long_paths=True))

    @given(NAMES)
    def test_folding_is_stable_and_ignores_case(self, name):
        folded = winpath.fold(name)
        self.assertEqual(folded, winpath.fold(folded))
        self.assertEqual(len(name), len(folded))
        if name.isascii():
            self.assertEqual(folded, winpath.fold(name.swapcase()))
