# SPDX-License-Identifier: Apache-2.0
"""A1: a stock Nova loads the driver after a plain ``pip install``.

The package is built from a copy of the tree without git, as somebody with an
archive would do it, and installed beside Nova into a new environment.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest

import ddt

ROOT = pathlib.Path(__file__).resolve().parents[2]
SITE = pathlib.Path(sysconfig.get_path('purelib'))

SPELLINGS = (
    'compute_hyperv.driver.HyperVDriver',
    'compute_hyperv.cluster.driver.HyperVClusterDriver',
    'hyperv.driver.HyperVDriver',
    'hyperv.HyperVDriver',
    'hyperv.cluster.driver.HyperVClusterDriver',
)

#: Loads every spelling as nova-compute does and prints what came of it.
LOAD = '''
import sys
from nova import monkey_patch
monkey_patch.patch(backend='threading')
from compute_hyperv.sim import fabric
from compute_hyperv.sim import install
install.install()
import nova.conf
from nova import config
from nova.virt import driver
config.parse_args(['test'], default_config_files=[], configure_db=False,
                  init_rpc=False)
nova.conf.CONF.set_override('instances_path', r'C:\\Instances')
hosts = fabric.Fabric(sys.argv[1], hosts=['HV1'])
for spelling in sys.argv[2:]:
    with hosts.on('HV1'):
        loaded = driver.load_compute_driver(None, spelling)
    print('LOADED', spelling, type(loaded).__name__)
hosts.close()
'''


def copy_of_the_tree(target):
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(
        '.*', '*.egg-info', 'build', 'dist', '__pycache__', 'cover'))
    return target


@ddt.ddt
@unittest.skipIf(os.environ.get('OS_NOVA_DISABLE_EVENTLET_PATCHING') == '0',
                 'both modes are tried in the run with native threads')
class InstallTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix='hyperv-install-')
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.tree = copy_of_the_tree(self.folder / 'tree')
        self.python = self._environment()

    def _environment(self):
        """A new environment with a Nova of its own, the rest borrowed."""
        venv = self.folder / 'venv'
        subprocess.run([sys.executable, '-m', 'venv', venv], check=True)
        python = venv / 'bin' / 'python'
        site = pathlib.Path(subprocess.run(
            [python, '-c',
             'import sysconfig; print(sysconfig.get_path("purelib"))'],
            check=True, capture_output=True, text=True).stdout.strip())
        shutil.copytree(SITE / 'nova', site / 'nova',
                        ignore=shutil.ignore_patterns(
                            'tests', 'locale', 'compute_hyperv', 'hyperv',
                            '__pycache__'))
        # Links, because a path file would bring an editable install of ours.
        for entry in SITE.iterdir():
            if (not (site / entry.name).exists()
                    and 'compute_hyperv' not in entry.name
                    and entry.suffix != '.pth'):
                (site / entry.name).symlink_to(entry)
        return python

    def _run(self, *command, **environment):
        done = subprocess.run(
            [str(part) for part in command], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **environment})
        self.assertEqual(0, done.returncode, done.stdout)
        return done.stdout

    @ddt.data(('--no-deps', '.'), ('--use-pep517', '--no-deps', '-e', '.'))
    def test_stock_nova_loads_every_spelling_after_pip_install(self, what):
        self._run(self.python, '-m', 'pip', 'install', '-q',
                  '--disable-pip-version-check',
                  *[str(self.tree) if part == '.' else part for part in what])

        for disabled in ('1', '0'):
            output = self._run(
                self.python, '-c', LOAD, self.folder / f'fabric{disabled}',
                *SPELLINGS, OS_NOVA_DISABLE_EVENTLET_PATCHING=disabled)
            self.assertEqual(
                [f'LOADED {name} {name.rpartition(".")[2]}'
                 for name in SPELLINGS],
                [line for line in output.splitlines()
                 if line.startswith('LOADED')], output)
        self.assertIn('hyperv-sim', self._run(
            self.python.parent / 'hyperv-sim', '--help'))


if __name__ == '__main__':
    unittest.main()
