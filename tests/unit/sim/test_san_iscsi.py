# SPDX-License-Identifier: Apache-2.0
"""The iSCSI initiator of a simulated host, through os-win's own utility."""

import ddt

from tests.unit.sim import sancase
from tests.unit.sim.sancase import IQN
from tests.unit.sim.sancase import MIB
from tests.unit.sim.sancase import OTHER_IQN
from tests.unit.sim.sancase import PORTAL
from tests.unit.sim.sancase import SECOND


@ddt.ddt
class LoginTest(sancase.SanCase):
    """nova-contract.md 4.4, oswin-surface.md 7.3."""

    def test_disk_comes_and_goes_with_the_session(self):
        self.log_in()
        number, path = self.iscsi.get_device_number_and_path(IQN, 1)
        self.assertEqual((1, r'\\.\PhysicalDrive1'), (number, path))
        self.assertEqual(64 * MIB, self.disks.get_disk_size(number))
        self.assertEqual((self.lun.unique_id, 3),
                         self.disks.get_disk_uid_and_uid_type(number))
        self.assertEqual(r'\\.\PHYSICALDRIVE1',
                         self.disks.get_device_name_by_device_number(number))
        self.assertEqual([1], self.iscsi.get_target_luns(IQN))
        self.iscsi.logout_storage_target(IQN)
        self.assertIsNone(self.number())
        self.assertEqual([], self.iscsi.get_targets())
        self.assertEqual([], self.host.initiator.problems())
        self.assertEqual([], self.host.luns.problems())

    def test_names_are_compared_without_case(self):
        """L116, RFC 3722: the service keeps names in lower case."""
        self.log_in(IQN.upper())
        self.assertEqual([IQN], self.iscsi.get_targets())
        self.assertEqual(1, self.number(IQN))
        self.iscsi.logout_storage_target(IQN)
        self.assertEqual([], self.host.initiator.problems())

    def test_host_has_its_own_name(self):
        self.assertEqual('iqn.1991-05.com.microsoft:hv1',
                         self.iscsi.get_iscsi_initiator())
        self.assertEqual(['Root\\ISCSIPRT\\0000_0'],
                         self.iscsi.get_iscsi_initiators())

    def test_domain_is_part_of_the_name(self):
        """L114: the real one, including the domain's suffix."""
        fabric = type(self.fabric)(self.fabric.root_dir + '/2', hosts=[
            {'name': 'HV9', 'extra': {'dns_domain': 'corp.local'}}])
        self.addCleanup(fabric.close)
        self.assertEqual('iqn.1991-05.com.microsoft:hv9.corp.local',
                         fabric.host('HV9').initiator.node_name)

    @ddt.data(('127.0.0.99:3260', 0xEFFF0003), ('127.0.0.12:3260',
                                                0xEFFF000B))
    @ddt.unpack
    def test_wrong_portal_is_refused(self, portal, code):
        """iscsierr.h: connection failed, or not that target there."""
        self.san.create_target(OTHER_IQN, ['127.0.0.12:3260'])
        self.assert_code(code, self.log_in, portal=portal)

    def test_ipv6_portal(self):
        """L114: IPv6 portals work."""
        self.san.create_target(OTHER_IQN, ['[::1]:3260'])
        self.san.create_lun('v2', MIB)
        self.san.map(OTHER_IQN, 0, 'v2')
        self.log_in(OTHER_IQN, '[::1]:3260', 0)
        self.assertEqual(1, self.number(OTHER_IQN, 0))
        sessions = self.iscsi._get_iscsi_target_sessions(OTHER_IQN)
        self.assertEqual('::1', sessions[0].Connections[0].TargetAddress)

    def test_second_login_is_none(self):
        """A target that is logged in already is refreshed (L114)."""
        self.log_in()
        self.log_in()
        self.log_in(portal=SECOND)
        self.assertEqual(1, len(self.host.initiator.sessions))

    def test_target_must_be_known(self):
        """0xEFFF0029: AddIScsiStaticTarget comes first."""
        self.assert_code(0xEFFF0029, self.iscsi._login_iscsi_target, IQN)

    def test_removing_unknown_things(self):
        self.iscsi._remove_static_target('iqn.none')   # os-win tolerates it
        with self.fabric.recorder.recording() as calls:
            self.iscsi.logout_storage_target('iqn.none')
        self.assertIn('iscsidsc.RemoveIScsiStaticTargetW iqn.none',
                      [call.label for call in calls])

    def test_access_list(self):
        """RFC 7143 11.13.5: 0202, authorization failure."""
        self.san.create_target(OTHER_IQN, [PORTAL], initiators=['iqn.x'])
        self.assert_code(0xEFFF000A, self.log_in, OTHER_IQN)
        self.san.grant(OTHER_IQN, self.iscsi.get_iscsi_initiator().upper())
        self.log_in(OTHER_IQN, ensure_lun_available=False)

    def test_chosen_adapter(self):
        """Adapters other than the Microsoft initiator.

        os-win's login_storage_target names none, whatever it is given.
        """
        self.host.initiator.instances.append('PCI\\HBA_0')
        self.iscsi._add_static_target(IQN)
        self.iscsi._login_iscsi_target(IQN, is_persistent=False,
                                       initiator_name='PCI\\HBA_0')
        self.assertEqual('PCI\\HBA_0',
                         self.host.initiator.sessions[0].login.instance)
        self.assert_code(0xEFFF0017, self.iscsi._login_iscsi_target, IQN,
                         initiator_name='PCI\\HBA_9')

    def test_busy_session_is_tried_again(self):
        """L116: transient errors of the service are retried by os-win."""
        self.log_in()
        self.fabric.faults.add(match='iscsidsc.LogoutIScsiTarget*',
                               win32=0xEFFF001F, times=2)
        self.iscsi.logout_storage_target(IQN)
        self.assertEqual([], self.host.initiator.problems())


