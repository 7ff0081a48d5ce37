# SPDX-License-Identifier: Apache-2.0
"""nova-compute killed while it changes a server that it keeps.

As in ``test_b_crash``. Afterwards the server has no task, its data are there
and its user can go on.
"""

import collections

import ddt

from compute_hyperv.sim import guestdisks
from compute_hyperv.sim import vm as sim_vm
from tests.functional import base
from tests.functional import crashcase
from tests.functional import sweepcase
from tests.functional import test_b_crashmoves

HANDS = 8 if sweepcase.WHOLE else 24


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

    def check_runs(self, what):
        """With its own data, drives and files, as at first."""
        self.assertEqual('ACTIVE', self.wait('ACTIVE', 'ERROR'), what)
        self.assertEqual('running', self.vm(self.server).state, what)
        self.assertEqual(crashcase.MARK, self.root().read(
            crashcase.MARK_AT, len(crashcase.MARK)), what)
        self.until(lambda: len(self.before) == len(self.seen()),
                   f'{what}: {self.seen()}')

    def sweep(self, name, calls, hand, begin, end):
        """Kill at the calls of one hand.

        :param begin: the operation, which is not waited for.
        :param end: what is made of it, and whence it goes on; an outcome.
        """
        own = self.share(calls, len(calls), hand, HANDS)
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


class EvacuateCrash(test_b_crashmoves.MoveCrashCase):
    """HV1 has failed; HV2 is killed while it builds the server."""

    def fail(self):
        self.computes['HV1'].stop()
        self.processes['HV1'].kill()
        self.view('HV1').request_state(self.vm(self.server), sim_vm.OFF)
        self.force_down(True)

    def force_down(self, down):
        service, = self.api.get_services(binary='nova-compute', host='HV1')
        self.api.put_service(service['id'], {'forced_down': down})

    def evacuate(self):
        self.api.post_server_action(self.server['id'],
                                    {'evacuate': {'host': 'HV2'}})

    def whole_evacuation(self):
        self.evacuate()
        self.until(lambda: self.api.get_server(self.server['id'])
                   ['OS-EXT-SRV-ATTR:host'] == 'HV2' and self.status(),
                   'evacuated')

    def check(self, kills):
        """Nothing is left at the target, and it can be evacuated again."""
        self.fail()
        for match in kills:
            with self.fabric.faults.failing(host='HV2', match=match,
                                            kill=True):
                self.evacuate()
                self.wait_for_death(match, 'HV2')
            self.replace('HV2')
            self.assertEqual('ERROR', self.until(self.status, match))
            self.assertEqual([], self.view('HV2').vm_names, match)
            self.check_left(match)
        self.whole_evacuation()
        self.assertEqual(1, len(self.view('HV2').vm_names))
        self.check_moved()

    KILLS = ('Msvm_VirtualSystemManagementService.DefineSystem',
             'Msvm_VirtualSystemManagementService.AddResource*',
             'Msvm_ComputerSystem.RequestStateChange')


class EvacuateCrashTest(EvacuateCrash):

    def check_left(self, what):
        self.assertEqual([], [
            name for name in self.driver('HV2')._win.files.list_dir(
                base.INSTANCES_DIR) if name.startswith('instance-')], what)

    def check_moved(self):
        """It is a new server: its disk was HV1's."""

    def test_evacuation(self):
        """A9, B9: what was built is removed."""
        self.check(self.KILLS)


class SharedEvacuateCrashTest(base.SharedInstances, EvacuateCrash):

    def check_left(self, what):
        self.assertEqual(1, len([
            name for name in self.left_on_share()
            if name.startswith('instance-')]), what)

    def check_moved(self):
        self.check_data('HV2', 'in the end')

    def test_evacuation_on_shared_storage(self):
        """A9, L166: the only copy of the disks stays."""
        self.check(self.KILLS)


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
