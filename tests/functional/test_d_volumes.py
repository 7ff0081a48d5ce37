# SPDX-License-Identifier: Apache-2.0
"""Volumes over iSCSI through Nova's API, on the fabric's SAN."""

import ddt
from nova import context
from nova import objects

from compute_hyperv import locks
from tests.functional import exports
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}


@ddt.ddt
class AttachTest(volumecase.VolumeTestCase):

    def image(self, generation=2):
        return self.glance.add_disk('vhdx', **(
            GEN2 if generation == 2 else {}))

    @ddt.data(1, 2)
    def test_guest_writes_to_the_volume_and_lets_go_of_it(self, generation):
        """D2, L109: the drive is tagged; detach leaves nothing."""
        server = self.boot(self.image(generation))
        volume = self.cinder.add_volume()
        self.attach(server, volume)
        self.assertEqual(f'SCSI 0:{generation - 1}',
                         self.slot(server, volume))
        self.assert_same_bytes(server, volume, b'of the guest')
        self.detach(server, volume)
        self.assertIsNone(self.drive_of(server, volume))
        self._delete_server(server)
        self.fabric.assert_clean()
        self.assertEqual(b'of the guest', volume.read(4096, 12))

    def test_volume_of_a_stopped_server_is_there_when_it_starts(self):
        """D2: attach and detach while the VM is off."""
        server = self._stop_server(self.boot())
        volume, other = self.cinder.add_volume(), self.cinder.add_volume()
        for one in (volume, other):
            self.assertEqual('Success', self.try_attach(server, one))
        self.assertEqual([volume.id, other.id],
                         self.vm(server).physical_disks)
        self.detach(server, other)
        self._start_server(server)
        self.assert_same_bytes(server, volume, b'later')
        self.assertIsNone(self.drive_of(server, other))

    def test_lowest_free_slot_is_taken(self):
        """L107: a middle one that was detached is used again."""
        server = self.boot(self.image())
        volumes = [self.cinder.add_volume() for _ in range(4)]
        for volume in volumes[:3]:
            self.attach(server, volume)
        self.detach(server, volumes[1])
        self.attach(server, volumes[3])
        self.assertEqual(
            ['SCSI 0:1', 'SCSI 0:3', 'SCSI 0:2'],
            [self.slot(server, volumes[number]) for number in (0, 2, 3)])

    def test_attach_that_was_interrupted_is_made_anew(self):
        """A9: nova-compute died after the VM had the disk."""
        server = self.boot(self.image())
        volume = self.cinder.add_volume()
        self.attach(server, volume)
        self.forget_in_nova(server, volume)
        self.attach(server, volume)
        self.assertEqual('SCSI 0:1', self.slot(server, volume))
        self.assertEqual(1, len(self.vm(server).physical_disks))

    def forget_in_nova(self, server, volume):
        admin = context.get_admin_context()
        objects.BlockDeviceMapping.get_by_volume_and_instance(
            admin, volume.id, server['id']).destroy()
        self.cinder.volume_to_attachment[volume.id].clear()

    def test_metadata_follows(self):
        """L123, C15: address and volume id, of untagged volumes too."""
        server = self.boot(self.image())
        volume, tagged = self.cinder.add_volume(), self.cinder.add_volume()
        self.attach(server, volume)
        self.attach(server, tagged, tag='database')
        self.assertEqual(
            [('0:0:0:0', None, []), ('0:0:0:1', volume.id, []),
             ('0:0:0:2', tagged.id, ['database'])], self.disks_of(server))
        self.detach(server, volume)
        self.assertEqual(
            [('0:0:0:0', None, []), ('0:0:0:2', tagged.id, ['database'])],
            self.disks_of(server))

    def test_metadata_follows_two_detaches_at_a_time(self):
        """C15: neither brings back what the other took away."""
        server = self.boot(self.image())
        volumes = [self.cinder.add_volume() for _ in range(2)]
        for volume in volumes:
            self.attach(server, volume)
        with self.driver()._ops.hotplug._locks.held(
                locks.instance(server['id'])):
            for volume in volumes:
                self.api.delete_server_volume(server['id'], volume.id)
        self.until(lambda: not self.api.get_server_volumes(server['id']),
                   'both are detached')
        self.assertEqual([('0:0:0:0', None, [])], self.disks_of(server))

    def test_read_only_volume_is_refused(self):
        """The guest could write to it."""
        server = self.boot()
        self.fail_to_attach(server, self.cinder.add_volume(
            data={'access_mode': 'ro'}))
        self.assertEqual([], self.host.initiator.sessions)

    def test_guest_sees_the_new_size(self):
        """D3, L119: extend of a volume in use."""
        server = self.boot()
        volume = self.cinder.add_volume(size_gib=1)
        self.attach(server, volume)
        self.cinder.extend(volume, 3)
        self.assertEqual('Success', self.extended(server, volume))
        disk, = self.host.luns.disks()
        self.assertEqual(3 << 30, self.host_size(disk))

    def test_extend_that_storage_did_not_do_fails(self):
        """L119: no false success."""
        server = self.boot()
        volume = self.cinder.add_volume(size_gib=1)
        self.attach(server, volume)
        volume.shown['size'] = 3
        self.assertEqual('Error', self.extended(server, volume))

    def test_attach_that_fails_leaves_nothing(self):
        """L112: wrong credentials; the connection is dropped."""
        server = self.boot()
        volume = self.cinder.add_volume(
            chap=True, data={'auth_password': 'wrong-n0tForLogs-Xyzzy'})
        self.fail_to_attach(server, volume)
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_secrets_are_in_no_log(self):
        """L114, L122: CHAP works, and its secret appears nowhere."""
        server = self.boot(self.image())
        volume = self.cinder.add_volume(chap=True)
        self.attach(server, volume)
        self._reboot_server(server, hard=True)
        self.detach(server, volume)
        wrong = self.cinder.add_volume(
            chap=True, data={'auth_password': f'x{exports.SECRET}'})
        self.fail_to_attach(server, wrong)
        log = self.stdlog.logger.output
        self.assertIn('compute_hyperv', log)
        self.assertNotIn(exports.SECRET, log)

    def test_encrypted_volume_is_refused(self):
        """D2: clearly, before the storage is touched."""
        server = self.boot()
        volume = self.cinder.add_volume(data={'encrypted': True})
        self.fail_to_attach(server, volume)
        self.assertEqual([], self.fabric.host('HV1').initiator.sessions)

    def test_shared_target_stays_logged_in_for_others(self):
        """L115: out with the last volume, whatever controllers show."""
        iqn = 'iqn.2010-10.org.openstack:shared'
        self.fabric.san.create_target(iqn, [exports.PORTAL], initiators=())
        self.fabric.san.create_lun('ctl', 0, kind='controller')
        self.fabric.san.map(iqn, 0, 'ctl')
        server = self.boot()
        one, two = (self.cinder.add_volume(iqn=iqn, number=number)
                    for number in (1, 2))
        self.attach(server, one)
        self.attach(server, two)
        self.detach(server, one)
        self.assertEqual(1, len(self.fabric.host('HV1').initiator.sessions))
        self.assert_same_bytes(server, two, b'still there')
        self.detach(server, two)
        self.assertEqual([], self.fabric.host('HV1').initiator.sessions)

    @ddt.data('iqn.2010-10.ORG.OpenStack:Volume-X', '[::1]:3260')
    def test_names_and_addresses(self, what):
        """L114, L116: case of target names; IPv6 portals."""
        portals = [what] if what.startswith('[') else [exports.PORTAL]
        volume = self.cinder.add_volume(
            portals=portals, iqn=None if portals == [what] else what)
        server = self.boot()
        self.attach(server, volume)
        self.assert_same_bytes(server, volume, b'found')
        self.detach(server, volume)
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_disk_that_comes_online_is_not_passed_through(self):
        """L111: the error names the SAN policy."""
        self.driver()._win.disk.set_new_disk_policy(1)
        server = self.boot()
        self.fail_to_attach(server, self.cinder.add_volume())
        self.assertIn('OnlineAll', self.stdlog.logger.output)

    @ddt.data('disk', 'vm')
    def test_detach_works_without(self, missing):
        """L109, D2: the disk has vanished, or the VM."""
        server = self.boot()
        volume = self.cinder.add_volume()
        self.attach(server, volume)
        if missing == 'disk':
            self.fabric.san.unmap(volume.storage.iqn, volume.storage.number)
            self.driver()._win.disk.rescan_disks()
        else:
            self.view().destroy_vm(self.vm(server))
        self.detach(server, volume)
        self._delete_server(server)
        self.fabric.assert_clean()

    def disks_of(self, server):
        """(address, serial, tags) of the metadata's disks."""
        instance = objects.Instance.get_by_uuid(
            context.get_admin_context(), server['id'],
            expected_attrs=['device_metadata'])
        return [(disk.bus.address,
                 disk.serial if 'serial' in disk else None, disk.tags)
                for disk in instance.device_metadata.devices
                if isinstance(disk, objects.DiskMetadata)]

    def host_size(self, disk):
        return self.driver()._win.disk.get_disk_size(disk.number)


