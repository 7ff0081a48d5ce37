# SPDX-License-Identifier: Apache-2.0
"""Disks of the storage array in virtual machines, through os-win."""

from compute_hyperv.sim import guestdisks
from compute_hyperv.sim import sanmodel
from tests.unit.sim import sancase
from tests.unit.sim.sancase import IQN
from tests.unit.sim.sancase import MIB
from tests.unit.sim.sancase import PORTAL

OFF, RUNNING = 3, 2


class PassthroughTest(sancase.SanCase):
    """hyperv-semantics.md section 6, field-lessons.md L108, L109."""

    def setUp(self):
        super().setUp()
        self.make_vm()
        self.log_in()

    def test_guest_reads_and_writes_the_unit(self):
        self.lun.write(0, b'from the array')
        self.attach(1)
        self.power(RUNNING)
        disk = self.guest_disk()
        self.assertEqual(('SCSI', 0, 0, True, 64 * MIB),
                         (disk.controller, disk.controller_number, disk.slot,
                          disk.is_physical, disk.size_bytes))
        self.assertEqual(b'from the array', disk.read(0, 14))
        disk.write(MIB, b'from the guest')
        self.assertEqual(b'from the guest', self.lun.read(MIB, 14))

    def test_disk_is_plugged_into_a_running_machine(self):
        self.power(RUNNING)
        self.attach(1)
        self.guest_disk().write(0, b'hot')
        self.assertEqual(b'hot', self.lun.read(0, 3))
        self.vmutils.detach_vm_disk('vm', serial='volume-1')
        self.assertEqual([], guestdisks.of(self.host.vms.named('vm')))
        self.iscsi.logout_storage_target(IQN)
        self.assertEqual([], self.host.luns.problems())

    def test_tag_cannot_be_given_with_the_drive(self):
        """L109: ElementName is set in a second modification."""
        self.attach(1, serial=None)
        self.assertEqual(
            {'Hard Drive'},
            set(self.vmutils.get_vm_physical_disk_mapping('vm')))

    def test_tag_finds_a_disk_that_is_gone(self):
        """L109: detach works when the disk has vanished."""
        self.attach(1)
        self.san.delete_target(IQN)
        self.assertIsNone(self.vmutils.get_mounted_disk_by_drive_number(1))
        self.vmutils.detach_vm_disk('vm', serial='volume-1')
        self.assertEqual(
            {}, self.vmutils.get_vm_physical_disk_mapping('vm'))

    def test_online_disk_is_refused(self):
        self.disks.set_disk_online(1)
        with self.assertRaisesRegex(self.exceptions.HyperVException,
                                    'not offline'):
            self.attach(1)

    def test_attached_disk_cannot_be_brought_online(self):
        self.attach(1)
        self.power(RUNNING)
        with self.assertRaises(self.exceptions.DiskUpdateError):
            self.disks.set_disk_online(1)

    def test_start_needs_the_disk(self):
        self.attach(1)
        self.iscsi.logout_storage_target(IQN)
        with self.assertRaisesRegex(self.exceptions.HyperVException,
                                    'not found'):
            self.power(RUNNING)

    def test_start_needs_the_disk_offline(self):
        self.attach(1)
        self.host.stores['root/microsoft/windows/storage'].update(
            self.host.stores['root/microsoft/windows/storage'].find_one(
                'MSFT_Disk', Number=1), IsOffline=False)
        with self.assertRaisesRegex(self.exceptions.HyperVException,
                                    'not offline'):
            self.power(RUNNING)

    def test_disk_runs_in_one_machine(self):
        self.make_vm('second')
        self.attach(1)
        self.attach(1, 'second', serial='volume-1b')
        self.power(RUNNING)
        with self.assertRaisesRegex(self.exceptions.HyperVException,
                                    'another virtual machine'):
            self.power(RUNNING, 'second')
        self.power(OFF)
        self.power(RUNNING, 'second')

    def test_disk_of_a_running_machine_cannot_be_added(self):
        self.make_vm('second')
        self.attach(1)
        self.power(RUNNING)
        with self.assertRaisesRegex(self.exceptions.HyperVException,
                                    'another virtual machine'):
            self.attach(1, 'second')

    def test_session_of_a_running_machine_is_busy(self):
        """iscsierr.h: 0xEFFF0040, a device of the session is in use."""
        self.attach(1)
        self.power(RUNNING)
        self.assert_code(0xEFFF0040, self.iscsi._logout_iscsi_target,
                         self.iscsi._get_iscsi_sessions()[0].SessionId)
        self.power(OFF)
        self.iscsi.logout_storage_target(IQN)

    def test_unit_vanishes_under_a_running_machine(self):
        self.attach(1)
        self.power(RUNNING)
        disk = self.guest_disk()
        self.san.port_down(PORTAL)
        with self.assertRaises(OSError):
            disk.read(0, 1)
        self.vmutils.detach_vm_disk('vm', serial='volume-1')
        self.san.port_up(PORTAL)
        self.assertEqual('', self.host.luns.holder(1))

    def test_unit_is_deleted_under_a_running_machine(self):
        self.attach(1)
        self.power(RUNNING)
        disk = self.guest_disk()
        self.san.delete_lun('volume-1')
        with self.assertRaises(OSError):
            disk.read(0, 1)
        self.disks.rescan_disks()
        self.assertIsNone(self.number())

    def test_image_disks_are_there_as_well(self):
        vhd = self.win.get_vhdutils()
        vhd.create_dynamic_vhd('C:\\VMs\\base.vhdx', 8 * MIB)
        vhd.create_differencing_vhd('C:\\VMs\\vm\\root.vhdx',
                                    'C:\\VMs\\base.vhdx')
        self.vmutils.attach_scsi_drive('vm', 'C:\\VMs\\vm\\root.vhdx')
        self.power(RUNNING)
        disk, = guestdisks.of(self.host.vms.named('vm'))
        disk.write(4096, b'guest')
        self.assertEqual((b'guest', 8 * MIB, False),
                         (disk.read(4096, 5), disk.size_bytes,
                          disk.is_physical))
        self.power(OFF)


