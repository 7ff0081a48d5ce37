# SPDX-License-Identifier: Apache-2.0
"""What volumes need of Hyper-V besides drives and media."""

from compute_hyperv.sim import guestdisks
from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import SASD

BASE, CHILD, OTHER = (rf'C:\VMs\vm\{name}.vhdx'
                      for name in ('base', 'child', 'other'))
_MIB = 1 << 20
_STORAGE_DEVICE = 'Win32_PerfRawData_Counters_HyperVVirtualStorageDevice'
_PHYSICAL_DISK = 'Win32_PerfRawData_PerfDisk_PhysicalDisk'


class ParentTest(hypervcase.HyperVTestCase):
    """Msvm_ImageManagementService.SetParentVirtualHardDisk."""

    def setUp(self):
        super().setUp()
        self.create_vm()
        for path in (BASE, OTHER):
            self.make_disk(path, 64 * _MIB)
        self.vhd.create_differencing_vhd(CHILD, BASE)

    def set_parent(self, child, parent, ignore):
        service = self.wmi.Msvm_ImageManagementService()[0]
        return service.SetParentVirtualHardDisk(
            ChildPath=child, ParentPath=parent, LeafPath=None,
            IgnoreIDMismatch=ignore)

    def test_stranger_becomes_the_parent_if_told_so(self):
        """Reference of the method: IgnoreIDMismatch."""
        job, code = self.set_parent(CHILD, OTHER, False)
        self.assertEqual(hypervcase.STARTED, code)
        self.assert_job_failed(job, '0xC03A000E')
        self.assertEqual(BASE, self.vhd.get_vhd_parent_path(CHILD))
        job, code = self.set_parent(CHILD, OTHER, True)
        self.assertEqual(7, self.job(job).JobState)
        self.assertEqual(OTHER, self.vhd.get_vhd_parent_path(CHILD))

    def test_merged_disk_can_be_used_over_its_parent_again(self):
        """Section 6: modifying a parent invalidates its children."""
        self.attach_disk(CHILD)
        self.start()
        disk, = guestdisks.of(self.record())
        disk.write(_MIB, b'data')
        self.turn_off()
        self.vhd.merge_vhd(CHILD, delete_merged_image=False)
        with self.assertRaisesRegex(Exception, 'C03A000E'):  # noqa: H202
            self.start()
        self.set_parent(CHILD, BASE, True)
        self.start()
        disk, = guestdisks.of(self.record())
        self.assertEqual(b'data', disk.read(_MIB, 4))

    def test_no_paths(self):
        """Section 3: immediate parameter errors."""
        self.assertEqual((None, 32773), self.set_parent('', BASE, True))


class SavedTest(hypervcase.HyperVTestCase):

    def test_disk_on_ide_takes_another_path_while_saved(self):
        """L105; while it runs, not (section 6 [F])."""
        self.create_vm(generation=1)
        self.vmutils.attach_ide_drive('vm', self.make_disk(BASE), 0, 0)
        self.vhd.create_differencing_vhd(CHILD, BASE)
        medium = self.resources(cls=SASD)[0]
        self.start()
        self.assertEqual(5, self.modify(medium, HostResource=[CHILD])[2])
        self.turn_off()
        self.bring_to('saved')
        self.assertEqual(0, self.modify(medium, HostResource=[CHILD])[2])
        self.start()
        disk, = guestdisks.of(self.record())
        self.assertEqual(CHILD, disk.path)


class CounterTest(hypervcase.HyperVTestCase):
    """Raw performance counters of disks."""

    def cimv2(self):
        return self.bound.utilsfactory.get_hostutils()._conn_cimv2

    def counters(self, class_name):
        return {item.Name: item for item in self.cimv2().query(
            f'SELECT * FROM {class_name}')}

    def test_virtual_disk_is_there_while_its_vm_runs(self):
        """Performance history for virtual hard disks: that counter set."""
        self.create_vm()
        self.attach_disk(self.make_disk(BASE))
        self.assertEqual({}, self.counters(_STORAGE_DEVICE))
        self.start()
        disk, = guestdisks.of(self.record())
        disk.write(0, b'1234')
        disk.write(8, b'12')
        disk.read(0, 100)
        found = self.counters(_STORAGE_DEVICE)
        self.assertEqual(['C:-VMs-vm-base.vhdx'], list(found))
        one = found['C:-VMs-vm-base.vhdx']
        self.assertEqual((1, 100, 2, 6), (
            one.ReadOperationsPerSec, one.ReadBytesPersec,
            one.WriteOperationsPerSec, one.WriteBytesPersec))
        self.turn_off()
        self.assertEqual({}, self.counters(_STORAGE_DEVICE))

    def test_physical_disks_and_their_sum(self):
        """PhysicalDisk: by number, and _Total."""
        self.assertEqual(['_Total'], sorted(self.counters(_PHYSICAL_DISK)))