@ddt.ddt
class BootFromVolumeTest(volumecase.VolumeTestCase):

    @ddt.data({}, GEN2)
    def test_guest_runs_from_its_volume(self, properties):
        """B2, L039: root by its device name; deleted with force (L014)."""
        root = self.cinder.add_volume(
            content=b'boot',
            shown={'volume_image_metadata': properties})
        data = self.cinder.add_volume()
        server = self.boot_from(root, data)
        self.assertEqual('SCSI 0:0' if properties else 'IDE 0:0',
                         self.slot(server, root))
        self.assertEqual(b'boot', self.drive_of(server, root).read(0, 4))
        self.assert_same_bytes(server, data, b'of the guest')
        self._delete_server(server)
        self.fabric.assert_clean()
        self.assertEqual(b'boot', root.read(0, 4))

    def test_build_that_fails_lets_go(self):
        """L001, L112: nothing stays on the host."""
        root = self.cinder.add_volume(content=b'boot')
        wrong = self.cinder.add_volume(
            chap=True, data={'auth_password': 'wrong-n0tForLogs-Xyzzy'})
        server = self.boot_from(root, wrong, state='ERROR')
        self.fabric.assert_clean()
        self._delete_server(server)

    def test_image_and_volume(self):
        """B2: a root from an image and a data volume at once."""
        volume = self.cinder.add_volume()
        image_id = self.glance.add_disk('vhdx', **GEN2)
        mapping = [{'source_type': 'image', 'uuid': image_id,
                    'destination_type': 'local', 'boot_index': 0,
                    'delete_on_termination': True},
                   self.volume_body(volume, -1)]
        server = self.boot(image_id, block_device_mapping_v2=mapping)
        self.assertEqual('SCSI 0:1', self.slot(server, volume))

    def test_storage_that_is_dead_does_not_keep_a_server(self):
        """L014: deletion ends, whatever the storage does."""
        root = self.cinder.add_volume(content=b'boot')
        server = self.boot_from(root)
        self.fabric.san.port_down(exports.PORTAL)
        self._delete_server(server)
        self.assertEqual([], self.view().vm_names)


