# SPDX-License-Identifier: Apache-2.0
"""VMs still boot after everything that copies their boot order.

hyperv-semantics.md section 7: entries of BootSourceOrder are linked to the
drives by Msvm_LogicalIdentity; both are per VM and per checkpoint.
"""

import ddt

from compute_hyperv.sim import bootable
from tests.unit.sim import twohosts

EXPORT = 'C:\\export'


@ddt.ddt
class MovesTest(twohosts.TwoHostCase):
    """A VM with its disk on SCSI (generation 2) or IDE (1)."""

    NEEDS_BOOT_SOURCE = True

    def make(self, generation):
        self.create_vm(generation=generation)
        path = self.make_disk()
        if generation == 2:
            self.attach_disk(path)
        else:
            self.vmutils.attach_ide_drive('vm', path, 0, 0)
        self.start()

    def assert_boots(self, host):
        vm = host.vms.named('vm')
        drive = bootable.source(vm)
        self.assertTrue(drive['InstanceID'].startswith(vm.instance_id))
        self.assertEqual([], host.vms.found_no_system)

    @ddt.data(1, 2)
    def test_live_migration(self, generation):
        """Section 11: it goes on, and its next boot finds the drive."""
        self.make(generation)
        self.migration.live_migrate_vm('vm', 'HV2')
        vm = self.other.vms.named('vm')
        self.assertTrue(vm.worker.guest.is_up)
        self.vmutils2.set_vm_state('vm', 10)
        self.assertTrue(vm.worker.guest.is_up)
        self.assert_boots(self.other)

    def test_live_migration_without_system(self):
        """What found nothing still waits at the destination."""
        self.create_vm()
        self.start()
        self.migration.live_migrate_vm('vm', 'HV2')
        guest = self.other.vms.named('vm').worker.guest
        self.assertEqual((False, False), (guest.has_system, guest.is_up))

    @ddt.data(1, 2)
    def test_checkpoint_applied(self, generation):
        """Section 8: applying one brings the boot order back."""
        self.make(generation)
        self.turn_off()
        path = self.vmutils.take_vm_snapshot('vm')
        service, = self.wmi.Msvm_VirtualSystemSnapshotService()
        self.assertIn(service.ApplySnapshot(path)[-1], (0, 4096))
        self.start()
        self.assertTrue(self.record().worker.guest.is_up)
        self.assert_boots(self.host)

    @ddt.data(1, 2)
    def test_import(self, generation):
        """Section 10: export, import in place, realize."""
        self.make(generation)
        self.turn_off()
        self.migration.export_vm('vm', EXPORT)
        guid = self.record().guid
        self.vmutils.destroy_vm('vm')
        self.migration.import_vm_definition(
            '%s\\Virtual Machines\\%s.vmcx' % (EXPORT, guid),
            EXPORT + '\\Snapshots', True)
        self.migration.realize_vm('vm')
        self.start()
        self.assertTrue(self.record().worker.guest.is_up)
        self.assert_boots(self.host)

    @ddt.data(1, 2)
    def test_host_that_lost_its_power(self, generation):
        """Section 2: AutomaticStartupAction starts it again."""
        self.make(generation)
        self.turn_off()
        self.assertEqual(0, self.modify_settings(AutomaticStartupAction=4))
        self.start()
        self.host.power_off()
        self.host.power_on()
        self.assertTrue(self.record().worker.guest.is_up)
        self.assert_boots(self.host)
