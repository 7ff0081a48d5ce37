# SPDX-License-Identifier: Apache-2.0
"""Config drives, built by the real tools and read back from the file."""

import contextlib
import filecmp
import json
import os
import subprocess
from unittest import mock

import ddt
import fixtures
from nova.network import model as network_model

from compute_hyperv import configdrive
from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv.sim import disks as sim_disks
from tests import factories
from tests.unit import hostcase

DIR = hostcase.INSTANCES_DIR + r'\vm'
SLOT = model.Slot(bus=model.Bus.SCSI, controller=0, lun=1)
PASSWORD = 'not for everybody'


class _Metadata:
    """The files of a drive, without the services that Nova asks for them.

    Functional tests build drives from Nova's own class.
    """

    def __init__(self, instance, content, extra_md, network_info):
        self._files = {
            'openstack/latest/meta_data.json': json.dumps(
                dict(extra_md, uuid=instance.uuid)),
            'openstack/content/0000': b'\x00\xff binary'}

    def metadata_for_config_drive(self):
        return iter(self._files.items())


@ddt.ddt
class ConfigDriveTest(hostcase.HostTestCase):

    def setUp(self):
        super().setUp()
        self.paths.make_dir(DIR)
        patch = mock.patch('nova.api.metadata.base.InstanceMetadata',
                           _Metadata)
        patch.start()
        self.addCleanup(patch.stop)
        self.instance = factories.instance()

    def drive(self, **options):
        options = {'mkisofs_cmd': 'genisoimage', 'qemu_img_cmd': 'qemu-img',
                   'inject_password': False} | options
        return configdrive.ConfigDrive(self.paths, **options)

    def disk(self, disk_format):
        return model.DiskSpec(
            role=model.DiskRole.CONFIG, format=disk_format, slot=SLOT,
            path=f'{DIR}\\configdrive.{disk_format.value}', size_bytes=0,
            source=model.DiskSource.CONFIG_DRIVE)

    def create(self, disk_format, **options):
        disk = self.disk(disk_format)
        drive = self.drive(**options)
        metadata = drive.metadata(self.instance, network_model.NetworkInfo(),
                                  [], PASSWORD)
        with self.undo() as undo:
            drive.create(disk, metadata, undo)
        return disk.path

    def read(self, path, name):
        """A file of the drive, read as a guest reads it."""
        local = self.host.storage.local(path)
        if not path.endswith('.iso'):
            with sim_disks.open_disk(
                    local, writable=False, win_path=path,
                    resolve=self.host.storage.local) as disk:
                content = disk.read(0, disk.size_bytes)
            local += '.raw'
            with open(local, 'wb') as raw:
                raw.write(content)
        return subprocess.run(['isoinfo', '-J', '-i', local, '-x', name],
                              check=True, capture_output=True).stdout

    @ddt.data(*model.DiskFormat)
    def test_guest_reads_the_metadata(self, disk_format):
        path = self.create(disk_format)
        metadata = json.loads(self.read(path,
                                        '/openstack/latest/meta_data.json'))
        self.assertEqual({'uuid': self.instance.uuid}, metadata)
        self.assertEqual(b'\x00\xff binary',
                         self.read(path, '/openstack/content/0000'))

    @ddt.data(*model.DiskFormat)
    def test_nothing_but_the_drive_is_left(self, disk_format):
        self.create(disk_format)
        self.assertEqual([f'configdrive.{disk_format.value}'],
                         self.paths.list_dir(DIR))

    @ddt.data(model.DiskFormat.VHD, model.DiskFormat.VHDX)
    def test_disk_is_not_the_file_that_qemu_img_made(self, disk_format):
        """On Windows that one is sparse, and Hyper-V does not attach it.

        A program around the real one keeps the file alive under another
        name, so that the number of the file tells which one it is.
        """
        folder = self.useFixture(fixtures.TempDir()).path
        kept = os.path.join(folder, 'made')
        program = os.path.join(folder, 'qemu-img')
        with open(program, 'w') as script:
            script.write('#!/bin/sh\nset -e\nqemu-img "$@"\n'
                         f'for last; do :; done\nln "$last" {kept}\n')
        os.chmod(program, 0o700)
        path = self.create(disk_format, qemu_img_cmd=program)
        drive = self.host.storage.local(path)
        self.assertFalse(os.path.samefile(kept, drive))
        self.assertTrue(filecmp.cmp(kept, drive, shallow=False))

    def test_guest_finds_it_by_its_label(self):
        path = self.create(model.DiskFormat.ISO)
        described = subprocess.run(
            ['isoinfo', '-d', '-i', self.host.storage.local(path)],
            check=True, capture_output=True, text=True).stdout
        self.assertIn('Volume id: config-2', described)

    @ddt.data(*model.DiskFormat)
    def test_one_that_was_there_stays_when_the_rest_fails(self, disk_format):
        """A9: the host that it could not be evacuated from goes on."""
        self.create(disk_format)
        disk = self.disk(disk_format)
        drive = self.drive(inject_password=True)
        with contextlib.suppress(errors.HyperVError), self.undo() as undo:
            drive.create(disk, drive.metadata(
                self.instance, network_model.NetworkInfo(), [], PASSWORD),
                undo)
            raise errors.HyperVError(reason='later')
        self.assertEqual([f'configdrive.{disk_format.value}'],
                         self.paths.list_dir(DIR))
        self.assertEqual(PASSWORD, json.loads(self.read(
            disk.path, '/openstack/latest/meta_data.json'))['admin_pass'])

    @ddt.data('mkisofs_cmd', 'qemu_img_cmd')
    def test_one_that_was_there_survives_a_failing_tool(self, tool):
        path = self.create(model.DiskFormat.VHD)
        self.assertRaises(errors.CommandFailed, self.create,
                          model.DiskFormat.VHD, **{tool: 'false'})
        self.assertEqual(['configdrive.vhd'], self.paths.list_dir(DIR))
        self.assertTrue(self.read(path, '/openstack/latest/meta_data.json'))

    def test_those_of_other_hosts_are_removed_at_last(self):
        for disk_format in model.DiskFormat:
            self.create(disk_format)
        self.drive().drop_others(self.disk(model.DiskFormat.ISO))
        self.assertEqual(['configdrive.iso'], self.paths.list_dir(DIR))

    def test_other_one_that_is_in_use_stays(self):
        self.create(model.DiskFormat.VHD)
        with self.fabric.faults.failing(kind='file', match='remove *.vhd'):
            self.drive().drop_others(self.disk(model.DiskFormat.ISO))
        self.assertEqual(['configdrive.vhd'], self.paths.list_dir(DIR))

    @ddt.data(True, False)
    def test_password_is_written_only_if_enabled(self, enabled):
        """L034: the admin password only if the operator enabled it."""
        path = self.create(model.DiskFormat.ISO, inject_password=enabled)
        metadata = json.loads(self.read(path,
                                        '/openstack/latest/meta_data.json'))
        self.assertEqual(PASSWORD if enabled else None,
                         metadata.get('admin_pass'))

    @ddt.data({'mkisofs_cmd': 'false'}, {'qemu_img_cmd': 'false'},
              {'mkisofs_cmd': 'no-such-tool'})
    def test_failing_tool_leaves_nothing(self, options):
        """L031: the intermediate ISO is deleted when a tool fails."""
        with self.assertRaisesRegex(errors.CommandFailed,
                                    next(iter(options.values()))):
            self.create(model.DiskFormat.VHD, **options)
        self.assertEqual([], self.paths.list_dir(DIR))

    @ddt.data(*model.DiskFormat)
    def test_removal_that_fails_once_leaves_nothing(self, disk_format):
        with self.fabric.faults.failing(kind='file',
                                        match='remove_dir *.iso.files'):
            self.assertRaises(OSError, self.create, disk_format)
        self.assertEqual([], self.paths.list_dir(DIR))

    def test_files_of_a_killed_service_are_left_out(self):
        folder = DIR + r'\configdrive.iso.files\openstack'
        self.paths.make_dir(folder)
        with self.paths.open(folder + r'\old.json', 'wb') as stream:
            stream.write(b'of another time')
        listing = subprocess.run(
            ['7zz', 'l', self.host.storage.local(
                self.create(model.DiskFormat.ISO))],
            check=True, capture_output=True, text=True).stdout
        self.assertIn('meta_data.json', listing)
        self.assertNotIn('old.json', listing)
