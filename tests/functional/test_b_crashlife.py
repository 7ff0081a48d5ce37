# SPDX-License-Identifier: Apache-2.0
"""nova-compute killed while it changes a server that it keeps.

As in ``test_b_crash``. Afterwards the server has no task, its data are there
and its user can go on.
"""

import collections

import ddt

from compute_hyperv.sim import guestdisks
from compute_hyperv.sim import jobs
from tests.functional import crashcase
from tests.functional import sweepcase
from tests.functional import test_b_crashmoves

HANDS = 8 if sweepcase.WHOLE else 24
#: Of what makes few calls.
FEW_HANDS = 2 if sweepcase.WHOLE else 9
#: Of what takes long.
MANY_HANDS = 12 if sweepcase.WHOLE else 80


class LifeCase(crashcase.ServerCrashCase):
    """One server with an own disk and a config drive."""

    def boot_server(self):
        self.image_id = self.glance.add_disk('vhdx', **crashcase.GEN2)
        self.rescue_id = self.glance.add_disk('vhdx', seed=2,
                                              **crashcase.GEN2)
        self.server = self.boot(
            self.image_id, networks='auto', config_drive=True,
            flavor_id=self.flavor(disk_gib=1))
        self.root().write(crashcase.MARK_AT, crashcase.MARK)
        self.before = self.seen()

    def root(self):
        server = self.api.get_server(self.server['id'])
        return next(disk for disk in guestdisks.of(self.vm(server).vm)
                    if 'root.vhdx' in disk.path)

    def act(self, action, body=None):
        self.api.post_server_action(self.server['id'], {action: body})

    def state(self, *, anyway=False):
        """The server's status when it has no task."""
        server = self.api.get_server(self.server['id'])
        free = anyway or server['OS-EXT-STS:task_state'] is None
        return server['status'] if free else None

    def wait(self, *states):
        return self.until(lambda: self.state() in states and self.state(),
                          f'{states}')

    def whole(self, action, body, status):
        self.act(action, body)
        self.wait(status)

    def check_data(self, what):
        """It runs with its own data."""
        self.assertEqual('ACTIVE', self.wait('ACTIVE', 'ERROR'), what)
        self.assertEqual('running', self.vm(self.server).state, what)
        self.assertEqual(crashcase.MARK, self.root().read(
            crashcase.MARK_AT, len(crashcase.MARK)), what)

    def check_runs(self, what):
        """With its own data, drives and files, as at first."""
        self.check_data(what)
        self.until(lambda: len(self.before) == len(self.seen()),
                   f'{what}: {self.seen()}')

    def sweep(self, name, calls, hand, begin, end, hands=HANDS):
        """Kill at the calls of one hand.

        :param begin: the operation, which is not waited for.
        :param end: what is made of it, and whence it goes on; an outcome.
        """
        own = self.share(calls, len(calls), hand, hands)
        outcomes = collections.Counter()
        for call in own:
            what = self.run_and_die(begin, *call)
            status = self.until(self.state, f'{what}: no task')
            outcomes[status] += 1
            end(what, status)
        self.tell(name, own, calls, outcomes)


@ddt.ddt
class RescueLifeCrashFaultsTest(LifeCase):

    def rescue(self):
        self.act('rescue', {'rescue_image_ref': self.rescue_id})

    def whole_rescue(self):
        self.rescue()
        self.wait('RESCUE')

    def whole_unrescue(self):
        self.whole('unrescue', None, 'ACTIVE')

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_rescue(self, hand):
        """A9, L098: it runs from its own disk again."""
        self.boot_server()
        # Its image is in the cache from now on.
        self.whole_rescue()
        self.whole_unrescue()
        calls = self.recorded(self.whole_rescue)
        self.whole_unrescue()
        self.before = self.seen()
        self.sweep('Rescue', calls, hand, self.rescue, self.back)

    def test_request_that_waits_for_the_service(self):
        """A9: it finds what it was sent for."""
        self.boot_server()
        for action, body, status in (
                ('rescue', {'rescue_image_ref': self.rescue_id}, 'RESCUE'),
                ('unrescue', None, 'ACTIVE'), ('suspend', None, 'SUSPENDED'),
                ('resume', None, 'ACTIVE')):
            self.processes['HV1'].kill()
            self.act(action, body)
            self.until(lambda: self._waiting, 'sent')
            self.replace()
            self.wait(status)

    def back(self, what, status):
        if status == 'RESCUE':
            self.whole_unrescue()
        self.check_runs(what)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_unrescue(self, hand):
        """A9: the return is done."""
        self.boot_server()
        self.whole_rescue()
        calls = self.recorded(self.whole_unrescue)
        self.before = self.seen()
        self.whole_rescue()

        def end(what, status):
            self.check_runs(what)
            self.whole_rescue()

        self.sweep('Unrescue', calls, hand, lambda: self.act('unrescue'),
                   end)


