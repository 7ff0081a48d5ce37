# SPDX-License-Identifier: Apache-2.0
"""No job of Hyper-V is waited for for ever."""

from compute_hyperv import errors
from compute_hyperv import jobwaits
from compute_hyperv.sim import jobs
from tests.unit import opscase


class JobLimitTest(opscase.OpsTestCase):

    OPTIONS = {('os_win', 'wmi_job_terminate_timeout'): 1,
               ('hyperv', 'vm_operation_timeout'): 1}

    def setUp(self):
        super().setUp()
        self.define()
        self.ops.win.vm.create_scsi_controller(self.instance.name)
        self.ops.power.start(self.instance)
        folder = self.paths.layout(self.instance.name).instance_dir
        self.path = folder + r'\a.vhdx'
        self.ops.win.vhd.create_dynamic_vhd(self.path, 2 ** 22)

    def change(self):
        """Add a disk to the running VM, which takes a job."""
        self.ops.win.vm.attach_scsi_drive(self.instance.name, self.path)

    def test_a_change_ends_with_the_name_of_its_job(self):
        """L008: each wait is bounded, and the error names the job."""
        with self.host.jobs.held(jobs.ADD_RESOURCES):
            self.assertRaisesRegex(
                errors.WaitTimeout, 'Adding Resources.*within 1 seconds',
                self.change)

    def test_one_operation_may_have_another_limit(self):
        with (self.host.jobs.held(jobs.ADD_RESOURCES),
              jobwaits.within(0.1)):
            self.assertRaisesRegex(
                errors.WaitTimeout, 'within 0.1 seconds', self.change)

    def test_a_change_in_time_is_as_before(self):
        self.change()
        self.assertEqual([], self.host.jobs.pending())
        files, _volumes = self.ops.win.vm.get_vm_storage_paths(
            self.instance.name)
        self.assertIn(self.path, files)
