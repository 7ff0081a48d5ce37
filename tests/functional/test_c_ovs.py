# SPDX-License-Identifier: Apache-2.0
"""C9: ports of the VIF type ovs, on the bridge of Open vSwitch.

The bridge is a file that a program in the place of ovs-vsctl keeps: what
Windows' own does is beyond Hyper-V. The switch and the NICs are Hyper-V's.
"""

import json
import os
import sys

import fixtures

from tests.functional import base
from tests.functional import test_b_resize

PROGRAM = '''#!{python} -IS
import json, os, sys
path = {path!r}
bridges = json.load(open(path))
words = sys.argv[1:]
if 'add-port' in words:
    at = words.index('add-port')
    bridge, port = words[at + 1], words[at + 2]
    bridges.setdefault(bridge, {{}})[port] = [
        word for word in words[at:] if '=' in word]
elif 'del-port' in words:
    for ports in bridges.values():
        ports.pop(words[-1], None)
else:
    sys.exit('unknown')
json.dump(bridges, open(path, 'w'))
'''


class OvsTest(test_b_resize.MoveTest):

    NEUTRON = {'vif_type': 'ovs'}

    def setUp(self):
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.state = os.path.join(self.folder, 'bridges')
        with open(self.state, 'w') as stream:
            json.dump({}, stream)
        self.program = os.path.join(self.folder, 'ovs-vsctl')
        with open(self.program, 'w') as stream:
            stream.write(PROGRAM.format(python=sys.executable,
                                        path=self.state))
        os.chmod(self.program, 0o755)
        super().setUp()

    def _set_flags(self):
        super()._set_flags()
        self.flags(ovs_vsctl_cmd=self.program, group='hyperv')

    def ports(self):
        """Bridge -> port -> its settings."""
        with open(self.state) as stream:
            return json.load(stream)

    def test_port_is_on_the_bridge_for_as_long_as_the_server_is_here(self):
        """L088, L124: spawn, hard reboot, move, delete."""
        server = self.boot(networks='auto')
        port, = self.neutron.ports(server['id'])
        on_bridge, = self.ports().values()
        settings = set(on_bridge.pop(port['id']))
        self.assertEqual({}, on_bridge)
        self.assertLessEqual({
            f"external-ids:iface-id={port['id']}",
            f"external-ids:attached-mac={port['mac_address']}",
            f"external-ids:vm-uuid={server['id']}"}, settings)
        nic, = self.vm(server).nics
        self.assertEqual((port['id'], base.SWITCH), (nic.port_id, nic.switch))

        self._reboot_server(server, hard=True)
        self.assertEqual([[port['id']]],
                         [list(ports) for ports in self.ports().values()])
        server = self.confirm(self.migrate(server))
        self.assertEqual('running', self.vm(server).state)
        self.assertEqual([[port['id']]],
                         [list(ports) for ports in self.ports().values()])
        self._delete_server(server)
        self.assertEqual([[]],
                         [list(ports) for ports in self.ports().values()])
        self.fabric.assert_clean()