@ddt.ddt
class PowerLifeCrashFaultsTest(LifeCase):
    """A server whose guest is to stand still, or to go on."""

    #: Of Nova's states: those of the VM.
    STATES = {'ACTIVE': 'running', 'PAUSED': 'paused', 'SUSPENDED': 'saved'}

    def there_and_back(self, action, back, status, hand):
        """Kill in *action*, which leads to a status, and in the way back."""
        self.boot_server()
        self.whole(action, None, status)
        self.whole(back, None, 'ACTIVE')
        guest = self.guest()
        for begin, end, before, after in ((action, back, 'ACTIVE', status),
                                          (back, action, status, 'ACTIVE')):
            calls = self.recorded(lambda: self.whole(begin, None, after))
            self.whole(end, None, before)

            def check(what, now):
                self.assertIn(now, (before, after), what)
                self.assertEqual(self.STATES[now],
                                 self.vm(self.server).state, what)
                if now == after:
                    self.whole(end, None, before)

            self.sweep(begin.capitalize(), calls, hand,
                       lambda: self.act(begin), check, FEW_HANDS)
            self.whole(begin, None, after)
        self.check_runs(action)
        self.assertEqual(guest, self.guest())

    def guest(self):
        """A guest that was saved goes on in another process."""
        return self.vm(self.server).vm.worker.guest.boots

    @ddt.data(*sweepcase.hands(FEW_HANDS, usual=0))
    def test_pause(self, hand):
        """A9, B6: Nova has the state that the VM has."""
        self.there_and_back('pause', 'unpause', 'PAUSED', hand)

    @ddt.data(*sweepcase.hands(FEW_HANDS, usual=1))
    def test_suspend(self, hand):
        """A9, B6: Nova has the state that the VM has."""
        self.there_and_back('suspend', 'resume', 'SUSPENDED', hand)

    def test_memory_is_being_saved_when_it_restarts(self):
        """A9, B6: Hyper-V does not stop for nova-compute's end."""
        self.boot_server()
        with self.host.jobs.held(jobs.SAVE, 50):
            self.act('suspend')
            self.until(self.host.jobs.pending, 'half saved')
            self.replace()
            self.assertIsNone(self.state())
        self.assertEqual('SUSPENDED', self.wait('SUSPENDED', 'ACTIVE'))
        self.whole('resume', None, 'ACTIVE')
        self.check_runs('saved while nova-compute was away')


