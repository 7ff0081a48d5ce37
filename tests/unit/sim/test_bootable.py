# SPDX-License-Identifier: Apache-2.0
"""What a VM boots from (hyperv-semantics.md sections 6 and 7)."""

import ddt

from compute_hyperv.sim import bootable
from compute_hyperv.sim import guest as guests
from compute_hyperv.sim import views
from tests.unit.sim import hypervcase

FLOPPY, CD, IDE, NETWORK, SCSI = range(5)
DISK, DVD = 'Synthetic Disk Drive', 'Synthetic DVD Drive'
DVD_MEDIUM = 'Virtual CD/DVD Disk'
FOLDER = 'C:\\VMs\\vm\\'


class BootCase(hypervcase.HyperVTestCase):
    """One VM without drives; the tests give it some."""

    NEEDS_BOOT_SOURCE = True
    GENERATION = 2

    def setUp(self):
        super().setUp()
        self.create_vm(generation=self.GENERATION)
        self.scsi = self.add_controller()[1][0]

    def ide(self, number=0):
        return self.vmutils.get_vm_ide_controller('vm', number)

    def plug(self, controller, path, slot=0):
        """A drive with a medium; its record."""
        is_disc = path.endswith('.iso')
        subtype = DVD if is_disc else DISK
        drive = self.add_drive(controller, slot, subtype=subtype)[1][0]
        self.add_medium(drive, path, subtype=(
            DVD_MEDIUM if is_disc else 'Virtual Hard Disk'))
        return self.host.v2.by_path(drive)

    def make_iso(self, is_bootable=True):
        """The descriptors of ISO 9660, with El Torito's or without."""
        path = FOLDER + 'disc.iso'
        boot_record = b'\0CD001\x01EL TORITO SPECIFICATION'
        with self.files.open(path, 'wb') as stream:
            stream.write(bytes(16 * 2048))
            stream.write(b'\x01CD001\x01'.ljust(2048, b'\0'))
            stream.write((boot_record if is_bootable else
                          b'\xffCD001\x01').ljust(2048, b'\0'))
        return path

    def source(self):
        return bootable.source(self.record())

    @property
    def guest(self):
        return self.record().worker.guest

    def heartbeat(self):
        component, = self.wmi.Msvm_HeartbeatComponent(
            SystemName=self.record().guid)
        return component.OperationalStatus

    def assert_boots(self, *, expected):
        """Power on: it runs, and the system in it is up or not."""
        self.start()
        self.assertEqual(2, self.state())
        self.assertEqual((2, 2) if expected else (12,),
                         tuple(self.heartbeat()))


