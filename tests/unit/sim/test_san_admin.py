# SPDX-License-Identifier: Apache-2.0
"""The storage array over the socket, its state on disk, and the command."""

import contextlib
import io
import os

from compute_hyperv.sim import cli
from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim import persist
from compute_hyperv.sim import remote
from compute_hyperv.sim import server as sim_server
from tests.unit.sim import addresses
from tests.unit.sim import sancase
from tests.unit.sim.sancase import IQN
from tests.unit.sim.sancase import MIB
from tests.unit.sim.sancase import PORTAL

DEMO = 'iqn.2010-10.org.openstack:demo'


class ServedTest(sancase.SanCase):

    def setUp(self):
        super().setUp()
        self.socket = addresses.address(self.fabric.root_dir)
        server = sim_server.Server(self.fabric, self.socket)
        server.start()
        self.addCleanup(server.stop)

    def call(self, act, **args):
        return remote.admin(self.socket, 'admin.san.' + act, **args)

    def command(self, *args):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            code = cli.main([*args, '--socket', self.socket])
        self.assertEqual(0, code)
        return out.getvalue()

    def test_cinder_makes_a_volume_of_its_own_file(self):
        path = os.path.join(self.fabric.root_dir, 'volume.raw')
        with open(path, 'wb') as stream:
            stream.write(b'image' + bytes(MIB - 5))
        self.call('create_lun', name='v', path=path)
        self.call('create_target', iqn=DEMO, portals=[PORTAL],
                  chap=['user', 'a-long-secret'], initiators=[])
        self.call('map', iqn=DEMO, number=1, lun='v')
        self.call('grant', iqn=DEMO, initiator=self.call(
            'initiator', host='hv1')['iqn'])
        self.log_in(DEMO, auth_username='user',
                    auth_password='a-long-secret')
        self.assertEqual(['HV1 disk 1'], self.call('lun', name='v')['disks'])
        self.assertEqual(b'image', self.host.luns.disk(1).read(0, 5))
        self.call('extend_lun', name='v', size_bytes=2 * MIB)
        self.disks.refresh_disk(1)
        self.assertEqual(2 * MIB, self.disks.get_disk_size(1))
        self.iscsi.logout_storage_target(DEMO)
        self.call('delete_target', iqn=DEMO)
        self.call('delete_lun', name='v')
        self.assertTrue(os.path.exists(path))       # it stays Cinder's

    def test_refusals(self):
        for error, name, args in (
                (LookupError, 'lun', {'name': 'none'}),
                (LookupError, 'map', {'iqn': 'iqn.none', 'number': 0,
                                      'lun': 'volume-1'}),
                (ValueError, 'create_lun', {'name': 'volume-1'}),
                (ValueError, 'create_lun', {'name': 'x', 'path': '/none'}),
                (ValueError, 'create_target', {'iqn': IQN.upper(),
                                               'portals': []}),
                (ValueError, 'map', {'iqn': IQN, 'number': 1,
                                     'lun': 'volume-1'}),
                (ValueError, 'map', {'iqn': IQN, 'number': 256,
                                     'lun': 'volume-1'}),
                (ValueError, 'extend_lun', {'name': 'volume-1',
                                            'size_bytes': 1})):
            with self.subTest(act=name, args=args), self.assertRaises(error):
                self.call(name, **args)

    def test_command(self):
        path = self.command('san', 'create-lun', 'v', '8').strip()
        self.assertEqual(8 * MIB, os.path.getsize(path))
        self.command('san', 'create-target', DEMO, PORTAL, '--initiator',
                     self.iscsi.get_iscsi_initiator())
        self.command('san', 'map', DEMO, '0', 'v')
        self.log_in(DEMO, lun=0)
        self.assertIn('HV1 disk 1', self.command('san', 'luns'))
        self.assertIn(' 0: v', self.command('san', 'targets'))
        self.assertIn(DEMO, self.command('show', 'sessions', '--json'))
        self.command('san', 'down', PORTAL)
        self.assertIn('broken', self.command('show', 'sessions', '--json'))
        self.command('san', 'up', PORTAL)
        self.command('san', 'extend', 'v', '16')
        self.command('san', 'unmap', DEMO, '0')
        self.command('san', 'delete-target', DEMO)
        self.command('san', 'delete-lun', 'v')
        self.assertFalse(os.path.exists(path))

    def test_clean_check_names_what_is_left(self):
        self.log_in()
        problems = '\n'.join(self.fabric.problems())
        for text in ('HV1: iSCSI session with ' + IQN,
                     'HV1: persistent login of %s at %s' % (IQN, PORTAL),
                     'HV1: static target ' + IQN,
                     'HV1: disk 1 (volume-1) is still there'):
            self.assertIn(text, problems)


class StateTest(sancase.SanCase):

    def test_array_and_logins_outlive_the_process(self):
        self.san.target(IQN).chap = ('user', 'a-long-secret')
        self.san.add_storage_port('50:01:43:80:00:00:00:01',
                                  '50:01:43:80:00:00:00:00')
        self.san.mask('volume-1', 3, '5001438000000001',
                      ['2100000000000001'])
        self.lun.write(0, b'kept')
        self.log_in(auth_username='user', auth_password='a-long-secret')
        self.disks.set_disk_online(1)
        path = os.path.join(self.fabric.root_dir, 'state.json')
        persist.save(self.fabric, path)
        again = sim_fabric.Fabric(self.fabric.root_dir, hosts=['HV1'])
        self.addCleanup(again.close)
        persist.load(again, path)
        disk, = again.host('HV1').luns.disks()
        self.assertEqual((1, b'kept'), (disk.number, disk.read(0, 4)))
        self.assertFalse(again.host('HV1').stores[
            'root/microsoft/windows/storage'].find_one(
                'MSFT_Disk', Number=1)['IsOffline'])
        self.assertEqual(self.san.dump(), again.san.dump())
