# SPDX-License-Identifier: Apache-2.0
"""Guests and what faces them (hyperv-semantics.md section 15)."""

import ddt

from compute_hyperv.sim import guest as guests
from tests.unit.sim import hypervcase


class Terminal:
    """A client's end of a COM port, as a guest sees it."""

    def __init__(self, has_client=True):
        self.has_client = has_client
        self.written = b''

    def write(self, data):
        if not self.has_client:
            return 0
        self.written += data
        return len(data)


class GuestTestCase(hypervcase.HyperVTestCase):
    """One VM; time stands still."""

    CLOCK = 'stepped'

    def setUp(self):
        super().setUp()
        self.create_vm()
        self.boot_s = self.host.vms.behaviours.default.boot_s

    def run_vm(self, seconds=60):
        self.request_state(2)
        self.fabric.clock.advance(seconds)

    def component(self, name):
        return getattr(self.wmi, 'Msvm_%sComponent' % name)(
            SystemName=self.record().guid)

    @property
    def guest(self):
        return self.record().worker.guest


class InterruptTest(GuestTestCase):
    """Msvm_ComputerSystem.InjectNonMaskableInterrupt."""

    def _inject(self):
        system, = self.wmi.Msvm_ComputerSystem(Name=self.record().guid)
        return system.InjectNonMaskableInterrupt()

    def test_guest_dumps_its_memory_and_restarts(self):
        """"Injects a non-maskable interrupt into the virtual machine": 0."""
        self.run_vm()
        self.assertEqual((None, 0), self._inject())
        self.assertEqual((1, 1, 2), (self.guest.interrupts, self.guest.dumps,
                                     self.guest.boots))
        self.assertEqual(2, self.state())

    def test_guest_that_takes_no_notice_runs_on(self):
        self.host.vms.behaviours.behave('*', dumps_on_nmi=False)
        self.run_vm()
        self._inject()
        self.assertEqual((1, 0, 1), (self.guest.interrupts, self.guest.dumps,
                                     self.guest.boots))

    def test_job(self):
        """"Method Parameters Checked - Job Started (4096)"."""
        self.host.quirks.interrupt_is_job = True
        self.run_vm()
        job, code = self._inject()
        self.assertEqual(4096, code)
        self.fabric.clock.advance(60)
        self.assertEqual(1, self.guest.interrupts, job)

    def test_vm_that_does_not_run(self):
        """Field knowledge: nobody published a code; paused is no better."""
        self.assertEqual(32775, self._inject()[-1])
        self.run_vm()
        self.request_state(9)
        self.fabric.clock.advance(60)
        self.assertEqual(32775, self._inject()[-1])
        self.host.quirks.interrupt_not_running_code = 32773
        self.assertEqual(32773, self._inject()[-1])
        self.assertEqual(0, self.guest.interrupts)

    def test_host_itself(self):
        host = next(system for system in self.wmi.Msvm_ComputerSystem()
                    if system.Name == self.host.name)
        self.assertEqual(32770, host.InjectNonMaskableInterrupt()[-1])


