# SPDX-License-Identifier: Apache-2.0
"""Controllers, drives, media (hyperv-semantics.md section 6)."""

import ddt

from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import HV
from tests.unit.sim.hypervcase import RASD
from tests.unit.sim.hypervcase import SASD
from tests.unit.sim.hypervcase import STARTED

INVALID_PARAMETER = 32773
INVALID_STATE = 5
DVD = 'Synthetic DVD Drive'
DVD_MEDIUM = 'Virtual CD/DVD Disk'


class StorageTestCase(hypervcase.HyperVTestCase):
    """A generation 2 VM with a SCSI controller."""

    GENERATION = 2

    def setUp(self):
        super().setUp()
        self.create_vm(generation=self.GENERATION)
        self.controller = self.add_controller()[1][0]

    def ide(self, number=0, name='vm'):
        return self.vmutils.get_vm_ide_controller(name, number)

    def make_iso(self, path='C:\\VMs\\vm\\boot.iso'):
        with self.files.open(path, 'wb') as stream:
            stream.write(b'\0' * 4096)
        return path


@ddt.ddt
class ControllerTest(StorageTestCase):
    """SCSI controllers."""

    def test_fifth_controller_is_refused(self):
        """Section 6: 4 SCSI controllers; 20.6."""
        for _ in range(3):
            self.assertEqual(0, self.add_controller()[2])
        before = self.everything()
        self.assertEqual((None, None, INVALID_PARAMETER),
                         self.add_controller())
        self.assert_unchanged(before)

    @ddt.data('running', 'saved')
    def test_added_and_removed_only_when_off(self, state):
        """Section 4 [F]: SCSI controller O."""
        self.bring_to(state)
        self.assertEqual(INVALID_STATE, self.add_controller()[2])
        self.assertEqual(INVALID_STATE, self.remove(
            self.resources(subtype='Synthetic SCSI Controller')[0])[1])

    def test_controller_with_drives_stays(self):
        """Section 6: nothing is orphaned."""
        self.add_drive(self.controller, 0)
        self.assertEqual(INVALID_PARAMETER, self.remove(
            self.resources(subtype='Synthetic SCSI Controller')[0])[1])

    def test_ide_controllers_cannot_be_added(self):
        """Section 4: two IDE controllers, generation 1 only."""
        self.assertEqual(INVALID_PARAMETER, self.add(
            self.template(RASD, 'Emulated IDE Controller'))[2])

    def test_identity(self):
        r"""Section 1: `Microsoft:<VM>\<controller GUID>\0`."""
        one = self.resources(subtype='Synthetic SCSI Controller')[0]
        self.assertRegex(one.InstanceID,
                         r'^Microsoft:[0-9A-F-]{36}\\[0-9A-F-]{36}\\0$')


