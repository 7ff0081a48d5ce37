# SPDX-License-Identifier: Apache-2.0
from nova.compute import power_state
from nova import exception

from compute_hyperv import errors
from compute_hyperv.sim import jobs
from compute_hyperv.sim import vm as sim_vm
from tests import factories
from tests.unit import fakes
from tests.unit import opscase


class PowerCase(opscase.OpsTestCase):

    def setUp(self):
        super().setUp()
        self.power = self.ops.power
        self.power._clock = self.clock = fakes.Clock()
        self.vm_ = self.define()

    def guest(self, **behaviour):
        self.host.vms.behaviours.behave('*', **behaviour)


class StateTest(PowerCase):

    def test_states_are_nova_s(self):
        """L067: every hypervisor state maps to a valid power state."""
        name = self.instance.name
        states = {sim_vm.OFF: power_state.SHUTDOWN,
                  sim_vm.RUNNING: power_state.RUNNING,
                  sim_vm.PAUSED: power_state.PAUSED,
                  sim_vm.SAVED: power_state.SUSPENDED}
        for state in (sim_vm.STARTING, sim_vm.SHUTTING_DOWN, sim_vm.SAVING,
                      sim_vm.PAUSING, sim_vm.RESUMING):
            states[state] = power_state.RUNNING     # on the way
        for state, expected in states.items():
            self.vm_.set_state(state)
            self.assertEqual(expected, self.power.state(name), state)
        self.vm_.set_state(sim_vm.OFF)

    def test_missing_vm_is_not_found(self):
        """L070: instance-not-found, not a raw WMI error."""
        self.assertRaises(exception.InstanceNotFound, self.power.state,
                          'nothing')

    def test_a_passing_error_is_waited_out(self):
        """B4: Nova would take it for a failure of the build."""
        with self.fabric.faults.failing(kind='query', times=2):
            self.assertEqual(power_state.SHUTDOWN,
                             self.power.state(self.instance.name))
        with self.fabric.faults.failing(kind='query', times=None):
            self.assertRaises(errors.HyperVError, self.power.state,
                              self.instance.name)

    def test_life(self):
        instance = self.instance
        for change, state in (
                (self.power.start, sim_vm.RUNNING),
                (self.power.pause, sim_vm.PAUSED),
                (self.power.unpause, sim_vm.RUNNING),
                (self.power.suspend, sim_vm.SAVED),
                (self.power.start, sim_vm.RUNNING),
                (self.power.pause, sim_vm.PAUSED),
                (self.power.suspend, sim_vm.SAVED)):
            change(instance)
            self.assertEqual(state, self.vm_.state, change)
        self.power.power_off(instance, 0, 0)
        self.assertEqual(sim_vm.OFF, self.vm_.state)


class ConsoleTest(PowerCase):

    def test_vm_that_goes_on_keeps_its_console(self):
        """A suspend, stop or reboot that failed."""
        self.power.start(self.instance)
        for fail in (lambda: self.power.suspend(self.instance),
                     lambda: self.power.power_off(self.instance, 0, 0),
                     lambda: self.power.reboot(self.instance, (), None,
                                               soft=False)):
            with self.fabric.faults.failing(
                    kind='method', times=None,
                    match='Msvm_ComputerSystem.RequestStateChange'):
                self.assertRaises(exception.NovaException, fail)
            self.assertEqual([True], [
                one.is_alive for one
                in self.ops.console._handlers[self.instance.name]])


class OffTest(PowerCase):

    def test_no_vm_is_a_no_op(self):
        """L013: a power-off that finds no VM is a no-op."""
        self.power.power_off(factories.instance(), 0, 0)
        self.power.power_off(factories.instance(), 10, 1)

    def test_guest_that_obeys_is_not_turned_off(self):
        """L155: the guest shuts down within the time-out."""
        self.power.start(self.instance)
        self.power.power_off(self.instance, 60, 10)
        self.assertEqual(sim_vm.OFF, self.vm_.state)
        self.assertEqual([], self.clock.slept)

    def test_guest_that_does_not_obey_is_turned_off(self):
        """L155: retries the signal within the time-out, then turns off."""
        self.guest(obeys_shutdown=False)
        self.power.start(self.instance)
        with self.fabric.recorder.recording() as calls:
            self.power.power_off(self.instance, 60, 20)
        asked = [call for call in calls
                 if call.label.endswith('.InitiateShutdown')]
        self.assertEqual(3, len(asked))
        self.assertEqual(60, sum(self.clock.slept))
        self.assertEqual(sim_vm.OFF, self.vm_.state)

    def test_guest_without_services_is_turned_off(self):
        self.guest(has_services=False)
        self.power.start(self.instance)
        self.power.power_off(self.instance, 5, 1)
        self.assertEqual(sim_vm.OFF, self.vm_.state)

    def test_paused_vm_is_turned_off_at_once(self):
        self.power.start(self.instance)
        self.power.pause(self.instance)
        self.power.power_off(self.instance, 60, 10)
        self.assertEqual(sim_vm.OFF, self.vm_.state)
        self.assertEqual([], self.clock.slept)

    def test_console_that_starts_late_leaves_the_log_alone(self):
        """L061: readers are stopped before power-off."""
        self.power.start(self.instance)
        self.power.power_off(self.instance, 0, 0)
        with self.assertNoLogs('compute_hyperv.console', 'WARNING'):
            self.ops.console.start(self.instance.name, self.instance.uuid)
        path = self.paths.console_path(self.instance.name)
        self.paths.rename(path, f'{path}.moved')
        self.assertTrue(self.paths.exists(f'{path}.moved'))

    def test_the_log_is_free_afterwards(self):
        """L061: readers are stopped, the file can be moved."""
        self.power.start(self.instance)
        self.power.power_off(self.instance, 0, 0)
        path = self.paths.console_path(self.instance.name)
        self.paths.rename(path, path + '.moved')

    def test_vm_that_cannot_be_stopped(self):
        self.power.start(self.instance)
        with self.fabric.faults.failing(
                kind='method', match='*RequestStateChange', times=None,
                code=32778):
            self.assertRaises(exception.InstancePowerOffFailure,
                              self.power.power_off, self.instance, 0, 0)
        self.assertEqual(sim_vm.RUNNING, self.vm_.state)


