# SPDX-License-Identifier: Apache-2.0
"""What the demo installs."""

import sys

from cloud import packages
from tests.unit.demo import foldercase


class CompileTest(foldercase.FolderCase):

    def setUp(self):
        super().setUp()
        self.folder = (self.layout.venv_dir / 'lib' / 'python3' /
                       'site-packages' / 'nova')
        (self.folder / 'tests' / 'unit').mkdir(parents=True)
        program = self.layout.venv_dir / 'bin' / 'python'
        program.parent.mkdir()
        program.symlink_to(sys.executable)

    def write(self, name, text='answer = 42\n'):
        path = self.folder / name
        path.write_text(text)
        return path

    def compiled(self, path):
        return list((path.parent / '__pycache__').glob(f'{path.stem}.*.pyc'))

    def test_all_but_tests_are_compiled(self):
        module = self.write('utils.py')
        named_alike = self.write('latests.py')
        test = self.write('tests/unit/test_utils.py')
        packages.compile_python(self.layout)
        self.assertTrue(self.compiled(module))
        self.assertTrue(self.compiled(named_alike))
        self.assertFalse(self.compiled(test))

    def test_what_is_no_python_does_no_harm(self):
        template = self.write('template.py', '{{ name }} = \n')
        module = self.write('utils.py')
        packages.compile_python(self.layout)
        self.assertFalse(self.compiled(template))
        self.assertTrue(self.compiled(module))
