# SPDX-License-Identifier: Apache-2.0
"""Shares with credentials, and volumes on them, through os-win."""

import functools

import ddt

from compute_hyperv.sim import guestdisks
from tests.unit.sim import sancase

MIB, GIB = 1 << 20, 1 << 30
SHARE = r'\\FILER\volumes'
VOLUME = SHARE + r'\volume-1.vhdx'


class ShareCase(sancase.SanCase):

    def setUp(self):
        super().setUp()
        self.access = self.fabric.shares.smb
        self.fabric.shares.add(SHARE, 10 * GIB)

    @functools.cached_property
    def smb(self):
        return self.win.get_smbutils()

    def assert_refused(self, hresult, *args):
        with self.assertRaisesRegex(self.exceptions.SMBException, hresult):
            self.smb.mount_smb_share(*args)


@ddt.ddt
class CredentialsTest(ShareCase):
    """oswin-surface.md 3.12; codes of WNetAddConnection2."""

    def setUp(self):
        super().setUp()
        self.access.protect(SHARE, cinder='secret')

    def test_share_opens_with_them(self):
        self.assert_fails(5, self.files.list_dir, SHARE)
        self.assertFalse(self.smb.check_smb_mapping(SHARE))
        self.smb.mount_smb_share(SHARE, 'Cinder', 'secret')
        self.assertTrue(self.smb.check_smb_mapping(SHARE))
        self.write(SHARE + r'\file', b'x')
        self.files.remove(SHARE + r'\file')
        self.smb.unmount_smb_share(SHARE)
        self.assert_fails(5, self.files.list_dir, SHARE)

    @ddt.data((('cinder', 'wrong'), '0x8007052E'),
              (('nobody', 'secret'), '0x8007052E'), ((), '0x80070005'))
    @ddt.unpack
    def test_wrong_ones(self, given, hresult):
        self.assert_refused(hresult, SHARE, *given)
        self.assertFalse(self.smb.check_smb_mapping(SHARE))

    def test_one_user_for_a_server(self):
        """1219: several connections under more than one user name."""
        other = r'\\FILER\other'
        self.fabric.shares.add(other, GIB)
        self.access.protect(other, second='secret')
        self.smb.mount_smb_share(SHARE, 'cinder', 'secret')
        self.assert_refused('0x800704C3', other, 'second', 'secret')
        self.smb.unmount_smb_share(SHARE)
        self.smb.mount_smb_share(other, 'second', 'secret')

    def test_missing_share_leaves_no_logon(self):
        self.assert_refused('0x80070043', r'\\FILER\none', 'x', 'y')
        self.smb.mount_smb_share(SHARE, 'cinder', 'secret')

    def test_boot_ends_the_mapping(self):
        self.smb.mount_smb_share(SHARE, 'cinder', 'secret')
        self.assertIn('SMB mapping of ' + SHARE,
                      '\n'.join(self.host.problems()))
        self.host.power_off()
        self.host.power_on()
        self.assertFalse(self.smb.check_smb_mapping(SHARE))
        self.assert_fails(5, self.files.list_dir, SHARE)


class MountTest(ShareCase):

    def test_open_share_needs_none(self):
        """L121: no options, the service's own account."""
        self.smb.mount_smb_share(SHARE)
        self.smb.mount_smb_share(SHARE, '', '')
        self.smb.unmount_smb_share(SHARE)
        self.assertFalse(self.smb.check_smb_mapping(SHARE))

    def test_share_in_use_stays_mounted(self):
        """os-win: a generic failure, ignored unless it was forced."""
        self.smb.mount_smb_share(SHARE)
        self.write(VOLUME)
        with self.files.open(VOLUME, 'rb'):
            self.smb.unmount_smb_share(SHARE)
            self.assertTrue(self.smb.check_smb_mapping(SHARE))
        self.smb.unmount_smb_share(SHARE)
        self.assertFalse(self.smb.check_smb_mapping(SHARE))

    def test_server_does_not_answer(self):
        self.smb.mount_smb_share(SHARE)
        self.access.down.add('filer')
        self.assert_fails(53, self.files.list_dir, SHARE)
        self.assertFalse(self.smb.check_smb_mapping(
            SHARE, remove_unavailable_mapping=True))
        self.assert_refused('0x80070035', SHARE)
        self.access.down.clear()
        self.smb.mount_smb_share(SHARE)

    def test_volume_on_a_share_in_a_machine(self):
        self.make_vm()
        self.smb.mount_smb_share(SHARE)
        self.win.get_vhdutils().create_dynamic_vhd(VOLUME, 8 * MIB)
        self.vmutils.attach_scsi_drive('vm', VOLUME)
        self.power(2)
        disk, = guestdisks.of(self.host.vms.named('vm'))
        disk.write(0, b'on a share')
        self.assertEqual((VOLUME, b'on a share'),
                         (disk.path, disk.read(0, 10)))
        self.smb.unmount_smb_share(SHARE)
        self.assertTrue(self.smb.check_smb_mapping(SHARE))
        self.vmutils.detach_vm_disk('vm', VOLUME, is_physical=False)
        self.smb.unmount_smb_share(SHARE)
        self.assertFalse(self.smb.check_smb_mapping(SHARE))


@ddt.ddt
class LoopbackTest(ShareCase):
    """L120: a share of the host itself is used by its local path."""

    HOST = {'extra': {'smb_shares': {'volumes': 'C:\\Shares\\volumes'}}}
    MORE_HOSTS = ('HV2',)

    def setUp(self):
        super().setUp()
        self.access.names['sofs'] = ['HV2', 'HV1']
        self.access.names['other'] = ['HV2']

    @ddt.data((r'\\HV1\volumes', True), (r'\\hv1.corp.local\volumes', True),
              (r'\\localhost\volumes', True), (r'\\127.0.0.1\volumes', True),
              (r'\\SOFS\volumes', True), (r'\\HV2\volumes', False),
              (r'\\OTHER\volumes', False), (SHARE, False))
    @ddt.unpack
    def test_local_is_decided_by_name(self, share, is_local):
        self.assertIs(is_local, self.smb.is_local_share(share))

    def test_files_are_the_same(self):
        self.write(r'C:\Shares\volumes\v.vhdx', b'same')
        self.assertEqual('C:\\Shares\\volumes',
                         self.smb.get_smb_share_path('volumes'))
        for server in ('HV1', 'localhost', 'SOFS'):
            self.assertEqual(b'same', self.read(
                r'\\%s\volumes\v.vhdx' % server))

    def test_unknown_names_are_unknown(self):
        with self.assertRaises(OSError):
            self.smb.is_local_share(r'\\no-such-server.invalid\x')

    @ddt.data(r'\\HV1\volumes\v.vhdx', r'\\SOFS\volumes\v.vhdx')
    def test_machine_cannot_use_it_over_the_share(self, path):
        self.make_vm()
        self.win.get_vhdutils().create_dynamic_vhd(
            r'C:\Shares\volumes\v.vhdx', 8 * MIB)
        with self.assertRaisesRegex(self.exceptions.HyperVException,
                                    '0x80070005'):
            self.vmutils.attach_scsi_drive('vm', path)
        self.vmutils.attach_scsi_drive('vm', r'C:\Shares\volumes\v.vhdx')

    def test_machine_may_use_it_after_all(self):
        """Field knowledge, turned over."""
        self.host.quirks.loopback_shares_refused = False
        self.make_vm()
        self.win.get_vhdutils().create_dynamic_vhd(
            r'C:\Shares\volumes\v.vhdx', 8 * MIB)
        self.vmutils.attach_scsi_drive('vm', r'\\HV1\volumes\v.vhdx')
