# SPDX-License-Identifier: Apache-2.0
"""No job of Hyper-V is waited for for ever."""

import contextlib
import threading

from compute_hyperv import errors
from compute_hyperv import jobwaits
from compute_hyperv.sim import jobs
from tests.unit import opscase


class EndTest(opscase.OpsTestCase):
    """L008: jobs are cancelled, or waited for, within one limit."""

    def setUp(self):
        super().setUp()
        self.vm_ = self.define()

    def begin(self, **facts):
        self.host.jobs.start(jobs.Task(
            work=lambda: None, job_type=jobs.MOVE, name='Moving',
            affected=(self.vm_.system,), **facts))

    def end(self, timeout_s=60):
        jobwaits.end(self.ops.win, self.instance.name, timeout_s=timeout_s,
                     option='its_option')

    def test_jobs_that_can_be_cancelled_are(self):
        with self.host.jobs.held(jobs.MOVE):
            self.begin(cancellable=True)
            self.end()
        self.assertEqual([], self.host.jobs.pending())

    def test_others_are_named_when_the_time_is_over(self):
        with self.host.jobs.held(jobs.MOVE):
            self.begin()
            self.assert_refuses(
                errors.JobsStillRunning, 'Moving', 'its_option',
                call=lambda: self.end(timeout_s=1.5))

    def test_others_are_waited_for(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.host.jobs.held(jobs.MOVE))
            self.begin()
            timer = threading.Timer(0.5, stack.close)
            timer.start()
            self.end()
            timer.join()
        self.assertEqual([], self.host.jobs.pending())

    def test_vm_that_is_gone_has_none(self):
        self.ops.power.destroy(self.instance.name)
        self.end()

    def still_running(self):
        return str(jobwaits.still_running(
            self.ops.win, self.instance.name, 1.5, 'its_option'))

    def test_vm_that_goes_before_its_jobs_are_named_has_none(self):
        self.ops.power.destroy(self.instance.name)
        self.assertRegex(self.still_running(), 'its_option.*not found')

    def test_host_that_cannot_name_jobs_hides_no_limit(self):
        """L008: whoever waited hears which limit it was."""
        with self.fabric.faults.failing(kind='query', times=None,
                                        code=0x80041001):
            self.assertRegex(self.still_running(), 'its_option.*unknown')


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