@ddt.ddt
class ChapTest(sancase.SanCase):
    """L114: credentials are used."""

    def setUp(self):
        super().setUp()
        self.san.target(IQN).chap = ('user', 'a-long-secret')

    def test_right_ones(self):
        self.log_in(auth_username='user', auth_password='a-long-secret')
        self.assertEqual(1, self.number())

    @ddt.data(({}, 0xEFFF0009),
              ({'auth_username': 'user',
                'auth_password': 'another-secret'}, 0xEFFF0009),
              ({'auth_username': 'nobody',
                'auth_password': 'a-long-secret'}, 0xEFFF0009),
              ({'auth_username': 'user', 'auth_password': 'short'},
               0xEFFF004B))
    @ddt.unpack
    def test_wrong_ones(self, given, code):
        """iscsierr.h: authentication failure, invalid CHAP secret."""
        self.assert_code(code, self.log_in, **given)
        self.assertEqual([], self.host.initiator.sessions)

    def test_secret_is_not_in_the_trace(self):
        """L122: secrets never reach a log."""
        with self.fabric.recorder.recording() as calls:
            self.log_in(auth_username='user', auth_password='a-long-secret')
        self.assertNotIn('a-long-secret', repr(calls))
        self.assertNotIn('a-long-secret', repr(self.host.initiator.sessions))


