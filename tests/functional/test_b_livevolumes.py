# SPDX-License-Identifier: Apache-2.0
"""B11, D2: live migration of servers with volumes."""

import os

import fixtures
from nova import context as nova_context
from nova import objects

from compute_hyperv.sim import programs
from compute_hyperv.sim import server as sim_server
from tests.functional import exports
from tests.functional import livecase
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
TEXT = b'of the guest'
AFTER = b'after the move'


class VolumesMixin(livecase.LiveMixin):
    """``add`` makes a volume of a protocol."""

    def boot_with(self, *volumes, **kwargs):
        """A server with local disk and volumes; it has written to each."""
        server = self.boot_and_write(
            self.glance.add_disk('vhdx', **GEN2), **kwargs)
        for volume in volumes:
            self.attach(server, volume)
            self.write(server, volume)
        return server

    def write(self, server, volume, text=TEXT):
        self.drive_of(server, volume).write(
            4096, text + volume.id.encode())

    def assert_same(self, server, volume, text=TEXT):
        expected = text + volume.id.encode()
        for disk in (self.drive_of(server, volume), volume):
            self.assertEqual(expected, disk.read(4096, len(expected)))

    def occupy(self, host='HV2'):
        """Disks get other numbers on that host than on HV1."""
        machine = self.fabric.host(host)
        extra = self.cinder.add_volume()
        self.addCleanup(extra.storage.unexport)
        extra.storage.export(self.driver(host).get_volume_connector(None))
        self.driver(host)._ops.volumes.connect(
            self.cinder.connection(extra))
        self.occupied = {disk.number for disk in machine.luns.disks()}

    def assert_gone(self, host, server):
        self.assertEqual([], self.left(host, server))

    def finish(self, server):
        self._delete_server(server)
        for host in self.fabric.hosts:
            self.assert_gone(host, server)
        self.fabric.assert_clean()

    def metadata_serials(self, server):
        instance = objects.Instance.get_by_uuid(
            nova_context.get_admin_context(), server['id'],
            expected_attrs=['device_metadata'])
        return {device.serial for device in instance.device_metadata.devices
                if 'serial' in device}


class ProtocolMixin(VolumesMixin):
    """What holds for every protocol."""

    def test_server_with_volumes_moves_and_comes_back(self):
        """L076, L077: the same bytes under other numbers; nothing stays."""
        one, two = self.add(), self.add()
        server = self.boot_with(one, two)
        slots = [self.slot(server, volume) for volume in (one, two)]
        server = self.live_migrate(server)
        self.assert_moved(server, 'HV2', 'HV1', one, two)
        self.assertEqual(slots, [self.slot(server, volume)
                                 for volume in (one, two)])
        self.detach(server, two)
        self._reboot_server(server, hard=True)
        self.guest_disk(server).write(livecase.MARK_AT, livecase.MARK)
        self.assert_gone('HV1', server)

        server = self.live_migrate(server, host='HV1')

        self.assert_moved(server, 'HV1', 'HV2', one)
        self.finish(server)

    def assert_moved(self, server, host, other, *volumes):
        self.assertEqual(host, self.host_of(server))
        self.assert_written(server)
        for volume in volumes:
            self.assert_same(server, volume)
        self.assertEqual({volume.id for volume in volumes},
                         self.metadata_serials(server))
        self.assert_gone(other, server)

    def test_broken_migration_releases_them_on_the_target_only(self):
        """L078, L082: also at the very end; then it works."""
        volume = self.add()
        server = self.boot_with(volume)
        for _percent in self.broken_at(server, 50, 99):
            self.assert_same(server, volume)
            self.assertEqual({volume.id}, self.metadata_serials(server))
        server = self.live_migrate(server)
        self.assert_same(server, volume)
        self.finish(server)

    def test_server_that_boots_from_volume_moves(self):
        """L081: no image cache, no block migration."""
        root = self.add(content=b'boot', shown={
            'volume_image_metadata': GEN2})
        data = self.add()
        server = self.boot_from(root, data, host='HV1')
        self.write(server, data)
        server = self.live_migrate(server, block_migration=False)
        self.assertEqual(b'boot', self.drive_of(server, root).read(0, 4))
        self.assert_same(server, data)
        self.assertFalse(self.view('HV2').exists(
            r'C:\OpenStack\Instances\_base'))
        self._reboot_server(server, hard=True)
        self.assert_same(server, data)
        self.finish(server)


