# SPDX-License-Identifier: Apache-2.0
"""Base of tests with volumes of the fabric's SAN."""

import time

from compute_hyperv.sim import guestdisks
from tests.functional import base
from tests.functional import cinder


class VolumeTestCase(base.TestCase):
    """``self.cinder`` makes volumes; retries come at once, and few."""

    def _set_flags(self):
        super()._set_flags()
        self.flags(volume_attach_retry_count=1,
                   volume_attach_retry_interval=0,
                   mounted_disk_query_retry_count=3,
                   mounted_disk_query_retry_interval=0, group='hyperv')

    def _new_cinder(self):
        return cinder.Cinder(self)

    # What a user does.

    def attach(self, server, volume, **body):
        """Attach a volume; the guest has it then."""
        self.assertEqual('Success', self.try_attach(server, volume, **body))
        self.assertIsNotNone(self.drive_of(server, volume))

    def fail_to_attach(self, server, volume, **body):
        """Attach a volume that cannot be: nobody knows of it then."""
        self.assertEqual('Error', self.try_attach(server, volume, **body))
        self.assertFalse(self._is_known(server, volume))
        self.assertIsNone(self.drive_of(server, volume))

    def try_attach(self, server, volume, **body):
        """Attach a volume; 'Success' or 'Error'."""
        return self.result_of(server, 'attach_volume', lambda: (
            self.api.post_server_volume(server['id'], {
                'volumeAttachment': {'volumeId': volume.id} | body})))

    def try_detach(self, server, volume):
        """Detach a volume; 'Success' or 'Error'."""
        return self.result_of(server, 'detach_volume', lambda: (
            self.api.delete_server_volume(server['id'], volume.id)))

    def detach(self, server, volume):
        """Detach a volume; Nova has forgotten it then."""
        self.assertEqual('Success', self.try_detach(server, volume))
        self.assertFalse(self._is_known(server, volume))

    def extended(self, server, volume):
        """Tell Nova, as Cinder does, that a volume has grown."""
        return self.result_of(server, 'extend_volume', lambda: (
            self.api.create_server_external_events([{
                'name': 'volume-extended', 'server_uuid': server['id'],
                'tag': volume.id}])))

    def result_of(self, server, action, begin):
        """Begin an action on a server; its result when it has ended."""
        before = self.requests(server, action)
        begin()
        new, = self.until(lambda: self.requests(server, action) - before,
                          f'{action} begun')
        result = self.until(lambda: self.result(server, new),
                            f'{action} ended')
        self.until(lambda: self.api.get_server(server['id'])
                   ['OS-EXT-STS:task_state'] is None, 'no task')
        return result

    def requests(self, server, action):
        """Ids of the requests for actions of that name."""
        found = self.api.api_get(
            f"/servers/{server['id']}/os-instance-actions").body
        return {item['request_id'] for item in found['instanceActions']
                if item['action'] == action}

    def result(self, server, request_id):
        """Of an action that has ended; None while it has not."""
        time.sleep(0.1)         # SQLite likes few readers beside a writer
        action = self.api.api_get(
            f"/servers/{server['id']}/os-instance-actions/{request_id}"
        ).body['instanceAction']
        events = action['events']
        if not events or any(not event['finish_time'] for event in events):
            return None
        failed = any(event['result'] != 'Success' for event in events)
        return 'Error' if failed else 'Success'

    def _is_known(self, server, volume):
        return volume.id in [
            item['volumeId']
            for item in self.api.get_server_volumes(server['id'])]

    def volume_body(self, volume, boot_index=0, **body):
        """An entry of block_device_mapping_v2."""
        return {'source_type': 'volume', 'destination_type': 'volume',
                'uuid': volume.id, 'boot_index': boot_index,
                'delete_on_termination': False} | body

    def boot_from(self, *volumes, state='ACTIVE', **body):
        """Boot from the first volume, with the others as data disks."""
        mapping = [self.volume_body(volume, 0 if number == 0 else -1)
                   for number, volume in enumerate(volumes)]
        request = self._build_server(image_uuid='', networks='none',
                                     flavor_id=self.flavor(disk_gib=0))
        request.pop('imageRef', None)
        request |= {'block_device_mapping_v2': mapping} | body
        return self.build(request, state)

    def reboot_host(self, host='HV1'):
        """Cut the power of a host and boot it; disks get other numbers."""
        self.computes[host].stop()
        machine = self.fabric.host(host)
        machine.power_off()
        machine.power_on()
        self.start_compute(host)

    # What is to be seen.

    def drive_of(self, server, volume):
        """The guest's disk that the volume is; None without one."""
        return next((disk for disk in self.guest_disks(server)
                     if disk.tag == volume.id), None)

    def guest_disks(self, server):
        return guestdisks.of(self.vm(server).vm)

    def slot(self, server, volume):
        """Where the volume is, as in 'SCSI 0:1'."""
        disk = self.drive_of(server, volume)
        return f'{disk.controller} {disk.controller_number}:{disk.slot}'

    def assert_same_bytes(self, server, volume, text):
        """What the guest writes is in that volume, and only there."""
        disk = self.drive_of(server, volume)
        disk.write(4096, text)
        self.assertEqual(text, volume.read(4096, len(text)))
        for other in self.cinder.made.values():
            if other is not volume:
                self.assertNotEqual(text, other.read(4096, len(text)))
