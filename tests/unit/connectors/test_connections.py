# SPDX-License-Identifier: Apache-2.0
"""Cinder's connection data, as each connector reads it."""

import unittest

import ddt
from nova import exception

from compute_hyperv.connectors import fibre_channel
from compute_hyperv.connectors import iscsi
from compute_hyperv.connectors import rbd
from compute_hyperv.connectors import smbfs

IQN = 'iqn.2010-10.org.openstack:v'
PORTALS = ('192.0.2.1:3260', '[2001:db8::1]:3260')


@ddt.ddt
class ISCSITest(unittest.TestCase):

    def parse(self, **data):
        return iscsi.Connection.parse(data)

    def test_one_path(self):
        path, = self.parse(target_portal=PORTALS[0], target_iqn=IQN,
                           target_lun='2').paths
        self.assertEqual((PORTALS[0], IQN, 2),
                         (path.portal, path.iqn, path.lun))

    def test_several_paths(self):
        found = self.parse(
            target_portal=PORTALS[0], target_iqn=IQN, target_lun=1,
            target_portals=PORTALS, target_iqns=[IQN, IQN + '2'],
            target_luns=[1, 7])
        self.assertEqual({(IQN, 1), (IQN + '2', 7)}, found.luns)
        self.assertEqual(list(PORTALS), [path.portal for path in found.paths])

    def test_credentials_are_not_shown(self):
        """L122: not by a log of the connection either."""
        found = self.parse(target_portal=PORTALS[0], target_iqn=IQN,
                           target_lun=1, auth_method='CHAP',
                           auth_username='user', auth_password='s3cret')
        self.assertEqual(('user', 's3cret'), (found.username, found.password))
        self.assertNotIn('s3cret', f'{found} {found!r}')

    def test_other_ways_to_log_in_are_left_out(self):
        found = self.parse(target_portal=PORTALS[0], target_iqn=IQN,
                           auth_method='Kerberos', auth_username='user')
        self.assertIsNone(found.username)


@ddt.ddt
class FibreChannelTest(unittest.TestCase):

    @ddt.data(
        ({'target_wwn': ['500a', '50:0B'], 'target_lun': 3},
         {'500A': 3, '500B': 3}),
        ({'target_wwn': '500a', 'target_lun': '0'}, {'500A': 0}),
        ({'target_wwns': ['500a', '500b'], 'target_luns': [1, 2],
          'target_wwn': ['500a'], 'target_lun': 1},
         {'500A': 1, '500B': 2}))
    @ddt.unpack
    def test_units_by_port(self, data, expected):
        self.assertEqual(expected,
                         fibre_channel.Connection.parse(data).luns)


@ddt.ddt
class SMBTest(unittest.TestCase):

    def parse(self, export=r'\\srv\share', name='v.vhdx', **data):
        return smbfs.Connection.parse({'export': export, 'name': name} | data)

    @ddt.data((r'\\srv\share', r'\\srv\share', ''),
              ('//srv/share/', r'\\srv\share', ''),
              ('//srv/share/sub/one', r'\\srv\share', r'sub\one'))
    @ddt.unpack
    def test_share(self, export, share, below):
        """L121: either slash."""
        found = self.parse(export)
        self.assertEqual((share, below), (found.share, found.below))
        self.assertTrue(found.path_in(r'C:\x').startswith('C:\\x\\'))

    @ddt.data(
        (None, None, None), ('', None, None),
        ('-o username=Ann,password=p=w', 'Ann', 'p=w'),
        ('vers=3.0,user=d\\Ann,pass=x', 'd\\Ann', 'x'),
        ('-o username=guest,password=x', None, None),
        ('noperm', None, None))
    @ddt.unpack
    def test_options(self, options, username, password):
        """L121: none are those of the service's account."""
        found = self.parse(options=options)
        self.assertEqual((username, password),
                         (found.username, found.password))
        self.assertNotIn('p=w', repr(found))


class RBDTest(unittest.TestCase):

    def test_arguments(self):
        found = rbd.Connection.parse({
            'name': 'pool/volume-1', 'hosts': ['192.0.2.1', '192.0.2.2'],
            'ports': ['6789', '3300'], 'auth_enabled': True,
            'auth_username': 'cinder', 'cluster_name': 'ceph'})
        self.assertEqual(
            ('--id', 'cinder', '--cluster', 'ceph', '--mon_host',
             '192.0.2.1:6789,192.0.2.2:3300'), found.arguments)

    def test_without_authentication(self):
        found = rbd.Connection.parse({
            'name': 'pool/volume-1', 'auth_enabled': False,
            'auth_username': 'cinder'})
        self.assertEqual((), found.arguments)


@ddt.ddt
class NothingTest(unittest.TestCase):

    @ddt.data(iscsi, fibre_channel, smbfs, rbd)
    def test_data_without_a_volume_are_refused(self, module):
        with self.assertRaises(exception.VolumeAttachFailed):
            module.Connection.parse({'volume_id': 'v'})
        with self.assertRaises(exception.VolumeAttachFailed):
            module.Connection.parse(None)

    @ddt.data(
        (iscsi, {'target_iqn': IQN, 'target_portal': 'p',
                 'target_lun': 'one'}),
        (iscsi, {'target_iqn': IQN, 'target_lun': 1}),
        (fibre_channel, {'target_wwn': '50', 'target_lun': 'one'}))
    @ddt.unpack
    def test_data_that_make_no_sense_are_refused(self, module, data):
        with self.assertRaisesRegex(exception.VolumeAttachFailed,
                                    'wrong or incomplete'):
            module.Connection.parse(data)
