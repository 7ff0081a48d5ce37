# SPDX-License-Identifier: Apache-2.0
"""B10: servers with volumes are resized and migrate cold."""

import functools
import os

import fixtures
from nova import context
from nova import objects

from compute_hyperv.sim import programs
from compute_hyperv.sim import server as sim_server
from tests.functional import base
from tests.functional import exports
from tests.functional import test_b_resize
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}


class VolumeMoveCase(volumecase.VolumeTestCase, test_b_resize.MoveTest):
    """``add`` makes a volume, ``connected`` tells which a host has."""

    def add(self, **kwargs):
        return self.cinder.add_volume(**kwargs)

    def try_detach(self, server, volume):
        # Nova takes the host of the process for that of the instance.
        self.flags(host=self.host_of(server))
        return super().try_detach(server, volume)

    def connected(self, host):
        """How many disks of volumes a host has after it looked for them."""
        self.driver(host)._win.disk.rescan_disks()
        return len(self.fabric.host(host).luns.disks())

    def places(self, server):
        """Where all drives of a VM are: (bus, number, slot), by name."""
        vm = self.vm(server)
        return {(drive.bus, drive.controller, drive.lun): drive.name
                for drive in vm.drives} | {
            (disk.controller.lower(), disk.controller_number, disk.slot):
            disk.tag for disk in self.guest_disks(server)
            if disk.tag in self.cinder.made}

    def described(self, server):
        """Addresses of the volumes as the metadata service tells them."""
        instance = objects.Instance.get_by_uuid(
            context.get_admin_context(), server['id'],
            expected_attrs=['device_metadata'])
        return {disk.serial: (disk.bus.address, disk.tags)
                for disk in instance.device_metadata.devices
                if isinstance(disk, objects.DiskMetadata)
                and 'serial' in disk and disk.serial}

    def reads(self, server, volume, text):
        self.assertEqual(text, self.drive_of(server, volume).read(
            4096, len(text)))

    def boot_all(self):
        """A server with everything; its volumes have a gap between them."""
        server = self.boot(
            self.glance.add_disk(**GEN2), networks='auto', config_drive=True,
            flavor_id=self.flavor(disk_gib=1, ephemeral_gib=1, swap_mib=64))
        volumes = [self.add() for _ in range(3)]
        self.attach(server, volumes[0])
        self.attach(server, volumes[1])
        self.attach(server, volumes[2], tag='database')
        self.detach(server, volumes[1])
        return server, volumes[0], volumes[2]


class ProtocolMixin:
    """What holds for every protocol."""

    def test_volumes_go_along_there_and_back(self):
        """D1, C15, L085, L087, L091, L092, L123: confirmed and reverted."""
        server, one, two = self.boot_all()
        self.write_as_guest(server)
        self.assert_same_bytes(server, one, b'first')
        self.assert_same_bytes(server, two, b'second')
        places, described = self.places(server), self.described(server)
        self.assertEqual(['database'], described[two.id][1])
        count = self.connected('HV1')

        server = self.resize(server, self.flavor(
            disk_gib=2, ephemeral_gib=2, swap_mib=64))

        self.assertEqual('HV2', self.host_of(server))
        self.assertEqual((places, described), (self.places(server),
                                               self.described(server)))
        self.assertEqual((0, count), (self.connected('HV1'),
                                      self.connected('HV2')))
        self.reads(server, one, b'first')
        self.reads(server, two, b'second')
        self.assert_written(server)
        # A volume is no part of what a revert restores.
        self.assert_same_bytes(server, one, b'later')
        server = self.revert(server)
        self.assertEqual('HV1', self.host_of(server))
        self.assertEqual((places, described), (self.places(server),
                                               self.described(server)))
        self.assertEqual((count, 0), (self.connected('HV1'),
                                      self.connected('HV2')))
        self.reads(server, one, b'later')
        self.reads(server, two, b'second')
        self.assert_written(server)
        server = self.confirm(self.migrate(server))
        self.assertEqual(places, self.places(server))
        self.reads(server, two, b'second')
        self.detach(server, one)
        self._delete_server(server)
        self.assertEqual((0, 0), (self.connected('HV1'),
                                  self.connected('HV2')))
        self.fabric.assert_clean()
        self.assertEqual(b'second', two.read(4096, 6))