@ddt.ddt
class HostRebootTest(volumecase.VolumeTestCase):

    def setUp(self):
        super().setUp()
        self.volumes = [self.cinder.add_volume(content=b'volume %d' % number)
                        for number in range(3)]
        self.servers = [self.boot_from(volume) for volume in self.volumes]

    def numbers(self):
        return {disk.lun.name: disk.number
                for disk in self.fabric.host('HV1').luns.disks()}

    @ddt.data('start', 'hard reboot', 'resume')
    def test_every_server_gets_its_own_data(self, way):
        """L108, L157: disks have other numbers; nobody gets another's."""
        before = self.numbers()
        self.flags(resume_guests_state_on_host_boot=way == 'resume')
        self.reboot_host()
        self.assertNotEqual(before, self.numbers())
        for server, volume in zip(self.servers, self.volumes, strict=True):
            if way == 'start':
                self.stopped(server)
                self._start_server(server)
            elif way == 'hard reboot':
                self._reboot_server(server, hard=True)
            self.until(lambda: self.vm(server).state == 'running', 'runs')
            self.assertEqual(volume.read(0, 8),
                             self.drive_of(server, volume).read(0, 8))

    def stopped(self, server):
        if self.api.get_server(server['id'])['status'] != 'SHUTOFF':
            self._stop_server(server)

    def test_disk_of_nobody_stops_the_start(self):
        """L108: it could be another tenant's."""
        server = self.servers[0]
        self._stop_server(server)
        vm = self.vm(server)
        drive = next(item for item in vm.vm.resources(
            'Msvm_ResourceAllocationSettingData')
            if item.get('ElementName') == self.volumes[0].id)
        vm.vm.host.v2.update(drive, ElementName='somebody else')
        self.assertEqual('Error', self.result_of(server, 'start', lambda: (
            self.api.post_server_action(server['id'], {'os-start': None}))))
        self.assertEqual('off', self.vm(server).state)


class MultipathTest(volumecase.VolumeTestCase):

    HOSTS = ({'name': 'HV1', 'extra': {'mpio': True}},)
    PORTALS = ('127.0.0.10:3260', '127.0.0.11:3260')

    def _set_flags(self):
        super()._set_flags()
        self.flags(use_multipath_io=True, group='hyperv')

    def test_one_disk_over_all_paths(self):
        """L113: used once MPIO has claimed it; sessions to all portals."""
        self.host.quirks.mpio_claim_rescans = 2
        volume = self.cinder.add_volume(portals=self.PORTALS)
        server = self.boot()
        self.attach(server, volume)
        self.assertEqual(2, len(self.host.initiator.sessions))
        disk, = self.host.luns.disks()
        self.assertTrue(disk.claimed)
        self.fabric.san.port_down(self.PORTALS[0])
        self.assert_same_bytes(server, volume, b'over the other path')
        self.fabric.san.port_up(self.PORTALS[0])
        self.detach(server, volume)
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_dead_path_does_not_fail_the_attach(self):
        """L113: one portal that does not answer."""
        self.fabric.san.port_down(self.PORTALS[0])
        volume = self.cinder.add_volume(portals=self.PORTALS)
        server = self.boot()
        self.attach(server, volume)
        self.assert_same_bytes(server, volume, b'over the other path')