class ChangeTest(PowerCase):

    def test_invalid_state_is_success_in_the_wanted_state(self):
        """L156: 32775 is success only if the VM is in that state."""
        self.power.start(self.instance)
        self.power.start(self.instance)
        self.assertEqual(sim_vm.RUNNING, self.vm_.state)

    def test_invalid_state_in_another_state_is_an_error(self):
        """L156: no silent no-op."""
        self.assert_refuses(errors.HyperVError, 'OFF', 'PAUSED',
                            call=lambda: self.power.pause(self.instance))
        self.assertEqual(sim_vm.OFF, self.vm_.state)

    def test_transient_failures_are_retried(self):
        """L156: transient failures of a state change are retried."""
        with self.fabric.faults.failing(
                kind='method', match='*RequestStateChange', times=2,
                code=32775):
            self.power.start(self.instance)
        self.assertEqual(sim_vm.RUNNING, self.vm_.state)

    def test_failed_job_is_retried(self):
        self.host.jobs.fail_next(jobs.START)
        self.power.start(self.instance)
        self.assertEqual(sim_vm.RUNNING, self.vm_.state)


class RebootTest(PowerCase):

    def reboot(self, soft):
        self.power.start(self.instance)
        before = self.vm_.worker
        self.power.reboot(self.instance, None, None, soft=soft)
        self.assertEqual(sim_vm.RUNNING, self.vm_.state)
        self.assertIsNot(before, self.vm_.worker)

    def test_soft_is_a_shutdown_and_a_start(self):
        """L155: soft reboot = guest shutdown then start."""
        with self.fabric.recorder.recording() as calls:
            self.reboot(soft=True)
        self.assertIn('Msvm_ShutdownComponent.InitiateShutdown',
                      [call.label for call in calls])

    def test_guest_that_does_not_obey_is_reset(self):
        """L155: if not off in time, hard reset."""
        self.guest(obeys_shutdown=False)
        with self.assertLogs('compute_hyperv.powerops', 'WARNING') as logs:
            self.reboot(soft=True)
        self.assertIn('wait_soft_reboot_seconds', logs.output[0])
        self.assertEqual(1, sum(self.clock.slept))

    def test_hard_asks_nobody(self):
        with self.fabric.recorder.recording() as calls:
            self.reboot(soft=False)
        self.assertNotIn('Msvm_ShutdownComponent.InitiateShutdown',
                         [call.label for call in calls])

    def test_hard_works_from_any_state(self):
        for change in (self.power.pause, self.power.suspend):
            self.power.start(self.instance)
            change(self.instance)
            self.power.reboot(self.instance, None, None, soft=False)
            self.assertEqual(sim_vm.RUNNING, self.vm_.state)


class HostBootTest(PowerCase):

    def test_only_what_does_not_run_is_started(self):
        self.power.resume_after_boot(self.instance, None, None)
        self.assertEqual(sim_vm.RUNNING, self.vm_.state)
        self.power.pause(self.instance)
        self.power.resume_after_boot(self.instance, None, None)
        self.assertEqual(sim_vm.PAUSED, self.vm_.state)


class JobsTest(PowerCase):

    OPTIONS = {('os_win', 'wmi_job_terminate_timeout'): 1,
               ('hyperv', 'vm_operation_timeout'): 1}

    def test_jobs_that_do_not_end_are_named(self):
        """L008: the wait is bounded, the error names the jobs."""
        with self.host.jobs.held(jobs.START):
            self.vm_.host.jobs.start(jobs.Task(
                work=lambda: None, job_type=jobs.START, name='Merging disks',
                affected=(self.vm_.system,)))
            error = self.assert_refuses(
                errors.JobsStillRunning, 'Merging disks',
                'wmi_job_terminate_timeout', self.instance.name,
                call=lambda: self.power.stop_jobs(self.instance.name))
        self.assertIsInstance(error, errors.HyperVError)

    def test_a_change_that_does_not_end_is_an_error(self):
        """L008: the wait is bounded, the error names the job."""
        with self.host.jobs.held(jobs.START):
            self.assert_refuses(
                errors.JobsStillRunning, 'Starting Virtual Machine',
                'vm_operation_timeout', self.instance.name,
                call=lambda: self.power.start(self.instance))

    def test_jobs_that_can_be_ended_are(self):
        """L008: asks every pending job to stop."""
        with self.host.jobs.held(jobs.START):
            self.vm_.host.jobs.start(jobs.Task(
                work=lambda: None, job_type=jobs.START, cancellable=True,
                affected=(self.vm_.system,)))
            self.power.stop_jobs(self.instance.name)
        self.assertEqual([], self.host.jobs.pending())