class TwoHostsTest(sancase.SanCase):
    """A unit that several hosts see."""

    MORE_HOSTS = ('HV2',)

    def setUp(self):
        super().setUp()
        self.other = self.fabric.host('HV2')
        service = self.other.initiator
        service.add_static(IQN)
        service.log_in(service.make_login(
            IQN, sanmodel.Portal.make(PORTAL)))

    def test_both_see_the_same_bytes(self):
        self.make_vm()
        self.log_in()
        self.attach(1)
        self.power(RUNNING)
        self.guest_disk().write(0, b'shared')
        self.assertEqual(b'shared',
                         self.other.luns.disk(1).read(0, 6))

    def test_one_is_cut_off_or_loses_power(self):
        self.log_in()
        self.san.cut('hv2', PORTAL)
        self.assertEqual([], self.other.luns.disks())
        self.assertEqual(1, self.number())
        self.san.mend('hv2', PORTAL)
        self.other.power_off()
        self.assertEqual([], self.other.luns.problems())
        self.assertEqual(1, self.number())


class RebootTest(sancase.SanCase):
    """L108: numbers move when the host boots."""

    def setUp(self):
        super().setUp()
        self.other = self.san.create_lun('volume-2', 32 * MIB)
        self.san.create_target(sancase.OTHER_IQN, [PORTAL])
        self.san.map(sancase.OTHER_IQN, 1, 'volume-2')
        for index, (iqn, name) in enumerate((
                (IQN, 'vm'), (sancase.OTHER_IQN, 'second'))):
            self.log_in(iqn)
            self.make_vm(name)
            self.attach(self.number(iqn), name,
                        serial='volume-%d' % (index + 1))

    def test_persistent_logins_come_back_with_other_numbers(self):
        before = self.number(), self.number(sancase.OTHER_IQN)
        self.host.power_off()
        self.assertEqual([], self.host.luns.disks())
        self.host.power_on()
        self.assertEqual(before, (self.number(sancase.OTHER_IQN),
                                  self.number()))

    def test_machine_would_get_the_disk_of_another(self):
        """Hyper-V goes by the number: this is what the driver corrects."""
        self.host.power_off()
        self.host.power_on()
        self.power(RUNNING)
        self.guest_disk().write(0, b'oops')
        self.assertEqual(b'oops', self.other.read(0, 4))

    def test_disks_are_swapped_back_by_their_tags(self):
        self.host.power_off()
        self.host.power_on()
        for iqn, name, tag in ((IQN, 'vm', 'volume-1'),
                               (sancase.OTHER_IQN, 'second', 'volume-2')):
            mapping = self.vmutils.get_vm_physical_disk_mapping(name)
            self.vmutils.set_disk_host_res(
                mapping[tag]['resource_path'],
                self.vmutils.get_mounted_disk_by_drive_number(
                    self.number(iqn)))
            self.power(RUNNING, name)
            self.guest_disk(name, tag).write(0, tag.encode())
        self.assertEqual([b'volume-1', b'volume-2'],
                         [self.lun.read(0, 8), self.other.read(0, 8)])

    def test_reboot_by_windows_moves_them_too(self):
        self.win.get_hostutils().host_power_action('reboot')
        self.assertEqual((2, 1), (self.number(),
                                  self.number(sancase.OTHER_IQN)))
