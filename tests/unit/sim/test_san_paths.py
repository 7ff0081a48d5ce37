# SPDX-License-Identifier: Apache-2.0
"""Several paths: multipath I/O, and Fibre Channel, through os-win."""

import ddt

from tests.unit.sim import sancase
from tests.unit.sim.sancase import IQN
from tests.unit.sim.sancase import MIB
from tests.unit.sim.sancase import PORTAL
from tests.unit.sim.sancase import SECOND

NODE, PORT_A, PORT_B = ('2000000000000001', '2100000000000001',
                        '2100000000000002')
ARRAY, TARGET_A, TARGET_B = ('5001438000000000', '5001438000000001',
                             '5001438000000002')


class MultipathCase(sancase.SanCase):

    HOST = {'extra': {'mpio': True}}

    def log_in_twice(self):
        for portal in (PORTAL, SECOND):
            self.log_in(portal=portal, mpio_enabled=True,
                        ensure_lun_available=False)


class MultipathTest(MultipathCase):
    """L113, nova-contract.md 4.2 and 4.4."""

    def test_feature_is_there(self):
        """oswin-surface.md 3.9: server feature 57."""
        utils = self.win.get_hostutils()
        self.assertTrue(utils.check_server_feature(utils.FEATURE_MPIO))

    def test_paths_become_one_disk(self):
        self.log_in_twice()
        self.assertEqual(2, len(self.host.initiator.sessions))
        disk, = self.host.luns.disks()
        self.assertEqual(2, len(disk.paths))
        self.assertTrue(self.disks.is_mpio_disk(disk.number))
        self.assertEqual(disk.number,
                         self.number(ensure_mpio_claimed=True))

    def test_session_on_the_same_path_is_not_made_twice(self):
        self.log_in_twice()
        self.log_in_twice()
        self.assertEqual(2, len(self.host.initiator.sessions))

    def test_number_changes_when_the_disk_is_claimed(self):
        self.host.quirks.mpio_claim_rescans = 2
        self.log_in_twice()
        plain = self.number()
        self.assertFalse(self.disks.is_mpio_disk(plain))
        self.assertIsNone(self.number(ensure_mpio_claimed=True))
        claimed = self.number(ensure_mpio_claimed=True, rescan_disks=True,
                              retry_attempts=3)
        self.assertNotEqual(plain, claimed)
        self.assertEqual([claimed],
                         [disk.number for disk in self.host.luns.disks()])

    def test_disk_lives_on_one_path(self):
        self.make_vm()
        self.log_in_twice()
        self.attach(1)
        self.power(2)
        disk = self.guest_disk()
        self.san.port_down(PORTAL)
        disk.write(0, b'one path')
        self.san.port_down(SECOND)
        with self.assertRaises(OSError):
            disk.read(0, 1)

    def test_one_of_two_sessions_may_go(self):
        self.make_vm()
        self.log_in_twice()
        self.attach(1)
        self.power(2)
        first, second = self.iscsi._get_iscsi_sessions()
        self.iscsi._logout_iscsi_target(first.SessionId)
        self.assert_code(0xEFFF0040, self.iscsi._logout_iscsi_target,
                         second.SessionId)

    def test_logout_ends_all_sessions(self):
        self.log_in_twice()
        self.iscsi.logout_storage_target(IQN)
        self.assertEqual([], self.host.initiator.problems())
        self.assertEqual([], self.host.luns.problems())

    def test_dead_portal_is_refused_and_the_other_works(self):
        """L113: one dead path at connect time does not fail the attach."""
        self.san.port_down(PORTAL)
        self.assert_code(0xEFFF0003, self.log_in, portal=PORTAL,
                         mpio_enabled=True)
        self.log_in(portal=SECOND, mpio_enabled=True)
        self.assertTrue(self.disks.is_mpio_disk(self.number()))


class NoMultipathTest(sancase.SanCase):

    def test_second_session_needs_the_flag(self):
        """iscsierr.h: 0xEFFF003F; os-win takes that for success."""
        self.log_in()
        self.iscsi._login_iscsi_target(
            IQN, self.portal(SECOND), is_persistent=False)
        self.assertEqual(1, len(self.host.initiator.sessions))

    def portal(self, text):
        address, port = text.split(':')
        return self.oswin_module(
            'os_win.utils.winapi.libs.iscsidsc').ISCSI_TARGET_PORTAL(
                Address=address, Socket=int(port))

    def test_without_claim_a_unit_is_two_disks(self):
        """Why multipath must not be used before MPIO is set up (L113)."""
        for portal in (PORTAL, SECOND):
            self.log_in(portal=portal, mpio_enabled=True,
                        ensure_lun_available=False)
        self.assertEqual([1, 2], sorted(
            self.disks.get_disk_numbers_by_unique_id(
                self.lun.unique_id, 3)))
        self.assertFalse(self.disks.is_mpio_disk(1))