class UnitsTest(sancase.SanCase):
    """Units come, grow and go while the session is up."""

    def setUp(self):
        super().setUp()
        self.log_in()

    def test_new_unit_appears_with_a_rescan(self):
        self.san.create_lun('v2', MIB)
        self.san.map(IQN, 2, 'v2')
        self.assertIsNone(self.number(lun=2))
        self.assertEqual(2, self.number(lun=2, rescan_disks=True,
                                        retry_attempts=1))

    def test_unmapped_unit_goes_with_a_rescan(self):
        self.san.unmap(IQN, 1)
        self.assertEqual(1, self.number())
        self.disks.rescan_disks()
        self.assertIsNone(self.number())
        self.assertEqual([], self.iscsi.get_target_luns(IQN))

    def test_growth_is_seen_after_refresh(self):
        """L119: extending refreshes the host's view."""
        self.san.extend_lun('volume-1', 128 * MIB)
        self.assertEqual(64 * MIB, self.disks.get_disk_size(1))
        self.disks.refresh_disk(1)
        self.assertEqual(128 * MIB, self.disks.get_disk_size(1))

    def test_growth_is_seen_after_rescan(self):
        self.san.extend_lun('volume-1', 128 * MIB)
        self.disks.rescan_disks()
        self.assertEqual(128 * MIB, self.disks.get_disk_size(1))

    def test_controller_unit_is_no_disk(self):
        """L115: units that are no disks are not counted."""
        self.san.create_lun('array', kind='controller')
        self.san.map(IQN, 0, 'array')
        self.disks.rescan_disks()
        self.assertEqual([1], self.iscsi.get_target_luns(IQN))
        session = self.host.initiator.sessions[0]
        self.assertEqual(2, len(self.host.initiator.devices(session)))

    def test_two_targets(self):
        self.san.create_lun('v2', MIB)
        self.san.create_target(OTHER_IQN, [PORTAL])
        self.san.map(OTHER_IQN, 1, 'v2')
        self.log_in(OTHER_IQN)
        self.assertEqual([1, 2], [self.number(), self.number(OTHER_IQN)])
        self.iscsi.logout_storage_target(IQN)
        self.assertEqual([None, 2], [self.number(), self.number(OTHER_IQN)])

    def test_new_disks_follow_the_san_policy(self):
        """L111: shared disks stay offline, unless the policy is another."""
        disk = self.disks._get_disk_by_number
        self.assertTrue(disk(1).IsOffline)
        self.disks.set_new_disk_policy(1)
        self.san.create_lun('v2', MIB)
        self.san.map(IQN, 2, 'v2')
        self.disks.rescan_disks()
        self.assertFalse(disk(2).IsOffline)

    def test_disks_that_are_left_offline_are_read_only(self):
        """Ceph, "RBD on Windows", on the SAN policy."""
        self.assertTrue(self.disks._get_disk_by_number(1).IsReadOnly)
        self.disks.set_disk_readonly_status(1, False)
        self.assertFalse(self.disks._get_disk_by_number(1).IsReadOnly)

    def test_windows_remembers_the_state_of_a_number(self):
        """Ceph, "RBD on Windows": the number counts, not the disk."""
        self.disks.set_disk_online(1)
        self.iscsi.logout_storage_target(IQN)
        self.san.create_lun('v2', MIB)
        self.san.create_target(OTHER_IQN, [PORTAL])
        self.san.map(OTHER_IQN, 1, 'v2')
        self.log_in(OTHER_IQN)
        self.assertEqual(1, self.number(OTHER_IQN))
        self.assertFalse(self.disks._get_disk_by_number(1).IsOffline)


class PathsTest(sancase.SanCase):
    """Portals fail and come back."""

    def test_session_breaks_and_comes_back(self):
        self.log_in()
        self.san.port_down(PORTAL)
        self.assertIsNone(self.number())
        self.assertEqual(
            [], self.iscsi._get_iscsi_target_sessions(IQN))
        self.assertEqual(1, len(self.iscsi._get_iscsi_target_sessions(
            IQN, connected_only=False)))
        self.san.port_up(PORTAL)
        self.assertEqual(1, self.number())

    def test_dead_session_can_be_logged_out(self):
        self.log_in()
        self.san.port_down(PORTAL)
        self.iscsi.logout_storage_target(IQN)
        self.assertEqual([], self.host.initiator.problems())

    def test_target_is_removed_under_the_host(self):
        self.log_in()
        self.san.delete_target(IQN)
        self.assertIsNone(self.number())
        self.iscsi.logout_storage_target(IQN)
        self.assertEqual([], self.host.initiator.problems())

    def test_one_host_is_cut_off(self):
        self.log_in()
        self.san.cut('HV1', PORTAL)
        self.assertIsNone(self.number())
        self.san.mend('HV1', PORTAL)
        self.assertEqual(1, self.number())
