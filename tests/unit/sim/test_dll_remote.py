# SPDX-License-Identifier: Apache-2.0
"""DLLs, files and pipes of a host whose fabric is in another process."""

import threading
import time
from unittest import mock

from compute_hyperv import oswin_loader
from compute_hyperv.sim import disks
from compute_hyperv.sim import install
from compute_hyperv.sim import osmodules
from compute_hyperv.sim import remote
from compute_hyperv.sim import server as sim_server
from tests.unit.sim import addresses
from tests.unit.sim import onehost

BASE, CHILD = 'C:\\d\\base.vhdx', 'C:\\d\\child.vhdx'
NAME = r'\\.\pipe\vm-1'


class RemoteCase(onehost.OneHostCase):
    """A served fabric; the client is os-win on a RemotePort."""

    def setUp(self):
        super().setUp()
        socket = addresses.address(self.fabric.root_dir)
        self.server = sim_server.Server(self.fabric, socket)
        self.server.start()
        self.addCleanup(self.server.stop)
        self.port = remote.RemotePort(socket, 'HV1', 'admin')
        self.addCleanup(self.port.close)
        self.files = osmodules.Files(self.port)
        self.win = oswin_loader.Universe(
            install.answers(self.port)).load(oswin_loader.FACTORY)
        self.files.make_dirs('C:\\d')

    def until(self, check):
        deadline_s = time.monotonic() + 60
        while not check():
            self.assertLess(time.monotonic(), deadline_s)
            time.sleep(0.01)


class RemoteStorageTest(RemoteCase):
    """The storage array seen by another process."""

    HOST = {'extra': {'fc_hbas': [{'wwnn': '2000000000000001',
                                   'wwpns': ['2100000000000001']}]}}

    def test_iscsi(self):
        san, iqn = self.fabric.san, 'iqn.2010-10.org.openstack:v'
        san.create_lun('v', 1 << 20)
        san.create_target(iqn, ['127.0.0.10:3260'],
                          chap=('user', 'a-long-secret'))
        san.map(iqn, 1, 'v')
        iscsi = self.win.get_iscsi_initiator_utils()
        iscsi.login_storage_target(
            1, iqn, '127.0.0.10:3260', auth_username='user',
            auth_password='a-long-secret')
        self.assertEqual((1, r'\\.\PhysicalDrive1'),
                         iscsi.get_device_number_and_path(iqn, 1))
        iscsi.logout_storage_target(iqn)
        self.assertEqual([], self.host.initiator.problems())

    def test_fibre_channel_and_shares(self):
        self.assertEqual([{'node_name': '2000000000000001',
                           'port_name': '2100000000000001'}],
                         self.win.get_fc_utils().get_fc_hba_ports())
        self.fabric.shares.add(r'\\FILER\vms', 1 << 30)
        self.assertFalse(self.win.get_smbutils().is_local_share(
            r'\\FILER\vms'))

    def test_adapters_of_a_dead_process_are_closed(self):
        self.port.call('dll.hbaapi.HBA_OpenAdapterByWWN',
                       wwn='2000000000000001', client=self.port.client)
        self.assertEqual(1, len(self.host.hbas.problems()))
        self.port.close()
        self.until(lambda: not self.host.hbas.problems())


class RemoteTest(RemoteCase):

    def test_disks(self):
        vhd, disk = self.win.get_vhdutils(), self.win.get_diskutils()
        vhd.create_dynamic_vhd(BASE, 64 << 20)
        vhd.create_differencing_vhd(CHILD, BASE)
        vhd.resize_vhd(CHILD, 1 << 30, is_file_max_size=False)
        info = vhd.get_vhd_info(CHILD)
        self.assertEqual((1 << 30, BASE),
                         (info['VirtualSize'], info['ParentPath']))
        vhd.attach_virtual_disk(CHILD)
        self.assertTrue(disk.is_virtual_disk_file_attached(CHILD))
        vhd.detach_virtual_disk(CHILD)
        vhd.merge_vhd(CHILD)
        self.assertEqual(['base.vhdx'], self.files.list_dir('C:\\d'))
        self.assert_clean()

    def test_errors_keep_their_codes(self):
        self.write('C:\\d\\f', b'x')
        held = self.storage.hold('C:\\d\\f', write=True, share='none')
        self.assert_fails(32, self.files.open, 'C:\\d\\f')
        self.assert_fails(32, self.files.remove, 'C:\\d\\f')
        held.close()
        exceptions = self.oswin_module('os_win.exceptions')
        with self.assertRaises(exceptions.Win32Exception) as caught:
            self.win.get_vhdutils().get_vhd_info('C:\\d\\none.vhdx')
        self.assertEqual(2, caught.exception.error_code)

    def test_access_control(self):
        self.write('C:\\d\\f')
        self.win.get_pathutils().add_acl_rule('C:\\d\\f', 'Everyone',
                                              0x10000000, 1)
        self.assertIn('Everyone:(F)', self.port.call(
            'program.icacls', arguments=['C:\\d\\f']))

    def test_serial_console(self):
        pipe = self.host.pipes.open(NAME, lambda data: pipe.write(data))
        self.addCleanup(pipe.close)
        handler = self.win.get_named_pipe_handler(NAME,
                                                  log_file='C:\\d\\log')
        self.addCleanup(handler.stop)
        handler.start()
        # Windows tells of a client a moment later; what comes before is lost.
        self.until(lambda: pipe.has_client)
        pipe.write(b'boot')
        self.until(lambda: handler.flush_log_file()
                   or self.read('C:\\d\\log') == b'boot')

    def test_waiting_for_a_busy_pipe_ends_when_it_is_free(self):
        pipe = self.host.pipes.open(NAME, print)
        self.addCleanup(pipe.close)
        self.host.pipes.connect(NAME, 'somebody else')
        self.soon(self.host.pipes.client_gone, 'somebody else')
        self.port.call('dll.kernel32.WaitNamedPipeW', path=NAME,
                       timeout_ms=0xFFFFFFFF)
        self.assertFalse(pipe.is_busy)

    def test_everything_open_ends_with_the_connection(self):
        self.write('C:\\d\\f')
        file = self.files.open('C:\\d\\f')
        vhd = self.win.get_vhdutils()
        vhd.create_dynamic_vhd(BASE, 1 << 20)
        vhd._open(BASE)
        self.assertEqual(1, len(self.host.vdisks.problems()))
        self.assertEqual(2, len(self.storage.problems()))
        self.port.close()
        self.until(lambda: not self.host.vdisks.problems()
                   and not self.storage.problems())
        file._handle = None
        self.addCleanup(file.close)


class LongWorkTest(RemoteCase):
    """The fabric answers others while a disk is being converted."""

    def test_conversion_holds_nobody_up(self):
        vhd = self.win.get_vhdutils()
        vhd.create_vhd(BASE, 2, max_internal_size=64 << 20)
        begun, answered, done = (threading.Event() for _ in range(3))
        usual, waited = disks.convert, []

        def convert(*args, **kwargs):
            begun.set()
            waited.append(answered.wait(60))
            return usual(*args, **kwargs)

        def ask():
            vhd.convert_vhd(BASE, 'C:\\d\\copy.vhd')
            done.set()

        with mock.patch.object(disks, 'convert', convert):
            self.soon(ask)
            self.assertTrue(begun.wait(60))
            self.assertTrue(self.files.exists(BASE))
            answered.set()
            self.assertTrue(done.wait(120))
        # Whoever was held up would have been answered later only.
        self.assertEqual([True], waited)
