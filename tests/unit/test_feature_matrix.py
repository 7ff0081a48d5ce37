# SPDX-License-Identifier: Apache-2.0
"""What the feature matrix says is true, as far as the tree can tell."""

import pathlib
import re
import runpy
import shutil
import tempfile
import unittest

from nova.virt import driver as nova_driver

from compute_hyperv import driver
from tests.unit import source
from tests.unit import test_contract

DOC = source.ROOT / 'doc' / 'source'
KEYS = frozenset(('title', 'status', 'note', 'tests', 'command', 'capability',
                  'refusal', 'method', 'unused'))
#: Rows that no test of this repository's functional ones can prove: the
#: Windows service, the demo cloud, Wine, the documentation.
BY_COMMAND = frozenset(('feature.A2', 'feature.G2', 'feature.G3',
                        'feature.G4'))
#: Rows of Nova's own matrix (doc/source/user/support-matrix.ini there).
NOVAS_ROWS = frozenset(f'nova.{name}' for name in '''
    operation.attach-volume operation.attach-tagged-volume
    operation.detach-volume operation.extend-volume operation.attach-interface
    operation.attach-tagged-interface operation.detach-interface
    operation.maintenance-mode operation.evacuate operation.rebuild
    operation.get-guest-info operation.get-host-uptime operation.get-host-ip
    operation.live-migrate operation.force-live-migration-to-complete
    operation.launch operation.pause operation.reboot operation.rescue
    operation.resize operation.resume operation.set-admin-password
    operation.snapshot operation.suspend operation.swap-volume
    operation.terminate operation.trigger-crash-dump operation.unpause
    guest.disk.autoconfig guest.disk.rate-limit guest.setup.configdrive
    guest.setup.inject.file guest.setup.inject.networking console.rdp
    console.serial.log console.serial.interactive console.spice console.vnc
    storage.block storage.block.backend.fibrechannel
    storage.block.backend.iscsi storage.block.backend.iscsi.auth.chap
    storage.image networking.firewallrules networking.routing
    networking.securitygroups networking.topology.flat
    networking.topology.vlan operation.uefi-boot operation.device-tags
    operation.quiesce operation.unquiesce operation.multiattach-volume
    operation.trusted-certs operation.file-backed-memory'''.split())
#: Rows of the design: letter -> how many.
FEATURES = {'A': 12, 'B': 15, 'C': 15, 'D': 10, 'E': 3, 'F': 9, 'G': 7}

TOOL = runpy.run_path(str(source.ROOT / 'tools' / 'feature-matrix'))


class MatrixTest(unittest.TestCase):

    def setUp(self):
        self.rows = TOOL['rows']()
        self.working = [row for row in self.rows if row.works]
        self.absent = [row for row in self.rows if not row.works]

    def test_rows_are_novas_and_ours(self):
        names = {row.name for row in self.rows}
        ours = {f'feature.{letter}{number}' for letter in FEATURES
                for number in range(1, FEATURES[letter] + 1)}
        self.assertEqual(set(), NOVAS_ROWS - names)
        self.assertEqual(ours, {name for name in names
                                if name.startswith('feature.')})

    def test_every_row_is_on_the_page(self):
        prefixes = tuple(prefix for prefix, _title in TOOL['GROUPS'])
        page = TOOL['page']()
        self.assertEqual([], [
            row.name for row in self.rows
            if not row.name.startswith(prefixes)
            or TOOL['_escaped'](row.title) not in page])

    def test_rows_are_well_formed(self):
        self.assertEqual([], [
            row.name for row in self.rows
            if not row.title or row.status not in TOOL['STATUSES']
            or row.keys - KEYS])
        self.assertEqual([], [row.name for row in self.rows
                              if row.status != 'complete' and not row.note])

    def test_what_works_is_proven(self):
        self.assertEqual([], [
            row.name for row in self.working
            if not row.tests
            and not (row.command and row.name in BY_COMMAND)])

    def test_proofs_exist(self):
        known = TOOL['tests']()
        self.assertEqual([], [
            f'{row.name}: {test}' for row in self.rows
            for test in row.tests if test not in known])
        self.assertEqual([], [
            f'{row.name}: {row.command}' for row in self.rows
            if row.command and not self._exists(*row.command.split())])

    @staticmethod
    def _exists(program, part):
        """Whether the program knows that part."""
        path = source.ROOT / program
        if program == 'tools/demo':     # starts the cloud's own command line
            path = source.ROOT / 'tools' / 'cloud' / 'cli.py'
        return path.is_file() and bool(
            re.search(rf'\b{part}\b', path.read_text('utf-8')))

    def test_what_is_absent_claims_no_proof(self):
        self.assertEqual([], [row.name for row in self.absent
                              if row.tests or row.command])


