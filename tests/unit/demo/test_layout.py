# SPDX-License-Identifier: Apache-2.0
"""tools/cloud/layout.py and configs.py."""

import configparser
import pathlib
import socket
import stat

from cloud import configs
from cloud import errors
from cloud import layout
from tests.unit.demo import foldercase


class SettingsTest(foldercase.FolderCase):

    def test_choices_are_kept(self):
        first = layout.settle(self.layout)
        self.assertEqual(first, layout.settle(self.layout))
        self.assertEqual(first, layout.load_settings(self.layout))

    def test_other_ports_are_refused_for_a_cloud_that_exists(self):
        layout.settle(self.layout, 25000)
        self.assertEqual(25000, layout.settle(self.layout, 25000).first_port)
        with self.assertRaisesRegex(errors.DemoError, '25000'):
            layout.settle(self.layout, 26000)

    def test_ports_that_cannot_be_used_are_refused_and_not_kept(self):
        base = layout.free_ports(self.layout.root_dir)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(('127.0.0.1', base + 7))
            taken.listen()
            for port, text in ((80, '1024'), (65500, '65476'),
                               (base, f'port {base + 7}')):
                with self.assertRaisesRegex(errors.DemoError, text):
                    layout.settle(self.layout, port)
        self.assertIsNone(layout.load_settings(self.layout))
        self.assertEqual(base, layout.settle(self.layout, base).first_port)

    def test_commands_name_a_folder_that_is_not_the_default(self):
        self.assertEqual(f'tools/demo down --dir {self.layout.base_dir}',
                         self.layout.command('down'))
        self.assertEqual('tools/demo down', layout.Layout(
            layout.DEFAULT_DIR).command('down'))

    def test_damaged_settings_are_told_and_not_replaced(self):
        path = self.layout.root_dir / 'cloud.json'
        path.write_text('{"first_port": 1')
        with self.assertRaisesRegex(errors.DemoError, 'clean'):
            layout.settle(self.layout)
        self.assertEqual('{"first_port": 1', path.read_text())

    def test_secrets_are_for_their_owner_only(self):
        layout.settle(self.layout)
        for path in (self.layout.root_dir / 'cloud.json',
                     self.layout.root_dir):
            self.assertEqual(0, path.stat().st_mode & (
                stat.S_IRWXG | stat.S_IRWXO), path)

    def test_range_with_a_port_in_use_is_passed_over(self):
        base = layout.free_ports(self.layout.root_dir)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(('127.0.0.1', base + layout.PORTS['nova']))
            taken.listen()
            self.assertFalse(layout.is_free(base + layout.PORTS['nova']))
            self.assertNotEqual(base, layout.free_ports(self.layout.root_dir))

    def test_clouds_that_are_down_keep_others_off_their_ports(self):
        first = layout.Layout(pathlib.Path('/srv/one'))
        self.assertEqual(4, len({layout.free_ports(folder) for folder in (
            first.root_dir, layout.Layout(first.base_dir, 'check').root_dir,
            pathlib.Path('/srv/two/cloud'), pathlib.Path('/srv/owt/cloud'))}))

    def test_no_two_services_share_a_port(self):
        settings = layout.settle(self.layout)
        ports = [settings.port(name) for name in layout.PORTS]
        for node in layout.NODES:
            first, last = settings.console_ports(node)
            ports.extend(range(first, last + 1))
        self.assertEqual(len(set(ports)), len(ports))
        self.assertLess(max(ports), settings.first_port + layout.PORT_SPAN)


class ConfigsTest(foldercase.FolderCase):

    def setUp(self):
        super().setUp()
        self.settings = layout.settle(self.layout, 25000)
        configs.Configs(self.layout, self.settings).write_all()

    def read(self, name):
        parser = configparser.RawConfigParser()
        parser.read(self.layout.etc_dir / name)
        return parser

    def test_compute_is_given_no_database(self):
        compute = self.read('nova/compute.conf')
        for section in ('database', 'api_database'):
            self.assertFalse(compute.has_section(section))
            self.assertTrue(self.read('nova/nova.conf').has_section(section))

    def test_nodes_differ_in_host_state_and_consoles(self):
        one, two = (self.read(f'nova/{node}.conf') for node in layout.NODES)
        for section, option in (('DEFAULT', 'host'),
                                ('DEFAULT', 'state_path'),
                                ('serial_console', 'port_range')):
            self.assertNotEqual(one.get(section, option),
                                two.get(section, option), option)

    def test_every_address_is_loopback(self):
        for path in self.layout.etc_dir.rglob('*'):
            if path.is_file():
                self.assertNotIn('0.0.0.0', path.read_text(), path)

    def test_keys_survive_a_second_writing(self):
        folder = self.layout.data_dir / 'keystone' / 'fernet-keys'
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        configs.Configs(self.layout, self.settings).write_all()
        after = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.assertEqual(['0', '1'], sorted(before))
        self.assertEqual(before, after)

    def test_dollar_in_a_value_is_no_reference(self):
        path = self.layout.etc_dir / 'some.conf'
        configs.write(path, {'DEFAULT': {'state_path': '/srv/$HOME/x'}})
        self.assertIn('state_path = /srv/$$HOME/x\n', path.read_text())

    def test_files_with_passwords_are_for_their_owner_only(self):
        for path in (self.layout.etc_dir / 'nova' / 'nova.conf',
                     self.layout.openrc_path):
            self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode), path)
