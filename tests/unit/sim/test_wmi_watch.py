# SPDX-License-Identifier: Apache-2.0
"""Event subscriptions: oswin-surface.md, sections 2.7 and 5."""

import threading
import time

import ddt

from compute_hyperv.sim import errors
from tests.unit.sim import simcase

STATE_QUERY = (
    "SELECT EnabledState, TargetInstance FROM __InstanceModificationEvent "
    "WITHIN {} WHERE TargetInstance ISA 'Msvm_ComputerSystem' AND "
    "TargetInstance.EnabledState != PreviousInstance.EnabledState")
NIC = 'Msvm_SyntheticEthernetPortSettingData'


@ddt.ddt
class PromptTest(simcase.SimTestCase):

    def setUp(self):
        super().setUp()
        self.vm = self.add_vm('a')
        self.conn = self.connect()

    def watch(self, text, within=1):
        return self.conn.watch_for(raw_wql=text.format(within))

    def drained(self, watcher):
        found = []
        try:
            while True:
                found.append(watcher(1))
        except self.wmi.x_wmi_timed_out:
            return found

    def test_state_changes_are_told_in_order(self):
        watcher = self.watch(STATE_QUERY)
        for state in (2, 2, 3):
            self.store.update(self.vm, EnabledState=state)
        self.store.update(self.vm, Description='x')
        self.assertEqual(
            [('a', 2), ('a', 3)],
            [(one.ElementName, one.EnabledState)
             for one in self.drained(watcher)])

    def test_filtered_states(self):
        watcher = self.watch(
            STATE_QUERY + " AND (TargetInstance.EnabledState = '2' OR "
            "TargetInstance.EnabledState = '9')")
        for state in (2, 3, 9):
            self.store.update(self.vm, EnabledState=state)
        self.assertEqual([2, 9], [one.EnabledState
                                  for one in self.drained(watcher)])

    def test_previous_only_when_it_was_selected(self):
        bare = self.watch(STATE_QUERY)
        full = self.watch(STATE_QUERY.replace(
            'EnabledState, TargetInstance', '*', 1))
        self.store.update(self.vm, EnabledState=2)
        self.assertIsNone(bare(100).previous)
        self.assertEqual(3, full(100).previous.EnabledState)

    @ddt.data('__InstanceCreationEvent', '__InstanceDeletionEvent',
              '__InstanceOperationEvent')
    def test_creation_and_deletion(self, event):
        watcher = getattr(self.conn, NIC).watch_for(
            f"SELECT * FROM {event} WITHIN 2 WHERE TargetInstance ISA "
            f"'{NIC}' ")
        made = self.store.add(NIC, InstanceID='n', ElementName='port')
        self.store.update(made, Address='1')
        self.store.delete(made)
        expected = {'__InstanceOperationEvent': 3}.get(event, 1)
        found = self.drained(watcher)
        self.assertEqual(['port'] * expected,
                         [one.ElementName for one in found])

    def test_subclass_of_the_watched_class_counts(self):
        watcher = self.conn.watch_for(raw_wql=(
            "SELECT * FROM __InstanceCreationEvent WITHIN 2 WHERE "
            "TargetInstance ISA 'CIM_ComputerSystem'"))
        self.add_vm('b', 1)
        self.assertEqual('b', watcher(100).ElementName)

    def test_timeout(self):
        began = time.monotonic()
        with self.assertRaises(self.wmi.x_wmi_timed_out):
            self.watch(STATE_QUERY)(50)
        self.assertGreaterEqual(time.monotonic() - began, 0.045)

    def test_default_timeout_is_none_at_all(self):
        self.assertRaises(self.wmi.x_wmi_timed_out, self.watch(STATE_QUERY))

    def test_closed_watcher_has_no_more_events(self):
        watcher = self.watch(STATE_QUERY)
        watcher.close()
        with self.assertRaises(self.wmi.x_wmi) as caught:
            watcher(1000)
        self.assertNotIsInstance(caught.exception,
                                 self.wmi.x_wmi_timed_out)
        self.assertEqual([], self.host.watches)

    def test_forgotten_watcher_is_closed(self):
        watcher = self.watch(STATE_QUERY)
        self.assertEqual(1, len(self.host.watches))
        del watcher
        self.assertEqual([], self.host.watches)

    def test_watchers_beyond_the_mark_are_a_problem(self):
        first = self.watch(STATE_QUERY)
        self.fabric.mark()
        clean = self.host.problems()
        second = self.watch(STATE_QUERY)
        self.assertEqual(2, len(self.host.problems()) - len(clean))
        second.close()
        self.assertEqual(clean, self.host.problems())
        del first

    @ddt.data('SELECT * FROM Msvm_ComputerSystem',
              "SELECT * FROM __InstanceCreationEvent WHERE TargetInstance "
              "ISA 'Msvm_ComputerSystem'",
              'SELECT * FROM __InstanceCreationEvent WITHIN 1',
              "SELECT * FROM __InstanceCreationEvent WITHIN 1 WHERE "
              "TargetInstance ISA 'Msvm_ComputerSystem' AND Colour = 'red'")
    def test_bad_subscription_is_refused(self, query):
        self.assert_hresult(errors.WBEM_E_INVALID_QUERY, self.watch, query)

    def test_waiting_thread_is_told_at_once(self):
        watcher = self.watch(STATE_QUERY)
        told = []

        def wait():
            told.append((watcher(60000).EnabledState, time.perf_counter()))
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.02)
        began = time.perf_counter()
        self.store.update(self.vm, EnabledState=2)
        thread.join(60)
        self.assertEqual(2, told[0][0])
        self.assertLess(told[0][1] - began, 30)

    def test_endless_loop_ends_when_the_fabric_is_closed(self):
        watcher = self.watch(STATE_QUERY)
        ended = threading.Event()

        def loop():
            # The shape of os-win's listeners.
            try:
                while True:
                    try:
                        watcher(2000)
                    except Exception:
                        time.sleep(0.01)
            finally:
                ended.set()
        threading.Thread(target=loop, daemon=True).start()
        time.sleep(0.02)
        self.fabric.close()
        self.assertTrue(ended.wait(60))


