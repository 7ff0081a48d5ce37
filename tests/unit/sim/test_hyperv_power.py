# SPDX-License-Identifier: Apache-2.0
"""Power states (hyperv-semantics.md section 2)."""

import ddt

from compute_hyperv.sim import errors
from compute_hyperv.sim import jobs
from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import STARTED

INVALID_STATE = 32775
#: from -> requested -> (code, state afterwards); section 2's table.
MATRIX = {
    'off': {2: (STARTED, 2), 3: (INVALID_STATE, 3), 6: (INVALID_STATE, 3),
            9: (INVALID_STATE, 3), 10: (STARTED, 2),
            11: (INVALID_STATE, 3)},
    'running': {2: (INVALID_STATE, 2), 3: (STARTED, 3), 6: (STARTED, 6),
                9: (STARTED, 9), 11: (STARTED, 2)},
    'paused': {2: (STARTED, 2), 3: (STARTED, 3), 6: (STARTED, 6),
               9: (INVALID_STATE, 9), 11: (STARTED, 2)},
    'saved': {2: (STARTED, 2), 3: (STARTED, 3), 6: (INVALID_STATE, 6),
              9: (INVALID_STATE, 6), 10: (STARTED, 2),
              11: (INVALID_STATE, 6)},
}
ROWS = [(start, requested) + end for start, row in MATRIX.items()
        for requested, end in row.items()]


@ddt.ddt
class PowerMatrixTest(hypervcase.HyperVTestCase):
    """RequestStateChange from every state; a table in section 2."""

    @ddt.data(*ROWS)
    @ddt.unpack
    def test_request(self, start, requested, code, state):
        """Section 2, matrix of RequestStateChange."""
        self.create_vm()
        self.bring_to(start)
        self.assertEqual(code, self.request_state(requested))
        self.assertEqual(state, self.state())

    @ddt.data(0, 1, 5, 99)
    def test_unknown_state_is_an_invalid_parameter(self, requested):
        """Section 2: 32773 invalid parameter."""
        self.create_vm()
        self.assertEqual(32773, self.request_state(requested))

    @ddt.data(*hypervcase.WINDOWS)
    def test_every_windows_starts_saves_and_restores(self, windows):
        """Section 2, matrix; the same on all versions."""
        self.make_host(windows)
        self.create_vm()
        for requested, state in ((2, 2), (6, 6), (2, 2), (9, 9), (3, 3)):
            self.assertEqual(STARTED, self.request_state(requested))
            self.assertEqual(state, self.state())

    def test_transition_that_is_not_simulated_is_named(self):
        """simulator.md 11: NotSimulated, never a silent answer."""
        self.create_vm()
        with self.assertRaises(errors.NotSimulated):
            self.request_state(4)
        self.assertIn('RequestStateChange(4)',
                      ''.join(self.fabric.not_simulated))


class TransitionTest(hypervcase.HyperVTestCase):
    """What a transition does on its way; time stands still."""

    CLOCK = 'stepped'

    def setUp(self):
        super().setUp()
        self.create_vm()

    def test_start_goes_through_starting(self):
        """Section 2: off -> job -> 10 -> 2."""
        self.request_state(2)
        self.assertEqual(10, self.state())
        self.fabric.clock.advance(jobs.DURATION_S[jobs.START])
        self.assertEqual(2, self.state())

    def test_transitional_state_refuses_requests(self):
        """Section 2: transitional row, 32775."""
        self.request_state(2)
        for requested in (2, 6, 9, 10, 11):
            self.assertEqual(INVALID_STATE, self.request_state(requested))

    def test_save_goes_through_saving(self):
        """Section 2: running -> job -> 32773 -> 6."""
        self.request_state(2)
        self.fabric.clock.advance(60)
        self.request_state(6)
        self.assertEqual(32773, self.state())
        self.fabric.clock.advance(60)
        self.assertEqual(6, self.state())

    def test_failed_job_goes_back_to_where_it_began(self):
        """Section 2/3: failure during work, the state is as before."""
        self.host.jobs.fail_next(jobs.START)
        self.request_state(2)
        self.fabric.clock.advance(60)
        self.assertEqual(3, self.state())
        self.assertEqual({}, self.host.vms.workers)

    def test_uptime_counts_from_power_on(self):
        """Section 2: OnTimeInMilliseconds since power-on, 0 when off."""
        self.assertEqual(0, self.system().OnTimeInMilliseconds)
        self.request_state(2)
        self.fabric.clock.advance(60)
        start_ms = int(jobs.DURATION_S[jobs.START] * 1000)
        self.assertEqual(60000 - start_ms,
                         self.system().OnTimeInMilliseconds)

    def test_reset_restarts_the_uptime(self):
        """Section 2: reset -> 2, uptime restarts."""
        self.request_state(2)
        self.fabric.clock.advance(600)
        self.request_state(11)
        self.fabric.clock.advance(5)
        self.assertLess(self.system().OnTimeInMilliseconds, 6000)

    def test_process_id_while_a_worker_exists(self):
        """Section 2: ProcessID set while a worker process exists."""
        self.assertIsNone(self.system().ProcessID)
        self.request_state(2)
        self.fabric.clock.advance(60)
        self.assertGreater(self.system().ProcessID, 0)
        self.request_state(3)
        self.fabric.clock.advance(60)
        self.assertIsNone(self.system().ProcessID)


