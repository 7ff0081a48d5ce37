# SPDX-License-Identifier: Apache-2.0
from compute_hyperv import errors
from tests.unit import opscase


class HostPortsTest(opscase.OpsTestCase):

    OPTIONS = {(None, 'host'): 'HV1',
               (None, 'my_block_storage_ip'): '192.0.2.7'}

    def test_names_of_the_host(self):
        """L118: with a storage IP of its own; no FC names without HBA."""
        found = self.ops.host_ports.properties()
        self.assertEqual(
            ('HV1', '192.0.2.7', False, 'win32'),
            (found['host'], found['ip'], found['multipath'],
             found['os_type']))
        self.assertEqual(self.host.initiator.node_name, found['initiator'])
        self.assertNotIn('wwpns', found)


class FibreChannelHostTest(opscase.OpsTestCase):

    HOST = {'extra': {'mpio': True, 'fc_hbas': [
        {'wwnn': '2000000000000001',
         'wwpns': ['2100000000000001', '2100000000000002']}]}}
    OPTIONS = {('hyperv', 'use_multipath_io'): True}

    def test_ports_of_its_adapters(self):
        found = self.ops.host_ports.properties()
        self.assertEqual(
            (True, ['2100000000000001', '2100000000000002'],
             ['2000000000000001']),
            (found['multipath'], found['wwpns'], found['wwnns']))


class NoMultipathTest(opscase.OpsTestCase):

    OPTIONS = {('hyperv', 'use_multipath_io'): True}

    def test_feature_that_is_missing_is_named(self):
        """L113: no silent single path."""
        with self.assertRaisesRegex(errors.BadOption, 'Multipath I/O'):
            self.ops.host_ports.properties()