class SharedVolumeTest(volumecase.VolumeTestCase):

    HOSTS = ('HV1', 'HV2')
    #: Of the volume.
    FACTS = {}

    def test_two_hosts_attach_one_volume(self):
        """D2: multiattach."""
        volume = self.cinder.add_volume(shown={'multiattach': True},
                                        **self.FACTS)
        servers = [self.boot(availability_zone=f'nova:HV{number}')
                   for number in (1, 2)]
        for server in servers:
            self.attach(server, volume)
        one, two = (self.drive_of(server, volume) for server in servers)
        one.write(0, b'from one')
        self.assertEqual(b'from one', two.read(0, 8))
        self.detach(servers[0], volume)
        two.write(0, b'from two')
        self.detach(servers[1], volume)
        self.assertEqual(b'from two', volume.read(0, 8))


@ddt.ddt
class InitiatorsTest(volumecase.VolumeTestCase):
    """``[hyperv] iscsi_initiator_list``."""

    ADAPTERS = tuple(rf'PCI\HBA\000{number}_0' for number in range(3))
    HOSTS = ({'name': 'HV1', 'extra': {
        'mpio': True, 'iscsi_initiators': ADAPTERS}},)

    def _set_flags(self):
        super()._set_flags()
        self.flags(iscsi_initiator_list=list(self.ADAPTERS[1:]),
                   use_multipath_io=True, group='hyperv')

    def test_sessions_are_made_by_those_that_are_named(self):
        """D1: one session each, and one disk; all go with the volume."""
        server, volume = self.boot(), self.cinder.add_volume()
        self.attach(server, volume)
        self.assertEqual(sorted(self.ADAPTERS[1:]), sorted(
            session.login.instance
            for session in self.host.initiator.sessions))
        self.assert_same_bytes(server, volume, b'by two adapters')
        self.detach(server, volume)
        self._delete_server(server)
        self.fabric.assert_clean()


class PathFailureTest(volumecase.VolumeTestCase):
    """Sessions that broke."""

    def test_session_that_broke_comes_back_with_a_hard_reboot(self):
        """L114, L157: the storage was away and has forgotten us."""
        server = self.boot()
        volume = self.cinder.add_volume(chap=True)
        self.attach(server, volume)
        self.drive_of(server, volume).write(4096, b'before')
        self.fabric.san.port_down(exports.PORTAL)
        self.assertRaises(OSError, self.drive_of(server, volume).read, 0, 1)
        self.fabric.san.port_up(exports.PORTAL)
        self._reboot_server(server, hard=True)
        self.assertEqual(b'before',
                         self.drive_of(server, volume).read(4096, 6))
        self.detach(server, volume)
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_dead_storage_stops_a_hard_reboot(self):
        """L108: no start with a disk that nobody has found; later it does."""
        server = self.boot()
        volume = self.cinder.add_volume()
        self.attach(server, volume)
        self.fabric.san.port_down(exports.PORTAL)
        self.assertEqual('Error', self.result_of(server, 'reboot', lambda: (
            self.api.post_server_action(
                server['id'], {'reboot': {'type': 'HARD'}}))))
        self.fabric.san.port_up(exports.PORTAL)
        self._reboot_server(server, hard=True)
        self.assert_same_bytes(server, volume, b'back again')


class SharedVolumeOfOneHostTest(volumecase.VolumeTestCase):

    def test_second_server_is_refused_and_the_first_keeps_it(self):
        """Hyper-V passes a disk through to one VM of a host."""
        volume = self.cinder.add_volume(shown={'multiattach': True})
        first, second = self.boot(), self.boot()
        self.attach(first, volume)
        self._stop_server(first)        # nothing holds the disk
        self.fail_to_attach(second, volume)
        self.assertEqual(1, len(self.host.initiator.sessions))
        self._delete_server(second)
        self._start_server(first)
        self.assert_same_bytes(first, volume, b'of the first')
        self.detach(first, volume)
        self._delete_server(first)
        self.fabric.assert_clean()