@ddt.ddt
class Generation1Test(BootCase):
    """BootOrder over what is on IDE."""

    GENERATION = 1

    def test_image_on_ide(self):
        """Section 6 [D]: generation 1 boots from IDE."""
        drive = self.plug(self.ide(), self.make_disk())
        self.assertEqual(drive, self.source())
        self.assert_boots(expected=True)

    def test_second_controller(self):
        """Section 6: IDE has two controllers."""
        drive = self.plug(self.ide(1), self.make_disk(), 1)
        self.assertEqual(drive, self.source())

    @ddt.data((CD, IDE, NETWORK, FLOPPY), (SCSI, CD, IDE, NETWORK))
    def test_image_on_scsi(self, order):
        """Section 6 [D]: never from SCSI, whatever BootOrder says."""
        self.modify_settings(BootOrder=order)
        self.plug(self.scsi, self.make_disk())
        self.assert_boots(expected=False)

    def test_empty_drive(self):
        """A drive is there, nothing is in it."""
        self.add_drive(self.ide(), 0)
        self.assert_boots(expected=False)

    @ddt.data(((CD, IDE, NETWORK, FLOPPY), DVD),
              ((IDE, CD, NETWORK, FLOPPY), DISK))
    @ddt.unpack
    def test_order_of_the_classes(self, order, expected):
        """Section 7: BootOrder has device classes."""
        self.plug(self.ide(), self.make_disk())
        self.plug(self.ide(1), self.make_iso())
        self.modify_settings(BootOrder=order)
        self.assertEqual('Microsoft:Hyper-V:' + expected,
                         self.source()['ResourceSubType'])

    def test_class_that_is_not_in_the_order(self):
        """BootOrder has four of the five classes."""
        self.plug(self.ide(), self.make_disk())
        self.modify_settings(BootOrder=(CD, NETWORK, FLOPPY, SCSI))
        self.assertIsNone(self.source())

    def test_disc_without_boot_record_is_passed_over(self):
        """El Torito 2.0; the CD comes first by default (section 7)."""
        self.plug(self.ide(1), self.make_iso(is_bootable=False))
        self.assertIsNone(self.source())
        drive = self.plug(self.ide(), self.make_disk())
        self.assertEqual(drive, self.source())

    def test_floppy(self):
        """Section 6 [D]: generation 1 boots from a diskette."""
        path = FOLDER + 'boot.vfd'
        with self.files.open(path, 'wb') as stream:
            stream.write(bytes(1474560))
        drive, = self.resources(subtype='Synthetic Diskette Drive')
        self.assertIsNone(self.source())
        self.add_medium(drive.path_(), path, subtype='Virtual Floppy Disk')
        self.assert_boots(expected=True)

    def test_network_finds_no_server(self):
        """Section 6 [D]: legacy adapters boot; nobody answers here."""
        self.add(self.template('Msvm_EmulatedEthernetPortSettingData'))
        self.assert_boots(expected=False)

    @ddt.data(('ide', True), ('scsi', False))
    @ddt.unpack
    def test_disk_of_the_host(self, bus, expected):
        """Section 6: a pass-through disk, by where it is plugged in."""
        number = self.add_host_disk()
        path = self.vmutils.get_mounted_disk_by_drive_number(number)
        self.vmutils.attach_volume_to_controller(
            'vm', {'ide': self.ide(), 'scsi': self.scsi}[bus], 0, path)
        self.assert_boots(expected=expected)


class Generation2Test(BootCase):
    """BootSourceOrder and Msvm_LogicalIdentity."""

    def order(self, *numbers):
        paths = self.settings().BootSourceOrder
        self.assertEqual(0, self.modify_settings(
            BootSourceOrder=[paths[number] for number in numbers]))

    def test_image_on_scsi(self):
        """Section 6 [D]: generation 2 boots from a SCSI VHDX."""
        drive = self.plug(self.scsi, self.make_disk())
        self.assertEqual(drive, self.source())
        self.assert_boots(expected=True)

    def test_no_drives(self):
        """Nothing is there."""
        self.assert_boots(expected=False)

    def test_order_decides(self):
        """Section 7 [D]: the first entry that leads to a medium."""
        first = self.plug(self.scsi, self.make_disk())
        second = self.plug(self.scsi, self.make_disk(FOLDER + 'b.vhdx'), 1)
        self.assertEqual(first, self.source())
        self.order(1, 0)
        self.assertEqual(second, self.source())

    def test_drive_that_is_not_in_the_order(self):
        """Section 7: what is not in BootSourceOrder is not tried."""
        self.plug(self.scsi, self.make_disk())
        self.order()
        self.assert_boots(expected=False)

    def test_empty_drive_is_passed_over(self):
        """An entry is there for the drive, not for the medium."""
        self.add_drive(self.scsi, 0)
        self.assertIsNone(self.source())
        drive = self.plug(self.scsi, self.make_disk(), 1)
        self.assertEqual(drive, self.source())

    def test_disc(self):
        """Section 6 [D]: SCSI DVD."""
        drive = self.plug(self.scsi, self.make_iso())
        self.assertEqual(drive, self.source())

    def test_disc_without_boot_record(self):
        """El Torito 2.0: a config drive boots nothing."""
        self.plug(self.scsi, self.make_iso(is_bootable=False))
        self.assert_boots(expected=False)

    def test_file_that_is_no_disc(self):
        """Too short for a boot record."""
        with self.files.open(FOLDER + 'disc.iso', 'wb') as stream:
            stream.write(b'no disc')
        self.plug(self.scsi, FOLDER + 'disc.iso')
        self.assertIsNone(self.source())

    def test_disc_whose_file_went_away(self):
        """The share of a running VM's disc is gone: nothing to read."""
        path = self.make_iso()
        self.plug(self.scsi, path)
        self.files.remove(path)
        self.assertIsNone(self.source())

    def test_network_finds_no_server(self):
        """Section 6 [D]: network; nobody answers here."""
        self.add_nic()
        self.assertEqual(1, len(self.settings().BootSourceOrder))
        self.assert_boots(expected=False)

    def test_disk_of_the_host(self):
        """Section 6: a pass-through disk is a drive with an entry."""
        path = self.vmutils.get_mounted_disk_by_drive_number(
            self.add_host_disk())
        self.vmutils.attach_volume_to_controller('vm', self.scsi, 0, path)
        self.assert_boots(expected=True)


