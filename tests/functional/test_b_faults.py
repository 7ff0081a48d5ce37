# SPDX-License-Identifier: Apache-2.0
"""Spawn and destroy with every call to the host failing once.

A good run is recorded; then one run for each of its calls (WMI queries,
methods, objects and references, DLL functions, files), in which that call
fails. Afterwards the host is clean, Nova knows the truth and the next spawn
works. The calls are dealt out to several tests, so that they can run side by
side; each prints how many it failed.
"""

import collections
import sys

import ddt
from nova.tests.functional.api import client

from tests.functional import base

#: Tests that share the calls of one operation.
HANDS = 8

KINDS = ('query', 'method', 'get', 'ref', 'dll', 'file', 'program')

#: Nobody can give a handle back whose closing fails: not broken here.
CLOSING = ('virtdisk.close', 'kernel32.CloseHandle', 'close',
           'hbaapi.HBA_CloseAdapter')


class FaultSweep(base.TestCase):
    """One server of generation 2 with a port, serial console and ephemeral."""

    def setUp(self):
        super().setUp()
        self.image_id = self.glance.add_disk('vhdx',
                                             hw_machine_type='hyperv-gen2')
        self.flavor_id = self.flavor(disk_gib=1, ephemeral_gib=1)
        # The image is in the cache in all runs.
        self._delete_server(self.try_boot())

    def try_boot(self):
        """Boot a server; it ends ACTIVE or in ERROR."""
        server = self.boot(self.image_id, flavor_id=self.flavor_id,
                           networks='auto', state='BUILD')
        return self.until(lambda: self.settled(server),
                          'ACTIVE or ERROR', timeout_s=30)

    def settled_or_gone(self, server):
        try:
            return self.settled(server)
        except client.OpenStackApiNotFoundException:
            return True

    def settled(self, server):
        server = self.api.get_server(server['id'])
        done = (server['status'] in ('ACTIVE', 'ERROR') and
                server['OS-EXT-STS:task_state'] is None)
        return server if done else None

    def recorded(self, operation):
        """(kind, its number among those of its kind, label) of all calls."""
        with self.fabric.recorder.recording() as calls:
            operation()
        numbers = collections.Counter()
        found = []
        for call in calls:
            if call.kind in KINDS:
                numbers[call.kind] += 1
                found.append((call.kind, numbers[call.kind], call.label))
        return [call for call in found if call[2] not in CLOSING]

    def failing(self, kind, number):
        return self.fabric.faults.failing(host='HV1', kind=kind, nth=number)

    def check_clean(self, what):
        problems = self.fabric.problems()
        if problems:
            self.fail(f'{what}: ' + '; '.join(problems))

    def tell(self, text):
        print(f'{text} ({base.mode()})', file=sys.__stderr__)


@ddt.ddt
class SpawnFaultsTest(FaultSweep):

    @ddt.data(*range(HANDS))
    def test_nothing_is_left_whichever_call_fails(self, hand):
        """B4, L001: rollback removes all; an immediate retry succeeds."""
        servers = []
        calls = self.recorded(lambda: servers.append(self.try_boot()))
        self._delete_server(servers[0])
        outcomes = collections.Counter(
            self.spawn_with_fault(*call) for call in calls[hand::HANDS])
        self._delete_server(self._wait_for_state_change(
            self.try_boot(), 'ACTIVE'))
        self.tell(f'Spawn: {outcomes.total()} of {len(calls)} calls failed '
                  f'once each: {outcomes["ERROR"]} builds ended in ERROR, '
                  f'{outcomes["ACTIVE"]} got over it')
        self.assertGreater(outcomes['ERROR'], outcomes['ACTIVE'])

    def spawn_with_fault(self, kind, number, label):
        with self.failing(kind, number):
            server = self.try_boot()
        status = server['status']
        if status == 'ERROR':
            self.check_clean(f'{kind} {number} {label}')
        else:
            self.assertEqual('running', self.vm(server).state, label)
        self._delete_server(server)
        self.check_clean(f'{kind} {number} {label}, deleted')
        return status


@ddt.ddt
class DestroyFaultsTest(FaultSweep):

    @ddt.data(*range(HANDS // 2))
    def test_delete_works_in_the_end_whichever_call_fails(self, hand):
        """B5, L007, L008: a delete that fails can be repeated."""
        server = self.try_boot()
        calls = self.recorded(lambda: self._delete_server(server))
        own = calls[hand::HANDS // 2]
        repeated = sum(self.destroy_with_fault(*call) for call in own)
        self.tell(f'Destroy: {len(own)} of {len(calls)} calls failed once '
                  f'each: {repeated} deletes had to be repeated, '
                  f'{len(own) - repeated} got over it')

    def destroy_with_fault(self, kind, number, label):
        server = self._wait_for_state_change(self.try_boot(), 'ACTIVE')
        with self.failing(kind, number):
            self.api.delete_server(server['id'])
            self.until(lambda: self.settled_or_gone(server),
                       'gone or in ERROR')
        repeat = not self._is_gone(server)
        if repeat:
            self._delete_server(server)
        self.check_clean(f'{kind} {number} {label}')
        return repeat
