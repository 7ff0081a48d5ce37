# SPDX-License-Identifier: Apache-2.0
"""Planned systems (hyperv-semantics.md section 10)."""

from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import STARTED
from tests.unit.sim.hypervcase import VSSD

PLANNED = 'Microsoft:Hyper-V:System:Planned'


class PlannedSystemTest(hypervcase.HyperVTestCase):
    """A planned VM and what becomes of it."""

    def setUp(self):
        super().setUp()
        settings = self.wmi.Msvm_VirtualSystemSettingData.new()
        settings.ElementName = 'plan'
        settings.ConfigurationDataRoot = 'C:\\VMs\\plan'
        self.files.make_dirs('C:\\VMs\\plan')
        settings.VirtualSystemSubType = (
            'Microsoft:Hyper-V:SubType:2')
        _job, self.path, code = self.service.DefinePlannedSystem(
            SystemSettings=settings.GetText_(1), ResourceSettings=[],
            ReferenceConfiguration=None)
        self.assertEqual(0, code)
        self.plan = self.wmi.Msvm_PlannedComputerSystem(
            ElementName='plan')[0]

    def test_invisible_to_computer_system(self):
        """Section 10: invisible to Msvm_ComputerSystem."""
        self.assertEqual([], self.wmi.Msvm_ComputerSystem(
            ElementName='plan'))
        self.assertEqual(([], False), (self.vmutils.list_instances(),
                                       self.vmutils.vm_exists('plan')))
        self.assertEqual(PLANNED, self.wmi.Msvm_VirtualSystemSettingData(
            ElementName='plan')[0].VirtualSystemType)

    def test_takes_resource_calls_synchronously(self):
        """Section 10; oswin-surface.md 9.4: answer 0, not 4096."""
        disk = self.make_disk('C:\\VMs\\plan\\disk.vhdx')
        self.vmutils.create_scsi_controller('plan')
        text = self.template(hypervcase.RASD, 'Synthetic Disk Drive')
        text.Parent = self.vmutils.get_vm_scsi_controller('plan')
        _job, drives, code = self.service.AddResourceSettings(
            self.path, [text.GetText_(1)])
        self.assertEqual(0, code)
        medium = self.template(hypervcase.SASD, 'Virtual Hard Disk')
        medium.Parent, medium.HostResource = drives[0], [disk]
        self.assertEqual(0, self.service.AddResourceSettings(
            self.path, [medium.GetText_(1)])[2])

    def test_never_runs(self):
        """Section 10: never run; it has no RequestStateChange here."""
        self.assertEqual(3, self.plan.EnabledState)
        self.assertIn('planned VM plan', '\n'.join(self.fabric.problems()))

    def test_is_destroyed_like_a_vm(self):
        """Section 4: planned systems are destroyed the same way."""
        self.assertEqual(STARTED, self.service.DestroySystem(self.path)[1])
        self.assertEqual([], self.host.vms.problems())

    def test_is_realized_with_the_same_guid(self):
        """Section 10: RealizePlannedSystem validates and converts."""
        job, code = self.service.ValidatePlannedSystem(self.path)
        self.assertEqual((STARTED, 7), (code, self.job(job).JobState))
        job, system, code = self.service.RealizePlannedSystem(self.path)
        self.assertEqual((STARTED, 7), (code, self.job(job).JobState))
        self.assertEqual(self.plan.Name, self.system('plan').Name)
        self.assertEqual(system, self.system('plan').path_())
        self.assert_not_found(self.path)
        self.start('plan')
        self.assertEqual(2, self.state('plan'))

    def test_missing_disk_is_a_job_error(self):
        """Section 10: missing switch or disk -> job error."""
        disk = self.make_disk('C:\\VMs\\plan\\disk.vhdx')
        self.vmutils.create_scsi_controller('plan')
        controller = self.vmutils.get_vm_scsi_controller('plan')
        drive = self.add_resource('Synthetic Disk Drive', controller)
        self.add_resource('Virtual Hard Disk', drive, [disk],
                          hypervcase.SASD)
        self.files.remove(disk)
        before = self.everything()
        for method in ('ValidatePlannedSystem', 'RealizePlannedSystem'):
            job = getattr(self.service, method)(self.path)[0]
            self.assert_job_failed(job, '0x80070002')
        self.assert_unchanged(before)

    def add_resource(self, subtype, parent, host_resource=(),
                     cls=hypervcase.RASD):
        resource = self.template(cls, subtype)
        resource.Parent, resource.HostResource = parent, list(host_resource)
        return self.service.AddResourceSettings(
            self.path, [resource.GetText_(1)])[1][0]

    def test_settings_can_be_changed(self):
        """Section 10: planned systems accept modifications."""
        settings = self.wmi.query("SELECT * FROM %s WHERE ElementName = "
                                  "'plan'" % VSSD)[0]
        settings.ChassisAssetTag = 'tag'
        self.assertEqual(0, self.service.ModifySystemSettings(
            SystemSettings=settings.GetText_(1))[1])