@ddt.ddt
class MemoryReservationTest(hypervcase.HyperVTestCase):
    """Host memory while VMs run (section 5)."""

    HOST = {'memory_mib': 8192, 'numa_nodes': 2}

    def _free_mib(self):
        return sum(node.CurrentlyConsumableMemoryBlocks
                   for node in self.wmi.Msvm_NumaNode())

    def test_start_without_memory_fails_with_32778(self):
        """Section 5: power-on fails with out of memory, 32778."""
        self.create_vm(memory_mib=7400)
        job, code = self.system().RequestStateChange(2)
        self.assertEqual(STARTED, code)
        self.assert_job_failed(job, 'not enough memory', code=32778)
        self.assertEqual(3, self.state())

    def test_memory_drops_on_start_and_returns_on_off_and_save(self):
        """Section 5: host memory drops on start, returns on off/save."""
        before = self._free_mib()
        self.create_vm(memory_mib=1024)
        for requested, used in ((2, 1024), (6, 0), (2, 1024), (3, 0)):
            self.request_state(requested)
            self.assertEqual(used, before - self._free_mib())

    def test_host_memory_of_the_operating_system_follows(self):
        """Section 5: host available memory drops on start."""
        host = self.bound.utilsfactory.get_hostutils()
        before_kib = host.get_memory_info()[1]
        self.create_vm(memory_mib=1024)
        self.start()
        self.assertEqual(1 << 20, before_kib - host.get_memory_info()[1])

    def test_memory_spans_nodes_only_when_allowed(self):
        """Section 5: NumaSpanningEnabled of the service's settings."""
        self.create_vm(memory_mib=5000)
        self.start()
        self.assertEqual(2, len(self.record().worker.memory_mib))
        self.turn_off()
        self.host.v2.update(self.host.v2.find(
            'Msvm_VirtualSystemManagementServiceSettingData')[0],
            NumaSpanningEnabled=False)
        job, _code = self.system().RequestStateChange(2)
        self.assert_job_failed(job, code=32778)


class HostPowerTest(hypervcase.HyperVTestCase):
    """Automatic actions when the host goes down (section 2)."""

    def _reboot(self):
        self.bound.utilsfactory.get_hostutils().host_power_action('reboot')

    def test_shutdown_action_save_keeps_the_state(self):
        """Section 2: AutomaticShutdownAction 3 save; startup action 2."""
        self.create_vm(AutomaticShutdownAction=3)
        self.start()
        self._reboot()
        self.assertEqual(6, self.state())

    def test_startup_action_restarts_what_was_active(self):
        """Section 2: AutomaticStartupAction 3 restart if active before."""
        self.create_vm('was-on', AutomaticShutdownAction=2,
                       AutomaticStartupAction=3)
        self.create_vm('was-off', AutomaticStartupAction=3)
        self.create_vm('always', AutomaticStartupAction=4)
        self.start('was-on')
        self._reboot()
        self.assertEqual([2, 3, 2], [self.state(name) for name in (
            'was-on', 'was-off', 'always')])

    def test_shutdown_turns_the_host_off(self):
        """oswin-surface.md 3.9: Win32Shutdown(12)."""
        self.create_vm(AutomaticShutdownAction=2)
        self.start()
        self.bound.utilsfactory.get_hostutils().host_power_action(
            'shutdown')
        self.assertFalse(self.host.powered)
        with self.assertRaises(hypervcase.exceptions.x_wmi):
            self.vmutils.list_instances()
        self.host.power_on()
        self.assertEqual(3, self.state())

    def test_other_ways_to_restart(self):
        """Microsoft: Win32_OperatingSystem.Reboot, Shutdown, log off."""
        conn = self.bound.utilsfactory.get_hostutils()._conn_cimv2
        system = conn.Win32_OperatingSystem()[0]
        self.assertEqual((0,), system.Win32Shutdown(0))
        self.assertEqual((0,), system.Reboot())
        self.assertTrue(self.host.powered)
        self.assertEqual((0,), system.Shutdown())
        self.assertFalse(self.host.powered)

    def test_power_cut_turns_running_machines_off(self):
        """Section 2: states after the host lost power."""
        self.create_vm()
        self.attach_disk()
        self.start()
        self.host.power_off()
        self.host.power_on()
        self.assertEqual(3, self.state())
        self.start()
        self.assertEqual(2, self.state())