@ddt.ddt
class DriveTest(StorageTestCase):
    """Slots of controllers."""

    def test_sixty_fifth_drive_is_refused(self):
        """Section 6: 64 slots; 20.6."""
        for slot in range(64):
            self.assertEqual(0, self.add_drive(self.controller, slot)[2])
        for slot in (64, None):
            self.assertEqual(INVALID_PARAMETER, self.add_drive(
                self.controller, slot)[2])

    @ddt.data(-1, 64, 'x')
    def test_impossible_slot(self, slot):
        """Section 6 [F]: invalid parameter."""
        self.assertEqual(INVALID_PARAMETER,
                         self.add_drive(self.controller, slot)[2])

    def test_busy_slot_is_refused(self):
        """Section 6 [F]: slot busy -> invalid parameter; 20.3."""
        self.add_drive(self.controller, 3)
        before = self.everything()
        self.assertEqual(INVALID_PARAMETER,
                         self.add_drive(self.controller, 3)[2])
        self.assert_unchanged(before)

    def test_code_of_invalid_parameters_is_switchable(self):
        """Section 6: 4 or 32773, field knowledge."""
        self.host.quirks.invalid_parameter_code = 4
        self.assertEqual(4, self.add_drive(self.controller, 64)[2])

    def test_two_drives_of_one_call_cannot_share_a_slot(self):
        """Section 6, 20.3: nothing is left behind."""
        drive = self.template(RASD, 'Synthetic Disk Drive')
        drive.Parent, drive.AddressOnParent = self.controller, 1
        before = self.everything()
        self.assertEqual(INVALID_PARAMETER, self.service.AddResourceSettings(
            self.settings().path_(), [drive.GetText_(1)] * 2)[2])
        self.assert_unchanged(before)

    def test_parent_of_another_vm_is_refused(self):
        """Section 6 [F]: bad parent -> invalid parameter."""
        self.create_vm('other')
        self.assertEqual(INVALID_PARAMETER, self.add_drive(
            self.controller, 0, name='other')[2])

    def test_identity_and_address(self):
        r"""Section 1: drive `...\0\<slot>\D`; Parent, AddressOnParent."""
        path = self.add_drive(self.controller, 5)[1][0]
        drive = self.job(path)
        self.assertTrue(drive.InstanceID.endswith('\\0\\5\\D'))
        self.assertEqual((self.controller, '5'),
                         (drive.Parent, drive.AddressOnParent))

    @ddt.data('running', 'paused')
    def test_scsi_drive_while_running_is_a_job(self, state):
        """Section 3 and 4: R for SCSI, storage while running is a job."""
        self.bring_to(state)
        job, paths, code = self.add_drive(self.controller, 0)
        self.assertEqual((STARTED, 7), (code, self.job(job).JobState))
        self.assertEqual(1, len(paths))

    def test_saved_counts_as_not_off(self):
        """Section 4: saved counts as not off."""
        self.bring_to('saved')
        self.assertEqual(INVALID_STATE,
                         self.add_drive(self.controller, 0)[2])

    def test_drive_with_a_medium_cannot_be_removed(self):
        """Section 6: remove the medium, then the drive."""
        self.attach_disk()
        drive = self.resources(subtype='Synthetic Disk Drive')[0]
        self.assertEqual(INVALID_PARAMETER, self.remove(drive)[1])
        self.remove(self.resources(cls=SASD)[0])
        self.assertEqual(0, self.remove(drive)[1])


@ddt.ddt
class Generation1Test(StorageTestCase):
    """IDE."""

    GENERATION = 1

    def test_third_drive_of_a_controller_is_refused(self):
        """Section 6: 2 controllers x 2 slots; 20.6."""
        for slot in (0, 1):
            self.assertEqual(0, self.add_drive(self.ide(), slot)[2])
        self.assertEqual(INVALID_PARAMETER,
                         self.add_drive(self.ide(), 2)[2])

    @ddt.data('running', 'saved')
    def test_ide_drives_only_when_off(self, state):
        """Section 4: IDE drives O."""
        self.bring_to(state)
        self.assertEqual(INVALID_STATE, self.add_drive(self.ide(), 0)[2])

    def test_dvd_media_may_change_while_running(self):
        """Section 4: media of DVD R."""
        drive = self.add_drive(self.ide(), 0, subtype=DVD)[1][0]
        self.start()
        self.assertEqual(STARTED, self.add_medium(
            drive, self.make_iso(), subtype=DVD_MEDIUM)[2])
        self.assertEqual(['C:\\VMs\\vm\\boot.iso'],
                         self.vmutils.get_vm_dvd_disk_paths('vm'))

    def test_vhd_and_vhdx_are_taken(self):
        """Section 6: VHD on generation 1."""
        for slot, name in enumerate(('a.vhd', 'b.vhdx')):
            drive = self.add_drive(self.ide(), slot)[1][0]
            path = self.make_disk('C:\\VMs\\vm\\' + name)
            self.assertEqual(0, self.add_medium(drive, path)[2])

    def test_dvd_drives_are_on_ide(self):
        """Section 6: generation 1 has no DVD drives on SCSI."""
        self.assertEqual(INVALID_PARAMETER, self.add_drive(
            self.controller, 0, subtype=DVD)[2])