@ddt.ddt
class FibreChannelTest(sancase.SanCase):
    """nova-contract.md 4.5, oswin-surface.md 7.5."""

    HOST = {'extra': {'fc_hbas': [
        {'wwnn': '20:00:00:00:00:00:00:01',
         'wwpns': [PORT_A, PORT_B]}]}}

    def setUp(self):
        super().setUp()
        self.fc = self.win.get_fc_utils()
        self.san.add_storage_port(TARGET_A, ARRAY)
        self.san.add_storage_port(TARGET_B, ARRAY)

    def show(self, number=3, targets=(TARGET_A,)):
        for target in targets:
            self.san.mask('volume-1', number, target, [PORT_A])

    def test_ports(self):
        self.assertEqual(1, self.fc.get_fc_hba_count())
        self.assertEqual([{'node_name': NODE, 'port_name': PORT_A},
                          {'node_name': NODE, 'port_name': PORT_B}],
                         self.fc.get_fc_hba_ports())
        self.fc.refresh_hba_configuration()
        self.assertEqual([], self.host.hbas.problems())

    def test_disk_comes_with_a_rescan(self):
        self.show()
        mapping, = self.fc.get_fc_target_mappings(NODE)
        self.assertEqual((TARGET_A, ARRAY, 3, b''), (
            mapping['port_name'], mapping['node_name'], mapping['lun'],
            mapping['device_name']))
        self.disks.rescan_disks()
        mapping, = self.fc.get_fc_target_mappings(NODE)
        self.assertEqual(rb'\\.\PhysicalDrive1', mapping['device_name'])
        self.assertEqual(64 * MIB, self.disks.get_disk_size(1))
        self.assertEqual([], self.host.hbas.problems())

    def test_disk_goes_with_a_rescan_after_unmasking(self):
        self.show()
        self.disks.rescan_disks()
        self.san.unmask('volume-1', [PORT_A])
        self.disks.rescan_disks()
        self.assertEqual([], self.host.luns.disks())
        self.assertEqual([], self.fc.get_fc_target_mappings(NODE))

    def test_disk_is_found_by_its_identity(self):
        """SPC-4 7.8.6: page 0x83 names what Windows calls UniqueId."""
        self.host.quirks.hba_names_devices = False
        self.show()
        self.disks.rescan_disks()
        mapping, = self.fc.get_fc_target_mappings(NODE)
        self.assertEqual(b'', mapping['device_name'])
        first = self.fc.get_scsi_device_identifiers(
            NODE, PORT_A, TARGET_A, mapping['fcp_lun'])[0]
        self.assertEqual((self.lun.unique_id, 3),
                         (first['id'], first['type']))
        self.assertEqual([1], self.disks.get_disk_numbers_by_unique_id(
            first['id'], first['type']))

    def test_inquiry_of_something_else(self):
        """HBA_STATUS 9: check condition."""
        self.assert_code(9, self.fc.get_scsi_device_identifiers,
                         NODE, PORT_A, TARGET_A, 7 << 8)
        self.assert_code(5, self.fc.get_scsi_device_identifiers,
                         NODE, '2100000000000009', TARGET_A, 7 << 8)
        self.assert_code(5, self.fc.get_fc_target_mappings,
                         '2000000000000009')

    def test_storage_port_fails(self):
        self.show()
        self.disks.rescan_disks()
        self.san.port_down(TARGET_A)
        self.assertEqual([], self.host.luns.disks())
        self.san.port_up(TARGET_A)
        self.assertEqual(1, len(self.host.luns.disks()))

    @ddt.data((False, 2), (True, 1))
    @ddt.unpack
    def test_two_storage_ports(self, mpio, count):
        """More than one path: MPIO is not done yet, or there is none."""
        self.host.spec.extra['mpio'] = mpio
        self.addCleanup(self.host.spec.extra.pop, 'mpio')
        self.show(targets=(TARGET_A, TARGET_B))
        self.disks.rescan_disks()
        self.assertEqual(count, len({
            one['device_name'] for one
            in self.fc.get_fc_target_mappings(NODE)}))

    def test_disk_is_there_after_a_reboot(self):
        self.show()
        self.disks.rescan_disks()
        self.host.power_off()
        self.host.power_on()
        self.assertEqual(64 * MIB, self.disks.get_disk_size(1))
