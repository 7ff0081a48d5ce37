# SPDX-License-Identifier: Apache-2.0
"""The examples of the documentation: all but the console ones run here.

Those run in ``tools/demo check``, against a cloud; here they only have to
be well formed. See tools/cloud/doctext.py.
"""

import configparser
import contextlib
import copy
import doctest
import importlib.metadata
import io
import pathlib
import re
import sys
import tempfile
import unittest

import ddt
from oslo_config import cfg

from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim import guestdisks
from compute_hyperv.sim import install
from compute_hyperv.sim import jobs

TOP = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(TOP / 'tools'))

from cloud import doctext  # noqa: E402

PAGES = [TOP / 'README.rst', *sorted((TOP / 'doc/source').rglob('*.rst'))]
#: Who owns the options that a nova.conf of a Hyper-V node may have.
NAMESPACES = ('nova.conf', 'compute_hyperv', 'oslo.log', 'oslo.messaging',
              'oslo.service.service', 'oslo.concurrency')


def blocks(*languages):
    """Test data: the examples of these languages, named by their place."""
    found = []
    for page in PAGES:
        for example in doctext.examples(page):
            if example.language in languages:
                found.append(example)
                example_name = f'{page.stem}_{example.line}'
                found[-1] = _Named(example, example_name)
    return found


class _Named:
    """What ddt takes the name of a test from."""

    def __init__(self, example, name):
        self.example = example
        self.__name__ = name


@ddt.ddt
class ConfigurationTest(unittest.TestCase):
    """``ini``: options that exist, with values that they take."""

    @ddt.data(*blocks(doctext.INI))
    def test_file_is_understood(self, named):
        text = named.example.text
        conf = self.conf(text)
        for group, name in self.names(text):
            with self.subTest(option=f'[{group}] {name}'):
                where = conf if group == 'DEFAULT' else conf[group]
                self.assertIsNotNone(where[name])

    @staticmethod
    def names(text):
        parser = configparser.RawConfigParser(default_section='')
        parser.read_string(text)
        found = [(section, name) for section in parser.sections()
                 for name in parser.options(section)]
        if not found:
            raise AssertionError('no options')
        return found

    @staticmethod
    def conf(text):
        conf = cfg.ConfigOpts()
        entries = importlib.metadata.entry_points(group='oslo.config.opts')
        for entry in entries:
            if entry.name in NAMESPACES:
                for group, options in entry.load()():
                    for option in map(copy.copy, options):
                        option.required = False     # examples are short
                        # Nova lists some of keystoneauth's twice.
                        with contextlib.suppress(cfg.DuplicateOptError):
                            conf.register_opt(option, group=(
                                None if group == 'DEFAULT' else group))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'example.conf'
            path.write_text(text, encoding='utf-8')
            conf([], default_config_files=[str(path)],
                 default_config_dirs=[])
        return conf

    def test_wrong_examples_are_found(self):
        for text, error in (
                ('[hyperv]\nno_such = 1\n', cfg.NoSuchOptError),
                ('[no_such]\nx = 1\n', cfg.NoSuchOptError),
                ('[hyperv]\nlock_timeout = soon\n', cfg.ConfigFileValueError)):
            with self.subTest(text):
                conf = self.conf(text)
                (group, name), = self.names(text)
                with self.assertRaises(error):
                    conf[group][name]


@ddt.ddt
class PythonTest(unittest.TestCase):
    """``python``: run, with prompts as a doctest.

    An example may use a fabric of two hosts, the first of which is bound,
    with a running machine that has a disk.
    """

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        install.install()
        extra = {'live_migration': True}
        fabric = sim_fabric.Fabric(f'{folder.name}/own', hosts=[
            {'name': name, 'extra': extra} for name in ('HV1', 'HV2')])
        self.addCleanup(fabric.close)
        host = fabric.host('HV1')
        utilsfactory = install.bound(host).utilsfactory
        self.make_machine(utilsfactory)
        self.names = {
            'fabric': fabric, 'host': host, 'guestdisks': guestdisks,
            'jobs': jobs, 'folder': f'{folder.name}/other',
            'utilsfactory': utilsfactory, '__name__': 'example'}

    @staticmethod
    def make_machine(factory):
        vmutils = factory.get_vmutils()
        factory.get_pathutils().check_create_dir(r'C:\VMs')
        vmutils.create_vm('vm', False, 2, r'C:\VMs')
        vmutils.create_scsi_controller('vm')
        factory.get_vhdutils().create_dynamic_vhd(r'C:\VMs\vm.vhdx', 1 << 30)
        vmutils.attach_scsi_drive('vm', r'C:\VMs\vm.vhdx')
        vmutils.set_vm_state('vm', 2)

    @ddt.data(*blocks(doctext.PYTHON))
    def test_it_runs(self, named):
        with (self.names['fabric'].on('HV1'),
              contextlib.redirect_stdout(io.StringIO())):
            self.run_example(named.example)

    def run_example(self, example):
        where = f'{example.path.name}, line {example.line}'
        if '>>>' not in example.text:
            exec(compile(example.text, where, 'exec'), self.names)
            return
        test = doctest.DocTestParser().get_doctest(
            example.text, self.names, where, str(example.path), 0)
        said = []
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
            test, out=said.append)
        self.assertEqual('', ''.join(said))


class ConsoleTest(unittest.TestCase):
    """``console``: what ``tools/demo check`` will find."""

    def test_commands_are_well_formed(self):
        count = 0
        for page in PAGES:
            for example in doctext.examples(page):
                if example.language == doctext.CONSOLE:
                    count += len(list(doctext.commands(example)))
        self.assertGreater(count, 10)

    def test_every_language_is_known_and_commands_are_console(self):
        for page in PAGES:
            text = page.read_text(encoding='utf-8')
            for example in doctext.examples(page):
                self.assertIn(example.language, doctext.LANGUAGES,
                              f'{page}, line {example.line}')
            self.assertIsNone(re.search(r'::\n\n +[\w-]*\$ ', re.sub(
                r'code-block:: \w+', '', text)), f'{page}: a literal block '
                'of commands; write ".. code-block:: console"')

    def test_only_pages_of_the_contents_run(self):
        listed = set(doctext.pages(TOP / 'doc/source'))
        for page in PAGES:
            if any(example.language == doctext.CONSOLE
                   for example in doctext.examples(page)):
                self.assertIn(page, listed)

    def test_commands_with_their_output(self):
        text = ('$ one \\\n    two\nfirst line\n...\n\n'
                "web$ three |\n  four 'a\nb'\n$ five\n")
        page = pathlib.Path('page.rst')
        example = doctext.Example(page, 10, doctext.CONSOLE, text)
        self.assertEqual(
            [doctext.Command(page, 10, '', 'one \\\n    two',
                             'first line\n...'),
             doctext.Command(page, 15, 'web', "three |\n  four 'a\nb'", ''),
             doctext.Command(page, 18, '', 'five', '')],
            list(doctext.commands(example)))
        for bad in ('output first\n', '$ never ends \\\n'):
            with self.subTest(bad), self.assertRaises(ValueError):
                list(doctext.commands(doctext.Example(page, 1, '', bad)))