class DriverTest(unittest.TestCase):
    """The matrix and the driver say the same."""

    def setUp(self):
        self.rows = TOOL['rows']()

    def test_capabilities_are_as_their_rows_say(self):
        capabilities = driver.HyperVDriver.capabilities
        self.assertEqual([], [
            f'{row.name}: {flag}' for row in self.rows
            for flag in row.capabilities
            if capabilities.get(flag) is not row.works])

    def test_every_capability_has_a_row(self):
        named = {flag for row in self.rows for flag in row.capabilities}
        self.assertEqual(set(driver.HyperVDriver.capabilities), named)

    def test_methods_are_as_their_rows_say(self):
        overridden = test_contract.overridden(driver.HyperVDriver)
        self.assertEqual([], [
            f'{row.name}: {name}' for row in self.rows for name in row.methods
            if not hasattr(nova_driver.ComputeDriver, name)
            or (name in overridden) is not row.works])
        self.assertEqual([], [
            f'{row.name}: {name}' for row in self.rows
            for name in row.refusals
            if row.works or name not in overridden])

    def test_every_absent_row_says_how_one_sees_it(self):
        self.assertEqual([], [
            row.name for row in self.rows if not row.works
            and not (row.capabilities or row.methods or row.refusals
                     or row.unused)])

    def test_nothing_mentions_what_is_unused(self):
        texts = [module.text for module in source.driver_modules()]
        texts.append((source.ROOT / 'setup.cfg').read_text('utf-8'))
        self.assertEqual([], [
            f'{row.name}: {word}' for row in self.rows for word in row.unused
            if row.works or any(word in text for text in texts)])


class PageTest(unittest.TestCase):

    def test_page_is_made_from_the_data_and_linked(self):
        page = (DOC / 'feature-matrix.rst').read_text('utf-8')
        self.assertIn('\n.. feature-matrix::\n', page)
        index = (DOC / 'index.rst').read_text('utf-8').split()
        self.assertIn('feature-matrix', index)

    def test_table_shows_title_status_note_and_proof(self):
        row = next(row for row in TOOL['rows']()
                   if row.name.startswith('nova.') and row.tests
                   and row.note and not set(row.note) & set('*`|_'))
        page = TOOL['page']()
        begin = page.index(f'* - {row.title}\n')
        shown = page[begin:page.index('   * - ', begin + 1)]
        self.assertIn(f'- {row.status}\n', shown)
        self.assertIn(f'- {row.note}\n', shown)
        self.assertIn(row.tests[0].partition('.')[0].replace('_', r'\_'),
                      shown)


class ToolTest(unittest.TestCase):
    """How functional tests are found."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def found(self, **modules):
        for name, text in modules.items():
            (self.folder / f'{name}.py').write_text(text, 'utf-8')
        return TOOL['tests'](self.folder)

    def test_inherited_tests_belong_to_the_heir(self):
        self.assertEqual(
            {'test_x.OneTest.test_a', 'test_x.OneTest.test_b'},
            self.found(
                case='class Case:\n    def test_a(self): pass\n',
                test_x='class Mixin:\n    def test_b(self): pass\n'
                       'class OneTest(Mixin, case.Case):\n'
                       '    def helper(self): pass\n'))

    def test_skipped_tests_prove_nothing(self):
        self.assertEqual(set(), self.found(
            test_x='@unittest.skip("later")\nclass OneTest(TestCase):\n'
                   '    def test_a(self): pass\n'
                   'class TwoTest(TestCase):\n'
                   '    @unittest.skip("later")\n'
                   '    def test_a(self): pass\n'))
