# SPDX-License-Identifier: Apache-2.0
"""The recorder and the fault plan, through the real os-win."""

import os
import subprocess
import sys
import time

import ddt

from compute_hyperv import oswin_loader
from compute_hyperv.sim import errors
from compute_hyperv.sim import faults
from tests.unit.sim import addresses
from tests.unit.sim import simcase

QUERY = "select * from Msvm_ComputerSystem where ElementName = '{}'"


class RecorderTest(simcase.SimTestCase):

    def test_kinds_are_counted_by_host(self):
        vm = self.add_vm('a')
        conn = self.connect()
        conn.query(QUERY.format('a'))
        self.wmi.WMI(vm.path)
        self.assertEqual({'connect': 1, 'query': 1, 'get': 1},
                         dict(self.fabric.recorder.counts('HV1')))

    def test_trace_shows_what_was_asked(self):
        conn = self.connect()
        with self.fabric.recorder.recording() as calls:
            conn.query(QUERY.format('a'))
        self.assertEqual(
            [faults.Call('HV1', 'query', QUERY.format('a'))], calls)
        self.assertEqual(calls, self.fabric.recorder.trace('HV1')[-1:])

    def test_classes_are_no_call(self):
        conn = self.connect()
        before = self.fabric.recorder.counts()
        self.assertTrue(conn.Msvm_ComputerSystem)
        self.assertEqual(before, self.fabric.recorder.counts())

    def test_numbers_go_on(self):
        conn = self.connect()
        number = self.fabric.recorder.since(0)[-1][0]
        conn.query(QUERY.format('a'))
        found, = self.fabric.recorder.since(number)
        self.assertEqual((number + 1, 'HV1', 'query'), found[:3])


@ddt.ddt
class FaultTest(simcase.SimTestCase):

    def setUp(self):
        super().setUp()
        self.conn = self.connect()

    def outcomes(self, count):
        """Of that many queries in a row: 0, or the hresult."""
        found = []
        for _number in range(count):
            try:
                self.conn.query(QUERY.format('a'))
                found.append(0)
            except self.wmi.x_wmi as exc:
                found.append(exc.com_error.hresult & 0xFFFFFFFF)
        return found

    @ddt.data(({}, [1, 0, 0]), ({'nth': 2}, [0, 1, 0]),
              ({'nth': 2, 'times': None}, [0, 1, 1]),
              ({'times': 2}, [1, 1, 0]), ({'host': 'HV2'}, [0, 0, 0]),
              ({'kind': 'method'}, [0, 0, 0]),
              ({'kind': 'query', 'match': '*COMPUTER*'}, [1, 0, 0]),
              ({'match': 'no such'}, [0, 0, 0]))
    @ddt.unpack
    def test_which_calls_are_struck(self, which, expected):
        with self.fabric.faults.failing(**which):
            self.assertEqual(expected, [int(bool(one))
                                        for one in self.outcomes(3)])
        self.assertEqual([0], self.outcomes(1))

    @ddt.data(({}, errors.WBEM_E_FAILED), ({'hresult': 0x80041003},
                                           0x80041003),
              ({'win32': 5}, 0x80070005),
              ({'hang_s': 0.01}, errors.WBEM_E_TIMED_OUT))
    @ddt.unpack
    def test_how_a_query_fails(self, how, hresult):
        self.fabric.faults.add(**how)
        self.assertEqual([hresult], self.outcomes(1))

    def test_delay_alone_lets_the_call_work(self):
        self.fabric.faults.add(delay_s=0.05)
        began = time.monotonic()
        self.assertEqual([0], self.outcomes(1))
        self.assertGreater(time.monotonic() - began, 0.049)

    def test_latency_holds_for_a_kind(self):
        self.fabric.faults.latency_s['query'] = 0.03
        slept_s = []
        for kind in ('method', 'query'):
            self.fabric.faults.meet('HV1', kind, 'a call', slept_s.append)
        self.assertEqual([0.03], slept_s)
        began = time.monotonic()
        self.outcomes(1)
        self.assertGreater(time.monotonic() - began, 0.029)

    def test_fault_can_be_removed(self):
        fault = self.fabric.faults.add(times=None)
        self.assertTrue(self.fabric.faults.remove(fault.number))
        self.assertFalse(self.fabric.faults.remove(fault))
        self.assertEqual([0], self.outcomes(1))


class OsWinFaultTest(simcase.SimTestCase):
    """What os-win makes of faults."""

    def setUp(self):
        super().setUp()
        with self.fabric.on('HV1'):
            factory = oswin_loader.bind().utilsfactory
            self.vm = factory.get_vmutils()
            self.vhd = factory.get_vhdutils()
        # Only now is it the one whose x_wmi the stand-in raises.
        from os_win import exceptions
        self.exceptions = exceptions

    def test_return_code_of_a_method(self):
        with self.fabric.faults.failing(match='*.DefineSystem', code=32768):
            with self.assertRaises(self.exceptions.WMIJobFailed) as caught:
                self.vm.create_vm('a', False, 2, 'C:\\i')
        self.assertEqual(32768, caught.exception.error_code)

    def test_hresult_of_a_query(self):
        with self.fabric.faults.failing(kind='query', hresult=0x80041003):
            with self.assertRaises(self.exceptions.x_wmi) as caught:
                self.vm.list_instances()
        self.assertIn('0x80041003', str(caught.exception))

    def test_win32_error_of_a_dll(self):
        with self.fabric.faults.failing(match='virtdisk.*', win32=112):
            with self.assertRaises(
                    self.exceptions.VHDWin32APIException) as caught:
                self.vhd.create_dynamic_vhd('C:\\a.vhdx', 1 << 30)
        self.assertEqual(112, caught.exception.error_code)
        self.assertEqual([], self.host.vdisks.problems())

    def test_fault_is_over_after_its_call(self):
        with self.fabric.faults.failing(match='virtdisk.*', win32=112):
            self.assertRaises(self.exceptions.VHDWin32APIException,
                              self.vhd.create_dynamic_vhd, 'C:\\a.vhdx',
                              1 << 30)
            self.vhd.create_dynamic_vhd('C:\\a.vhdx', 1 << 30)
        self.assertTrue(self.host.storage.exists('C:\\a.vhdx'))

    def test_kill_ends_the_process(self):
        code = (
            'import sys, tempfile\n'
            'from compute_hyperv.sim.fabric import Fabric\n'
            'from compute_hyperv.sim.wmi import face\n'
            'f = Fabric(sys.argv[1], ["HV1"])\n'
            'conn = face.module(f.host("HV1").port).WMI()\n'
            'f.faults.add(kill=True)\n'
            'conn.query("select * from Win32_OperatingSystem")\n'
            'print("survived")\n')
        done = subprocess.run(
            [sys.executable, '-c', code, self.fabric.root_dir],
            capture_output=True, cwd=os.getcwd())
        self.assertEqual((addresses.KILLED, b''),
                         (done.returncode, done.stdout))