@ddt.ddt
class ShutdownTest(GuestTestCase):
    """Msvm_ShutdownComponent."""

    def _ask(self, force=False):
        return self.component('Shutdown')[0].InitiateShutdown(
            Force=force, Reason='test')[0]

    def test_vm_shuts_down_later(self):
        """Section 15: 0 accepted; VM goes 4 -> 3 later."""
        self.run_vm()
        self.assertEqual(0, self._ask())
        self.assertEqual(4, self.state())
        self.fabric.clock.advance(60)
        self.assertEqual(3, self.state())

    def test_component_exists_only_while_running(self):
        """oswin-surface.md 3.3: none means it is off already."""
        self.assertEqual([], self.component('Shutdown'))
        self.run_vm()
        self.assertEqual(1, len(self.component('Shutdown')))
        self.request_state(3)
        self.fabric.clock.advance(60)
        self.assertEqual([], self.component('Shutdown'))

    def test_booting_guest_is_not_ready(self):
        """Section 15: 32780 not ready."""
        self.run_vm(2)
        self.assertEqual(32780, self._ask())

    def test_second_request_is_in_progress(self):
        """Section 15: 32782 shutdown in progress."""
        self.run_vm()
        self._ask()
        self.assertEqual(32782, self._ask())

    def test_locked_guest_needs_force(self):
        """Section 15: 32781 machine locked (needs Force)."""
        self.host.vms.behaviours.behave('vm', locked=True)
        self.run_vm()
        self.assertEqual([32781, 0], [self._ask(), self._ask(force=True)])

    def test_guest_without_services(self):
        """Section 15 [F]: no guest services -> 32775."""
        self.host.vms.behaviours.behave('vm', has_services=False)
        self.run_vm()
        self.assertEqual(32775, self._ask())
        with self.assertRaises(hypervcase.exceptions.HyperVException):
            self.vmutils.soft_shutdown_vm('vm')
        self.host.quirks.shutdown_without_services_code = 32768
        self.assertEqual(32768, self._ask())

    def test_guest_that_ignores_the_request(self):
        """simulator.md 7: or ignores it, if told so."""
        self.host.vms.behaviours.behave('v*', obeys_shutdown=False)
        self.run_vm()
        self.assertEqual(0, self._ask())
        self.fabric.clock.advance(600)
        self.assertEqual(2, self.state())

    def test_disabled_component_refuses(self):
        """Section 15: EnabledState 2/3."""
        settings = self.resources(
            cls='Msvm_ShutdownComponentSettingData')[0]
        self.modify(settings, EnabledState=3)
        self.run_vm()
        self.assertEqual(32775, self._ask())

    def test_plug_can_be_pulled_while_shutting_down(self):
        """Section 2: transitional states, turn off is a job."""
        self.run_vm()
        self._ask()
        self.assertEqual(hypervcase.STARTED, self.request_state(3))
        self.fabric.clock.advance(1)
        self.assertEqual(3, self.state())
        self.fabric.clock.advance(60)
        self.assertEqual(3, self.state())

    def test_soft_reboot(self):
        """Section 15: InitiateReboot alike."""
        self.run_vm()
        self.assertEqual((0,), self.component('Shutdown')[0].InitiateReboot(
            Force=False, Reason='test'))
        self.fabric.clock.advance(60)
        self.assertEqual((2, 2), (self.state(), self.guest.boots))


@ddt.ddt
class HeartbeatTest(GuestTestCase):
    """Heartbeat and key-value pairs."""

    def _heartbeat(self):
        return self.component('Heartbeat')[0].OperationalStatus

    def test_heartbeat_follows_the_guest(self):
        """Section 15: 12 no contact, 2 OK, 15 paused."""
        self.run_vm(2)
        self.assertEqual((12,), self._heartbeat())
        self.fabric.clock.advance(self.boot_s)
        self.assertEqual((2, 2), self._heartbeat())
        self.request_state(9)
        self.fabric.clock.advance(1)
        self.assertEqual((15,), self._heartbeat())
        self.assertEqual(('Paused',), self.component('Heartbeat')[
            0].StatusDescriptions)
        self.request_state(2)
        self.fabric.clock.advance(1)
        self.assertEqual((2, 2), self._heartbeat())

    def test_key_value_pairs_once_the_guest_is_up(self):
        """Section 15: serialized Msvm_KvpExchangeDataItem."""
        self.run_vm(2)
        self.assertEqual((), self.component('KvpExchange')[
            0].GuestIntrinsicExchangeItems)
        self.fabric.clock.advance(60)
        items = [self.host.v2.parse_text(text) for text in self.component(
            'KvpExchange')[0].GuestIntrinsicExchangeItems]
        self.assertEqual(('OSName', 'Simulated Linux', 2), next(
            (one['Name'], one['Data'], one['Source']) for one in items
            if one['Name'] == 'OSName'))

    def test_host_pairs(self):
        """Section 15: Add/Modify/RemoveKvpItems."""
        item = self.wmi.Msvm_KvpExchangeDataItem.new()
        item.Name, item.Data, item.Source = 'key', 'value', 0
        vm = self.system().path_()
        text = [item.GetText_(1)]
        self.assertEqual(32773, self.service.ModifyKvpItems(
            DataItems=text, TargetSystem=vm)[1])
        for method, left in (('AddKvpItems', 1), ('ModifyKvpItems', 1),
                             ('RemoveKvpItems', 0)):
            self.assertEqual(hypervcase.STARTED, getattr(
                self.service, method)(DataItems=text, TargetSystem=vm)[1])
            self.assertEqual(left, len(self.resources(
                cls='Msvm_KvpExchangeComponentSettingData')[
                    0].HostExchangeItems))

    def test_summary_knows_the_guest(self):
        """Section 2: GetSummaryInformation fields 104, 106."""
        self.run_vm()
        summary = self.service.GetSummaryInformation(
            [104, 106], [self.settings().path_()])[1][0]
        self.assertEqual((2, 'Simulated Linux'), (
            summary.Heartbeat, summary.GuestOperatingSystem))


