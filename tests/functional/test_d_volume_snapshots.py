# SPDX-License-Identifier: Apache-2.0
"""Snapshots of SMB volumes in use, which Cinder asks Nova for."""

import ddt
from nova.compute import task_states
from nova import context
from nova import exception
from nova import objects
from nova.tests.functional.api import client
from oslo_serialization import jsonutils

from tests.functional import exports
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}


class SnapshotCase(volumecase.VolumeTestCase):

    def setUp(self):
        super().setUp()
        self.fabric.shares.add(exports.SHARE, 10 << 30)

    def add(self, **kwargs):
        volume = self.cinder.add_volume(kind=exports.SMB, **kwargs)
        self.fabric.mark()
        return volume

    def take(self, volume):
        """A snapshot that works."""
        snapshot = self.cinder.snapshot(volume)
        self.assertEqual(['creating'], snapshot.told)
        self.wait_for_no_task(volume)
        return snapshot

    def wait_for_no_task(self, volume):
        bdm, = objects.BlockDeviceMappingList.get_by_volume(
            context.get_admin_context(), volume.id)
        self.until(lambda: self.api.get_server(bdm.instance_uuid)
                   ['OS-EXT-STS:task_state'] is None, 'no task')

    def drop(self, snapshot, **info):
        """Delete a snapshot; that works."""
        self.assertEqual('deleting',
                         self.cinder.delete_snapshot(snapshot, **info))
        self.wait_for_no_task(snapshot.volume)

    def write(self, server, volume, text):
        self.drive_of(server, volume).write(4096, text)

    def guest_reads(self, server, volume, count=8):
        return self.drive_of(server, volume).read(4096, count)

    def stored(self, volume, name, count=8):
        """What a file of the volume and those below it hold."""
        with volume.storage.opened(False, name) as disk:
            return disk.read(4096, count)

    def known_name(self, server, volume):
        """The file that Nova would attach anew."""
        bdm = objects.BlockDeviceMapping.get_by_volume_and_instance(
            context.get_admin_context(), volume.id, server['id'])
        return jsonutils.loads(bdm.connection_info)['data']['name']

    def check_uses(self, server, volume, name):
        """VM, Nova and Cinder agree about the file."""
        self.assertEqual(
            rf'{exports.SHARE}\{name}'.lower(),
            self.drive_of(server, volume).path.lower())
        self.assertEqual(name.lower(),
                         self.known_name(server, volume).lower())
        self.assertEqual(name.lower(), volume.storage.name.lower())


