# SPDX-License-Identifier: Apache-2.0
"""Other programs: their words, their failures, their deadline."""

import sys
import time
import unittest

from compute_hyperv import commands
from compute_hyperv import errors


def run(code, timeout_s=30):
    return commands.run(sys.executable, '-c', code, timeout_s=timeout_s)


class RunTest(unittest.TestCase):

    def test_output_is_returned(self):
        self.assertEqual('done\n', run(
            'import sys; sys.stdout.buffer.write(b"done\\n")'))

    def test_failure_carries_what_the_program_said(self):
        """L031: the output of a failing tool is in the error."""
        with self.assertRaisesRegex(errors.CommandFailed,
                                    'exit code 3: no space'):
            run('import sys; sys.stderr.write("no space"); sys.exit(3)')

    def test_missing_program_is_named(self):
        with self.assertRaisesRegex(errors.CommandFailed, 'no-such-tool'):
            commands.run('no-such-tool', timeout_s=1)

    def test_program_is_killed_at_the_deadline(self):
        begin = time.monotonic()
        with self.assertRaisesRegex(errors.CommandFailed,
                                    'not done within 1 seconds'):
            run('import time; time.sleep(600)', timeout_s=1)
        self.assertLess(time.monotonic() - begin, 20)


class CheckTest(unittest.TestCase):
    """What the options name is looked for when nova-compute starts."""

    def check(self, command, is_needed):
        commands.check('[hyperv] qemu_img_cmd', command,
                       purpose='converts images', is_needed=is_needed)

    def test_program_that_is_there_is_quiet(self):
        with self.assertNoLogs('compute_hyperv.commands'):
            self.check(sys.executable, True)

    def test_missing_program_that_all_need_ends_the_start(self):
        with self.assertRaisesRegex(
                errors.BadOption, 'qemu_img_cmd.*no-such-tool.*converts'):
            self.check('no-such-tool', True)

    def test_missing_program_that_some_need_is_logged(self):
        with self.assertLogs('compute_hyperv.commands', 'ERROR') as logs:
            self.check('no-such-tool', False)
        self.assertIn('[hyperv] qemu_img_cmd', logs.output[0])
