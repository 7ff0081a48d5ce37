# SPDX-License-Identifier: Apache-2.0
"""Volumes over SMB, Fibre Channel and RBD through Nova's API."""

import os

import ddt
import fixtures

from compute_hyperv.sim import programs
from compute_hyperv.sim import server as sim_server
from tests.functional import exports
from tests.functional import test_d_volumes
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}


class ProtocolMixin:
    """What holds for every protocol; ``add`` makes a volume of one."""

    def test_guest_uses_it_and_lets_go_of_it(self):
        """D1, D2: attach, write, hard reboot, detach; nothing is left."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        volume = self.add()
        self.attach(server, volume)
        self.assert_same_bytes(server, volume, b'of the guest')
        self._reboot_server(server, hard=True)
        self.assertEqual(b'of the guest', self.drive_of(
            server, volume).read(4096, 12))
        self.detach(server, volume)
        self._delete_server(server)
        self.forget()
        self.fabric.assert_clean()
        self.assertEqual(b'of the guest', volume.read(4096, 12))

    def test_detach_and_delete_when_its_disk_is_gone(self):
        """L015, L109: the storage took it away."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        volume, other = self.add(), self.add()
        for one in (volume, other):
            self.attach(server, one)
            self.vanish(one)
        self.forget()
        self.detach(server, volume)
        self._delete_server(server)
        self.assertEqual([], self.view().vm_names)

    def test_server_boots_from_it_after_the_host_did(self):
        """D2, L108, L157: found again under other numbers."""
        root, data = self.add(content=b'boot', shown={
            'volume_image_metadata': GEN2}), self.add()
        server = self.boot_from(root, data)
        self.assert_same_bytes(server, data, b'before')
        self.reboot_host()
        self._reboot_server(server, hard=True)
        self.assertEqual(b'boot', self.drive_of(server, root).read(0, 4))
        self.assertEqual(b'before', self.drive_of(
            server, data).read(4096, 6))
        self._delete_server(server)
        self.forget()
        self.fabric.assert_clean()


class Volumes(volumecase.VolumeTestCase):
    """``add`` makes a volume of one protocol."""

    def forget(self):
        """A host notices what it lost when it looks for disks."""
        self.driver()._win.disk.rescan_disks()

    def vanish(self, volume):
        """Take a unit away from everybody, with its data."""
        volume.storage.delete()


class ExtendMixin:

    def test_it_grows_in_use(self):
        """D3, L119."""
        server = self.boot()
        volume = self.add()
        self.attach(server, volume)
        self.cinder.extend(volume, 2)
        self.assertEqual('Success', self.extended(server, volume))
        disk, = self.host.luns.disks()
        self.assertEqual(2 << 30, self.driver()._win.disk.get_disk_size(
            disk.number))


class SMBVolumes(Volumes):
    """A VHDX on a share with credentials."""

    OPTIONS = f'-o username=cinder,password={exports.SECRET}'

    def setUp(self):
        super().setUp()
        self.fabric.shares.add(exports.SHARE, 10 << 30)
        self.fabric.shares.smb.protect(exports.SHARE, cinder=exports.SECRET)
        self.addCleanup(lambda: self.assertNotIn(
            exports.SECRET, self.stdlog.logger.output))

    def add(self, **kwargs):
        kwargs.setdefault('options', self.OPTIONS)
        volume = self.cinder.add_volume(kind=exports.SMB, **kwargs)
        self.fabric.mark()
        return volume


@ddt.ddt
class SMBTest(ProtocolMixin, SMBVolumes):
    """D1: see there."""

    def test_limits_of_the_volume(self):
        """D4, L056: Cinder's front-end limits; operations before bytes."""
        server = self.boot()
        volume = self.add(data={'qos_specs': {
            'total_iops_sec': '500', 'total_bytes_sec': '8',
            'read_iops_sec': '9'}})
        self.attach(server, volume)
        self.assertIn('are ignored: read_iops_sec.',
                      self.stdlog.logger.output)
        medium = next(item for item in self.vm(server).vm.media()
                      if volume.id in item['HostResource'][0])
        self.assertEqual(500, medium['IOPSLimit'])

    def test_it_does_not_grow_in_use(self):
        """D3, L119: refused, no false success."""
        server = self.boot()
        volume = self.add()
        self.attach(server, volume)
        self.assertEqual('Error', self.extended(server, volume))
        self.assertIn('smbfs volumes do not grow while they are attached',
                      self.stdlog.logger.output)

    def test_share_stays_for_the_other_volume(self):
        """L110: unmounted with the last volume."""
        server = self.boot()
        one, two = self.add(), self.add()
        self.attach(server, one)
        self.attach(server, two)
        self.detach(server, one)
        self.assert_same_bytes(server, two, b'still there')
        self.detach(server, two)
        self.assertFalse(self.driver()._win.smb().check_smb_mapping(
            exports.SHARE))

    @ddt.data('//FILER/volumes', '//FILER/volumes/')
    def test_forward_slashes(self, export):
        """L121: as Cinder writes them."""
        server = self.boot()
        volume = self.add(export=export)
        self.attach(server, volume)
        self.assert_same_bytes(server, volume, b'found')

    @ddt.data(None, '')
    def test_no_options(self, options):
        """L121: the account of the service."""
        share = r'\\FILER\open'
        self.fabric.shares.add(share, 10 << 30)
        server = self.boot()
        volume = self.add(share=share, options=options)
        self.attach(server, volume)
        self.assert_same_bytes(server, volume, b'found')

    def test_vanished_volume_can_be_detached(self):
        """L015: also deleted."""
        server = self.boot()
        volume = self.add()
        self.attach(server, volume)
        self._stop_server(server)
        os.unlink(volume.storage.path)
        self.detach(server, volume)
        self._delete_server(server)

    def test_sharing_it_is_refused(self):
        """D2: multiattach only where the protocol can."""
        server = self.boot()
        self.fail_to_attach(server, self.add(shown={'multiattach': True}))


