# SPDX-License-Identifier: Apache-2.0
"""Feature letter B, row 9: images made of servers."""

import subprocess
import time

import ddt
import glanceclient.exc

from compute_hyperv.sim import guestdisks
from tests.functional import base

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
#: Where and what a guest writes.
OFFSET = 9 << 20
DATA = b'written by the guest'
#: Action that leads to a state, the VM's state, action that ends it.
STATES = (('', 'running', ''), ('pause', 'paused', 'unpause'),
          ('suspend', 'saved', 'resume'), ('os-stop', 'off', 'os-start'))


class SnapshotCase(base.TestCase):

    def write_as_guest(self, server, data=DATA, offset=OFFSET):
        guestdisks.of(self.vm(server).vm)[0].write(offset, data)

    def snapshot(self, server):
        """The id of a new snapshot's image."""
        image_id = self.api.post_server_action(
            server['id'], {'createImage': {'name': 'snapshot'}})['image_id']
        self.idle(server)
        return image_id

    def act(self, server, action):
        """Send an action without arguments and wait for its end."""
        if action:
            self.api.post_server_action(server['id'], {action: {}})
            self.idle(server)

    def idle(self, server):
        self.until(lambda: self.api.get_server(server['id'])
                   ['OS-EXT-STS:task_state'] is None, 'no task')

    def read_image(self, image_id, offset=OFFSET, length=len(DATA)):
        """What qemu-img finds in an uploaded image."""
        fmt = {'vhd': 'vpc'}.get(self.glance.image(image_id)['disk_format'],
                                 'vhdx')
        raw = self.glance.path(image_id) + '.raw'
        subprocess.run(['qemu-img', 'convert', '-f', fmt, '-O', 'raw',
                        self.glance.path(image_id), raw], check=True)
        with open(raw, 'rb') as stream:
            stream.seek(offset)
            return stream.read(length)

    def assert_untouched(self, server):
        """One chain as before, no checkpoint, no export."""
        vm = self.vm(server)
        self.assertIn(vm.drives[0].name, ('root.vhdx', 'root.vhd'))
        self.assertEqual([], [
            path for path in self.files() if 'avhd' in path.lower()
            or r'\export\instance' in path.lower()])

    def files(self):
        return self.host.storage.drive('C').listing()


@ddt.ddt
class SnapshotTest(SnapshotCase):

    @ddt.data(('vhdx', GEN2), ('vhd', {}))
    @ddt.unpack
    def test_image_has_what_the_guest_wrote_in_each_state(
            self, disk_format, properties):
        """L100, L102, L103; L026: the image boots with the same flavor."""
        flavor_id = self.flavor(disk_gib=1)
        server = self.boot(self.glance.add_disk(disk_format, **properties),
                           flavor_id=flavor_id)
        for number, (action, state, back) in enumerate(STATES):
            data = DATA + bytes([number])
            self.write_as_guest(server, data)
            self.act(server, action)

            image_id = self.snapshot(server)

            self.assertEqual('active', self.glance.image(image_id)['status'])
            self.assertEqual(disk_format,
                             self.glance.image(image_id)['disk_format'])
            self.assertEqual(data, self.read_image(image_id,
                                                   length=len(data)))
            self.assertEqual(state, self.vm(server).state)
            self.assert_untouched(server)
            self.act(server, back)
        second = self.boot(image_id, flavor_id=flavor_id)
        self.assertEqual(
            data, guestdisks.of(self.vm(second).vm)[0].read(OFFSET,
                                                            len(data)))


class SnapshotSafetyTest(SnapshotCase):

    def test_failures_leave_nothing_and_deletion_waits(self):
        """L101: checkpoint and export go; L011: a delete waits."""
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        self.glance.before_upload = self.refuse
        image_id = self.snapshot(server)
        self.assertFalse(self.glance.has(image_id))
        self.assert_untouched(server)
        self.assertEqual('running', self.vm(server).state)

        # Plain flags: Nova uploads in a native thread, in both modes.
        self.uploading, self.go_on = False, False
        self.glance.before_upload = self.wait
        self.api.post_server_action(
            server['id'], {'createImage': {'name': 'snapshot'}})
        self.until(lambda: self.uploading, 'uploading')
        self.api.delete_server(server['id'])
        time.sleep(1)
        self.assertEqual(1, len(self.view().vm_names))
        self.go_on = True
        self._wait_until_deleted(server)
        self.fabric.assert_clean()

    def wait(self, image_id):
        self.uploading = True
        deadline = time.monotonic() + 20
        while not self.go_on and time.monotonic() < deadline:
            time.sleep(0.05)

    def refuse(self, image_id):
        raise glanceclient.exc.HTTPInternalServerError('no space')

    def test_quiesced_snapshots_are_production_checkpoints(self):
        """L104: the type is set for this checkpoint, then as it was."""
        server = self.boot(self.glance.add_disk(
            'vhdx', os_require_quiesce='yes', hw_qemu_guest_agent='yes',
            **GEN2))
        self.write_as_guest(server)
        self.assertEqual(DATA, self.read_image(self.snapshot(server)))
        self.assertEqual(3, self.vm(server).settings['UserSnapshotType'])
        # A paused guest cannot write out what it holds.
        self.act(server, 'pause')
        self.assertFalse(self.glance.has(self.snapshot(server)))
        self.assert_untouched(server)


class OldWindowsTest(SnapshotCase):

    HOSTS = ({'name': 'HV1', 'windows': '2012R2'},)

    def test_quiesced_snapshot_is_refused(self):
        """L104: before 2016 there are no production checkpoints."""
        server = self.boot(self.glance.add_disk(
            'vhdx', os_require_quiesce='yes', **GEN2))
        self.assertFalse(self.glance.has(self.snapshot(server)))
        self.assert_untouched(server)