@ddt.ddt
class MediumTest(StorageTestCase):
    """Files in drives."""

    def setUp(self):
        super().setUp()
        self.drive = self.add_drive(self.controller, 0)[1][0]

    @ddt.data('off', 'running')
    def test_missing_file_is_a_failed_job(self, state):
        """Section 6 [F]: job 10, 0x80070002, nothing left; 20.3."""
        self.bring_to(state)
        before = self.everything()
        job, _paths, code = self.add_medium(self.drive, 'C:\\none.vhdx')
        self.assertEqual(STARTED, code)
        self.assert_job_failed(job, '0x80070002', 'C:\\none.vhdx')
        self.assert_unchanged(before)

    def test_folder_is_access_denied(self):
        """Section 6 [F]: description contains 0x80070005."""
        job = self.add_medium(self.drive, 'C:\\VMs')[0]
        self.assert_job_failed(job, '0x80070005')

    def test_vhd_is_refused_by_generation_2(self):
        """Section 6 [D,F]: no VHD on a generation 2 boot path."""
        path = self.make_disk('C:\\VMs\\vm\\disk.vhd')
        job = self.add_medium(self.drive, path)[0]
        self.assert_job_failed(job, 'generation 2')
        self.host.quirks.gen2_refuses_vhd = False
        self.assertEqual(0, self.add_medium(self.drive, path)[2])

    def test_file_that_is_no_disk(self):
        """Section 19: inner 0xC03Axxxx code."""
        with self.files.open('C:\\VMs\\vm\\junk.vhdx', 'wb') as stream:
            stream.write(b'junk' * 1000)
        job = self.add_medium(self.drive, 'C:\\VMs\\vm\\junk.vhdx')[0]
        self.assert_job_failed(job, '0xC03A')

    def test_os_win_leaves_nothing_after_a_failure(self):
        """20.3: os-win removes the drive when the medium fails."""
        before = self.everything()
        with self.assertRaises(hypervcase.exceptions.HyperVException):
            self.vmutils.attach_scsi_drive('vm', 'C:\\none.vhdx')
        self.assert_unchanged(before)

    def test_second_medium_is_refused(self):
        """Section 6: a drive holds one medium."""
        path = self.make_disk()
        self.assertEqual(0, self.add_medium(self.drive, path)[2])
        self.assertEqual(INVALID_PARAMETER,
                         self.add_medium(self.drive, path)[2])

    def test_medium_of_the_wrong_kind(self):
        """Section 6: DVD media in DVD drives."""
        self.assertEqual(INVALID_PARAMETER, self.add_medium(
            self.drive, self.make_iso(), subtype=DVD_MEDIUM)[2])

    def test_identity(self):
        r"""Section 1: medium `...\0\<slot>\L`."""
        self.add_medium(self.drive, self.make_disk())
        self.assertTrue(self.resources(cls=SASD)[0].InstanceID.endswith(
            '\\0\\0\\L'))

    def test_only_the_first_host_resource_counts(self):
        """Section 6: only the first HostResource element is meaningful."""
        medium = self.template(SASD, 'Virtual Hard Disk')
        medium.Parent = self.drive
        medium.HostResource = [self.make_disk(), 'C:\\none.vhdx']
        self.assertEqual(0, self.add(medium)[2])

    @ddt.data(({'IOPSLimit': 500, 'IOPSReservation': 100}, 0),
              ({'IOPSLimit': 100, 'IOPSReservation': 500}, 32773),
              ({'IOPSLimit': 10 ** 9 + 1}, 32773))
    @ddt.unpack
    def test_iops(self, changes, code):
        """Section 6: 0..1e9, Limit >= Reservation; R (section 4)."""
        self.add_medium(self.drive, self.make_disk())
        self.start()
        self.assertEqual(code, self.modify(
            self.resources(cls=SASD)[0], **changes)[2])

    def test_host_resource_of_a_running_scsi_medium_changes(self):
        """Section 6: for a running VM only SCSI/DVD media."""
        first, second = (self.make_disk('C:\\VMs\\vm\\%s.vhdx' % name)
                         for name in 'ab')
        self.add_medium(self.drive, first)
        self.start()
        self.assertEqual(0, self.modify(
            self.resources(cls=SASD)[0], HostResource=[second])[2])
        self.files.remove(first)
        with self.assertRaises(OSError):
            self.files.remove(second)


