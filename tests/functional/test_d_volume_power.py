# SPDX-License-Identifier: Apache-2.0
"""Volumes of servers that stood still while their host went down."""

from tests.functional import volumecase


class SavedTest(volumecase.VolumeTestCase):

    def test_suspended_server_does_not_resume_with_another_disk(self):
        """L108: disks have other numbers; Hyper-V changes no saved VM."""
        server = self.boot()
        volumes = [self.cinder.add_volume() for _ in range(2)]
        for volume in volumes:
            self.attach(server, volume)
        self.assert_same_bytes(server, volumes[0], b'before')
        self._suspend_server(server)
        self.reboot_host()
        self.api.post_server_action(server['id'], {'resume': None})
        server = self._wait_for_state_change(server, 'ERROR')
        self.assertIn('a hard reboot starts it without that memory',
                      self.fault(server))
        self.assertEqual('saved', self.vm(server).state)
        self._reboot_server(server, hard=True)
        self.assertEqual(b'before', self.drive_of(
            server, volumes[0]).read(4096, 6))
