# SPDX-License-Identifier: Apache-2.0
"""The command hyperv-sim, as a person uses it: several processes."""

import contextlib
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import ddt
from rich import console

from compute_hyperv.sim import cli
from compute_hyperv.sim import show
from tests.unit.sim import addresses

FABRIC = """\
clock: real
scale: 0.01
hosts:
  - {name: HV1, windows: 2022, cpus: 4, memory_mib: 8192,
     volumes: {C: 50, D: 100}}
  - {name: HV2, windows: 2019, switches: [{name: inner, kind: private}]}
"""
SCRIPT = """\
import sys
from compute_hyperv import oswin_loader
import os_win.exceptions

host = oswin_loader.bind()
vm = host.utilsfactory.get_vmutils()
host.utilsfactory.get_pathutils().check_create_dir('C:\\\\i')
vm.create_vm(sys.argv[1], False, 2, 'C:\\\\i')
vm.set_vm_state(sys.argv[1], 2)
print(host.name, vm.get_vm_state(sys.argv[1]))
"""
SIM = [sys.executable, '-m', 'compute_hyperv.sim']


class CommandsTest(unittest.TestCase):
    """One served fabric, from start to restart."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix='sim-')
        self.addCleanup(shutil.rmtree, self.folder)
        self.write('fabric.yaml', FABRIC)
        self.write('script.py', SCRIPT)
        self.socket = addresses.address(self.folder)
        self.serve()

    def write(self, name, text):
        with open(os.path.join(self.folder, name), 'w',
                  encoding='utf-8') as stream:
            stream.write(text)

    def serve(self):
        process = subprocess.Popen(
            SIM + ['serve', self.path('fabric.yaml'),
                   '--root', self.path('root'), '--socket', self.socket],
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.said = []
        for line in process.stdout:
            self.said.append(line)
            if line.startswith('serving'):
                break
        self.process = process

    def path(self, name):
        return os.path.join(self.folder, name)

    def sim(self, *args, code=0):
        """What the command prints, run in this process."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(
                out):
            found = cli.main([*args, '--socket', self.socket])
        self.assertEqual(code, found, out.getvalue())
        return out.getvalue()

    def run_script(self, host, name, *options):
        return subprocess.run(
            SIM + ['exec', '--host', host, '--socket', self.socket, *options,
                   '--', self.path('script.py'), name],
            capture_output=True, text=True, timeout=60)

    def test_life_of_a_served_fabric(self):
        self.assertRegex(self.sim('check'), r'^\(files were not.*\nclean\n$')
        done = self.run_script('HV1', 'web')
        self.assertEqual((0, 'HV1 2\n'), (done.returncode, done.stdout),
                         done.stderr)
        self.assertIn('1 of 1 running', self.sim('show'))
        self.assertIn('web', self.sim('show', 'vms'))
        self.assertEqual([], json.loads(
            self.sim('show', 'vms', '--on', 'HV2', '--json')))
        self.assertIn('DefineSystem', self.sim('trace', '--last', '0'))
        self.assertIn('method=', self.sim('trace', '--counts'))
        self.assertIn('VM web', self.sim('check', code=1))
        self.assertEqual('web off\n', self.sim('vm', 'off', 'web'))
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(0, self.process.wait(60))
        self.serve()
        self.assertIn('HV1: Windows Server 2022, 4 CPUs, 8192 MiB, as it '
                      'was\n', self.said)
        self.assertEqual('web running\n', self.sim('vm', 'start', 'web'))
        self.assertIn('web', self.sim('show', 'vm', 'web'))

    def test_faults_strike_other_processes(self):
        self.sim('fault', 'add', '--match', '*.DefineSystem', '--code',
                 '0x8000')
        done = self.run_script('HV2', 'web')
        self.assertEqual(1, done.returncode)
        self.assertIn('WMIJobFailed', done.stderr)
        listed = self.sim('fault', 'list')
        self.assertIn('returns 32768', listed)
        self.sim('fault', 'clear')
        self.assertEqual('no faults planned\n', self.sim('fault', 'list'))

    def test_kill_fault_ends_the_other_process(self):
        self.sim('fault', 'add', '--match', '*.DefineSystem', '--kill')
        self.assertEqual(addresses.KILLED,
                         self.run_script('HV1', 'web').returncode)
        self.assertEqual('clean\n', self.sim('check', '--mark'))

    def test_files_since_the_mark_are_problems(self):
        self.assertEqual('clean\n', self.sim(
            'check', '--mark', '--ignore', r'*\_BASE\*.vhdx'))
        for name in ('i/_base/image.vhdx', 'i/[1].txt'):
            path = pathlib.Path(self.path('root'), 'hosts', 'HV1', 'C', name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        self.assertEqual('HV1: left behind: C:\\i\\[1].txt\n1 problem\n',
                         self.sim('check', code=1))
        self.assertEqual('clean\n', self.sim(
            'check', '--mark', '--ignore', r'*\i\*'))
        self.assertIn('--mark', self.sim('check', '--ignore', '*', code=1))

    def test_stop_ends_the_server(self):
        self.sim('stop')
        self.assertEqual(0, self.process.wait(60))
        self.assertIn('no fabric is served', self.sim('show', code=1))

    def test_what_cannot_be_done_is_told(self):
        for args, text in ((('vm', 'off', 'nobody'), 'no VM is named'),
                           (('host', 'off', 'HV9'), 'no host HV9'),
                           (('show', 'vms', '--on', 'HV9'), 'no host'),
                           (('show', 'vm'), 'name of a machine is missing'),
                           (('show', 'vms', 'web'), 'one too many'),
                           (('network', 'cut', 'HV1', 'hv1'), 'itself'),
                           (('fault', 'add', '--kind', 'job'), 'percent'),
                           (('san', 'delete-lun', 'v'), 'no logical unit v'),
                           (('san', 'delete-target', 'v'), 'no target v'),
                           (('storage', 'down', 'FS'), 'no file server'),
                           (('exec', '--host', 'HV1'), 'a command is miss'),
                           (('fault', 'clear', '7'), 'no fault 7')):
            self.assertIn(text, self.sim(*args, code=1))
        done = self.run_script('HV9', 'web')
        self.assertEqual(1, done.returncode)
        self.assertIn('HV1, HV2', done.stderr)

    def test_faults_that_make_no_sense(self):
        """A misspelt kind would never strike, and nobody would know."""
        for args in (('add', '--kind', 'metod'), ('latency', 'metod', '1'),
                     ('add', '--nth', '0'), ('add', '--times', '-1'),
                     ('add', '--delay', '-1'), ('add', '--hresult', 'many'),
                     ('add', '--at-percent', '101'), ('latency', 'get', '-1')):
            with self.assertRaises(SystemExit) as caught:
                self.sim('fault', *args)
            self.assertEqual(2, caught.exception.code)

    def test_machines_do_not_run_while_their_host_is_off(self):
        for name in ('web', 'web'):
            self.run_script('HV1', name)
        self.assertRegex(self.sim('vm', 'start', 'web', code=1),
                         '2 VMs are named web; .*[0-9A-F]{12} on HV1')
        guid = json.loads(self.sim('show', 'vms', '--json'))[0]['guid']
        self.assertIn('running: "hyperv-sim vm off" first',
                      self.sim('vm', 'delete', guid, code=1))
        self.sim('host', 'off', 'HV1')
        self.assertIn('HV1 is off', self.sim('vm', 'start', guid, code=1))

    def test_exec_waits_for_the_server(self):
        self.sim('stop')
        self.process.wait(60)
        process = subprocess.Popen(
            SIM + ['exec', '--host', 'HV1', '--socket', self.socket,
                   '--wait', '60', '--', self.path('script.py'), 'web'],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(process.stdout.close)
        time.sleep(0.3)
        self.serve()
        self.assertEqual(b'HV1 2\n', process.stdout.read())
        self.assertEqual(0, process.wait(60))


@ddt.ddt
class HelpTest(unittest.TestCase):

    @ddt.data([], ['serve'], ['exec'], ['stop'], ['show'], ['trace'],
              ['check'], ['vm'], ['host'], ['network'], ['fault'],
              ['fault', 'add'], ['fault', 'list'], ['fault', 'clear'],
              ['fault', 'latency'], ['guest'], ['guest', 'disks'],
              ['guest', 'read'], ['guest', 'write'], ['san'], ['storage'])
    def test_every_command_explains_itself(self, command):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), self.assertRaises(
                SystemExit) as caught:
            cli.main([*command, '--help'])
        self.assertEqual(0, caught.exception.code)
        self.assertGreater(len(out.getvalue().splitlines()), 5)

    @ddt.data((None, ''), (0, '0 B'), (1023, '1023 B'), (1536, '1.5 KiB'),
              (4 << 20, '4.0 MiB'), (127 << 30, '127 GiB'),
              (2 << 50, '2048 TiB'))
    @ddt.unpack
    def test_sizes(self, number, text):
        self.assertEqual(text, show.size(number))

    @ddt.data((0, ''), (59, '59s'), (61, '1m 01s'), (3700, '1h 01m'),
              (90000, '1d 01h'))
    @ddt.unpack
    def test_durations(self, seconds, text):
        self.assertEqual(text, show.duration(seconds))


@ddt.ddt
class TableTest(unittest.TestCase):

    ROW = {'host': 'HV1', 'name': 'instance-00000001', 'state': 'running',
           'guest': 'up', 'uptime_s': 3700, 'generation': 2, 'cpus': 16,
           'memory_mib': 512, 'disks': 2, 'nics': 1,
           'notes': ['b23f80f2-6dea-4441-bed7-dc2149d3c72b', 'demo1']}

    def lines(self, width, view='vms', row=None):
        where = console.Console(width=width, file=io.StringIO())
        where.print(show.table(view, [row or self.ROW], width))
        return [line.rstrip() for line in where.file.getvalue().splitlines()]

    @ddt.data((160, ' notes', 3), (100, ' NICs', 4), (80, 'memory', 4),
              (72, 'memory', 4))
    @ddt.unpack
    def test_machines_take_one_line_each(self, width, last, count):
        shown = self.lines(width)
        self.assertEqual(count, len(shown), shown)
        self.assertTrue(shown[0].endswith(last), shown)
        self.assertIn('instance-00000001   running   up', shown[2])
        self.assertLessEqual(max(map(len, shown)), width)

    def test_caption_names_what_is_left_out(self):
        self.assertEqual('too narrow for: notes, NICs, disks',
                         self.lines(80)[3])
        self.assertNotIn('too narrow', '\n'.join(self.lines(160)))

    @ddt.data('vms', 'disks')
    def test_nothing_is_cut_off(self, view):
        name = 'WXYZ' * 8
        shown = ''.join(self.lines(40, view, {
            **self.ROW, 'name': name, 'vm': name, 'path': 'C:\\x',
            'type': 'disk'}))
        self.assertLessEqual(8, shown.count('Z'), shown)

    def test_long_paths_take_more_lines(self):
        shown = self.lines(80, 'disks', {
            'host': 'HV1', 'vm': 'instance-00000001', 'format': 'vhdx',
            'kind': 'differencing', 'size_bytes': 1 << 30,
            'file_size_bytes': 1 << 22, 'parent': 'C:\\base.vhdx',
            'path': 'C:\\OpenStack\\Instances\\instance-1\\root.vhdx'})
        self.assertIn('vhdx differencing   1.0 GiB', shown[2])
        self.assertIn('HV1    instance-00000001   C:\\OpenStack\\', shown[2])
        self.assertEqual('too narrow for: parent, on disk', shown[-1])