class ModifyAndRemoveTest(StorageTestCase):
    """Requests that cannot be carried out."""

    def test_medium_of_a_running_vm_that_is_in_use(self):
        """20.7: a failed modification changes nothing."""
        first = self.attach_disk()
        self.create_vm('other')
        taken = self.make_disk('C:\\VMs\\other\\taken.vhdx')
        self.attach_disk(taken, 'other')
        self.start('other')
        self.start()
        before = self.everything()
        job, _paths, code = self.modify(
            self.resources(cls=SASD)[0], HostResource=[taken])
        self.assertEqual(STARTED, code)
        self.assert_job_failed(job, '0x80070020')
        self.assert_unchanged(before)
        with self.assertRaises(OSError):
            self.files.remove(first)

    def test_resource_that_is_gone(self):
        """Section 3: invalid parameter."""
        self.attach_disk()
        medium = self.resources(cls=SASD)[0]
        self.remove(medium)
        self.assertEqual(INVALID_PARAMETER,
                         self.modify(medium, IOPSLimit=10)[2])

    def test_built_in_devices_stay(self):
        """Section 4: the default devices belong to the VM."""
        port = self.resources(cls='Msvm_SerialPortSettingData')[0]
        self.assertEqual(INVALID_PARAMETER, self.remove(port)[1])

    def test_subtype_is_fixed(self):
        drive = self.job(self.add_drive(self.controller, 0)[1][0])
        self.assertEqual(INVALID_PARAMETER, self.modify(
            drive, ResourceSubType=HV + DVD)[2])

    def test_moving_a_drive_is_not_simulated(self):
        """simulator.md 11: said, not pretended."""
        drive = self.job(self.add_drive(self.controller, 0)[1][0])
        with self.assertRaises(hypervcase.errors.NotSimulated):
            self.modify(drive, AddressOnParent='7')

    def test_drives_need_a_controller(self):
        """Section 6: Parent = controller path."""
        self.assertEqual(INVALID_PARAMETER, self.add_drive(
            self.resources(subtype='Serial Controller')[0].path_(), 0)[2])

    def test_physical_dvd_on_generation_2(self):
        """Section 6: DVD on gen 2 only ISO files."""
        self.assertEqual(INVALID_PARAMETER, self.add_drive(
            self.controller, 0, subtype='Physical DVD Drive')[2])

    def test_file_of_an_unknown_kind(self):
        """Section 6: a hard disk is a VHD or VHDX."""
        drive = self.add_drive(self.controller, 0)[1][0]
        with self.files.open('C:\\VMs\\vm\\disk.raw', 'wb') as stream:
            stream.write(b'0' * 512)
        job = self.add_medium(drive, 'C:\\VMs\\vm\\disk.raw')[0]
        self.assert_job_failed(job, 'unsupported format')

    def test_medium_without_a_file(self):
        """Section 6: HostResource[0] = file."""
        drive = self.add_drive(self.controller, 0)[1][0]
        medium = self.template(SASD, 'Virtual Hard Disk')
        medium.Parent = drive
        self.assertEqual(INVALID_PARAMETER, self.add(medium)[2])