class ISCSITest(ProtocolMixin, volumecase.VolumeTestCase):

    def add(self, **kwargs):
        return self.cinder.add_volume(chap=True, **kwargs)

    def test_disk_numbers_differ_on_the_target(self):
        """L077: by the tag, never by the number."""
        self.occupy()
        volume = self.add()
        server = self.boot_with(volume)
        server = self.live_migrate(server)
        self.assert_same(server, volume)
        self.write(server, volume, AFTER)
        self.assert_same(server, volume, AFTER)

    def test_target_that_cannot_reach_the_storage(self):
        """L078: the preparation fails; the server notices nothing."""
        volume = self.add()
        server = self.boot_with(volume)
        with self.fabric.faults.failing(
                host='HV2', kind='dll', match='*AddIScsiStaticTarget*',
                times=None):
            server = self.live_migrate(server, 'failed')
        self.assertEqual('HV1', self.host_of(server))
        self.assert_same(server, volume)
        self.until(lambda: not self.left('HV2', server), 'clean target')
        self.assertEqual({volume.id}, self.metadata_serials(server))
        # L111: Windows would use what the guest is writing to.
        disks = self.driver('HV2')._win.disk
        policy = disks.get_new_disk_policy()
        disks.set_new_disk_policy(1)
        server = self.live_migrate(server, 'failed')
        self.assertIn('OnlineAll', self.stdlog.logger.output)
        self.assertEqual({}, self.view('HV2').host.luns.remembered)
        disks.set_new_disk_policy(policy)
        server = self.live_migrate(server)
        self.assert_same(server, volume)


class SMBTest(ProtocolMixin, volumecase.VolumeTestCase):

    def setUp(self):
        super().setUp()
        self.fabric.shares.add(exports.SHARE, 10 << 30)
        self.fabric.shares.smb.protect(exports.SHARE, cinder=exports.SECRET)

    def add(self, **kwargs):
        volume = self.cinder.add_volume(
            kind=exports.SMB,
            options=f'-o username=cinder,password={exports.SECRET}', **kwargs)
        self.fabric.mark()
        return volume

    def test_local_disk_iscsi_and_file_together(self):
        """L077: each volume by its own way."""
        lun, file = self.cinder.add_volume(chap=True), self.add()
        server = self.boot_with(lun, file, config_drive=True)
        server = self.live_migrate(server)
        self.assert_written(server)
        for volume in (lun, file):
            self.assert_same(server, volume)
        self.assert_gone('HV1', server)


class FibreChannelTest(ProtocolMixin, volumecase.VolumeTestCase):

    HOSTS = tuple({'name': name, 'extra': livecase.LIVE | {'fc_hbas': [
        {'wwnn': f'200000000000000{number}',
         'wwpns': [f'210000000000000{number}']}]}}
        for number, name in enumerate(('HV1', 'HV2'), 1))

    def add(self, **kwargs):
        return self.cinder.add_volume(
            kind=exports.FibreChannel, number=1 + len(self.cinder.made),
            ports=exports.FibreChannel.PORTS[:1], **kwargs)


class RBDTest(VolumesMixin, volumecase.VolumeTestCase):
    """Images that are mapped on both hosts for a moment."""

    def _new_fabric(self, hosts):
        fabric = super()._new_fabric(hosts)
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.socket_path = os.path.join(self.folder, 's')
        served = sim_server.Server(fabric, self.socket_path)
        served.start()
        self.addCleanup(served.stop)
        return fabric

    def start_compute(self, host):
        """Each host has programs of its own."""
        folder = os.path.join(self.folder, host)
        programs.write(folder, self.socket_path, host)
        self.flags(rbd_cmd=os.path.join(folder, 'rbd'),
                   rbd_wnbd_cmd=os.path.join(folder, 'rbd-wnbd'),
                   group='hyperv')
        return super().start_compute(host)

    def test_server_with_a_volume_moves(self):
        self.occupy()
        volume = self.cinder.add_volume(kind=exports.RBD)
        server = self.boot_with(volume)
        server = self.live_migrate(server)
        self.assertEqual('HV2', self.host_of(server))
        self.assert_same(server, volume)
        self.write(server, volume, AFTER)
        self.assert_same(server, volume, AFTER)
        self.assert_gone('HV1', server)