class NoSystemTest(BootCase):
    """A VM whose firmware found nothing has power, and that is all."""

    def _saved_and_restored(self):
        self.request_state(6)
        self.assertEqual(6, self.state())
        self.start()

    def test_nothing_answers(self):
        """Sections 7 and 15: no heartbeat, no facts, no soft shutdown."""
        self.assert_boots(expected=False)
        self.assertEqual(guests.NO_SYSTEM, self.guest.state)
        self.assertEqual({}, self.guest.facts())
        self.assertFalse(self.guest.freeze())
        component, = self.wmi.Msvm_ShutdownComponent(
            SystemName=self.record().guid)
        self.assertEqual(32780, component.InitiateShutdown(False, 'test')[-1])
        self.assertEqual(['vm'], self.host.vms.found_no_system)

    def test_nothing_is_written_to_the_serial_port(self):
        """Field knowledge: firmware speaks on the screen only."""
        written = []
        self.start()

        class Terminal:
            has_client = True
            write = staticmethod(written.append)

        port = Terminal()
        self.guest.connect(port)
        self.request_state(11)
        self.guest.typed(port, b'hello\r')
        self.assertEqual([], written)
        self.plug(self.scsi, self.make_disk())
        self.request_state(11)
        self.assertIn(b'login:', written[-1])

    def test_reset_with_a_disk_boots(self):
        """The firmware looks anew after each reset."""
        self.assert_boots(expected=False)
        self.plug(self.scsi, self.make_disk())
        self.assertEqual((12,), tuple(self.heartbeat()))
        self.request_state(11)
        self.assertEqual((2, 2), tuple(self.heartbeat()))

    def test_pause_and_resume(self):
        """It waits as before."""
        self.start()
        self.request_state(9)
        self.assertFalse(self.guest.has_system)
        self.start()
        self.assertEqual(guests.NO_SYSTEM, self.guest.state)

    def test_save_and_restore(self):
        """What is in memory is still the firmware, every time."""
        self.start()
        for _ in range(2):
            self._saved_and_restored()
            self.assertEqual((12,), tuple(self.heartbeat()))
        self.turn_off()
        self.plug(self.scsi, self.make_disk())
        self.start()
        self._saved_and_restored()
        self.assertEqual((2, 2), tuple(self.heartbeat()))

    def test_saved_state_that_is_thrown_away(self):
        """Section 2: off, and a boot from the beginning."""
        self.start()
        self.request_state(6)
        self.turn_off()
        self.assertEqual(set(), self.host.vms.saved_without_system)

    def test_interrupt_does_nothing(self):
        """A dump needs a system."""
        self.start()
        self.system().InjectNonMaskableInterrupt()
        self.assertEqual((1, 0, 1), (
            self.guest.interrupts, self.guest.dumps, self.guest.boots))

    def test_behaviour_that_needs_nothing(self):
        """Behaviour.needs_boot_source, by the VM's name."""
        self.host.vms.behaviours.behave('v*', needs_boot_source=False)
        self.assert_boots(expected=True)

    def test_is_shown(self):
        """``hyperv-sim show vms`` tells why the guest is not up."""
        def shown():
            row, = views.vms([self.host])
            return row['guest']

        self.assertEqual('', shown())
        self.start()
        self.assertEqual('nothing to boot from', shown())
        self.plug(self.scsi, self.make_disk())
        self.request_state(11)
        self.assertEqual('up', shown())
