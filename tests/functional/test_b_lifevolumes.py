# SPDX-License-Identifier: Apache-2.0
"""Rebuild, evacuate, shelve and snapshot of servers with volumes."""

import functools

import ddt
from nova.tests.functional.api import client
from oslo_serialization import jsonutils

from compute_hyperv.sim import disks
from compute_hyperv.sim import guestdisks
from tests.functional import exports
from tests.functional import test_b_rebuild
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
DATA = b'written by the guest'
OFFSET = 9 << 20


class VolumesCase(volumecase.VolumeTestCase):
    """A data volume with content in ``self.data``."""

    @functools.cached_property
    def data(self):
        return self.cinder.add_volume(content=DATA)

    def add_root(self, image_id, **options):
        """A volume that was made of an image."""
        return self.cinder.add_volume(content=DATA, shown={
            'volume_image_metadata': GEN2 | {'image_id': image_id}},
            **options)

    def boot_from_volumes(self):
        """A server on ``self.root`` that has ``self.data``, too."""
        self.image_id = self.glance.add_disk('vhdx', **GEN2)
        self.root = self.add_root(self.image_id)
        return self.boot_from(self.root, self.data, config_drive=True,
                              networks='auto')

    def act(self, server, body, **state):
        self.api.post_server_action(server['id'], body)
        return self._wait_for_server_parameter(
            server, {'OS-EXT-STS:task_state': None} | state)

    def check_volume(self, server, volume, content=DATA):
        """The guest has it, with that content."""
        self.assertEqual(content, self.drive_of(server, volume).read(
            0, len(content)))

    def check_clean(self):
        """Nothing but Cinder's own files is left anywhere."""
        self.assert_in_time([], lambda: [
            problem for problem in self.fabric.problems()
            if 'volume-' not in problem])

    def check_gone(self, server):
        """The server is deleted: nothing of it is left anywhere."""
        self._delete_server(server)
        self.check_clean()


class RebuildTest(VolumesCase):

    def rebuild(self, server, image_id, status='ACTIVE'):
        return self.act(server, {'rebuild': {'imageRef': image_id}},
                        status=status)

    def test_data_volume_stays(self):
        """B8: the local disks are new, the volume is as it was."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        self.attach(server, self.data)
        slot = self.slot(server, self.data)
        other_id = self.glance.add_disk('vhdx', seed=2, **GEN2)
        server = self.rebuild(server, other_id)
        self.assertEqual(slot, self.slot(server, self.data))
        self.check_volume(server, self.data)
        self.assert_disk_begins_like_image(
            self.vm(server).drive('root.vhdx').path, other_id, disk_gib=1)
        self.detach(server, self.data)
        self.check_gone(server)

    def test_root_volume_gets_another_image(self):
        """B8: Cinder writes the image while no host has the volume."""
        server = self.boot_from_volumes()
        before = [drive.name for drive in self.vm(server).drives]
        other_id = self.glance.add_disk('vhdx', seed=2, **GEN2)

        # Cinder fails: the server is in ERROR, and can be rebuilt anew.
        self.cinder.fails_to_reimage = True
        server = self.rebuild(server, other_id, 'ERROR')
        self.assertEqual([], self.view().vm_names)
        self.assertEqual(DATA, self.root.read(0, len(DATA)))
        self.cinder.fails_to_reimage = False
        server = self.rebuild(server, other_id)

        self.assertEqual('running', self.vm(server).state)
        self.assertEqual(before, [drive.name for drive
                                  in self.vm(server).drives])
        content = self.content(other_id)
        self.check_volume(server, self.root, content)
        self.check_volume(server, self.data)
        self.assertEqual(['SCSI 0:0', 'SCSI 0:2'], [
            self.slot(server, volume) for volume in (self.root, self.data)])
        self.check_gone(server)

    def content(self, image_id):
        with disks.open_disk(
                self.glance.path(image_id), writable=False,
                resolve=str) as image:
            return image.read(0, 1 << 20)

    def test_root_volume_keeps_its_content_with_its_own_image(self):
        """Before microversion 2.93 a rebuild leaves the root volume."""
        server = self.boot_from_volumes()
        self.api.microversion = '2.92'
        server = self.rebuild(server, self.image_id)
        self.api.microversion = self.microversion
        for volume in (self.root, self.data):
            self.check_volume(server, volume)
        self.check_gone(server)


class EvacuateTest(VolumesCase, test_b_rebuild.EvacuateCase):
    """Off shared storage: local disks are new, volumes move."""

    SHARED = False

    def boot_server(self):
        server = super().boot_server()
        self.attach(server, self.data)
        return server

    def test_volume_moves_with_the_server(self):
        """B8: the other host has it; the old one lets go of it."""
        slot = self.slot(self.server, self.data)
        server = self.start(self.evacuate())
        self.check_there(server, slot)
        self.come_back()
        self.check_there(server, slot)
        self.check_end(server)

    def check_there(self, server, slot):
        self.assertEqual(slot, self.slot(server, self.data))
        self.check_volume(server, self.data)
        self.assertEqual([DATA if self.SHARED else bytes(len(DATA))],
                         self.read(server)[1:])
        self.assert_same_bytes(server, self.data, DATA)
        self.assertEqual(DATA, self.data.read(0, len(DATA)))


class SharedEvacuateTest(EvacuateTest, test_b_rebuild.SharedStorage):
    """On shared storage: all of it is kept."""

    SHARED = True


class BootEvacuateTest(VolumesCase, test_b_rebuild.EvacuateCase):

    def boot_server(self):
        return self.boot_from_volumes()

    def test_server_of_a_volume_moves(self):
        """B8: it boots from its volume on the other host."""
        server = self.start(self.evacuate())
        for _host in ('away', 'back'):
            for volume in (self.root, self.data):
                self.check_volume(server, volume)
            if _host == 'away':
                self.come_back()
        self.check_end(server)


class SharedBootEvacuateTest(BootEvacuateTest, test_b_rebuild.SharedStorage):
    """The same when the hosts share the instances path."""


@ddt.ddt
class ShelveTest(VolumesCase):

    def shelve(self, server):
        self.act(server, {'shelve': {}}, status='SHELVED_OFFLOADED')
        self.assertEqual([], self.view().vm_names)
        self.check_clean()

    def unshelve(self, server):
        return self.act(server, {'unshelve': None}, status='ACTIVE')

    def test_server_with_a_volume(self):
        """B12: root and volume come back; no host has the volume between."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        self.attach(server, self.data)
        slot = self.slot(server, self.data)
        root = guestdisks.of(self.vm(server).vm)[0]
        root.write(OFFSET, DATA)
        self.shelve(server)
        server = self.unshelve(server)
        self.assertEqual(slot, self.slot(server, self.data))
        self.check_volume(server, self.data)
        root = guestdisks.of(self.vm(server).vm)[0]
        self.assertEqual(DATA, root.read(OFFSET, len(DATA)))
        self.check_gone(server)

    @ddt.data(exports.ISCSI, exports.SMB)
    def test_server_of_a_volume(self, kind):
        """B12: nothing is uploaded, the volumes are all there is."""
        self.fabric.shares.add(exports.SHARE, 100 << 30)
        root = self.add_root(self.glance.add_disk('vhdx', **GEN2), kind=kind)
        server = self.boot_from(root, self.data)
        slots = [self.slot(server, volume) for volume in (root, self.data)]
        self.shelve(server)
        server = self.unshelve(server)
        self.assertEqual(slots, [self.slot(server, volume)
                                 for volume in (root, self.data)])
        for volume in (root, self.data):
            self.check_volume(server, volume)
        self.check_gone(server)


