# SPDX-License-Identifier: Apache-2.0
"""tools/cloud/simulator.py, with a real server of simulated hosts."""

import pathlib
import sys

from cloud import configs
from cloud import errors
from cloud import layout
from cloud import processes
from cloud import simulator
from tests.unit.demo import foldercase

_CHECKOUT = pathlib.Path(__file__).parents[3]
_HYPERV_SIM = f'''#!{sys.executable}
import sys
sys.path.insert(0, {str(_CHECKOUT)!r})
from compute_hyperv.sim import cli
sys.exit(cli.main())
'''
_IMAGE = '_base/11111111-2222-3333-4444-555555555555'


class CheckTest(foldercase.FolderCase):
    """What the check of the demo finds on hosts that nobody uses."""

    def setUp(self):
        super().setUp()
        program = pathlib.Path(self.layout.program('hyperv-sim'))
        program.parent.mkdir(parents=True)
        program.write_text(_HYPERV_SIM)
        program.chmod(0o700)
        self.procs = processes.Processes(self.layout)
        self.addCleanup(self.procs.sweep)

    def start(self, **how):
        found = simulator.Simulator(self.layout, self.procs, 0.1, **how)
        found.start()
        return found

    def path(self, name):
        """Where a name below the instances path of the second node is."""
        parts = configs.INSTANCES_PATH.replace('\\', '/').split('/')[1:]
        return self.layout.fabric_dir.joinpath(
            'hosts', layout.NODES[1], 'C', *parts, name)

    def leave(self, name):
        """Write a file there."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('left')

    def test_files_that_stay_are_clean(self):
        hosts = self.start(strict=True)
        for name in (f'{_IMAGE}.vhdx', f'{_IMAGE}.iso', f'{_IMAGE}_1.vhd',
                     'locks/hyperv-image-' + _IMAGE[6:] + '.lock'):
            self.leave(name)
        self.assertEqual('clean', hosts.check_clean(0))

    def test_folders_that_stay_empty_are_clean(self):
        hosts = self.start(strict=True)
        for name in ('_base', 'locks', 'export'):
            self.path(name).mkdir(parents=True)
        self.assertEqual('clean', hosts.check_clean(0))

    def test_file_that_is_left_is_named(self):
        hosts = self.start(strict=True)
        for name in ('instance-00000001/root.vhdx', f'{_IMAGE}.part'):
            self.leave(name)
            with self.assertRaises(errors.DemoError) as caught:
                hosts.check_clean(0)
            self.assertIn(name.replace('/', '\\'),
                          '\n'.join(errors.tail(caught.exception.log_path)))

    def test_cloud_of_a_person_has_no_mark(self):
        hosts = self.start()
        self.leave('instance-00000001/root.vhdx')
        self.assertIn('files were not compared', hosts.check_clean(0))
