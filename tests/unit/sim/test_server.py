# SPDX-License-Identifier: Apache-2.0
"""A fabric served to other processes, and its state on disk."""

import os
import subprocess
import sys
import threading
import time

import ddt

from compute_hyperv.sim import address
from compute_hyperv.sim import admin
from compute_hyperv.sim import errors
from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim import install
from compute_hyperv.sim import persist
from compute_hyperv.sim import remote
from compute_hyperv.sim import server as sim_server
from compute_hyperv.sim.wmi import face
from tests.unit.sim import addresses
from tests.unit.sim import simcase
from tests.unit.sim import test_install


class ServerTestCase(simcase.SimTestCase):
    """The fabric of the test, served; clients in the same process."""

    HOSTS = ('HV1', {'name': 'HV2', 'windows': '2016'})
    address = staticmethod(addresses.address)

    def setUp(self):
        super().setUp()
        self.socket = self.address(self.fabric.root_dir)
        self.server = sim_server.Server(self.fabric, self.socket)
        self.server.start()
        self.addCleanup(self.server.stop)

    def port(self, name='HV1', role='admin'):
        port = remote.RemotePort(self.socket, name, role)
        self.addCleanup(port.close)
        return port

    def until(self, check):
        deadline_s = time.monotonic() + 60
        while not check():
            self.assertLess(time.monotonic(), deadline_s, 'never happened')
            time.sleep(0.01)

    def until_gone(self, port):
        port.close()
        self.until(lambda: port.client not in [
            one.name for one in self.server.clients()])


class LoopbackTest(ServerTestCase):
    """A fabric on a TCP port, as Windows programs use it."""

    address = staticmethod(addresses.tcp)

    def token_path(self):
        return self.socket.split(':', 2)[2]

    def test_calls_and_lifelines_work(self):
        port = self.port(role='compute')
        self.assertTrue(port.call('file.stat', path='C:\\')['local'])
        self.assertEqual([os.getpid()], [
            one.pid for one in self.server.clients()])
        self.until_gone(port)

    def test_only_who_knows_the_token_is_heard(self):
        with open(self.token_path(), 'wb') as stream:
            stream.write(b'0' * 32)
        with self.assertRaises(OSError):
            remote.admin(self.socket, 'admin.check')
        self.assertEqual([], self.server.clients())

    def test_token_is_its_owners_alone(self):
        if sys.platform != 'win32':
            self.assertEqual(0o600, os.stat(self.token_path()).st_mode
                             & 0o777)
        self.assertEqual(32, os.path.getsize(self.token_path()))

    def test_token_goes_with_the_server(self):
        self.server.stop()
        self.assertFalse(os.path.exists(self.token_path()))
        with self.assertRaisesRegex(OSError, 'no fabric is served on tcp:'):
            remote.admin(self.socket, 'admin.check')

    def test_port_is_served_once(self):
        with self.assertRaises(OSError):
            sim_server.Server(self.fabric, self.socket).start()

    def test_malformed_addresses(self):
        for text in ('tcp:', 'tcp:12', 'tcp:12:', 'tcp:x:/token'):
            with self.assertRaises(ValueError, msg=text):
                address.Address(text)


@ddt.ddt
class CallTest(ServerTestCase):

    def test_instances_cross_unchanged(self):
        self.add_vm('a', OperationalStatus=[2, 3], Description='ä "\\')
        here = self.connect().Msvm_ComputerSystem(ElementName='a')[0]
        there = face.module(self.port()).WMI(
            '//./root/virtualization/v2').Msvm_ComputerSystem(
                ElementName='a')[0]
        for name in ('path_', 'GetText_'):
            self.assertEqual(getattr(here, name)(), getattr(there, name)())
        self.assertEqual((2, 3), there.OperationalStatus)

    @ddt.data((errors.wmi_error(0x80041002), errors.x_wmi),
              (errors.wmi_error(errors.WBEM_E_TIMED_OUT),
               errors.x_wmi_timed_out),
              (errors.Win32Error(32, 'C:\\a'), errors.Win32Error),
              (errors.NotSimulated('x'), errors.NotSimulated),
              (LookupError('x'), LookupError), (OSError('x'), RuntimeError))
    @ddt.unpack
    def test_errors_cross_unchanged(self, error, cls):
        again = remote.error_from_wire(remote.error_to_wire(error))
        self.assertIsInstance(again, cls)
        self.assertIn(str(error), str(again))

    def test_error_of_a_call(self):
        wmi = face.module(self.port())
        with self.assertRaises(wmi.x_wmi) as caught:
            wmi.WMI('//./root/nothing')
        self.assertIn('8004100E', str(caught.exception))

    def test_unknown_host_is_refused_with_the_known_ones(self):
        with self.assertRaises(LookupError) as caught:
            remote.RemotePort(self.socket, 'HV9')
        self.assertIn('HV1, HV2', str(caught.exception))

    def test_calls_run_at_once_on_connections_of_their_own(self):
        port = self.port()
        conn = face.module(port).WMI('//./root/virtualization/v2')
        watcher = conn.watch_for(raw_wql=(
            "SELECT * FROM __InstanceCreationEvent WITHIN 1 WHERE "
            "TargetInstance ISA 'Msvm_ComputerSystem'"))
        seen = []
        thread = threading.Thread(
            target=lambda: seen.append(watcher(60000).ElementName))
        thread.start()
        self.assertEqual([], conn.Msvm_ComputerSystem(ElementName='a'))
        self.add_vm('a')
        thread.join(60)
        self.assertEqual(['a'], seen)

    def test_second_server_on_the_socket_is_refused(self):
        other = sim_server.Server(self.fabric, self.socket)
        self.assertRaises(OSError, other.start)
        self.fabric.server = self.server

    def test_state_is_saved_while_serving(self):
        path = os.path.join(self.fabric.root_dir, 'state.json')
        other = sim_server.Server(self.fabric, self.socket + '2', path,
                                  save_every_s=0.05)
        other.start()
        self.addCleanup(setattr, self.fabric, 'server', self.server)
        self.add_vm('a')
        self.until(lambda: os.path.exists(path))
        with open(path, encoding='utf-8') as stream:
            self.assertIn('"ElementName":"a"', stream.read())
        stamp = os.stat(path).st_mtime_ns
        time.sleep(0.2)
        self.assertEqual(stamp, os.stat(path).st_mtime_ns)
        other.stop()

    def test_only_the_owner_may_connect(self):
        self.assertEqual(0o600, os.stat(self.socket).st_mode & 0o777)