class OwnShareTest(volumecase.VolumeTestCase):

    HOSTS = ({'name': 'HV1', 'extra': {
        'smb_shares': {'vols': r'C:\Volumes'}}},)

    def test_share_of_this_host_is_used_by_its_local_path(self):
        """L120: not over loopback, where Windows changes the ACLs."""
        server = self.boot()
        volume = self.cinder.add_volume(kind=exports.SMB, share=r'\\HV1\vols')
        self.attach(server, volume)
        self.assertEqual(
            rf'C:\Volumes\{volume.storage.name}',
            self.drive_of(server, volume).path)
        self.assert_same_bytes(server, volume, b'local')


class FibreChannelTest(ProtocolMixin, ExtendMixin, Volumes):
    """D1: one path without MPIO."""

    HOSTS = ({'name': 'HV1', 'extra': {'fc_hbas': [
        {'wwnn': '2000000000000001', 'wwpns': ['2100000000000001']}]}},)

    def add(self, **kwargs):
        return self.cinder.add_volume(
            kind=exports.FibreChannel, number=1 + len(self.cinder.made),
            ports=exports.FibreChannel.PORTS[:1], **kwargs)

    def test_adapter_that_names_no_disks(self):
        """nova-contract.md 4.5: by the unit's identifiers."""
        self.host.quirks.hba_names_devices = False
        server = self.boot()
        volume = self.add()
        self.attach(server, volume)
        self.assert_same_bytes(server, volume, b'found')


class FibreChannelPathsVolumes(Volumes):
    """Two adapters, two ports, MPIO."""

    HOSTS = ({'name': 'HV1', 'extra': {'mpio': True, 'fc_hbas': [
        {'wwnn': '2000000000000001', 'wwpns': ['2100000000000001']},
        {'wwnn': '2000000000000002', 'wwpns': ['2100000000000002']}]}},)

    def _set_flags(self):
        super()._set_flags()
        self.flags(use_multipath_io=True, group='hyperv')

    def add(self, **kwargs):
        return self.cinder.add_volume(
            kind=exports.FibreChannel, number=1 + len(self.cinder.made),
            **kwargs)


class FibreChannelPathsTest(ProtocolMixin, FibreChannelPathsVolumes):
    """D1, L113: see there."""


class SharedFibreChannelTest(test_d_volumes.SharedVolumeTest):

    HOSTS = tuple({'name': f'HV{number}', 'extra': {'fc_hbas': [
        {'wwnn': f'200000000000000{number}',
         'wwpns': [f'210000000000000{number}']}]}} for number in (1, 2))
    FACTS = {'kind': exports.FibreChannel,
             'ports': exports.FibreChannel.PORTS[:1]}


class RBDVolumes(Volumes):
    """Images that are mapped as disks."""

    def setUp(self):
        super().setUp()
        socket_path = os.path.join(self.programs, 's')
        served = sim_server.Server(self.fabric, socket_path)
        served.start()
        self.addCleanup(served.stop)
        programs.write(self.programs, socket_path, 'HV1')

    def _set_flags(self):
        super()._set_flags()
        self.programs = self.useFixture(fixtures.TempDir()).path
        self.flags(rbd_cmd=os.path.join(self.programs, 'rbd'),
                   rbd_wnbd_cmd=os.path.join(self.programs, 'rbd-wnbd'),
                   group='hyperv')

    def add(self, **kwargs):
        return self.cinder.add_volume(kind=exports.RBD, **kwargs)


class RBDTest(ProtocolMixin, ExtendMixin, RBDVolumes):
    """D1, L108: see there."""

    def test_detach_that_learns_nothing_of_the_mapping_fails(self):
        """It stays mapped, so the server must not be told otherwise."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        volume = self.add()
        self.attach(server, volume)
        with self.fabric.faults.failing(kind='program', match='rbd-wnbd *',
                                        times=None):
            self.assertEqual('Error', self.try_detach(server, volume))
        self.assertTrue(self.host.rbd.mapped)
        self.detach(server, volume)
        self.assertFalse(self.host.rbd.mapped)
