# SPDX-License-Identifier: Apache-2.0
"""Disks of machines that run, resized (hyperv-semantics.md section 6)."""

import struct

import ddt

from compute_hyperv.sim import guestdisks
from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import GIB

DISK = 'C:\\VMs\\vm\\disk.vhdx'
SHARING_VIOLATION = 32
#: A partition that ends at 512 MiB.
MBR = (b'\0' * 446 + struct.pack('<4xB3xII', 7, 2048, (1 << 20) - 2048) +
       b'\0' * 48 + b'\x55\xaa')


@ddt.ddt
class OnlineTest(hypervcase.HyperVTestCase):

    def make_vm(self, path=DISK, generation=2):
        self.create_vm(generation=generation)
        self.disk = self.make_disk(path)

    def run_on(self, bus):
        if bus == 'SCSI':
            self.attach_disk(self.disk)
        else:
            self.vmutils.attach_ide_drive('vm', self.disk, 0, 0)
        self.start()
        return guestdisks.of(self.record())[0]

    def resize(self, size_bytes):
        self.vhd.resize_vhd(self.disk, size_bytes, is_file_max_size=False,
                            validate_new_size=False)

    def assert_in_use(self, call, *args, **kwargs):
        with self.assertRaises(hypervcase.exceptions.Win32Exception
                               ) as caught:
            call(*args, **kwargs)
        self.assertEqual(SHARING_VIOLATION, caught.exception.error_code)

    @ddt.data(2, 1)
    def test_grows_and_shrinks_on_scsi(self, generation):
        """VHDX online grow and shrink on SCSI [D]; the content stays."""
        self.make_vm(generation=generation)
        disk = self.run_on('SCSI')
        disk.write(0, MBR)
        disk.write(4096, b'guest'.ljust(512))
        for size_bytes in (2 * GIB, GIB // 2):
            self.resize(size_bytes)
            self.assertEqual(size_bytes, disk.size_bytes)
            self.assertEqual(b'guest'.ljust(512), disk.read(4096, 512))
        with self.assertRaises(hypervcase.exceptions.Win32Exception):
            self.resize(GIB // 4)           # the partition would be cut
        self.assertEqual(2, self.state())
        self.turn_off()
        self.start()
        self.assertEqual(GIB // 2, guestdisks.of(self.record())[
            0].size_bytes)

    @ddt.data(('IDE', DISK), ('SCSI', DISK[:-1]), ('IDE', DISK[:-1]))
    @ddt.unpack
    def test_elsewhere_only_while_off(self, bus, path):
        """VHD offline only; IDE is not SCSI."""
        self.make_vm(path, generation=1)
        disk = self.run_on(bus)
        self.assert_in_use(self.resize, 2 * GIB)
        self.assertEqual(GIB, disk.size_bytes)
        self.turn_off()
        self.resize(2 * GIB)

    def test_parent_is_not_resized(self):
        """Parents of chains must not be resized."""
        self.make_vm()
        parent, self.disk = self.disk, 'C:\\VMs\\vm\\child.vhdx'
        self.vhd.create_differencing_vhd(self.disk, parent)
        self.run_on('SCSI')
        self.resize(2 * GIB)                # the disk itself grows
        self.disk = parent
        self.assert_in_use(self.resize, 2 * GIB)

    def test_shared_disk_is_not_resized(self):
        """Two machines may use it at a time."""
        self.make_vm()
        self.attach_disk(self.disk)
        self.modify(self.resources(cls=hypervcase.SASD)[0],
                    PersistentReservationsSupported=True)
        self.start()
        self.assert_in_use(self.resize, 2 * GIB)

    def test_nothing_else_is_possible(self):
        """A file attached to a VM cannot be merged or resized offline."""
        self.make_vm()
        parent, self.disk = self.disk, 'C:\\VMs\\vm\\child.vhdx'
        self.vhd.create_differencing_vhd(self.disk, parent)
        self.run_on('SCSI')
        for call, args in ((self.vhd.merge_vhd, ()),
                           (self.vhd.reconnect_parent_vhd, (parent,)),
                           (self.vhd.attach_virtual_disk, (False,)),
                           (self.vhd.set_vhd_guid, (
                               '{00000000-0000-0000-0000-000000000001}',))):
            with self.subTest(call.__name__):
                self.assert_in_use(call, self.disk, *args)

    def test_field_knowledge(self):
        """That os-win's opening gets through."""
        self.host.quirks.vhdx_resizes_online = False
        self.make_vm()
        self.run_on('SCSI')
        self.assert_in_use(self.resize, 2 * GIB)

    @ddt.data(True, False)
    def test_pending_merge(self, blocks):
        """Section 8 [F]: resizing its disks is refused until it ends."""
        self.host.quirks.merge_blocks = blocks
        self.make_vm()
        self.attach_disk(self.disk)
        self.vmutils.take_vm_snapshot('vm')
        snapshot = self.vmutils.get_vm_snapshots('vm')[0]
        service = self.wmi.Msvm_VirtualSystemSnapshotService()[0]
        with self.host.jobs.held(72):
            service.DestroySnapshot(AffectedSnapshot=snapshot)
            self.disk = self.resources(cls=hypervcase.SASD)[
                0].HostResource[0]
            self.assertIn('.avhdx', self.disk)
            if blocks:
                self.assert_in_use(self.resize, 2 * GIB)
            else:
                self.resize(2 * GIB)
        self.disk = DISK
        if blocks:
            self.resize(2 * GIB)
