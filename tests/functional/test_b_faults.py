# SPDX-License-Identifier: Apache-2.0
"""Spawn and destroy with every call to the host failing once.

Afterwards the host is clean, Nova knows the truth and the next spawn works.
"""

import ntpath

import ddt
from nova.tests.functional.api import client

from tests.functional import base
from tests.functional import sweepcase

#: Tests that share the calls of one operation.
HANDS = 4


class FaultSweep(sweepcase.SweepMixin, base.TestCase):
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
        return self.until(lambda: self.settled(server), 'ACTIVE or ERROR')

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

    def contents_of(self, server):
        """What libvhdi reads of the disks of a server."""
        folder = ntpath.join(base.INSTANCES_DIR,
                             server['OS-EXT-SRV-ATTR:instance_name'])
        return [self.content(ntpath.join(folder, name))
                for name in ('root.vhdx', 'eph0.vhdx')]

    def check_clean(self, what):
        self.assert_in_time([], self.fabric.problems, what)


@ddt.ddt
class SpawnFaultsTest(FaultSweep):

    @ddt.data(*range(HANDS))
    def test_nothing_is_left_whichever_call_fails(self, hand):
        """B4, L001: rollback removes all; an immediate retry succeeds."""
        servers = []
        calls = self.recorded(lambda: servers.append(self.try_boot()))
        self.fresh = self.contents_of(servers[0])
        self._delete_server(servers[0])
        outcomes = self.sweep('Spawn', calls, hand, HANDS,
                              self.spawn_with_fault)
        self._delete_server(self._wait_for_state_change(
            self.try_boot(), 'ACTIVE'))
        self.fabric.assert_clean()
        self.assertGreater(outcomes['ended in ERROR'], outcomes['ACTIVE'])

    def spawn_with_fault(self, call):
        with self.failing(call):
            server = self.try_boot()
        failed = server['status'] == 'ERROR'
        if failed:
            self.check_clean(call)
        else:
            self.assertEqual('running', self.vm(server).state, call)
            self.assertTrue(self.fresh == self.contents_of(server), call)
        self._delete_server(server)
        self.check_clean(f'{call}, deleted')
        return 'ended in ERROR' if failed else 'ACTIVE'


@ddt.ddt
class DestroyFaultsTest(FaultSweep):

    @ddt.data(*range(HANDS // 2))
    def test_delete_works_in_the_end_whichever_call_fails(self, hand):
        """B5, L007, L008: a delete that fails can be repeated."""
        server = self.try_boot()
        calls = self.recorded(lambda: self._delete_server(server))
        self.sweep('Destroy', calls, hand, HANDS // 2,
                   self.destroy_with_fault)

    def destroy_with_fault(self, call):
        server = self._wait_for_state_change(self.try_boot(), 'ACTIVE')
        with self.failing(call):
            self.api.delete_server(server['id'])
            self.until(lambda: self.settled_or_gone(server),
                       'gone or in ERROR')
        repeat = not self._is_gone(server)
        if repeat:
            self._delete_server(server)
        self.check_clean(call)
        return 'repeated' if repeat else 'got over it'
