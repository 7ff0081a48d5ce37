# SPDX-License-Identifier: Apache-2.0
"""RBD images: the commands rbd and rbd-wnbd, and their disks.

Source: Ceph's documentation, "RBD on Windows".
"""

import json
import os
import subprocess

from compute_hyperv.sim import programs
from compute_hyperv.sim import server as sim_server
from tests.unit.sim import sancase

MIB = 1 << 20
IMAGE = 'volumes/volume-3'


class RbdTest(sancase.SanCase):

    def setUp(self):
        super().setUp()
        socket = os.path.join(self.fabric.root_dir, 'socket')
        server = sim_server.Server(self.fabric, socket)
        server.start()
        self.addCleanup(server.stop)
        self.folder = os.path.join(self.fabric.root_dir, 'bin')
        programs.write(self.folder, socket, 'HV1')
        self.image = self.san.create_lun(IMAGE, 16 * MIB)

    def run_in_process(self, program, *argv):
        return self.host.port.call('program.run', program=program,
                                   argv=list(argv))

    def assert_done(self, program, *argv):
        done = self.run_in_process(program, *argv)
        self.assertEqual((0, ''), (done['code'], done['err']))
        return done['out']

    def show(self, image=IMAGE):
        return json.loads(self.assert_done('rbd-wnbd', 'show', image,
                                           '--format', 'json'))

    def test_commands_are_programs(self):
        """As the driver runs them: found in PATH, exit code, JSON."""
        path = self.folder + os.pathsep + os.environ['PATH']

        def run(*command):
            return subprocess.run(command, env={'PATH': path}, timeout=60,
                                  capture_output=True)
        self.assertEqual(0, run('rbd', 'device', 'map', IMAGE, '--id',
                                'cinder').returncode)
        done = run('rbd-wnbd', 'show', IMAGE, '--format', 'json')
        self.assertEqual(1, json.loads(done.stdout)['disk_number'])
        done = run('rbd-wnbd', 'show', 'volumes/none', '--format', 'json')
        self.assertEqual((2, b''), (done.returncode, done.stdout))
        self.assertIn(b'not mapped', done.stderr)

    def test_map_show_list_unmap(self):
        self.assert_done('rbd', 'device', 'map', IMAGE)
        self.assertEqual(
            {'pool': 'volumes', 'image': 'volume-3', 'disk_number': 1,
             'status': 'active', 'device': IMAGE},
            {key: value for key, value in self.show().items()
             if key in ('pool', 'image', 'disk_number', 'status', 'device')})
        self.assertEqual([self.show()], json.loads(self.assert_done(
            'rbd', 'device', 'list', '--format=json')))
        self.assertEqual(16 * MIB, self.disks.get_disk_size(1))
        self.assertIn('RBD image %s is mapped' % IMAGE,
                      self.host.problems())
        self.assert_done('rbd', 'device', 'unmap', IMAGE)
        self.assertEqual([], self.host.luns.problems())
        self.assertEqual([], self.host.rbd.problems())

    def test_disk_is_sas_and_therefore_offline(self):
        """The SAN policy counts SAS as a shared bus."""
        self.assert_done('rbd', 'device', 'map', IMAGE)
        disk = self.disks._get_disk_by_number(1)
        self.assertEqual((10, True, True), (
            disk.BusType, disk.IsOffline, disk.IsReadOnly))

    def test_pool_has_a_default(self):
        self.san.create_lun('rbd/plain', MIB)
        self.assert_done('rbd', 'device', 'map', 'plain')
        self.assert_done('rbd', '-p', 'volumes', 'device', 'map', 'volume-3')
        self.assertEqual(['rbd/plain', IMAGE], list(self.host.rbd.mapped))

    def test_refusals_carry_an_errno(self):
        self.assert_done('rbd', 'device', 'map', IMAGE)
        for code, command in (
                (17, ('rbd', 'device', 'map', IMAGE)),
                (2, ('rbd', 'device', 'map', 'volumes/none')),
                (2, ('rbd', 'device', 'unmap', 'volumes/none')),
                (22, ('rbd', 'device', 'unmap')),
                (22, ('rbd', 'create', 'x'))):
            with self.subTest(command):
                self.assertEqual(code, self.run_in_process(*command)['code'])

    def test_disk_of_a_running_machine(self):
        self.make_vm()
        self.assert_done('rbd', 'device', 'map', IMAGE)
        self.attach(1, serial='volume-3')
        self.power(2)
        disk = self.guest_disk(tag='volume-3')
        disk.write(0, b'to ceph')
        self.assertEqual(b'to ceph', self.image.read(0, 7))
        self.assertEqual(16, self.run_in_process(
            'rbd', 'device', 'unmap', IMAGE)['code'])
        self.assert_done('rbd', 'device', 'unmap', IMAGE, '-o',
                         'hard-disconnect')
        with self.assertRaises(OSError):
            disk.read(0, 1)

    def test_boot_maps_again_unless_told_otherwise(self):
        self.san.create_lun('volumes/brief', MIB)
        self.assert_done('rbd', 'device', 'map', IMAGE)
        self.assert_done('rbd', 'device', 'map', 'volumes/brief',
                         '-onon-persistent')
        self.host.power_off()
        self.host.power_on()
        self.assertEqual([IMAGE], list(self.host.rbd.mapped))
        self.assertEqual(1, self.show()['disk_number'])

    def test_program_can_fail_by_plan(self):
        self.fabric.faults.add(kind='program', match='rbd device map*')
        path = os.path.join(self.folder, 'rbd')
        done = subprocess.run([path, 'device', 'map', IMAGE], timeout=60,
                              capture_output=True)
        self.assertEqual(1, done.returncode)
        self.assertEqual({}, self.host.rbd.mapped)
