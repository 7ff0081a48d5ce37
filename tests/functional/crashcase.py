# SPDX-License-Identifier: Apache-2.0
"""Base of tests in which nova-compute is killed and started again.

Killed is meant: from one call to its host on, the service does nothing any
more, neither there (``sim.process``) nor in Nova's database, and nobody hears
from it. Whoever waits for its answer gets a time-out, at once.
"""

import collections
import functools
import re
import sys
import threading
import time

from nova import context
from nova import objects
from nova import rpc
from nova.volume import cinder
from oslo_log import log as logging
import oslo_messaging
from oslo_messaging.rpc import dispatcher
from sqlalchemy import engine
from sqlalchemy import event

from compute_hyperv.sim import guestdisks
from compute_hyperv.sim import process
from tests.functional import base
from tests.functional import sweepcase


LOG = logging.getLogger(__name__)

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
MARK = b'written by the guest' * 100
MARK_AT = 15 << 20


def _refuse_the_dead():
    """What a killed service had still to write it never wrote."""
    if process.Vanished.is_being_handled():
        raise process.Vanished


def _report(args, usual=threading.excepthook):
    if not issubclass(args.exc_type, process.Vanished):
        usual(args)


_DISPATCH = dispatcher.RPCDispatcher.dispatch


class CrashTestCase(base.TestCase):
    """``crash`` begins where a killed nova-compute has to be replaced."""

    def setUp(self):
        self.processes = {}
        self._waiting = []
        #: Hosts that take no requests for a while, though they are alive.
        self.slow = set()
        self.idle = 0
        #: What a service of HV1 is killed after, of what it asks Cinder for.
        self.last_wish = None
        #: (host, what its last statement does not write to the database).
        self.last_words = None
        self._guard()
        super().setUp()
        self._guard_cinder()

    def _set_flags(self):
        super()._set_flags()
        # Services that live for seconds only never report themselves.
        self.flags(service_down_time=600)

    def _before_statement(self, _connection, _cursor, statement, values,
                          *_args):
        _refuse_the_dead()
        if self.last_words and not statement.startswith('SELECT'):
            host, word = self.last_words
            if word in str(values):
                self.last_words = None
                self.processes[host].kill()
                process.vanish()

    def _guard(self):
        listener = ('before_cursor_execute', self._before_statement)
        event.listen(engine.Engine, *listener)
        self.addCleanup(event.remove, engine.Engine, *listener)
        dispatcher.RPCDispatcher.dispatch = (
            lambda served, incoming: self._dispatch(served, incoming))
        self.addCleanup(setattr, dispatcher.RPCDispatcher, 'dispatch',
                        _DISPATCH)
        rpc.add_extra_exmods(oslo_messaging.exceptions.__name__)
        self.addCleanup(rpc.clear_extra_exmods)
        self.addCleanup(setattr, threading, 'excepthook',
                        threading.excepthook)
        threading.excepthook = _report

    def _guard_cinder(self):
        """Nor does a killed service tell Cinder anything."""
        for name, asked in vars(cinder.API).items():
            if hasattr(asked, 'side_effect'):     # of the fixture
                asked.side_effect = functools.partial(
                    self._ask_cinder, name, asked.side_effect)

    def _ask_cinder(self, name, usual, *args, **kwargs):
        _refuse_the_dead()
        found = usual(*args, **kwargs)
        if name == self.last_wish:
            self.last_wish = None
            self.processes['HV1'].kill()
            process.vanish()
        return found

    def _dispatch(self, served, incoming):
        """What is sent to a killed service waits for the next one."""
        host = self._dead_host(served)
        try:
            if host is None:
                return _DISPATCH(served, incoming)
            if incoming._reply_q is None:
                self._waiting.append((host, incoming))
                return None
        except process.Vanished:
            LOG.info('A service was killed')
        # Not inside: the caller, who gets this very object, is alive.
        raise oslo_messaging.MessagingTimeout('the service was killed')

    def _dead_host(self, served):
        manager = getattr(served.endpoints[0], '_endpoint', None)
        return next((host for host, compute in self.computes.items()
                     if compute.manager is manager
                     and (self.is_dead(host) or host in self.slow)),
                    None)

    def start_compute(self, host):
        """Start nova-compute in a process of its own on that host."""
        self.processes[host] = process.Process(self.fabric.host(host))
        with self.processes[host].on():
            compute = self._start_compute(host)
        self.addCleanup(compute.stop)
        return compute

    def is_dead(self, host='HV1'):
        return not self.processes[host].alive

    def replace(self, host='HV1'):
        """Start nova-compute anew after its end; Nova's threads are gone."""
        self.processes[host].kill()
        compute = self.computes[host]
        compute.manager._waiting_live_migrations.clear()
        compute.stop()
        self.start_compute(host)
        self.deliver()

    def deliver(self):
        """Hand out what has waited for services that are there by now."""
        waiting, self._waiting = self._waiting, []
        for whose, incoming in waiting:
            self.computes[whose].rpcserver.dispatcher.dispatch(incoming)

    def run_and_die(self, operate, kind, number, label, host='HV1'):
        """Kill nova-compute at a call of an operation, and start it anew."""
        what = f'{host} {kind} {number} {label}'
        with self.killing(kind, number, host):
            operate()
            self.wait_for_death(what, host)
        self.wait_for_conductor()
        self.replace(host)
        return what

    def wait_for_conductor(self):
        """Until it has given up on a service that does not answer."""

    def replace_and_die(self, host, kind, number, label):
        """As :meth:`replace`, but the new one is killed as it starts.

        Or later, by a thread: that call is made in another order then.
        """
        what = f'{kind} {number} {label}'
        with self.killing(kind, number, host):
            try:
                self.replace(host)
                self.wait_for_death(what, host)
            except process.Vanished:
                LOG.info('Killed as it started')
        return what

    def unfinished(self, host=None):
        """What Nova has noted as begun (there) and not as ended."""
        admin = context.get_admin_context()
        return [event for action in
                objects.InstanceActionList.get_by_instance_uuid(
                    admin, self.server['id'])
                for event in objects.InstanceActionEventList.get_by_action(
                    admin, action.id)
                if host in (None, event.host) and event.finish_time is None]

    # Sweeping.

    def recorded(self, operation, host='HV1', after=None):
        """(kind, its number among those of its kind, label) of all calls.

        :param after: leave out those before another host's last call.
        """
        with self.fabric.recorder.recording() as calls:
            operation()
        numbers = collections.Counter()
        found = []
        for call in calls:
            if call.host == after and call.kind != 'connect':
                found = []
            if call.host == host and call.kind in sweepcase.KINDS:
                numbers[call.kind] += 1
                found.append((call.kind, numbers[call.kind], call.label))
        return found

    def killing(self, kind, number, host='HV1'):
        """Inside the block, that call is the last of nova-compute's."""
        return self.fabric.faults.failing(host=host, kind=kind, nth=number,
                                          kill=True)

    @staticmethod
    def share(calls, kills, hand, hands):
        """About *kills* calls of all; of them those of one hand.

        They are spread evenly; the many files of a config drive count once.
        """
        kept, seen = [], set()
        for call in calls:
            what = re.sub(r'\.iso\.files.*', '', call[2])
            if what == call[2] or what not in seen:
                kept.append(call)
            seen.add(what)
        return kept[::max(1, len(kept) // kills)][hand::hands]

    def wait_for_death(self, what, host='HV1'):
        """Few calls are made in some runs only, by listeners and consoles.

        A service that has none more to make is killed when it is idle.
        """
        deadline = time.monotonic() + 20
        while not self.is_dead(host) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.idle += not self.is_dead(host)
        self.assertLessEqual(self.idle, 3, f'{what} was not reached')

    def wait_for_named_death(self, what, host='HV1'):
        """The same for one that is always reached."""
        self.until(lambda: self.is_dead(host), f'{what}: not reached')

    def tell(self, what, killed, calls, outcomes):
        self.assertTrue(killed, 'nothing was recorded')
        self.assertLess(self.idle, max(2, len(killed)), 'none was reached')
        print(f'{what}: nova-compute killed at {len(killed)} of {len(calls)}'
              ' calls: ' + ', '.join(f'{count} {outcome}' for outcome, count
                                     in sorted(outcomes.items()))
              + f' ({base.mode()})', file=sys.__stderr__)

    # The image cache.

    def in_cache(self):
        return [path for path in self.host.storage.drive('C').listing()
                if '\\_base\\' in path]

    def partial_images(self):
        return [path for path in self.in_cache() if '.part' in path]

    def forget_image(self, image_id):
        """Have the next server fetch it again."""
        files = self.driver()._win.files
        for path in self.in_cache():
            if image_id in path:
                files.remove(path)


class ServerCrashCase(CrashTestCase):
    """One server that lives through all of it."""

    def boot_server(self):
        self.server = self.boot(
            self.glance.add_disk('vhdx', **GEN2), networks='auto',
            flavor_id=self.flavor(disk_gib=1))
        guestdisks.of(self.vm(self.server).vm)[0].write(MARK_AT, MARK)
        self.boot_id = self.vm(self.server).boot
        self.before = self.seen()

    def check_server(self, what):
        """It has run on, its data are there, nothing was left over."""
        server = self.api.get_server(self.server['id'])
        self.assertEqual(('ACTIVE', None),
                         (server['status'], server['OS-EXT-STS:task_state']),
                         what)
        self.assertEqual(self.boot_id, self.vm(server).boot, what)
        self.assert_in_time(self.before, self.seen, what)
        self.assertEqual(
            MARK, guestdisks.of(self.vm(server).vm)[0].read(
                MARK_AT, len(MARK)), what)