class ISCSITest(ProtocolMixin, VolumeMoveCase):

    def connected(self, host):
        sessions = len(self.fabric.host(host).initiator.sessions)
        self.assertEqual(sessions, super().connected(host))
        return sessions


class FailedArrivalTest(VolumeMoveCase):

    def boot_and_write(self):
        """A server, its first volume, and where its disks are."""
        server, one, _two = self.boot_all()
        self.write_as_guest(server)
        self.assert_same_bytes(server, one, b'first')
        return server, one, self.places(server)

    def assert_repaired(self, server, host, places, volume):
        """A hard reboot brings it up on *host* with all it had."""
        server = self._reboot_server(server, hard=True)
        self.assertEqual(host, self.host_of(server))
        self.assertEqual(places, self.places(server))
        self.assert_written(server)
        self.reads(server, volume, b'first')
        return server

    def test_hard_reboot_repairs_what_failed_to_arrive(self):
        """L085: as Nova means it; the server is on the target then."""
        server, one, places = self.boot_and_write()
        with self.fabric.faults.failing(host='HV2', kind='method',
                                        match='*RealizePlannedSystem'):
            self.api.post_server_action(server['id'], {'migrate': {}})
            server = self._wait_for_state_change(server, 'ERROR')
        self.assertEqual([], self.view('HV2').vm_names)

        server = self.assert_repaired(server, 'HV2', places, one)

        self.assertEqual((0, 2), (self.connected('HV1'),
                                  self.connected('HV2')))
        # Another hard reboot is one.
        boot = self.vm(server).boot
        server = self._reboot_server(server, hard=True)
        self.assertNotEqual(boot, self.vm(server).boot)
        self.assertIsNone(self.files('HV1', server, '_revert'))
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_hard_reboot_repairs_what_could_not_be_put_back(self):
        """L086: it can neither leave nor come back; its files are aside."""
        server, one, places = self.boot_and_write()
        failing = functools.partial(self.fabric.faults.failing, host='HV1',
                                    times=None)
        with (failing(match='iscsidsc.LogoutIScsiTarget*'),
              failing(kind='method', match='*RealizePlannedSystem')):
            self.api.post_server_action(server['id'], {'migrate': {}})
            server = self._wait_for_server_parameter(
                server, {'status': 'ERROR', 'OS-EXT-STS:task_state': None})
        self.assertEqual([], self.view('HV1').vm_names)

        server = self.assert_repaired(server, 'HV1', places, one)

        self.assertIsNone(self.files('HV1', server, '_revert'))
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_hard_reboot_repairs_what_failed_to_return(self):
        """L086: the files that are home already are the only ones."""
        server, one, places = self.boot_and_write()
        server = self.migrate(server)
        with self.fabric.faults.failing(host='HV1', kind='method',
                                        match='*RealizePlannedSystem'):
            self.api.post_server_action(server['id'], {'revertResize': None})
            server = self._wait_for_server_parameter(
                server, {'status': 'ERROR', 'OS-EXT-STS:task_state': None})
        self.assertEqual([], self.view('HV1').vm_names)

        server = self.assert_repaired(server, 'HV1', places, one)

        self.assertEqual((2, 0), (self.connected('HV1'),
                                  self.connected('HV2')))
        self.assertIsNone(self.files('HV1', server, '_revert'))
        self._delete_server(server)
        self.fabric.assert_clean()


class SMBTest(ProtocolMixin, VolumeMoveCase):

    OPTIONS = f'-o username=cinder,password={exports.SECRET}'

    def setUp(self):
        super().setUp()
        self.fabric.shares.add(exports.SHARE, 10 << 30)
        self.fabric.shares.smb.protect(exports.SHARE, cinder=exports.SECRET)

    def add(self, **kwargs):
        volume = self.cinder.add_volume(kind=exports.SMB,
                                        options=self.OPTIONS, **kwargs)
        self.fabric.mark()
        return volume

    def connected(self, host):
        return int(self.driver(host)._win.smb().check_smb_mapping(
            exports.SHARE))


