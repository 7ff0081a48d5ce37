# SPDX-License-Identifier: Apache-2.0
"""The disks of a running guest: the command, and what it refuses."""

import contextlib
import io
import json

from compute_hyperv.sim import cli
from compute_hyperv.sim import server as sim_server
from tests.unit.sim import addresses
from tests.unit.sim import sancase
from tests.unit.sim.sancase import MIB

OFF, RUNNING = 3, 2


class GuestTest(sancase.SanCase):

    def setUp(self):
        super().setUp()
        self.socket = addresses.address(self.fabric.root_dir)
        server = sim_server.Server(self.fabric, self.socket)
        server.start()
        self.addCleanup(server.stop)
        self.make_vm()
        self.log_in()
        self.attach(1, slot=2)
        self.power(RUNNING)

    def guest(self, *args, code=0):
        out = io.StringIO()
        with (contextlib.redirect_stdout(out),
              contextlib.redirect_stderr(out)):
            found = cli.main(['guest', *args, '--socket', self.socket])
        self.assertEqual(code, found, out.getvalue())
        return out.getvalue()

    def test_disks_are_named_as_the_guest_names_them(self):
        row, = json.loads(self.guest('disks', 'vm', '--json'))
        self.assertEqual(
            ('0:0:0:2', 'scsi', 64 * MIB, 'volume-1'),
            (row['address'], row['bus'], row['size_bytes'], row['tag']))
        table = self.guest('disks', 'vm')
        for text in ('0:0:0:2', '64.0 MiB', 'volume volume-1'):
            self.assertIn(text, table)

    def test_what_is_written_is_on_the_volume_and_read_again(self):
        self.guest('write', 'vm', '0:0:0:2', 'from the guest')
        self.assertEqual(b'from the guest\0', self.lun.read(MIB, 15))
        self.assertEqual('from the guest\n',
                         self.guest('read', 'vm', '0:0:0:2'))
        self.assertEqual('guest\n', self.guest(
            'read', 'vm', '0:0:0:2', '--at', str(MIB + 9)))

    def test_what_cannot_be_done_is_told(self):
        for text, args in (
                ('no disk 0:1, but 0:0:0:2', ('read', 'vm', '0:1')),
                ('ends at 67108864', ('write', 'vm', '0:0:0:2', 'x', '--at',
                                      str(64 * MIB))),
                ('1 to 1048576', ('read', 'vm', '0:0:0:2', '--count', '0')),
                ('no VM is named', ('disks', 'nobody'))):
            with self.subTest(args=args):
                self.assertIn(text, self.guest(*args, code=1))
        self.power(OFF)
        self.assertIn('vm is not running', self.guest('disks', 'vm', code=1))