class PatienceTest(simcase.SimTestCase):

    def test_a_wait_ends_when_the_fabric_runs_out_of_patience(self):
        """For tests that stop services, which wait for their last one."""
        self.fabric.patience_s = 0.02
        vm = self.add_vm('a')
        watcher = self.connect().watch_for(
            raw_wql=STATE_QUERY.format(1))
        began_s = time.monotonic()
        self.assertRaises(self.wmi.x_wmi_timed_out, watcher, 60000)
        self.assertLess(time.monotonic() - began_s, 30)
        self.store.update(vm, EnabledState=2)
        self.assertEqual(2, watcher(60000).EnabledState)


class PolledTest(simcase.SimTestCase):
    """WITHIN as WMI does it: one comparison per interval."""

    WITHIN_S = 0.1

    def setUp(self):
        super().setUp()
        self.fabric.prompt_events = False
        self.vm = self.add_vm('a')
        self.watcher = self.connect().watch_for(
            raw_wql=STATE_QUERY.format(self.WITHIN_S))

    def test_changes_between_comparisons_collapse(self):
        for state in (2, 9, 6):
            self.store.update(self.vm, EnabledState=state)
        self.assertEqual(6, self.watcher(1000).EnabledState)
        self.assertRaises(self.wmi.x_wmi_timed_out, self.watcher, 10)

    def test_change_that_is_taken_back_is_not_seen(self):
        self.store.update(self.vm, EnabledState=2)
        self.store.update(self.vm, EnabledState=3)
        self.assertRaises(self.wmi.x_wmi_timed_out, self.watcher, 250)

    def test_nothing_is_told_before_the_comparison(self):
        self.store.update(self.vm, EnabledState=2)
        self.assertRaises(self.wmi.x_wmi_timed_out, self.watcher, 1)
        self.assertEqual(2, self.watcher(1000).EnabledState)

    def test_changes_of_different_intervals_are_told_apart(self):
        self.store.update(self.vm, EnabledState=2)
        time.sleep(self.WITHIN_S * 1.2)
        self.store.update(self.vm, EnabledState=9)
        self.assertEqual([2, 9], [self.watcher(1000).EnabledState,
                                  self.watcher(1000).EnabledState])
