# SPDX-License-Identifier: Apache-2.0
"""Migration as several nova-compute processes of a served fabric see it."""

import contextlib
import io
import os

from compute_hyperv.sim import cli
from compute_hyperv.sim import install
from compute_hyperv.sim import remote
from compute_hyperv.sim import server
from tests.unit.sim import test_migration
from tests.unit.sim import twohosts


class RemoteTest(test_migration.MoveCase):
    """os-win of both hosts over the fabric's socket."""

    CLOCK = 'real'

    def make_host(self, windows, **facts):
        super().make_host(windows, **facts)
        self.fabric.clock.scale = 0.2

    def bind(self, name):
        if self.fabric.server is None:
            self.socket = os.path.join(self.fabric.root_dir, 'socket')
            served = server.Server(self.fabric, self.socket)
            served.start()
            self.addCleanup(served.stop)
        port = remote.RemotePort(self.socket, name, 'compute')
        self.addCleanup(port.close)
        return install.bound(remote.RemoteHost(port))

    def sim(self, *args):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(0, cli.main([*args, '--socket', self.socket]))
        return out.getvalue()

    def test_over_the_socket(self):
        """Staged by the destination, moved by the source."""
        vm = self.make_machine()
        self.start()
        self.migration2.create_planned_vm('vm', 'HV1', {})
        self.sim('fault', 'add', '--match', 'Moving*', '--at-percent', '40')
        self.assertIn('breaks the job off at 40 %',
                      self.sim('fault', 'list'))
        with self.assertRaisesRegex(twohosts.exceptions.WMIJobFailed,
                                    'broke off at 40 %'):
            self.move()
        self.assertEqual(2, self.state())
        self.assertFalse(self.migration2.planned_vm_exists('vm'))
        self.migration2.create_planned_vm('vm', 'HV1', {})
        new = self.move()
        self.assertEqual((vm.guid, 2), (new.guid, new.state))
        self.assertEqual(['vm'], self.vmutils2.list_instances())
        self.assert_only_there(vm)
