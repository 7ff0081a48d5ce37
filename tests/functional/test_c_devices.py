# SPDX-License-Identifier: Apache-2.0
"""Devices that a server is launched with: tags, and the order to boot."""

from tests.functional import exports
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}


class DevicesCase(volumecase.VolumeTestCase):

    def image_body(self, image_id, **body):
        return {'source_type': 'image', 'destination_type': 'local',
                'uuid': image_id, 'boot_index': 0,
                'delete_on_termination': True} | body

    def launch(self, image_id, mapping, **body):
        return self.boot(image_id, block_device_mapping_v2=[
            self.image_body(image_id), *mapping], **body)


class TagsTest(DevicesCase):

    def test_tags_given_at_launch(self):
        """C15, L123: of a port, a volume and nothing else."""
        volume, other = self.cinder.add_volume(), self.cinder.add_volume()
        port = self.neutron.port_1
        server = self.launch(
            self.glance.add_disk(**GEN2),
            [self.volume_body(volume, -1, tag='database'),
             self.volume_body(other, -1)],
            networks=[{'port': port['id'], 'tag': 'front'}])

        told = self.told_devices(server)
        self.assertEqual(
            [('nic', port['mac_address'], ['front']),
             ('disk', None, []), ('disk', volume.id, ['database']),
             ('disk', other.id, [])],
            [(device['type'], device.get('mac') or device.get('serial'),
              device.get('tags', [])) for device in told])
        addresses = {device.get('serial'): device['address']
                     for device in told if device['type'] == 'disk'}
        for one in (volume, other):
            disk = self.drive_of(server, one)
            self.assertEqual(f'0:0:0:{disk.slot}', addresses[one.id])


class BootIndexTest(DevicesCase):
    """C4: volumes on a share, whose files have names."""

    def setUp(self):
        super().setUp()
        self.fabric.shares.add(exports.SHARE, 10 << 30)

    def add(self):
        return self.cinder.add_volume(kind=exports.SMB, options=None)

    def test_generation_2_boots_by_index(self):
        """L041: those with an index by it, then the others, then NICs."""
        second, third, data = self.add(), self.add(), self.add()
        image_id = self.glance.add_disk(**GEN2)
        server = self.launch(
            image_id, [self.volume_body(data, -1),
                       self.volume_body(third, 2),
                       self.volume_body(second, 1)],
            networks='auto', flavor_id=self.flavor(ephemeral_gib=1))

        order = self.vm(server).boot_order
        self.assertEqual(
            ['root.vhdx', second.storage.name, third.storage.name],
            order[:3])
        self.assertEqual({'eph0.vhdx', data.storage.name}, set(order[3:5]))
        self.assertEqual([''], order[5:])

    def test_volume_boots_first_and_the_image_disk_later(self):
        """L041: index 0 is a volume, the local disk has another."""
        root = self.cinder.add_volume(
            kind=exports.SMB, options=None, content=b'boot',
            shown={'volume_image_metadata': GEN2})
        other = self.add()
        server = self.boot_from(root, block_device_mapping_v2=[
            self.volume_body(root, 0), self.volume_body(other, 1)])
        self.assertEqual([root.storage.name, other.storage.name],
                         self.vm(server).boot_order[:2])
