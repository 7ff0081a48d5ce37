# SPDX-License-Identifier: Apache-2.0
"""Passwords of storage reach no log, at whatever level it is."""

import fixtures

from compute_hyperv.sim import guestdisks
from tests.functional import exports
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
WRONG = f'x{exports.SECRET}'
OTHER = r'\\FILER\faster'


class SecretsTest(volumecase.VolumeTestCase):
    """CHAP and SMB, with all that is done to volumes."""

    def setUp(self):
        # Nova's log fixture keeps messages for debugging only then.
        self.useFixture(fixtures.EnvironmentVariable('OS_DEBUG', '1'))
        super().setUp()
        for share in (exports.SHARE, OTHER):
            self.fabric.shares.add(share, 10 << 30)
            self.fabric.shares.smb.protect(share, cinder=exports.SECRET)
        self.server = self.boot(self.glance.add_disk('vhdx', **GEN2))

    def smb(self, password=exports.SECRET, **kwargs):
        volume = self.cinder.add_volume(
            kind=exports.SMB,
            options=f'-o username=cinder,password={password}', **kwargs)
        self.fabric.mark()
        return volume

    def assert_silent(self):
        """What the driver and os-win have logged so far."""
        lines = self.stdlog.logger.output.splitlines()
        ours = [line for line in lines
                if 'compute_hyperv' in line or 'os_win' in line]
        self.assertTrue(any('DEBUG' in line for line in ours))
        # That one line is Nova's own.
        self.assertEqual([], [line for line in lines
                              if exports.SECRET in line and
                              'swap_volume: Updating volume' not in line])

    def test_chap(self):
        """L122: attach, hard reboot, detach; a wrong password too."""
        volume = self.cinder.add_volume(chap=True)
        self.attach(self.server, volume)
        self._reboot_server(self.server, hard=True)
        self.detach(self.server, volume)
        self.fail_to_attach(self.server, self.cinder.add_volume(
            chap=True, data={'auth_password': WRONG}))
        self.assert_silent()

    def test_smb(self):
        """L122: attach, snapshot, swap, detach; a wrong password too."""
        self.fail_to_attach(self.server, self.smb(WRONG))
        volume = self.smb()
        self.attach(self.server, volume)
        self.cinder.delete_snapshot(self.cinder.snapshot(volume))
        other = self.smb(share=OTHER)
        self.cinder.begin_migration(volume, other)
        self.assertEqual('Success', self.result_of(
            self.server, 'swap_volume', lambda: self.api.api_put(
                f"/servers/{self.server['id']}/os-volume_attachments/"
                f'{volume.id}', {'volumeAttachment': {
                    'volumeId': other.id}})))
        self.assertIn('faster', guestdisks.of(
            self.vm(self.server).vm)[1].path)
        self.detach(self.server, volume)
        self.assert_silent()
