# SPDX-License-Identifier: Apache-2.0
"""D2: volumes that Nova has Cinder make when a server is launched."""

import uuid

import fixtures

from compute_hyperv.sim import disks
from tests.functional import volumecase

ROOT = b'a system'
GEN2 = {'hw_machine_type': 'hyperv-gen2'}


class BootSourcesTest(volumecase.VolumeTestCase):

    def setUp(self):
        super().setUp()
        self.deleted = []
        api = 'nova.volume.cinder.API.'
        for name, call in (('create', self.create), ('delete', self.delete),
                           ('get_snapshot', self.snapshot)):
            self.patch(api + name, call)

    def patch(self, name, call):
        self.useFixture(fixtures.MonkeyPatch(
            name, lambda api, *args, **kwargs: call(*args, **kwargs)))

    # Cinder.

    def create(self, context, size, name, description, snapshot=None,
               image_id=None, **_others):
        volume = self.cinder.add_volume(
            size, content=ROOT if snapshot else b'',
            shown={'status': 'available', 'volume_image_metadata': GEN2})
        if image_id:
            with disks.open_disk(self.glance.path(image_id), writable=False,
                                 resolve=str) as image:
                volume.storage.write(0, image.read(0, 1 << 20))
        return {'id': volume.id}

    def delete(self, context, volume_id):
        self.deleted.append(volume_id)

    def snapshot(self, context, snapshot_id):
        return {'id': snapshot_id, 'status': 'available', 'size': 1,
                'volume_id': None}

    # A user.

    def body(self, source, number, **body):
        found = {'source_type': source, 'destination_type': 'volume',
                 'volume_size': 1, 'boot_index': number,
                 'delete_on_termination': True} | body
        if source == 'snapshot':
            found['uuid'] = str(uuid.uuid4())
        return found

    def launch(self, *mapping):
        request = self._build_server(image_uuid='', networks='none',
                                     flavor_id=self.flavor(disk_gib=0))
        request.pop('imageRef', None)
        server = self.api.post_server({'server': request | {
            'block_device_mapping_v2': list(mapping)}})
        return self._wait_for_state_change(server, 'ACTIVE')

    def test_volumes_are_made_and_go_with_the_server(self):
        """From an image, a snapshot, or nothing; tags are told."""
        image_id = self.glance.add_disk('vhdx', **GEN2)
        with disks.open_disk(self.glance.path(image_id), writable=False,
                             resolve=str) as image:
            content = image.read(0, 512)
        for source, begin in (
                (self.body('image', 0, uuid=image_id), content),
                (self.body('snapshot', 0), ROOT)):
            server = self.launch(
                source, self.body('blank', -1, tag='data'),
                self.body('blank', -1, delete_on_termination=False))
            root, data, kept = self.guest_disks(server)
            self.assertEqual(begin, root.read(0, len(begin)))
            self.assertEqual(bytes(512), data.read(0, 512))
            self.assertEqual([['data']], [
                device['tags'] for device in self.told_devices(server)
                if device.get('serial') == data.tag])
            self._delete_server(server)
            self.assertEqual({root.tag, data.tag}, set(self.deleted))
            self.deleted.clear()
        self.fabric.assert_clean()
