# SPDX-License-Identifier: Apache-2.0
"""Feature letter B, row 13: what reaches into a guest."""

from nova.tests.functional.api import client

from tests.functional import volumecase


class CrashDumpTest(volumecase.VolumeTestCase):

    def dump(self, server):
        return self.result_of(server, 'trigger_crash_dump', lambda: (
            self.api.post_server_action(server['id'],
                                        {'trigger_crash_dump': None})))

    def guest(self, server):
        return self.vm(server).vm.worker.guest

    def test_guest_gets_the_interrupt(self):
        """B13: the guest dumps and restarts; a paused one gets nothing."""
        for job in (False, True):
            self.host.quirks.interrupt_is_job = job
            server = self.boot()
            self.assertEqual('Success', self.dump(server))
            guest = self.guest(server)
            self.assertEqual((1, 1, 2), (guest.interrupts, guest.dumps,
                                         guest.boots))
            self.api.post_server_action(server['id'], {'pause': None})
            self._wait_for_state_change(server, 'PAUSED')
            self.assertEqual('Error', self.dump(server))
            self.assertEqual(1, self.guest(server).interrupts)
            self.assertEqual('paused', self.vm(server).state)


class AdminPasswordTest(volumecase.VolumeTestCase):

    def test_it_is_refused(self):
        """B13: nothing in a guest listens; the server runs on."""
        server = self.boot()
        error = self.assertRaises(
            client.OpenStackApiException, self.api.post_server_action,
            server['id'], {'changePassword': {'adminPass': 'secret'}})
        self.assertEqual(501, error.response.status_code)
        server = self.api.get_server(server['id'])
        self.assertEqual(('ACTIVE', None), (
            server['status'], server['OS-EXT-STS:task_state']))
        self.assertEqual('running', self.vm(server).state)
