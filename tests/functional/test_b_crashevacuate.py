# SPDX-License-Identifier: Apache-2.0
"""nova-compute killed while it builds what is evacuated to its host.

As in ``test_b_crash``.
"""

import collections

import ddt

from compute_hyperv.sim import vm as sim_vm
from tests.functional import base
from tests.functional import sweepcase
from tests.functional import test_b_crashmoves

HANDS = 8 if sweepcase.WHOLE else 60


class EvacuateCrash(test_b_crashmoves.MoveCrashCase):
    """HV1 has failed; HV2 is killed while it builds the server."""

    def lose(self):
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

    def recover(self):
        """HV1 is back, and the server on it, as at first."""
        self.replace('HV1')
        self.until(lambda: self.api.get_migrations()[0]['status']
                   == 'completed', 'removed at the source')
        self.assertEqual([], self.view('HV1').vm_names)
        self.force_down(False)
        self.api.post_server_action(self.server['id'], {'migrate': None})
        self._wait_for_state_change(self.server, 'VERIFY_RESIZE')
        self.api.post_server_action(self.server['id'],
                                    {'confirmResize': None})
        self.start('home')

    def start(self, what):
        """Nova leaves what it evacuates stopped."""
        self.until(lambda: self.status() in ('ACTIVE', 'SHUTOFF'), what)
        if self.status() == 'SHUTOFF':
            self.api.post_server_action(self.server['id'],
                                        {'os-start': None})
        self.until(lambda: self.status() == 'ACTIVE', what)

    def sweep(self, name, hand):
        """Nothing is left at the target, and it can be evacuated again."""
        self.lose()
        calls = self.recorded(self.whole_evacuation, 'HV2')
        self.recover()
        self.lose()
        own, outcomes = calls[hand::HANDS], collections.Counter()
        for call in own:
            what = self.run_and_die(self.evacuate, *call, host='HV2')
            status = self.until(self.status, what)
            outcomes[status] += 1
            if status == 'ERROR':
                self.assertEqual([], self.view('HV2').vm_names, what)
                self.check_left(what)
            else:
                self.check_there(what)
                self.recover()
                self.lose()
        self.whole_evacuation()
        self.check_there('in the end')
        self.tell(name, own, calls, outcomes)

    def check_there(self, what):
        self.start(what)
        self.assertEqual(1, len(self.view('HV2').vm_names), what)
        self.check_moved(what)


@ddt.ddt
class EvacuateLifeCrashFaultsTest(EvacuateCrash):

    def check_left(self, what):
        self.assertEqual([], [
            name for name in self.driver('HV2')._win.files.list_dir(
                base.INSTANCES_DIR) if name.startswith('instance-')], what)

    def check_moved(self, what):
        """It is a new server: its disk was HV1's."""

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_evacuation(self, hand):
        """A9, B9: what was built is removed."""
        self.sweep('Evacuation', hand)


@ddt.ddt
class SharedEvacuateLifeCrashFaultsTest(base.SharedInstances, EvacuateCrash):

    def check_left(self, what):
        self.assertEqual(1, len([
            name for name in self.left_on_share()
            if name.startswith('instance-')]), what)

    def check_moved(self, what):
        self.check_data('HV2', what)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_evacuation_on_shared_storage(self, hand):
        """A9, L166: the only copy of the disks stays."""
        self.sweep('Evacuation on shared storage', hand)