class FibreChannelTest(ProtocolMixin, VolumeMoveCase):

    HOSTS = tuple({'name': f'HV{number}', 'extra': {'fc_hbas': [
        {'wwnn': f'200000000000000{number}',
         'wwpns': [f'210000000000000{number}']}]}} for number in (1, 2))

    def add(self, **kwargs):
        return self.cinder.add_volume(
            kind=exports.FibreChannel, number=1 + len(self.cinder.made),
            ports=exports.FibreChannel.PORTS[:1], **kwargs)


class RBDTest(ProtocolMixin, VolumeMoveCase):
    """Each host's programs reach its own part of the simulator."""

    def setUp(self):
        self.folders = {host: self.useFixture(fixtures.TempDir()).path
                        for host in self.HOSTS}
        super().setUp()
        for host, folder in self.folders.items():
            socket_path = os.path.join(folder, 's')
            served = sim_server.Server(self.fabric, socket_path)
            served.start()
            self.addCleanup(served.stop)
            programs.write(folder, socket_path, host)

    def start_compute(self, host):
        folder = self.folders[host]
        self.flags(rbd_cmd=os.path.join(folder, 'rbd'),
                   rbd_wnbd_cmd=os.path.join(folder, 'rbd-wnbd'),
                   group='hyperv')
        return super().start_compute(host)

    def add(self, **kwargs):
        return self.cinder.add_volume(kind=exports.RBD, **kwargs)


class BootFromVolumeTest(VolumeMoveCase):

    def test_root_volume_moves_and_other_disks_follow_the_flavor(self):
        """B10, L036, L038, L089: root_gb of the flavors does not count."""
        self.check({}, b'generation 1')
        self.check(GEN2, b'generation 2')

    def check(self, properties, text):
        root = self.add(content=b'boot', shown={
            'volume_image_metadata': properties})
        data = self.add()
        server = self.boot_from(root, data, config_drive=True)
        self.assert_same_bytes(server, data, text)
        places = self.places(server)

        server = self.resize(server, self.flavor(
            disk_gib=5, ephemeral_gib=1, swap_mib=64))

        self.assertEqual('HV2', self.host_of(server))
        now = self.places(server)
        self.assertEqual(places, {place: now[place] for place in places})
        self.assertEqual({'eph0.vhdx', 'swap.vhdx'},
                         set(now.values()) - set(places.values()))
        self.assertEqual(b'boot', self.drive_of(server, root).read(0, 4))
        self.reads(server, data, text)
        server = self.revert(server)
        self.assertEqual(places, self.places(server))
        self.assertEqual(b'boot', self.drive_of(server, root).read(0, 4))
        server = self.confirm(self.resize(server, self.flavor(disk_gib=0)))
        self.assertEqual((0, 2), (self.connected('HV1'),
                                  self.connected('HV2')))
        self._delete_server(server)
        self.fabric.assert_clean()


class SameHostTest(VolumeMoveCase):

    HOSTS = ('HV1',)

    def _set_flags(self):
        super()._set_flags()
        self.flags(allow_resize_to_same_host=True)

    def test_volumes_stay_in_their_places(self):
        server, one, two = self.boot_all()
        self.assert_same_bytes(server, one, b'first')
        places = self.places(server)
        larger = self.flavor(disk_gib=2, ephemeral_gib=1, swap_mib=64)
        server = self.revert(self.resize(server, larger))
        self.assertEqual(places, self.places(server))
        server = self.confirm(self.resize(server, larger))
        self.assertEqual(places, self.places(server))
        self.reads(server, one, b'first')
        self._delete_server(server)
        self.assertEqual(0, self.connected('HV1'))
        self.fabric.assert_clean()


class SharedStorageTest(base.SharedInstances, VolumeMoveCase):
    """L074: instances on a share that both hosts use."""

    def test_server_and_volumes_go_there_and_back(self):
        server, one, two = self.boot_all()
        self.write_as_guest(server)
        self.assert_same_bytes(server, one, b'first')
        places = self.places(server)
        server = self.migrate(server)
        self.assertEqual(places, self.places(server))
        server = self.revert(server)
        self.assertEqual(places, self.places(server))
        server = self.confirm(self.migrate(server))
        self.assertEqual((0, 2), (self.connected('HV1'),
                                  self.connected('HV2')))
        self.reads(server, one, b'first')
        self.assert_written(server)
        self._delete_server(server)
        self.assertEqual([], self.left_on_share())
