# SPDX-License-Identifier: Apache-2.0
import unittest

import ddt
from nova import exception

from compute_hyperv import model
from compute_hyperv.plan import slots
from compute_hyperv.plan import volumes
from tests import factories

PROTOCOLS = volumes.Protocols(
    known=frozenset({'iscsi', 'smbfs'}), multiattach=frozenset({'iscsi'}),
    qos=frozenset({'smbfs'}))


def plan(protocol='iscsi', data=None, multiattach=False, taken=(),
         generation=model.Generation.ONE, **volume):
    connection = {'driver_volume_type': protocol, 'serial': 'v',
                  'multiattach': multiattach, 'data': data or {}}
    return volumes.plan_volume(
        {'connection_info': connection, 'mount_device': '/dev/sdb'} | volume,
        slots.Slots(generation, factories.caps(), taken), PROTOCOLS)


def scsi(*luns):
    return [model.Slot(bus=model.Bus.SCSI, controller=0, lun=lun)
            for lun in luns]


@ddt.ddt
class PlanVolumeTest(unittest.TestCase):

    def test_lowest_free_slot(self):
        """L107: also between two that are taken."""
        self.assertEqual(1, plan(taken=scsi(0, 2)).slot.lun)

    def test_slot_65(self):
        """L107: a clear error."""
        with self.assertRaisesRegex(exception.TooManyDiskDevices, '64'):
            plan(taken=scsi(*range(64)))

    @ddt.data(('iscsi', {'encrypted': True}, False,
               exception.VolumeEncryptionNotSupported),
              ('smbfs', {}, True,
               exception.MultiattachNotSupportedByVirtDriver),
              ('iscsi', {'access_mode': 'ro'}, False,
               exception.InvalidInput),
              ('nfs', {}, False, exception.VolumeDriverNotFound))
    @ddt.unpack
    def test_refusals(self, protocol, data, multiattach, expected):
        self.assertRaises(expected, plan, protocol, data, multiattach)

    @ddt.data(({'total_iops_sec': '500', 'total_bytes_sec': '8'}, 500),
              ({'total_bytes_sec': '81920'}, 10),
              ({'total_bytes_sec': '1'}, 1), ({'other': 'x'}, None),
              (None, None))
    @ddt.unpack
    def test_limits(self, specs, max_iops):
        """L056: operations before bytes; bytes never become nothing."""
        found = plan('smbfs', {'qos_specs': specs}).qos
        self.assertEqual(max_iops, found and found.max_iops)
        self.assertIsNone(plan('iscsi', {'qos_specs': specs}).qos)

    @ddt.data('many', '-1', '0.5', '9' * 20)
    def test_limit_that_is_no_number_is_refused(self, text):
        with self.assertRaisesRegex(
                exception.InvalidInput,
                f'QoS spec total_iops_sec={text} of volume .*; allowed: a '
                'whole number'):
            plan('smbfs', {'qos_specs': {'total_iops_sec': text}})

    def test_secrets_are_not_shown(self):
        """L122."""
        self.assertNotIn('s3cret', repr(plan(
            data={'auth_password': 's3cret'})))

    @ddt.data(('ide', model.Bus.IDE), (None, model.Bus.SCSI))
    @ddt.unpack
    def test_bus(self, asked, bus):
        self.assertIs(bus, plan(disk_bus=asked).slot.bus)
