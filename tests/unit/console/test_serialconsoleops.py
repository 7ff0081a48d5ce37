# SPDX-License-Identifier: Apache-2.0
import socket
import threading
import time

from nova import exception

from compute_hyperv import model
from tests.unit import opscase


def free_ports(count):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        first = probe.getsockname()[1]
    return f'{first}:{first + count - 1}'


class ConsoleCase(opscase.OpsTestCase):

    def setUp(self):
        self.OPTIONS = {
            ('serial_console', 'enabled'): True,
            ('serial_console', 'port_range'): free_ports(2),
            ('serial_console', 'proxyclient_address'): '127.0.0.1'}
        super().setUp()
        self.console = self.ops.console

    def define(self, *ports):
        vm = super().define()
        self.console.set_up_ports(vm.name, self.instance.uuid, [
            model.SerialPortSpec(number=number, interactive=interactive,
                                 logged=logged)
            for number, interactive, logged in ports])
        return vm

    def run_vm(self, *ports):
        self.define(*ports)
        self.ops.power.start(self.instance)

    @property
    def handlers(self):
        return self.console._handlers.get(self.instance.name, [])

    def wait_for(self, check):
        deadline = time.monotonic() + 60
        while not (result := check()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return result


class PortsTest(ConsoleCase):

    def pipes(self):
        prefix = f'\\\\.\\pipe\\{self.instance.uuid}_'
        return [path.removeprefix(prefix) for path in
                self.win.vm.get_vm_serial_port_connections(
                    self.instance.name)]

    def test_one_port_is_interactive_and_logged(self):
        """L064: if both name the same port it is also logged."""
        self.run_vm((1, True, True))
        self.assertEqual(['rw'], self.pipes())
        handler, = self.handlers
        self.assertEqual('127.0.0.1', handler.address[0])
        self.wait_for(lambda: b'login:' in self.console.output(self.instance))

    def test_two_ports_have_a_kind_each(self):
        """L064: COM1 for interactive use, COM2 for logging."""
        self.run_vm((1, True, False), (2, False, True))
        self.assertEqual(['rw', 'ro'], self.pipes())
        interactive, logged = self.handlers
        self.assertIsNone(logged.address)
        self.assertEqual(
            interactive.address[1],
            self.console.console(self.instance).port)
        self.wait_for(lambda: b'login:' in self.console.output(self.instance))

    def test_free_port_is_taken_and_given_back(self):
        """L063: takes a port on start and gives it back on stop."""
        for _turn in range(3):
            self.run_vm((1, True, False), (2, False, True))
            self.assertEqual(1, len(self.console._pool._taken))
            self.ops.vms.destroy(None, self.instance, None)
            self.assertEqual(set(), self.console._pool._taken)

    def test_exhausted_ports_cost_the_vm_nothing(self):
        """L063: a failed start is no failure of the VM."""
        self.console._pool._taken.update(self.console._pool._ports)
        with self.assertLogs('compute_hyperv.console', 'WARNING') as logs:
            self.run_vm((1, True, False))
        self.assertIn('free port', logs.output[0])
        self.assertEqual([], self.handlers)


class LifeTest(ConsoleCase):

    def test_start_twice_is_one_reader(self):
        """L058: at most one reader per pipe."""
        self.run_vm((1, True, True))
        before = list(self.handlers)
        self.console.start(self.instance.name, self.instance.uuid)
        self.assertEqual(before, self.handlers)

    def test_reader_that_ended_is_replaced(self):
        """L058: after a guest-side reboot the console is not dead."""
        self.run_vm((1, True, True))
        before, = self.handlers
        self.win.vm.set_vm_state(self.instance.name, 3)
        self.wait_for(lambda: not before.is_alive)
        self.win.vm.set_vm_state(self.instance.name, 2)
        self.console.start(self.instance.name, self.instance.uuid)
        after, = self.handlers
        self.assertIsNot(before, after)
        self.assertTrue(after.is_alive)

    def test_late_event_does_not_end_the_console_of_the_next_run(self):
        """L058: the VM starts while somebody finds that it is off."""
        self.define((1, True, True))
        usual, threads = self.ops.win.state, []

        def state(vm_name):
            found = usual(vm_name)
            if not threads:
                threads.append(threading.Thread(
                    target=self.ops.power.start, args=(self.instance,)))
                threads[0].start()
                threads[0].join(0.3)
            return found
        self.ops.win.state = state
        self.ops.events._follow(self.instance.name, self.instance.uuid)
        threads[0].join(60)
        handler, = self.handlers
        self.assertTrue(handler.is_alive)

    def test_vm_that_does_not_run_is_no_error(self):
        self.define((1, True, True))
        with self.assertNoLogs('compute_hyperv.console', 'WARNING'):
            self.console.start(self.instance.name, self.instance.uuid)
        self.assertEqual([], self.handlers)
        self.assertRaises(exception.InstanceNotReady, self.console.console,
                          self.instance)

    def test_no_log_yet_is_empty(self):
        """L060: no log yet gives empty output, not an error."""
        self.define((1, True, True))
        self.assertEqual(b'', self.console.output(self.instance))

    def test_nothing_starts_after_the_end(self):
        self.run_vm((1, True, True))
        self.console.stop_all()
        self.console.start(self.instance.name, self.instance.uuid)
        self.assertEqual([], self.handlers)
        # The same service, started again.
        self.console.begin()
        self.console.start(self.instance.name, self.instance.uuid)
        self.assertEqual(1, len(self.handlers))

    def test_start_that_meets_the_end_leaves_nothing(self):
        self.define((1, True, True))

        def end_meanwhile(vm_name):
            self.console.stop_all()
            return False
        self.ops.win.vm.set_vm_state(self.instance.name, 2)
        self.ops.win.vm.is_secure_vm = end_meanwhile
        self.console.start(self.instance.name, self.instance.uuid)
        self.assertEqual([], self.handlers)


class ShieldedTest(ConsoleCase):

    def test_shielded_vm_has_no_console(self):
        """L047: answers "not available" without touching pipes."""
        vm = self.define((1, True, True))
        security, = vm.resources('Msvm_SecuritySettingData')
        self.host.v2.update(security,
                            EncryptStateAndVmMigrationTraffic=True)
        self.console.start(self.instance.name, self.instance.uuid)
        self.assertEqual([], self.handlers)
        self.assertRaises(exception.ConsoleNotAvailable, self.console.output,
                          self.instance)
        self.assertRaises(exception.ConsoleTypeUnavailable,
                          self.console.console, self.instance)