class SnapshotCase(VolumesCase):

    def create_image(self, server):
        return self.api.post_server_action(server['id'], {
            'createImage': {'name': 'copy'}})['image_id']


class OldSnapshotTest(SnapshotCase):

    HOSTS = ({'name': 'HV1', 'windows': '2012R2'},)

    def test_running_server_with_a_volume_is_refused(self):
        """B9: before 2016 a checkpoint takes all disks or none."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        self.attach(server, self.data)
        image_id = self.create_image(server)
        self.until(lambda: not self.glance.has(image_id), 'refused')
        self.assertEqual('running', self.vm(server).state)
        self.act(server, {'os-stop': {}}, status='SHUTOFF')
        image_id = self.create_image(server)
        self.until(lambda: self.glance.image(image_id)['status'] == 'active',
                   'uploaded')


class SnapshotTest(SnapshotCase):

    def test_server_of_a_volume(self):
        """B9: Cinder copies the volumes; the server runs on unfrozen."""
        server = self.boot_from_volumes()
        image = self.glance.image(self.create_image(server))
        self.assertEqual({self.root.id, self.data.id}, {
            self.cinder.volume_snapshots[item['snapshot_id']]['volume_id']
            for item in jsonutils.loads(image['block_device_mapping'])
            if item['source_type'] == 'snapshot'})
        self.assertEqual('running', self.vm(server).state)

    def test_local_root_of_a_running_server(self):
        """B9: the image has the root; the volume is no part of it."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        self.attach(server, self.data)
        guestdisks.of(self.vm(server).vm)[0].write(OFFSET, DATA)
        image_id = self.create_image(server)
        self.until(lambda: self.api.get_server(server['id'])
                   ['OS-EXT-STS:task_state'] is None, 'no task')
        self.assertEqual('active', self.glance.image(image_id)['status'])
        with disks.open_disk(self.glance.path(image_id), writable=False,
                             resolve=str) as image:
            self.assertEqual(DATA, image.read(OFFSET, len(DATA)))
        self.assert_same_bytes(server, self.data, b'goes on')
        self.assertEqual(['root.vhdx'], [
            drive.name for drive in self.vm(server).drives])
        self.check_gone(server)

    def test_quiesced_one_is_refused(self):
        """B9: Hyper-V cannot hold a guest still for somebody else."""
        self.image_id = self.glance.add_disk('vhdx', **GEN2)
        self.root = self.cinder.add_volume(content=DATA, shown={
            'volume_image_metadata': GEN2 | {'os_require_quiesce': 'yes'}})
        server = self.boot_from(self.root)
        error = self.assertRaises(client.OpenStackApiException,
                                  self.create_image, server)
        self.assertEqual(400, error.response.status_code)
        self.assertIn('Quiescing is not supported', str(error))
        self.assertEqual('running', self.vm(server).state)