@ddt.ddt
class ShelveLifeCrashFaultsTest(LifeCase):

    def shelve(self):
        self.act('shelve', {})

    def whole_shelve(self):
        self.whole('shelve', {}, 'SHELVED_OFFLOADED')

    def whole_unshelve(self):
        self.whole('unshelve', None, 'ACTIVE')

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_shelve(self, hand):
        """A9, B12: it runs as before, or is shelved wholly."""
        self.boot_server()
        calls = self.recorded(self.whole_shelve)
        self.whole_unshelve()
        self.before = self.seen()

        def end(what, status):
            if status == 'SHELVED_OFFLOADED':
                self.assertEqual([], self.view().vm_names, what)
                self.whole_unshelve()
            self.check_runs(what)

        self.sweep('Shelve', calls, hand, self.shelve, end)

    @ddt.data(*sweepcase.hands(MANY_HANDS, usual=0))
    def test_unshelve(self, hand):
        """A9, B12: it runs, or its image still has its data."""
        self.boot_server()
        self.whole_shelve()
        calls = self.recorded(self.whole_unshelve)
        self.whole_shelve()

        def end(what, status):
            if status == 'ERROR' and self.view().vm_names:
                self.whole('reboot', {'type': 'HARD'}, 'ACTIVE')
            elif status == 'ERROR':
                self.whole('rebuild', {'imageRef': self.shelved_image()},
                           'ACTIVE')
            if status != 'SHELVED_OFFLOADED':
                self.check_data(what)
                self.whole_shelve()

        self.sweep('Unshelve', calls, hand,
                   lambda: self.act('unshelve'), end, MANY_HANDS)
        self.whole_unshelve()
        self.check_data('in the end')
        self._delete_server(self.server)
        self.fabric.assert_clean()

    def shelved_image(self):
        """What its data are in."""
        return [image['id'] for image in self.glance.list()
                if image['name'].endswith('-shelved')][-1]


@ddt.ddt
class RebuildLifeCrashFaultsTest(LifeCase):

    def rebuild(self):
        self.act('rebuild', {'imageRef': self.image_id})

    def whole_rebuild(self):
        self.rebuild()
        self.wait('ACTIVE')

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_rebuild(self, hand):
        """A9, B8: it can be rebuilt again."""
        self.boot_server()
        calls = self.recorded(self.whole_rebuild)
        self.before = self.seen()

        def end(what, status):
            self.assertIn(status, ('ERROR', 'ACTIVE'), what)
            self.whole_rebuild()
            self.root().write(crashcase.MARK_AT, crashcase.MARK)
            self.check_runs(what)

        self.sweep('Rebuild', calls, hand, self.rebuild, end)


@ddt.ddt
class ResizeLifeCrashFaultsTest(test_b_crashmoves.MoveCrashCase):
    """A resize that is confirmed or reverted."""

    #: What is told of an action; tools/test sweeps adds up by it.
    NAMES = {'confirmResize': 'Confirm', 'revertResize': 'Revert'}

    def begin(self, action):
        self.api.post_server_action(self.server['id'], {action: None})

    def end(self, action):
        self.begin(action)
        self.until(lambda: self.status() == 'ACTIVE', action)

    def go_home(self):
        """From HV2, so that all begins as at first."""
        self.api.post_server_action(self.server['id'], {'migrate': None})
        self._wait_for_state_change(self.server, 'VERIFY_RESIZE')
        self.end('confirmResize')

    def sweep(self, action, host, hand, after=None):
        self.whole_resize()
        self.end('revertResize')
        self.own_names = self.names()
        self.whole_resize()
        calls = self.recorded(lambda: self.end(action), host, after)
        if action == 'confirmResize':
            self.go_home()
        own, outcomes = calls[hand::HANDS], collections.Counter()
        for call in own:
            self.large = self.flavor(disk_gib=2, memory_mib=1024)
            self.whole_resize()
            what = self.run_and_die(lambda: self.begin(action), *call,
                                    host=host)
            self.until(lambda: self.status() in ('ACTIVE', 'ERROR'), what)
            outcomes[self.status()] += 1
            self.assertEqual('ACTIVE', self.status(), what)
            if action == 'confirmResize':
                self.check_data('HV2', what)
                self.go_home()
            self.check_at_source(what)
            self.check_books(what)
        self.tell(f'{self.NAMES[action]}, {host}', own, calls, outcomes)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_confirm(self, hand):
        """A9, B10: confirmed in the end."""
        self.sweep('confirmResize', 'HV1', hand)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_revert_target(self, hand):
        """A9, B10: removed there, and back at the source."""
        self.sweep('revertResize', 'HV2', hand)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_revert_source(self, hand):
        """A9, B10: back in the end."""
        self.sweep('revertResize', 'HV1', hand, after='HV2')
