# SPDX-License-Identifier: Apache-2.0
"""tools/cloud/preflight.py and errors.py."""

import pathlib
import tempfile
import unittest

from cloud import errors
from cloud import preflight


class PreflightTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / 'file'

    def test_little_memory_is_told(self):
        self.path.write_text('MemTotal: 4000000 kB\n'
                             'MemAvailable: 1048576 kB\n')
        self.assertIn('1.0 GiB', preflight.memory_warning(str(self.path)))

    def test_enough_memory_is_not_mentioned(self):
        self.path.write_text('MemAvailable: 8388608 kB\n')
        self.assertEqual('', preflight.memory_warning(str(self.path)))

    def test_missing_shared_memory_is_refused(self):
        with self.assertRaisesRegex(errors.DemoError,
                                    f'mount .* {self.path}$'):
            preflight.check_shared_memory(str(self.path))

    def test_shared_memory_that_can_be_written_will_do(self):
        preflight.check_shared_memory(str(self.path.parent))

    def test_tail_gives_the_last_lines_of_a_long_log(self):
        self.path.write_text(''.join(f'line {n}\n' for n in range(9999)))
        self.assertEqual(['line 9997', 'line 9998'],
                         errors.tail(self.path, 2))

    def test_tail_of_no_log_is_empty(self):
        self.assertEqual([], errors.tail(self.path))
