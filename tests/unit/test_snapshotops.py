# SPDX-License-Identifier: Apache-2.0
"""Which disk a snapshot is made of, and what it is put into."""

import ntpath

import ddt
from nova import exception

from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv import oswin
from tests.unit import opscase

SLOT = model.Slot(bus=model.Bus.SCSI, controller=0, lun=0)
OTHER = model.Slot(bus=model.Bus.SCSI, controller=0, lun=1)


class Glance:
    """Takes images, in ``formats`` and ``data``."""

    def __init__(self):
        self.formats, self.data = [], []

    def update(self, context, image_id, metadata, stream, purge_props):
        self.formats.append(metadata['disk_format'])
        self.data.append(stream.read())


class SnapshotCase(opscase.OpsTestCase):

    def setUp(self):
        super().setUp()
        self.define()
        self.snapshots = self.ops.snapshots
        self.glance = self.snapshots._glance = Glance()
        self.name = self.instance.name
        self.states = []

    def path(self, name):
        return ntpath.join(self.paths.instance_dir(self.name), name)

    def add(self, name, slot, parent=None):
        """Make a disk and plug it in."""
        path = self.path(name)
        if parent:
            self.win.vhd.create_differencing_vhd(path, self.path(parent))
        else:
            self.win.vhd.create_dynamic_vhd(path, 4 << 20)
        self.win.attach_drive(self.name, path, slot, oswin.DriveKind.DISK)

    def snapshot(self):
        self.snapshots.snapshot(
            None, self.instance, 'image',
            lambda **states: self.states.append(states['task_state']))

    def exports(self):
        return self.paths.list_dir(ntpath.dirname(
            self.paths.export_dir(self.name)))


@ddt.ddt
class SnapshotTest(SnapshotCase):

    def test_image_is_the_root_and_nothing_stays(self):
        """L100, L101: its real format; the export directory goes."""
        self.add('eph0.vhdx', OTHER)
        self.add('root.vhdx', SLOT)
        self.snapshot()
        self.assertEqual(['vhdx'], self.glance.formats)
        self.assertEqual(b'vhdxfile', self.glance.data[0][:8])
        self.assertEqual(['image_pending_upload', 'image_uploading'],
                         self.states)
        self.assertEqual([], self.exports())

    def test_root_is_found_under_a_checkpoint(self):
        """Somebody's own checkpoint: the end of the chain is read."""
        self.add('root.vhdx', SLOT)
        self.win.vm.take_vm_snapshot(self.name, 'by an administrator')
        found = self.snapshots._root_of(self.name)
        self.assertTrue(found.lower().endswith('.avhdx'), found)
        self.snapshot()
        self.assertEqual(['vhdx'], self.glance.formats)
        self.assertEqual(1, len(self.win.vm.get_vm_snapshots(self.name)))

    def test_vm_without_a_root_of_its_own(self):
        self.add('eph0.vhdx', OTHER)
        self.assertRaises(errors.HyperVError, self.snapshot)
        self.assertEqual([], self.exports())

    def test_instance_without_vm(self):
        """Nova knows by this class that there is nothing to copy."""
        self.ops.vms.remove_vm(self.name, self.instance.uuid)
        self.assertRaises(exception.InstanceNotRunning, self.snapshot)
        self.assertEqual([], self.states)

    def test_rest_of_a_killed_process_goes(self):
        self.add('root.vhdx', SLOT)
        directory = self.paths.export_dir(self.name)
        self.paths.make_dir(directory)
        with self.paths.open(ntpath.join(directory, 'root.vhdx'), 'wb'):
            pass
        self.snapshot()
        self.assertEqual([], self.exports())

    @ddt.data('list*', 'remove*')
    def test_upload_that_fails(self, pattern):
        """L101: the caller sees that error, whatever else goes wrong."""
        self.add('root.vhdx', SLOT)

        def update(*args, **kwargs):
            fault = self.fabric.faults.add(kind='file', match=pattern,
                                           times=1)
            self.addCleanup(self.fabric.faults.remove, fault)
            raise exception.ImageNotFound(image_id='image')
        self.glance.update = update
        self.assertRaises(exception.ImageNotFound, self.snapshot)
        self.assertEqual([], self.exports())