class ClientTest(ServerTestCase):

    def test_what_a_process_had_open_is_closed_when_it_ends(self):
        port = self.port(role='compute')
        host = install.bound(remote.RemoteHost(port))
        host.files.make_dirs('C:\\i')
        stream = host.files.open('C:\\i\\a', 'wb')
        conn = face.module(port).WMI('//./root/virtualization/v2')
        conn.watch_for(raw_wql=(
            "SELECT * FROM __InstanceCreationEvent WITHIN 1 WHERE "
            "TargetInstance ISA 'Msvm_ComputerSystem'"))
        self.assertEqual(1, len(self.host.watches))
        self.assertTrue(self.host.storage.problems())
        self.until_gone(port)
        self.until(lambda: not self.host.storage.problems())
        self.assertEqual([], self.host.watches)
        del stream

    def test_server_that_is_gone_is_an_unavailable_host(self):
        wmi = face.module(self.port())
        conn = wmi.WMI('//./root/virtualization/v2')
        self.server.stop()
        self.assert_hresult(errors.RPC_S_SERVER_UNAVAILABLE, conn.query,
                            'select * from Msvm_ComputerSystem')

    def test_client_goes_on_with_a_server_that_came_back(self):
        port = self.port()
        port.call('wmi.connect', on='.', ns='root/cimv2')
        self.server.stop()
        fabric = sim_fabric.Fabric(self.fabric.root_dir, self.HOSTS)
        again = sim_server.Server(fabric, self.socket)
        again.start()
        self.addCleanup(again.stop)
        self.assertEqual('root/cimv2', port.call(
            'wmi.connect', on='.', ns='root/cimv2'))

    def test_os_win_runs_over_the_socket(self):
        self.fabric.mark()
        workload = test_install.Workload(
            install.bound(remote.RemoteHost(self.port('HV2', 'compute'))))
        self.assertEqual((2, '10.0.14393'), workload.spawn('a'))
        self.assertEqual(['a'], [vm.name for vm
                                 in self.fabric.host('HV2').vms])
        workload.destroy('a')
        self.assertEqual([], [
            one for one in self.fabric.problems() if 'left behind' not in
            one])