@ddt.ddt
class VolumeSnapshotTest(SnapshotCase):

    def test_snapshots_come_and_go_under_a_running_server(self):
        """D5, L105, L106: the middle one first, then the last one."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        volume = self.add(data={'qos_specs': {'total_iops_sec': '500'}})
        base = volume.storage.name
        self.attach(server, volume)
        slot, boot = self.slot(server, volume), self.vm(server).boot
        self.write(server, volume, b'before A')
        first = self.take(volume)
        self.check_uses(server, volume, first.file)
        self.write(server, volume, b'before B')
        second = self.take(volume)
        self.write(server, volume, b'after it')
        self.assertEqual(
            [b'before A', b'before B', b'after it'],
            [self.stored(volume, name) for name in (
                base, first.file, second.file)])
        self.drop(first)
        self.assertEqual([b'before B', b'after it'], [
            self.stored(volume, name) for name in (base, second.file)])
        self.check_uses(server, volume, second.file)
        self.drop(second)
        self.assertEqual(b'after it', self.stored(volume, base))
        self.check_uses(server, volume, base)
        self.assertEqual(b'after it', self.guest_reads(server, volume))
        self.assertEqual((slot, boot), (
            self.slot(server, volume), self.vm(server).boot))
        self.assertEqual(500, self.medium(server, volume)['IOPSLimit'])
        self.detach(server, volume)
        self._delete_server(server)
        self.fabric.assert_clean()

    def medium(self, server, volume):
        return next(item for item in self.vm(server).vm.media()
                    if volume.id in item['HostResource'][0])

    @ddt.data(1, 2)
    def test_server_keeps_its_state(self, generation):
        """L105: booted from IDE or SCSI, whatever its power state."""
        volume = self.add(content=b'boot', shown={
            'volume_image_metadata': GEN2 if generation == 2 else {}})
        server = self.boot_from(volume)
        self.assertEqual('IDE' if generation == 1 else 'SCSI',
                         self.slot(server, volume)[:-4])
        for state in ('running', 'paused', 'saved', 'off'):
            self.check_state(server, volume, state)

    def check_state(self, server, volume, state):
        self.write(server, volume, b'before A')
        self.bring(server, state)
        snapshot = self.take(volume)
        self.assertEqual(state, self.vm(server).state)
        self.bring_back(server, state)
        self.check_uses(server, volume, snapshot.file)
        self.write(server, volume, b'after it')
        self.bring(server, state)
        self.drop(snapshot)
        self.assertEqual(state, self.vm(server).state)
        self.bring_back(server, state)
        self.assertEqual(b'after it', self.guest_reads(server, volume))

    def bring(self, server, state):
        if state == 'paused':
            self._pause(server, 'pause', 'PAUSED')
        elif state == 'saved':
            self._suspend_server(server)
        elif state == 'off':
            self._stop_server(server)

    def bring_back(self, server, state):
        if state == 'paused':
            self._pause(server, 'unpause', 'ACTIVE')
        elif state == 'saved':
            self._resume_server(server)
        elif state == 'off':
            self._start_server(server)

    def _pause(self, server, action, status):
        self.api.post_server_action(server['id'], {action: None})
        self._wait_for_state_change(server, status)

    def test_hard_reboot_keeps_the_chain(self):
        """L106: the stored path is the new one."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        volume = self.add()
        self.attach(server, volume)
        snapshot = self.take(volume)
        self.write(server, volume, b'after it')
        self._reboot_server(server, hard=True)
        self.check_uses(server, volume, snapshot.file)
        self.assertEqual(b'after it', self.guest_reads(server, volume))
        self.detach(server, volume)
        self.attach(server, volume)
        self.assertEqual(b'after it', self.guest_reads(server, volume))

    def test_disk_that_was_taken_out_comes_back(self):
        """A9, L105: nova-compute ended while Windows merged."""
        server, volume, snapshot = self.with_snapshot()
        self.write(server, volume, b'after it')
        vms = self.driver()._win.vm
        vms._jobutils.remove_virt_resource(next(
            medium for medium in vms.get_vm_disks(self.vm(server).vm.name)[0]
            if snapshot.id in medium.HostResource[0]))
        self.assertIsNone(self.drive_of(server, volume))
        self._reboot_server(server, hard=True)
        self.check_uses(server, volume, snapshot.file)
        self.assertEqual(b'after it', self.guest_reads(server, volume))

    def test_deletion_of_which_cinder_did_not_hear_is_repeated(self):
        """L106: what was merged before is not merged again."""
        server, volume, snapshot = self.with_snapshot()
        base = volume.storage.name.replace(f'.{snapshot.id}', '')
        self.cinder.deaf = [ConnectionError('Cinder restarts')] * 3
        self.assertEqual('error_deleting',
                         self.cinder.delete_snapshot(snapshot))
        self.write(server, volume, b'later on')
        self.drop(snapshot)
        self.check_uses(server, volume, base)
        self.assertEqual(b'later on', self.guest_reads(server, volume))

    def test_creation_of_which_cinder_does_not_hear_is_undone(self):
        """L106: Cinder would give away the old file at the next attach."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        volume = self.add()
        self.attach(server, volume)
        self.write(server, volume, b'before A')
        self.cinder.deaf = [ConnectionError('Cinder restarts')] * 3
        snapshot = self.cinder.snapshot(volume)
        self.assertEqual(['error'], snapshot.told)
        self.check_uses(server, volume, volume.storage.name)
        self.assertEqual(b'before A', self.guest_reads(server, volume))
        self.assertFalse(self.view().exists(
            rf'{exports.SHARE}\{snapshot.file}'))

    @ddt.data(
        {'file_to_merge': 'other.vhdx'}, {'file_to_merge': r'..\x.vhdx'},
        {'merge_target_file': 'other.vhdx'}, {'file_to_merge': None})
    def test_other_files_are_not_merged(self, info):
        """L106: refused; the chain stays."""
        server, volume, snapshot = self.with_snapshot()
        self.assertEqual('error_deleting',
                         self.cinder.delete_snapshot(snapshot, **info))
        self.check_uses(server, volume, snapshot.file)
        self.assertEqual('running', self.vm(server).state)

    def with_snapshot(self):
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        volume = self.add()
        self.attach(server, volume)
        snapshot = self.take(volume)
        return server, volume, snapshot

    def test_disk_that_is_passed_through_is_refused(self):
        """D5: only volumes in files."""
        server = self.boot()
        volume = self.cinder.add_volume()
        self.attach(server, volume)
        self.assertEqual(['error'], self.cinder.snapshot(volume).told)
        self.assertEqual('running', self.vm(server).state)

    def test_volume_with_a_checkpoint_is_refused(self):
        """L106: of Hyper-V; Cinder does not know the file on top."""
        server, volume, snapshot = self.with_snapshot()
        utils = self.driver()._win.vm
        utils.take_vm_snapshot(self.vm(server).vm.name, 'of a person')
        self.assertEqual(['error'], self.cinder.snapshot(volume).told)
        self.assertEqual('error_deleting',
                         self.cinder.delete_snapshot(snapshot))
        checkpoint, = utils.get_vm_snapshots(self.vm(server).vm.name)
        utils.remove_vm_snapshot(checkpoint)
        self.check_uses(server, volume, snapshot.file)
        self.drop(snapshot)

    def test_operations_of_one_instance_do_not_overlap(self):
        """L106: refused, by Nova and by a host that was asked before."""
        server, volume, snapshot = self.with_snapshot()
        admin = context.get_admin_context()
        known = objects.Instance.get_by_uuid(admin, server['id'])
        busy = objects.Instance.get_by_uuid(admin, server['id'])
        busy.task_state = task_states.REBOOTING
        busy.save()
        snapshot.status = 'deleting'
        error = self.assertRaises(
            client.OpenStackApiException, self.cinder.snapshot, volume)
        self.assertEqual(400, error.response.status_code)
        self.assertRaises(
            exception.UnexpectedTaskStateError,
            self.driver().volume_snapshot_delete, admin, known, volume.id,
            snapshot.id, {'file_to_merge': snapshot.file})
        self.assertEqual('error_deleting', snapshot.told[-1])
        busy.task_state = None
        busy.save()
        self.check_uses(server, volume, snapshot.file)
        self.drop(snapshot)
