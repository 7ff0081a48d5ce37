# SPDX-License-Identifier: Apache-2.0
"""Jobs (hyperv-semantics.md section 3)."""

import ddt

from compute_hyperv.sim import jobs
from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import STARTED


@ddt.ddt
class JobTest(hypervcase.HyperVTestCase):
    """The life of a job; time stands still."""

    CLOCK = 'stepped'

    def setUp(self):
        super().setUp()
        self.create_vm()

    def _start(self):
        job, code = self.system().RequestStateChange(2)
        self.assertEqual(STARTED, code)
        return job

    def test_progress_by_the_clock(self):
        """Section 3: JobState 4 running, PercentComplete."""
        path = self._start()
        self.fabric.clock.advance(jobs.DURATION_S[jobs.START] / 2)
        job = self.job(path)
        self.assertEqual((4, 50), (job.JobState, job.PercentComplete))
        self.fabric.clock.advance(10)
        job = self.job(path)
        self.assertEqual((7, 100, 0, 12), (
            job.JobState, job.PercentComplete, job.ErrorCode, job.JobType))

    def test_job_vanishes_after_five_minutes(self):
        """Section 3 [F]: then its path gives NOT_FOUND."""
        path = self._start()
        self.fabric.clock.advance(10 + 290)
        self.assertEqual(7, self.job(path).JobState)
        self.fabric.clock.advance(20)
        with self.assertRaises(self.x_wmi) as caught:
            self.job(path)
        self.assertEqual(0x80041002,
                         caught.exception.com_error.hresult & 0xFFFFFFFF)
        self.assertEqual([], self.wmi.Msvm_AffectedJobElement())

    def test_job_may_vanish_sooner(self):
        """Section 3 [F]: the five minutes are field knowledge."""
        self.host.quirks.job_lifetime_s = 20.0
        path = self._start()
        self.fabric.clock.advance(40)
        self.assert_not_found(path)

    def test_affected_elements(self):
        """Section 1: Msvm_AffectedJobElement; os-win's stop_jobs."""
        self._start()
        found = self.wmi.Msvm_AffectedJobElement(
            AffectedElement=self.system().path_())
        self.assertEqual([4], [one.AffectingElement.JobState
                               for one in found])

    @ddt.data((4, 8), (5, 9))
    @ddt.unpack
    def test_killing(self, request, state):
        """Section 3: RequestStateChange 4 terminate, 5 kill."""
        undone = []
        started = self.host.jobs.start(jobs.Task(
            work=lambda: None, job_type=62, cancellable=True,
            undo=lambda: undone.append(True), duration_s=60))
        job = self.job(started['Job'].path)
        self.assertEqual((0,), job.RequestStateChange(request))
        self.assertEqual((state, [True]),
                         (self.job(started['Job'].path).JobState, undone))
        self.fabric.clock.advance(120)
        self.assertEqual(state, self.job(started['Job'].path).JobState)

    def test_not_cancellable(self):
        """Section 3 [F]: only when Cancellable."""
        job = self.job(self._start())
        self.assertEqual((1,), job.RequestStateChange(5))

    def test_finished_job_is_an_invalid_transition(self):
        """Section 3: 4097."""
        path = self._start()
        self.fabric.clock.advance(60)
        self.assertEqual((4097,), self.job(path).RequestStateChange(5))

    def test_errors_as_instances(self):
        """Section 3: GetErrorEx returns serialized error instances."""
        self.host.jobs.fail_next(jobs.START, 'No luck today.')
        path = self._start()
        self.fabric.clock.advance(60)
        errors, code = self.job(path).GetErrorEx()
        self.assertEqual(0, code)
        self.assertIn('No luck today.', errors[0])
        self.assert_job_failed(path, 'No luck today.')

    def test_first_error_alone(self):
        """Section 3: GetError gives one error, or none."""
        path = self._start()
        self.fabric.clock.advance(60)
        self.assertEqual((None, 0), self.job(path).GetError())
        self.host.jobs.fail_next(jobs.POWER_OFF, 'Stuck.')
        job, _code = self.system().RequestStateChange(3)
        self.fabric.clock.advance(60)
        self.assertIn('Stuck.', self.job(job).GetError()[0])

    def test_other_requests_are_not_supported(self):
        """Section 3: code 1."""
        self.assertEqual((1,), self.job(
            self._start()).RequestStateChange(3))

    def test_running_jobs_are_no_clean_host(self):
        """simulator.md 8: assert_clean."""
        self._start()
        self.assertIn('still runs', '\n'.join(self.fabric.problems()))

    def test_os_win_stops_jobs(self):
        """oswin-surface.md 6: stop_jobs kills what is cancellable."""
        self.host.jobs.start(jobs.Task(
            work=lambda: None, job_type=62, cancellable=True,
            affected=(self.record().system,), duration_s=600))
        self.vmutils.stop_vm_jobs('vm')
        self.assertEqual([], self.host.jobs.pending())


class InstantJobTest(hypervcase.HyperVTestCase):
    """Jobs that take no time."""

    def test_job_is_final_before_the_method_returns(self):
        """oswin-on-linux.md 5: no 100 ms polls in tests."""
        self.create_vm()
        job, _code = self.system().RequestStateChange(2)
        self.assertEqual(7, self.job(job).JobState)

    def test_held_job_runs_until_it_is_released(self):
        """style.md 12: a test may advance or fail a job by name."""
        self.create_vm()
        with self.host.jobs.held(jobs.START):
            self.request_state(2)
            self.assertEqual(10, self.state())
        self.assertEqual(2, self.state())

    def test_completed_jobs_leave_the_host_clean(self):
        """simulator.md 8: finished jobs are no leftovers."""
        self.create_vm()
        self.start()
        self.turn_off()
        self.vmutils.destroy_vm('vm')
        self.fabric.assert_clean()
