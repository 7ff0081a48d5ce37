# SPDX-License-Identifier: Apache-2.0
"""tools/fuzz-images: short runs of it, and what it would find."""

import contextlib
import dataclasses
import io
import os
import pathlib
import random
import shutil
import sys
import tempfile

from compute_hyperv.vhd import inspect
from tests import base
from tests import malformed_disks

_TOOLS = str(pathlib.Path(__file__).parents[3] / 'tools')
if _TOOLS not in sys.path:
    sys.path.insert(0, _TOOLS)

from imagefuzz import __main__ as command  # noqa: E402
from imagefuzz import inputs  # noqa: E402
from imagefuzz import oracle  # noqa: E402


class FuzzTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def _run(self, *arguments):
        """Exit code and output of the command."""
        with contextlib.redirect_stdout(io.StringIO()) as output, \
                contextlib.redirect_stderr(output):
            code = command.main([*arguments, '--out', self.dir])
        return code, output.getvalue()

    def test_random_edits_get_behind_the_checksums(self):
        judge = oracle.Oracle(self.dir)
        sound = inputs.seeds()
        generator = random.Random(1)
        for _ in range(300):
            judge.judge(inputs.build(generator.randbytes(40), sound))
        self.assertGreater(len(judge.verdicts), 12, judge.verdicts)
        self.assertIn('accepted', judge.verdicts)

    def test_same_input_is_the_same_file(self):
        sound = inputs.seeds()
        data = random.Random(2).randbytes(60)
        self.assertEqual(inputs.build(data, sound),
                         inputs.build(data, sound))

    def test_run_without_coverage_ends_in_time(self):
        code, output = self._run('--engine', 'hypothesis', '--seconds', '2')
        self.assertEqual(0, code, output)
        self.assertIn('files in', output)

    def test_replay_tells_the_verdict(self):
        maker = malformed_disks.Maker(self.dir)
        case = next(case for case in malformed_disks.CASES
                    if case.name == 'x-log-guid-set-no-entries.vhdx')
        self.assertEqual((0, 'log\n'),
                         self._run('--replay', maker.make(case)))
        self.assertEqual((0, 'accepted\n'),
                         self._run('--replay', maker.sound('ok.vhd')))

    def test_accepted_file_of_another_size_is_a_finding(self):
        path = malformed_disks.Maker(self.dir).sound('ok.vhdx')
        with open(path, 'rb') as file:
            info = inspect.inspect(file)
        judge = oracle.Oracle(self.dir)
        os.rename(path, os.path.join(self.dir, 'accepted'))
        judge._read_all(info)
        self.assert_refuses(
            oracle.Finding, 'disk model sees', call=lambda: judge._read_all(
                dataclasses.replace(info, virtual_size_bytes=1 << 20)))

    def test_finding_is_kept_and_ends_with_1(self):
        class Wrong(oracle.Oracle):
            def judge(self, image):
                raise oracle.Finding('made up')
        self.addCleanup(setattr, oracle, 'Oracle', oracle.Oracle)
        oracle.Oracle = Wrong
        code, output = self._run('--engine', 'hypothesis', '--seconds', '5')
        self.assertEqual(1, code)
        self.assertIn('FINDING: Finding: made up', output)
        self.assertTrue([name for name in os.listdir(self.dir)
                         if name.endswith('.img')])
