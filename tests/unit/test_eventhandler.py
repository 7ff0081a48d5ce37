# SPDX-License-Identifier: Apache-2.0
import threading
import time
import uuid

from nova.virt import event as virt_event

from compute_hyperv.sim import vm as sim_vm
from tests.unit import opscase

STARTED = virt_event.EVENT_LIFECYCLE_STARTED
STOPPED = virt_event.EVENT_LIFECYCLE_STOPPED
PAUSED = virt_event.EVENT_LIFECYCLE_PAUSED
SUSPENDED = virt_event.EVENT_LIFECYCLE_SUSPENDED


class EventHandlerTest(opscase.OpsTestCase):

    def setUp(self):
        super().setUp()
        self.seen = []
        self.arrived = threading.Event()
        self.define()
        self.ops.events.start(self.receive)

    def receive(self, event):
        self.seen.append((event.get_instance_uuid(), event.get_transition()))
        self.arrived.set()

    def wait_for(self, count, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while len(self.seen) < count and time.monotonic() < deadline:
            self.arrived.wait(0.05)
            self.arrived.clear()
        return [transition for _uuid, transition in self.seen]

    def outside(self, *states):
        """Somebody else changes the VM's state."""
        for state in states:
            self.win.vm.set_vm_state(self.instance.name, state.value)

    def test_changes_outside_nova_are_events(self):
        """L066, A8: real transitions only; saved is "suspended"."""
        kinds = type(self.win.state(self.instance.name))
        self.outside(kinds.RUNNING, kinds.PAUSED, kinds.RUNNING, kinds.SAVED,
                     kinds.RUNNING, kinds.OFF)
        self.assertEqual([STARTED, PAUSED, STARTED, SUSPENDED, STARTED,
                          STOPPED], self.wait_for(6))
        self.assertEqual({self.instance.uuid},
                         {uuid_ for uuid_, _transition in self.seen})

    def test_an_event_arrives_within_two_seconds(self):
        """A8, L069: WMI compares once a second, and tells at once."""
        watch, = self.host.watches
        self.assertRegex(watch.text, r'(?i)\bwithin 1\b')
        self.ops.power.start(self.instance)
        self.assertEqual([STARTED], self.wait_for(1))

    def test_changed_settings_are_no_event(self):
        """L066: editing a VM's settings emits none."""
        self.vm().settings
        self.win.vm.create_nic(self.instance.name, str(uuid.uuid4()),
                               'fa:16:3e:00:00:01')
        self.ops.power.start(self.instance)
        self.assertEqual([STARTED], self.wait_for(1))

    def test_no_vm_is_asked_without_an_event(self):
        """A8: no polling of every VM."""
        with self.fabric.recorder.recording() as calls:
            time.sleep(0.3)
        self.assertEqual([], [call for call in calls
                              if call.kind in ('query', 'method')])

    def test_vms_of_others_are_ignored(self):
        """L068, L071: no uuid in the notes, free text, or none at all."""
        for name, notes in (('none', None), ('text', ['not a uuid'])):
            self.win.vm.create_vm(name, False, 1, None, notes=notes)
            self.win.vm.set_vm_state(name, 2)
        self.ops.power.start(self.instance)
        self.assertEqual([STARTED], self.wait_for(1))
        self.assertEqual(self.instance.uuid, self.seen[0][0])

    def test_a_failing_callback_loses_no_further_event(self):
        """L170: callbacks neither raise nor lose events."""
        def fail(event):
            self.receive(event)
            raise ValueError('the database is away')
        self.ops.events._emit = fail
        with self.assertLogs('compute_hyperv.eventhandler', 'ERROR'):
            self.ops.power.start(self.instance)
            self.ops.power.pause(self.instance)
            self.assertEqual([STARTED, PAUSED], self.wait_for(2))

    def test_a_subscription_that_ended_is_made_again(self):
        """L170: nothing is lost for ever when the host's WMI restarts."""
        with self.assertLogs('compute_hyperv.eventhandler', 'WARNING'):
            self.host.end_watches()
            deadline = time.monotonic() + 60
            while not self.seen and time.monotonic() < deadline:
                self.ops.power.start(self.instance)
                self.ops.power.pause(self.instance)
                self.wait_for(1, timeout_s=0.3)
        self.assertTrue(self.seen)

    def test_nothing_is_forwarded_after_stop(self):
        """L072: once the service is stopping, no more events."""
        self.ops.events.stop()
        self.ops.power.start(self.instance)
        self.assertEqual([], self.wait_for(1, timeout_s=0.3))
        self.assertEqual(sim_vm.RUNNING, self.vm().state)

    def test_stop_twice_and_start_again(self):
        self.ops.events.stop()
        self.ops.events.stop()
        self.ops.events.start(self.receive)
        self.ops.power.start(self.instance)
        self.assertEqual([STARTED], self.wait_for(1))

    def test_console_follows_the_events(self):
        """L058: readers start when the VM starts by any cause."""
        kinds = type(self.win.state(self.instance.name))
        for state, served in ((kinds.RUNNING, [self.instance.name]),
                              (kinds.PAUSED, [])):
            self.outside(state)
            deadline = time.monotonic() + 60
            while list(self.ops.console._handlers) != served:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)

    def test_console_follows_whatever_nova_makes_of_an_event(self):
        """L058, L170: its database may be away."""
        def fail(event):
            raise ValueError('the database is away')
        self.ops.events._emit = fail
        with self.assertLogs('compute_hyperv.eventhandler', 'ERROR'):
            self.outside(type(self.win.state(self.instance.name)).RUNNING)
            deadline = time.monotonic() + 60
            while not self.ops.console._handlers:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)

    def test_a_console_that_cannot_be_opened_delays_no_event(self):
        """A8: the next events need not wait for it."""
        opened = threading.Event()
        self.addCleanup(opened.set)
        self.ops.events._console = self
        self.follow = lambda *args: opened.wait(120)
        kinds = type(self.win.state(self.instance.name))
        self.outside(kinds.RUNNING, kinds.PAUSED, kinds.OFF)
        self.assertEqual([STARTED, PAUSED, STOPPED], self.wait_for(3))
        self.assertFalse(opened.is_set())
