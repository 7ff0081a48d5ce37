# SPDX-License-Identifier: Apache-2.0
"""Files of checkpoints whose VM is gone."""

import io
import json

import ddt
from nova.compute import task_states

from compute_hyperv import errors
from compute_hyperv import leftdisks
from compute_hyperv.sim import disks as sim_disks
from compute_hyperv.sim import vm as sim_vm
from compute_hyperv.vhd import identity
from compute_hyperv.vhd import structures
from tests.unit import opscase

MIB = 1 << 20
EXPECTED = (errors.HyperVError, *errors.OS_WIN_ERRORS)
GUID = '11111111-2222-4333-8444-55555555555%d'


class LeftCase(opscase.OpsTestCase):

    FORMAT = 'vhdx'

    def setUp(self):
        super().setUp()
        self.left = self.ops.vms._left
        self.instance.task_state = task_states.REBUILD_SPAWNING
        self.dir = self.paths.instance_dir(self.instance.name)
        self.paths.make_dir(self.dir)
        self.root = fr'{self.dir}\root.{self.FORMAT}'
        self.win.vhd.create_dynamic_vhd(self.root, 64 * MIB)

    def on_top(self, number, parent, content):
        """A file of a checkpoint, as Hyper-V calls it."""
        made = fr'{self.dir}\made.{self.FORMAT}'
        path = fr'{self.dir}\root_{GUID % number}.a{self.FORMAT}'
        self.win.vhd.create_differencing_vhd(made, parent)
        self.paths.rename(made, path)
        self.write(path, content)
        return path

    def opened(self, path, writable=True):
        storage = self.host.storage
        return sim_disks.open_disk(storage.local(path), writable=writable,
                                   resolve=storage.local, win_path=path)

    def write(self, path, content):
        with self.opened(path) as disk:
            disk.write(MIB, content)

    def read(self, path, count=5):
        with self.opened(path, False) as disk:
            return disk.read(MIB, count)

    def names(self):
        return sorted(self.paths.list_dir(self.dir))

    def merge(self):
        with self.undo() as undo:
            return self.left.merge(None, self.instance, self.dir, None, undo)

    def refused(self, text):
        before = self.names()
        with self.assertRaisesRegex(errors.DiskOperationFailed, text):
            self.merge()
        self.assertEqual(before, self.names())

    def cut_off(self, path, parent):
        """What a merge leaves that was killed after its first write."""
        with self.fabric.faults.failing(match='virtdisk.MergeVirtualDisk'):
            with self.fabric.faults.failing(match='*.SetParent*',
                                            times=None):
                with self.assertRaises(EXPECTED):
                    self.left._merge(leftdisks.Link(path=path,
                                                    parent=parent))
        note = self.paths.read_bytes(path + leftdisks.NOTE)
        self.assertTrue(note)
        self.write(parent, b'part')
        return note


class MergeTest(LeftCase):
    """L102: what a VM wrote last is in the files on top."""

    def test_chain_becomes_one_disk(self):
        older = self.on_top(1, self.root, b'older')
        newer = self.on_top(0, older, b'newer')
        files = self.merge()
        self.assertEqual([newer, older], files)
        # Until they are dropped, the old VM could use them.
        self.assertEqual([b'newer'] * 3, list(map(
            self.read, (newer, older, self.root))))
        self.left.drop(files)
        self.assertEqual(['root.' + self.FORMAT], self.names())
        self.assertEqual(b'newer', self.read(self.root))

    def test_new_instance_has_none(self):
        self.on_top(1, self.root, b'older')
        self.instance.task_state = task_states.SPAWNING
        self.assertEqual([], self.merge())

    def test_merge_that_was_cut_off_goes_on(self):
        """A9: both of a chain."""
        older = self.on_top(1, self.root, b'older')
        newer = self.on_top(0, older, b'newer')
        self.cut_off(older, self.root)
        self.left.drop(self.merge())
        self.assertEqual(['root.' + self.FORMAT], self.names())
        self.assertEqual(b'newer', self.read(self.root))
        self.assertFalse(self.paths.exists(newer))

    def test_failed_merge_leaves_no_note(self):
        path = self.on_top(1, self.root, b'newer')
        with self.fabric.faults.failing(match='virtdisk.MergeVirtualDisk'):
            with self.assertRaises(EXPECTED):
                self.merge()
        self.assertEqual(2, len(self.names()))
        self.assertEqual(b'newer', self.read(path))


class VHDMergeTest(MergeTest):

    FORMAT = 'vhd'

    def test_branches_have_no_name(self):
        path = self.on_top(1, self.root, b'one')
        with self.paths.open(path, 'rb') as stream:
            child = identity.of(stream)
        with self.paths.open(self.root, 'rb') as stream:
            parent = identity.of(stream)
        self.assertEqual({parent.content}, child.parents)
        self.assertNotEqual(child.disk, parent.disk)
        self.assertFalse(parent.parents)


