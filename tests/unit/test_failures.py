# SPDX-License-Identifier: Apache-2.0
"""What ``tools/test`` says of tests that failed."""

import io
import pathlib
import runpy
import unittest

try:
    import subunit
except ImportError:  # not among what the tests need under Windows' Python
    subunit = None

ROOT = pathlib.Path(__file__).resolve().parents[2]


@unittest.skipIf(subunit is None, 'stestr is not here')
class FailuresTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.tool = runpy.run_path(str(ROOT / 'tools' / 'failures'))
        self.stream = io.BytesIO()
        self.result = subunit.StreamResultToBytes(self.stream)

    def _test(self, name, status, **details):
        self.result.status(test_id=name, test_status='inprogress')
        for file_name, text in details.items():
            self.result.status(
                test_id=name, file_name=file_name, eof=True,
                file_bytes=text.encode(), mime_type='text/plain;charset=utf8')
        if status:
            self.result.status(test_id=name, test_status=status)

    def _said(self):
        self.stream.seek(0)
        return list(self.tool['lines_about'](
            self.tool['failed_tests'](self.stream)))

    def test_tracebacks_alone_are_told(self):
        self._test('t.passes', 'success', stderr='much')
        self._test('t.fails', 'fail', stderr='much', pythonlogging='more',
                   traceback='Traceback\n  here\nOops\n')
        self._test('t.skips', 'skip', reason='so')
        self.assertEqual(
            ['t.fails: fail', '    Traceback', '      here', '    Oops'],
            self._said())

    def test_test_that_never_ended_is_told(self):
        self._test('t.hangs', None)
        self.assertEqual(['t.hangs: inprogress'], self._said())

    def test_test_without_a_traceback_tells_what_it_has(self):
        self._test('t.fails', 'fail', stderr='Segmentation fault')
        self.assertEqual(['t.fails: fail', '    Segmentation fault'],
                         self._said())

    def test_what_is_told_is_bounded(self):
        for number in range(50):
            self._test(f't.fails_{number}', 'fail', traceback='\n'.join(
                ['x' * 500] * 99 + [f'the end of {number}']))
        said = self._said()
        self.assertEqual(40 + 5 * 25 + 1, len(said))
        self.assertEqual('    the end of 0', said[25])
        self.assertEqual(164, max(map(len, said)))
        self.assertEqual('and 10 more', said[-1])
