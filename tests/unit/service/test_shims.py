# SPDX-License-Identifier: Apache-2.0
"""The shims for Windows: where they apply, and their table in the guide."""

import subprocess
import sys
import types
import unittest

import ddt

from compute_hyperv.service import shims
from tests.unit import source


def squeeze(text):
    return ' '.join(text.split())


class TableTest(unittest.TestCase):

    def test_guide_has_every_shim_word_for_word(self):
        guide = squeeze((source.ROOT / 'doc' / 'source' / 'install' /
                         'windows.rst').read_text(encoding='utf-8'))
        for shim in shims.SHIMS:
            entry = (f'``{shim.name}`` :What: {shim.what} :Why: {shim.why} '
                     f':Until: {shim.until}')
            self.assertIn(squeeze(entry), guide)

    def test_guide_has_no_shim_that_is_gone(self):
        guide = (source.ROOT / 'doc' / 'source' / 'install' /
                 'windows.rst').read_text(encoding='utf-8')
        self.assertEqual(len(shims.SHIMS), guide.count(':Until:'))


@ddt.ddt
class ApplyTest(unittest.TestCase):

    @ddt.data('linux', 'darwin', 'cygwin')
    def test_nothing_happens_elsewhere(self, platform):
        self.assertEqual((), shims.apply(platform))

    def test_popen_drops_what_windows_refuses(self):
        with shims.WindowsPopen(
                [sys.executable, '-c', ''], preexec_fn=object(),
                stdout=subprocess.DEVNULL) as process:
            self.assertEqual(0, process.wait())

    def test_proxy_answers_one_name_and_forwards_the_rest(self):
        proxy = shims._Forward(types.SimpleNamespace(
            __name__='real', one=1, two=2), two='mended')
        self.assertEqual((1, 'mended'), (proxy.one, proxy.two))

    def test_changed_shape_is_loud(self):
        with self.assertRaisesRegex(shims.ShapeChanged,
                                    "'privsep' does not fit.*no context"):
            shims._require('privsep', False, 'no context')
