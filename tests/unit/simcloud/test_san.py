# SPDX-License-Identifier: Apache-2.0
"""compute_hyperv.simcloud.san, against a served fabric."""

import os
import tempfile
import unittest

from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim import server as sim_server
from compute_hyperv.simcloud import san

INITIATOR = 'iqn.1991-05.com.microsoft:hv1'
IQN = 'iqn.2010-10.org.openstack:vol'


class FabricSanTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.fabric = sim_fabric.Fabric(os.path.join(folder.name, 'f'),
                                        hosts=['HV1'])
        self.addCleanup(self.fabric.close)
        socket_path = os.path.join(folder.name, 's')
        server = sim_server.Server(self.fabric, socket_path)
        server.start()
        self.addCleanup(server.stop)
        self.path = os.path.join(folder.name, 'vol.raw')
        with open(self.path, 'wb') as volume:
            volume.write(b'bytes of the volume')
        self.san = san.FabricSan(socket_path, '127.0.0.10:3260')

    def offer(self, initiator=INITIATOR):
        return self.san.offer('vol', self.path, initiator, 'user', 'secret')

    def test_host_is_let_in(self):
        data = self.offer()
        self.assertEqual((IQN, 1, 'user', 'secret'), (
            data['target_iqn'], data['target_lun'], data['auth_username'],
            data['auth_password']))
        target = self.fabric.san.target(IQN)
        self.assertEqual({INITIATOR}, target.initiators)
        self.assertEqual(b'bytes', self.fabric.san.lun(
            target.luns[1]).read(0, 5))

    def test_two_hosts_and_one_goes(self):
        self.offer()
        self.offer()
        self.offer('iqn.1991-05.com.microsoft:hv2')
        self.assertTrue(self.san.revoke('vol', INITIATOR))
        other = 'iqn.1991-05.com.microsoft:hv2'
        self.assertEqual({other}, self.fabric.san.target(IQN).initiators)
        self.assertFalse(self.san.revoke('vol', other))

    def test_nothing_is_left_but_the_file(self):
        self.offer()
        self.san.withdraw('vol')
        self.san.withdraw('vol')
        self.san.revoke('vol', INITIATOR)
        self.assertEqual(({}, {}), (self.fabric.san.targets,
                                    self.fabric.san.luns))
        self.assertTrue(os.path.exists(self.path))

    def test_no_fabric(self):
        with self.assertRaisesRegex(OSError, 'no fabric'):
            san.FabricSan('/nowhere/s', '127.0.0.10:3260').withdraw('vol')