@ddt.ddt
class OpenFilesTest(StorageTestCase):
    """Files of running VMs are in use."""

    def test_disk_is_in_use_while_the_vm_runs(self):
        """Section 6: sharing violation 32 while running, free when off."""
        disk = self.attach_disk()
        for bring, free in ((self.start, False), (self.turn_off, True)):
            bring()
            with self.subTest(free=free):
                self.assertEqual(free, self._can_open(disk))

    def _can_open(self, path):
        try:
            with self.files.open(path, 'r+b'):
                return True
        except OSError as exc:
            self.assertEqual(32, exc.winerror)
            return False

    @ddt.data(('paused', False), ('saved', True))
    @ddt.unpack
    def test_disk_of_other_states(self, state, free):
        """Section 2: a paused VM has its worker, a saved one has not."""
        disk = self.attach_disk()
        self.bring_to(state)
        self.assertEqual(free, self._can_open(disk))

    def test_second_vm_with_the_same_disk_does_not_start(self):
        """Section 6: second start fails with 0x80070020."""
        disk = self.attach_disk()
        self.create_vm('second')
        self.attach_disk(disk, 'second')
        self.start()
        job, code = self.system('second').RequestStateChange(2)
        self.assertEqual(STARTED, code)
        self.assert_job_failed(job, '0x80070020')
        self.assertEqual(3, self.state('second'))

    def test_shared_disk_starts_twice(self):
        """Section 6: unless PersistentReservationsSupported."""
        disk = self.attach_disk()
        self.create_vm('second')
        self.attach_disk(disk, 'second')
        for name in ('vm', 'second'):
            self.modify(self.resources(name, SASD)[0],
                        PersistentReservationsSupported=True)
            self.start(name)
        self.assertEqual(2, self.state('second'))

    def test_two_children_of_one_parent_run(self):
        """Section 6: parents of a chain are read-shared."""
        base = self.make_disk('C:\\base.vhdx')
        for name in ('a', 'b'):
            self.create_vm(name)
            child = 'C:\\VMs\\%s\\root.vhdx' % name
            self.vhd.create_differencing_vhd(child, base)
            self.attach_disk(child, name)
            self.start(name)
        with self.assertRaises(OSError):
            self.files.remove(base)

    def test_missing_disk_at_start(self):
        """Section 6 and 20.3: start fails and holds nothing."""
        disk = self.attach_disk()
        self.files.remove(disk)
        job, _code = self.system().RequestStateChange(2)
        self.assert_job_failed(job, '0x80070002')
        self.assertEqual({}, self.host.vms.workers)

    def test_removing_a_medium_closes_its_file(self):
        """Section 6: hot removal lets the file go."""
        disk = self.attach_disk()
        self.start()
        self.vmutils.detach_vm_disk('vm', disk, is_physical=False)
        self.files.remove(disk)

    def test_iso_may_be_read_by_two_vms(self):
        """Section 6: DVD media are opened for reading."""
        iso = self.make_iso()
        for name in ('a', 'b'):
            self.create_vm(name)
            self.vmutils.create_scsi_controller(name)
            self.vmutils.attach_scsi_drive(name, iso, 'DVD')
            self.start(name)
        self.assertEqual(2, self.state('b'))


@ddt.ddt
class PhysicalDiskTest(StorageTestCase):
    """Pass-through disks."""

    def setUp(self):
        super().setUp()
        self.number = self.add_host_disk()
        self.disk = self.vmutils.get_mounted_disk_by_drive_number(
            self.number)

    def _attach(self, name='vm'):
        self.vmutils.attach_volume_to_controller(
            name, self.controller if name == 'vm' else
            self.vmutils.get_vm_scsi_controller(name), 1, self.disk,
            serial='volume-1')

    def test_disk_is_found_by_its_serial(self):
        """Section 6: ElementName can store a serial."""
        self._attach()
        self.assertTrue(self.vmutils.is_disk_attached(self.disk))
        self.assertEqual({'volume-1'}, set(
            self.vmutils.get_vm_physical_disk_mapping('vm')))

    def test_disk_must_be_offline(self):
        """Section 6 [F]: the host disk must be offline."""
        self.host.stores['root/microsoft/windows/storage'].update(
            self.host.stores['root/microsoft/windows/storage'].find_one(
                'MSFT_Disk', Number=self.number), IsOffline=False)
        with self.assertRaises(hypervcase.exceptions.HyperVException):
            self._attach()

    def test_disk_has_one_owner(self):
        """A quirk: a second VM cannot even have it configured."""
        self.host.quirks.physical_disk_in_one_configuration = True
        self._attach()
        self.create_vm('second')
        self.add_controller('second')
        with self.assertRaises(hypervcase.exceptions.HyperVException):
            self._attach('second')

    def test_something_else_is_no_disk(self):
        """Section 6: HostResource is a Msvm_DiskDrive of the host."""
        drive = self.template(RASD, 'Physical Disk Drive')
        drive.Parent = self.controller
        drive.HostResource = [self.settings().path_()]
        self.assertEqual(INVALID_PARAMETER, self.add(drive)[2])
        self.assertEqual(HV + 'Physical Disk Drive', drive.ResourceSubType)