@ddt.ddt
class AdminTest(ServerTestCase):

    def setUp(self):
        super().setUp()
        with self.fabric.on('HV1'):
            self.work = test_install.Workload(install.bound(self.host))
        self.work.spawn('a')

    def do(self, op, **args):
        return remote.admin(self.socket, op, **args)

    @ddt.data(('off', 'off'), ('pause', 'paused'), ('save', 'saved'),
              ('reset', 'running'), ('start', 'running'))
    @ddt.unpack
    def test_power(self, act, state):
        self.assertEqual(state, self.do('admin.vm', name='a', act=act))

    def test_guest_is_asked_to_stop(self):
        self.assertEqual('off', self.do('admin.vm', name='A', act='stop'))
        with self.assertRaises(ValueError):
            self.do('admin.vm', name='a', act='stop')

    def test_delete(self):
        self.do('admin.vm', name='a', act='off')
        self.do('admin.vm', name='a', act='delete')
        self.assertEqual([], list(self.host.vms))

    def test_what_hyper_v_refuses_is_refused(self):
        with self.assertRaises(ValueError):
            self.do('admin.vm', name='a', act='delete')

    def test_unknown_machine(self):
        with self.assertRaises(LookupError):
            self.do('admin.vm', name='b', act='off')

    @ddt.data('hosts', 'vms', 'disks', 'switches', 'jobs', 'sessions')
    def test_every_view_has_rows(self, view):
        self.assertTrue(self.do('admin.show', what=view))

    def test_machine_is_found_by_its_notes(self):
        row = self.do('admin.show', what='vm', name='A')
        self.assertEqual(('a', 'running', 2, 'external'), (
            row['name'], row['state'], row['generation'],
            row['adapters'][0]['switch']))

    def test_acts_are_no_calls(self):
        before = self.fabric.recorder.counts()
        self.do('admin.vm', name='a', act='off')
        self.assertEqual(before, self.fabric.recorder.counts())

    def test_faults(self):
        fault = self.do('admin.fault.add', host='hv1', match='*.Define*',
                        code=5)
        plan = self.do('admin.fault.list')
        self.assertEqual('returns 5', plan['faults'][0]['effect'])
        self.do('admin.fault.clear', number=fault['number'])
        self.assertEqual([], self.do('admin.fault.list')['faults'])

    def test_every_action_is_known(self):
        with self.assertRaises(LookupError):
            self.do('admin.nothing')
        self.assertIn('admin.check', admin._actions)

    def test_host_without_power_answers_nobody(self):
        self.assertEqual('off', self.do('admin.host', name='HV1',
                                        act='off'))
        with self.assertRaises(self.wmi.x_wmi):
            self.work.vm.list_instances()
        self.assertEqual('on', self.do('admin.host', name='HV1', act='on'))
        self.assertEqual(['a'], self.work.vm.list_instances())
        self.assertEqual(3, self.work.vm.get_vm_state('a'))

    def test_power_cut_kills_the_processes_of_the_host(self):
        code = ('import sys, time\n'
                'from compute_hyperv.sim import remote\n'
                'port = remote.RemotePort(sys.argv[1], "HV1", "compute")\n'
                'print("up", flush=True)\n'
                'time.sleep(60)\n')
        process = subprocess.Popen([sys.executable, '-c', code, self.socket],
                                   stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.assertEqual(b'up', process.stdout.readline().strip())
        self.do('admin.host', name='HV2', act='off')
        self.assertIsNone(process.poll())
        self.do('admin.host', name='HV1', act='off')
        self.assertEqual(addresses.KILLED, process.wait(60))


class PersistTest(simcase.SimTestCase):

    HOSTS = ('HV1', {'name': 'HV2', 'windows': '2016'})

    def reloaded(self, hosts=HOSTS):
        path = os.path.join(self.fabric.root_dir, 'state.json')
        persist.save(self.fabric, path)
        self.fabric.close()
        fabric = sim_fabric.Fabric(self.fabric.root_dir, hosts)
        self.addCleanup(fabric.close)
        self.found = persist.load(fabric, path)
        return fabric

    def work(self, fabric, host='HV1'):
        with fabric.on(host):
            return test_install.Workload(install.bound(fabric.host(host)))

    def test_machines_come_back_as_after_a_reboot(self):
        work = self.work(self.fabric)
        for name in ('running', 'saved', 'off'):
            work.spawn(name)
        admin.change_vm(self.fabric, 'saved', 'save')
        admin.change_vm(self.fabric, 'off', 'off')
        fabric = self.reloaded()
        self.assertEqual(['HV1', 'HV2'], self.found)
        self.assertEqual(
            {'running': 'off', 'saved': 'saved', 'off': 'off'},
            {row['name']: row['state'] for row in admin.show(fabric, 'vms')})

    def test_machines_that_came_back_work(self):
        self.work(self.fabric).spawn('a')
        fabric = self.reloaded()
        work = self.work(fabric)
        work.vm.set_vm_state('a', 2)
        self.assertEqual('C:\\i\\a\\base.vhdx', work.vhd.get_vhd_info(
            'C:\\i\\a\\root.vhdx')['ParentPath'])
        work.destroy('a')
        self.assertEqual([], fabric.problems())

    def test_objects_of_every_namespace_survive(self):
        fabric = self.reloaded()
        for name in self.HOSTS[:1]:
            for low, store in self.fabric.host(name).stores.items():
                self.assertEqual(
                    [rec.path for rec in store.all()],
                    [rec.path for rec
                     in fabric.host(name).stores[low].all()], low)

    def test_new_and_changed_hosts_start_fresh(self):
        self.work(self.fabric).spawn('a')
        fabric = self.reloaded(('HV3', {'name': 'HV1', 'windows': '2025'}))
        self.assertEqual([], self.found)
        self.assertEqual([], list(fabric.host('HV1').vms))

    def test_other_files_are_refused(self):
        path = os.path.join(self.fabric.root_dir, 'other.json')
        with open(path, 'w', encoding='utf-8') as stream:
            stream.write('{"format": 99}')
        self.assertRaises(ValueError, persist.load, self.fabric, path)