@ddt.ddt
class RefuseTest(LeftCase):

    def test_branches_are_left_to_people(self):
        self.on_top(1, self.root, b'one')
        self.on_top(2, self.root, b'other')
        self.refused('side by side')

    def test_parent_that_is_no_disk_of_the_server(self):
        """An image of the cache, for one."""
        image = fr'{self.INSTANCES_DIR}\image.vhdx'
        self.win.vhd.create_dynamic_vhd(image, 64 * MIB)
        self.on_top(1, image, b'one')
        self.refused('no disk of this server')

    def test_disk_that_is_no_child(self):
        self.paths.rename(self.root, fr'{self.dir}\root.avhdx')
        self.refused('no differencing disk')

    def test_changed_parent(self):
        """Nothing is merged, nor noted, that is not explained."""
        path = self.on_top(1, self.root, b'newer')
        self.write(self.root, b'other')
        self.refused('was changed after the checkpoint')
        for note in (b'{}', b'cut o', json.dumps({
                'child': '', 'parents': [], 'parent': ''}).encode()):
            with self.paths.open(path + leftdisks.NOTE, 'wb') as stream:
                stream.write(note)
            self.refused('was changed after the checkpoint')

    def test_note_of_another_disk(self):
        """A disk that was restored under the same name, for one."""
        path = self.on_top(1, self.root, b'newer')
        self.cut_off(path, self.root)
        self.paths.remove(self.root)
        self.win.vhd.create_dynamic_vhd(self.root, 64 * MIB)
        self.refused('was changed after the checkpoint')

    def test_disk_of_a_vm_of_this_host(self):
        self.on_top(1, self.root, b'newer')
        path, = [name for name in self.names() if 'avhdx' in name]
        self.define()
        self.win.vm.attach_scsi_drive(self.instance.name,
                                      fr'{self.dir}\{path}')
        self.refused('is used by a VM of this host')

    def test_file_that_makes_no_sense(self):
        path = self.on_top(1, self.root, b'newer')
        local = self.host.storage.local(path)
        with open(local, 'r+b') as stream:
            stream.seek(64 << 10)
            stream.write(bytes(128 << 10))
        with self.assertRaises(errors.DiskOperationFailed):
            self.left._identity(path)

    @ddt.data(b'', b'vhdxfile', b'x' * 512)
    def test_identity_of_nonsense(self, content):
        with self.assertRaises(structures.Malformed):
            identity.of(io.BytesIO(content))


class MoveTest(LeftCase):

    def test_volume_with_a_checkpoint_does_not_move(self):
        """The target would connect the file below it."""
        self.define()
        volume = fr'{self.INSTANCES_DIR}\volume-1.vhdx'
        self.win.vhd.create_dynamic_vhd(volume, 64 * MIB)
        self.win.vm.attach_scsi_drive(self.instance.name, volume)
        flavor = self.instance.flavor
        self.ops.migration._describe(self.instance, flavor)
        self.win.vm.take_vm_snapshot(self.instance.name, 'of a person')
        with self.assertRaisesRegex(errors.DiskOperationFailed, 'checkpoint'):
            self.ops.migration._describe(self.instance, flavor)


class MendTest(LeftCase):
    """A9: the old host is back before the merge was ended."""

    def setUp(self):
        super().setUp()
        self.path = self.on_top(1, self.root, b'newer')
        self.define()
        self.win.vm.attach_scsi_drive(self.instance.name, self.path)

    def test_server_starts(self):
        self.cut_off(self.path, self.root)
        self.ops.power.start(self.instance)
        self.assertEqual(sim_vm.RUNNING, self.vm().state)
        self.assertEqual(2, len([name for name in self.names()
                                 if name.startswith('root')]))

    def test_note_of_what_is_in_order_goes(self):
        with self.paths.open(self.path + leftdisks.NOTE, 'wb') as stream:
            stream.write(b'{}')
        self.assertFalse(self.left.mend(self.instance.name))
        self.assertFalse(self.paths.exists(self.path + leftdisks.NOTE))

    def test_what_nobody_explains_stays(self):
        self.write(self.root, b'other')
        with self.assertRaises(EXPECTED):
            self.ops.power.start(self.instance)
        self.assertFalse(self.left.mend(self.instance.name))
        with self.paths.open(self.path + leftdisks.NOTE, 'wb') as stream:
            stream.write(b'{}')
        self.assertFalse(self.left.try_to_mend(self.instance.name))
        with self.assertRaises(errors.DiskOperationFailed):
            self.left.mend(self.instance.name)
