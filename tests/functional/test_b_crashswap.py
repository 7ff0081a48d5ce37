# SPDX-License-Identifier: Apache-2.0
"""nova-compute killed while Cinder moves a volume to another backend.

As in ``test_b_crash``. The guest has the old volume or the new one, with its
data; Nova, Cinder and the host agree which, and it can be moved again.
"""

import collections
import contextlib
import os

import ddt
from nova import context
from nova import objects

from compute_hyperv.sim import jobs
from tests.functional import base
from tests.functional import crashcase
from tests.functional import exports
from tests.functional import sweepcase
from tests.functional import test_d_swap

HANDS = 8 if sweepcase.WHOLE else 24
TEXT = b'the data'


class SwapCrashCase(test_d_swap.SwapCase, crashcase.CrashTestCase):
    """A server with one volume, which goes there and back."""

    def boot_server(self, state='running'):
        self.server = self.boot(
            self.glance.add_disk('vhdx', **crashcase.GEN2))
        self.volume = self.add(data={'qos_specs': {'total_iops_sec': '500'}})
        self.attach(self.server, self.volume)
        self.drive_of(self.server, self.volume).write(4096, TEXT)
        self.state = state
        if state == 'paused':
            self.api.post_server_action(self.server['id'], {'pause': None})
            self._wait_for_state_change(self.server, 'PAUSED')
        self.slot_before = self.slot(self.server, self.volume)
        self.boot_before = self.vm(self.server).boot
        self.shares = [test_d_swap.OTHER, exports.SHARE]
        self.move()
        self.before = self.problems()

    def begin(self):
        self.other = self.add(share=self.shares[0])
        self.begin_migration(self.server, self.volume, self.other)

    def move(self):
        self.begin()
        self.assertEqual('success', self.outcome('without a kill'))
        self.check('without a kill')

    def outcome(self, what):
        """How Cinder heard that it went; what is there then."""
        outcome = self.until(self.answer, f'{what}: no answer')
        if outcome == 'success':
            self.shares.reverse()
        self.until(lambda: self.api.get_server(self.server['id'])
                   ['OS-EXT-STS:task_state'] is None, f'{what}: task')
        self.until(lambda: not self.unfinished(), f'{what}: not ended')
        return outcome

    def answer(self):
        status = self.volume.shown['migration_status']
        return status if status != 'migrating' else None

    def check(self, what):
        """The guest goes on with its data, where all say that it is."""
        share, name = self.shares[1], self.volume.storage.name
        self.check_at(self.server, self.volume, share, name)
        self.assertEqual(self.state, self.vm(self.server).state, what)
        self.assertEqual(
            (self.slot_before, self.boot_before),
            (self.slot(self.server, self.volume),
             self.vm(self.server).boot), what)
        self.assertEqual(TEXT, self.read(self.server, self.volume), what)
        medium = next(item for item in self.vm(self.server).vm.media()
                      if name in item['HostResource'][0])
        self.assertEqual(500, medium['IOPSLimit'], what)
        self.check_files(share, name, what)
        self.check_books(what)

    def check_books(self, what):
        """Cinder has the one attachment that Nova has."""
        admin = context.get_admin_context()
        mapping = objects.BlockDeviceMapping.get_by_volume_and_instance(
            admin, self.volume.id, self.server['id'])
        self.assertEqual(
            [(self.volume.id, mapping.attachment_id)],
            [(found['volume_id'], found['id']) for found in
             self.cinder.attachments(self.server['id'])], what)
        self.assertEqual('in-use', self.cinder.fake_get(
            admin, self.volume.id)['status'], what)

    def go_on(self):
        """What its user does with a volume."""
        self.move()
        if self.state == 'paused':
            self.api.post_server_action(self.server['id'], {'unpause': None})
            self._wait_for_state_change(self.server, 'ACTIVE')
        self.detach(self.server, self.volume)
        self.attach(self.server, self.volume)
        self.assertEqual(TEXT, self.read(self.server, self.volume))
        self.detach(self.server, self.volume)
        self._delete_server(self.server)
        self.fabric.assert_clean()


@ddt.ddt
class SwapCrashFaultsTest(SwapCrashCase):

    def move_and_die(self, *call):
        what = self.run_and_die(self.begin, *call)
        outcome = self.outcome(what)
        self.check(what)
        self.until(lambda: self.before == self.problems(),
                   f'{what}: {self.problems()}')
        return outcome

    def sweep(self, state, hand):
        self.boot_server(state)
        calls = self.recorded(self.move)
        own = calls[hand::HANDS]
        outcomes = collections.Counter(
            self.move_and_die(*call) for call in own)
        self.go_on()
        self.tell(f'Move of a volume ({state})', own, calls, outcomes)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_move(self, hand):
        """A9, D2: it has moved, or it has not; all agree."""
        self.sweep('running', hand)

    @ddt.data(*sweepcase.hands(HANDS, usual=0))
    def test_move_of_a_paused_server(self, hand):
        """A9, D2: the driver copies the disk itself."""
        self.sweep('paused', hand)


@ddt.ddt
class SwapRestartFaultsTest(SwapCrashCase):
    """Hyper-V copies while nova-compute is away; Nova had not told Cinder."""

    #: What Cinder was asked for last, and whether the move had failed.
    WISHES = (('attachment_delete', False), ('attachment_update', False),
              ('attachment_complete', False),
              ('migrate_volume_completion', False), ('roll_detaching', True),
              ('attachment_delete', True),
              ('migrate_volume_completion', True))

    @contextlib.contextmanager
    def half_way(self):
        self.boot_server()
        with self.host.jobs.held(jobs.MOVE_STORAGE, 50):
            self.begin()
            yield self.until(self.host.jobs.pending, 'copy begun')[0]

    def check_all(self, expected, what):
        self.assertEqual(expected, self.outcome(what))
        self.check(what)
        self.until(lambda: self.before == self.problems(), what)
        self.go_on()

    def test_copy_is_cancelled(self):
        """A9, D2: the guest keeps its volume."""
        with self.half_way():
            self.replace()
        self.check_all('error', 'cancelled')

    def test_copy_that_cannot_be_cancelled_is_waited_for(self):
        """A9, D2: in the background; it has moved then."""
        with self.half_way() as job:
            self.host.v2.update(job, Cancellable=False)
            self.replace()
            self.assertIsNone(self.answer())
        self.check_all('success', 'moved')

    @ddt.data(*sweepcase.hands(len(WISHES), usual=0))
    def test_nova_ends_while_it_tells_cinder(self, hand):
        """A9, D2: Cinder hears the rest."""
        method, fails = self.WISHES[hand]
        self.boot_server()
        with contextlib.ExitStack() as stack:
            if fails:
                stack.enter_context(self.fabric.faults.failing(
                    match='Moving Storage', at_percent=50))
            self.die_after(method)
        self.check_all('error' if fails or method == 'attachment_update'
                       else 'success', method)

    def die_after(self, method):
        self.last_wish = method
        self.begin()
        self.wait_for_named_death(method)
        if method == 'attachment_complete':
            # Of another move by now, say: the VM's drive tells as well.
            name, = self.view().vm_names
            os.remove(self.host.storage.local(
                rf'{base.INSTANCES_DIR}\{name}\volume-swap.json'))
        self.replace()