@ddt.ddt
class SerialTest(GuestTestCase):
    """COM ports."""

    def _terminal(self, **kwargs):
        terminal = Terminal(**kwargs)
        self.guest.connect(terminal)
        return terminal

    def test_boot_log_comes_line_by_line(self):
        """simulator.md 7: writes a boot log to its COM port."""
        self.run_vm(1)
        terminal = self._terminal()
        sizes = []
        for _ in range(4):
            self.fabric.clock.advance(self.boot_s / 4)
            sizes.append(len(terminal.written))
        self.assertEqual(sorted(set(sizes)), sizes)
        self.assertTrue(terminal.written.endswith(b'vm login: '))

    def test_output_without_a_client_is_lost(self):
        """Section 15 [F]: output is lost with no client."""
        self.run_vm(1)
        terminal = self._terminal(has_client=False)
        self.fabric.clock.advance(60)
        terminal.has_client = True
        self.guest.client_came(terminal)
        self.assertEqual(b'', terminal.written)

    def test_input_is_echoed(self):
        """simulator.md 7: echoes input."""
        self.run_vm()
        terminal = self._terminal()
        self.guest.typed(terminal, b'ls\r')
        self.assertEqual(b'ls\r\n', terminal.written)

    def test_reboot_writes_the_log_again(self):
        """The port stays when the guest restarts from inside."""
        self.run_vm()
        terminal = self._terminal()
        self.guest.shut_down(reboot=True)
        self.fabric.clock.advance(60)
        self.assertIn(b'going down', terminal.written)
        self.assertTrue(terminal.written.endswith(b'login: '))

    @ddt.data('/dev/ttyS0', 'C:\\file', 'pipe')
    def test_connection_is_a_named_pipe(self, name):
        r"""Section 15: Connection[0] = `\\.\pipe\<name>`."""
        port = self.resources(cls='Msvm_SerialPortSettingData')[0]
        self.assertEqual(32773, self.modify(port, Connection=[name])[2])

    def test_changing_the_port_of_a_running_vm(self):
        """Section 15: switchable field knowledge."""
        self.run_vm()
        self.vmutils.set_vm_serial_port_connection(
            'vm', 1, r'\\.\pipe\one')
        self.assertEqual(1, len(self.record().worker.pipes))
        self.host.quirks.serial_change_while_running = False
        port = self.resources(cls='Msvm_SerialPortSettingData')[0]
        self.assertEqual(5, self.modify(port, Connection=[
            r'\\.\pipe\two'])[2])


class InstantGuestTest(hypervcase.HyperVTestCase):
    """Guests that boot in no time."""

    def test_boot_log_waits_for_the_first_client(self):
        """guest.py: a client a moment later would have seen the log."""
        self.create_vm()
        self.start()
        guest = self.record().worker.guest
        late = Terminal(has_client=False)
        guest.connect(late)
        self.request_state(11)
        late.has_client = True
        guest.client_came(late)
        self.assertTrue(late.written.endswith(b'vm login: '))
        self.assertEqual(guests.RUNNING, guest.state)

    def test_pipe_of_a_com_port_exists_while_the_vm_runs(self):
        """Section 15 [F]: the pipe exists only while the VM runs."""
        self.create_vm()
        self.vmutils.set_vm_serial_port_connection(
            'vm', 1, r'\\.\pipe\serial')
        for bring, pipes in ((self.start, 1), (self.turn_off, 0)):
            bring()
            self.assertEqual(pipes, len(self.host.pipes.problems()))
