# SPDX-License-Identifier: Apache-2.0
"""Feature letter C, row 14: the config drive, read as a guest reads it."""

import base64
import json
import subprocess

from tests.functional import base


class ConfigDriveCase(base.TestCase):

    #: Options of [hyperv].
    OPTIONS = {}

    def _set_flags(self):
        super()._set_flags()
        self.flags(group='hyperv', qemu_img_cmd='qemu-img', **self.OPTIONS)
        self.flags(mkisofs_cmd='genisoimage')

    def boot_with_drive(self, generation=1, **body):
        image_id = self.glance.add_disk(
            hw_machine_type=f'hyperv-gen{generation}')
        return self.boot(image_id, config_drive=True, **body)

    def read(self, server, name, binary=False):
        """The content of a file of the server's config drive."""
        drive, = [drive for drive in self.vm(server).drives
                  if drive.name.startswith('configdrive')]
        local = self.host.storage.local(drive.path)
        if not drive.is_dvd:
            with self.open_disk(drive.path) as disk:
                content = disk.read(0, disk.size_bytes)
            local = f'{local}.raw'
            self.addCleanup(self.host.storage.ignored.append, drive.path)
            with open(local, 'wb') as raw:
                raw.write(content)
        return subprocess.run(
            ['isoinfo', '-J', '-i', local, '-x', f'/openstack/{name}'],
            check=True, capture_output=True).stdout

    def metadata(self, server):
        return json.loads(self.read(server, 'latest/meta_data.json'))


class DiskTest(ConfigDriveCase):
    """The default: a small disk."""

    def test_disk_is_where_its_generation_has_it(self):
        """L032: gen 1 on the second IDE controller, gen 2 on SCSI.

        L034: the password is on it only if the operator enabled it.
        """
        for generation, name, slot in (
                (1, 'configdrive.vhd', ('ide', 1, 1)),
                (2, 'configdrive.vhdx', ('scsi', 0, 1))):
            server = self.boot_with_drive(generation, adminPass='secret')
            drive = self.vm(server).drive(name)
            self.assertEqual((slot, False), (
                (drive.bus, drive.controller, drive.lun), drive.is_dvd))
            metadata = self.metadata(server)
            self.assertEqual(server['id'], metadata['uuid'])
            self.assertNotIn('admin_pass', metadata)

    def test_files_user_data_and_metadata_are_on_it(self):
        self.api.microversion = '2.56'      # the last with personality
        server = self.boot_with_drive(
            user_data=base64.b64encode(b'#!/bin/sh\n').decode(),
            metadata={'role': 'db'}, personality=[{
                'path': '/etc/motd',
                'contents': base64.b64encode(b'\x00hello').decode()}])
        metadata = self.metadata(server)
        self.assertEqual({'role': 'db'}, metadata['meta'])
        placed, = metadata['files']
        self.assertEqual('/etc/motd', placed['path'])
        self.assertEqual(b'\x00hello',
                         self.read(server, placed['content_path'][1:]))
        self.assertEqual(b'#!/bin/sh\n',
                         self.read(server, 'latest/user_data'))

    def test_devices_and_their_tags_are_on_it(self):
        """C15: what the metadata service tells of them."""
        port = self.neutron.port_1
        server = self.boot_with_drive(
            2, networks=[{'port': port['id'], 'tag': 'backup'}])
        nic, disk = self.metadata(server)['devices']
        self.assertEqual((port['mac_address'], ['backup']),
                         (nic['mac'], nic['tags']))
        self.assertEqual(('scsi', '0:0:0:0'), (disk['bus'], disk['address']))

    def test_static_addresses_are_in_the_network_data(self):
        """L035: addresses of networks without DHCP are written down."""
        for name, subnet in self.neutron._subnets.items():
            self.neutron._subnets[name] = subnet | {'enable_dhcp': False}
        server = self.boot_with_drive(networks='auto')
        port, = self.neutron.ports(server['id'])
        network = json.loads(self.read(server, 'latest/network_data.json'))
        self.assertIn(
            port['fixed_ips'][0]['ip_address'],
            [item['ip_address'] for item in network['networks']])
        self.assertEqual([port['mac_address']],
                         [link['ethernet_mac_address']
                          for link in network['links']])

    def test_failing_tool_fails_the_build_and_leaves_nothing(self):
        """L031: the build is rolled back, the intermediate ISO deleted."""
        self.driver()._ops.vms._config_drive._qemu_img_cmd = 'false'
        image_id = self.glance.add_disk()
        self.boot(image_id, config_drive=True, state='ERROR')
        self.assertIn('false failed: exit code 1', self.stdlog.logger.output)
        self.assertEqual([], self.view().vm_names)
        self.fabric.assert_clean()


class CdTest(ConfigDriveCase):

    OPTIONS = {'config_drive_cdrom': True,
               'config_drive_inject_password': True}

    def test_drive_is_a_cd_with_the_password(self):
        """L032, L034: a DVD as configured; the password if enabled."""
        server = self.boot_with_drive(2, adminPass='secret')
        self.assertTrue(self.vm(server).drive('configdrive.iso').is_dvd)
        self.assertEqual('secret', self.metadata(server)['admin_pass'])
        # An image can demand one.
        image_id = self.glance.add_disk(img_config_drive='mandatory')
        server = self.boot(image_id)
        self.assertEqual('True', server['config_drive'])
        self.assertEqual(server['id'], self.metadata(server)['uuid'])


class InjectedNetworkTest(ConfigDriveCase):
    """Networks whose addresses are written, not served by DHCP."""

    def _set_flags(self):
        super()._set_flags()
        self.flags(flat_injected=True)

    def test_template_is_filled_in(self):
        server = self.boot_with_drive(networks='auto')
        port, = self.neutron.ports(server['id'])
        metadata = self.metadata(server)
        config = self.read(server, metadata['network_config'][
            'content_path'][1:]).decode()
        self.assertIn(port['fixed_ips'][0]['ip_address'], config)


class OtherFormatTest(ConfigDriveCase):

    def _set_flags(self):
        super()._set_flags()
        self.flags(config_drive_format='vfat')

    def test_other_format_is_refused(self):
        """L031: a format other than iso9660 fails the build."""
        server = self.boot(config_drive=True, state='ERROR')
        self.assertIn('config_drive_format=vfat; allowed on Hyper-V hosts: '
                      'iso9660', self.fault(server))
        self.assertEqual([], self.view().vm_names)
