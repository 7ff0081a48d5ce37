# SPDX-License-Identifier: Apache-2.0
"""Consoles: the log and the interactive serial console."""

import os
import socket

from nova.tests.functional.api import client

from compute_hyperv.sim import vm as sim_vm
from tests.functional import base
from tests.functional import serialproxy

LOG_LIMIT = 512 * 1024

#: How many TCP ports there are for serial consoles.
PORTS = 4


class ConsoleCase(base.TestCase):

    def output(self, server):
        body = {'os-getConsoleOutput': {}}
        return self.api.post_server_action(server['id'], body)['output']

    def wait_for_output(self, server, text):
        return self.until(
            lambda: text in self.output(server) and self.output(server),
            f'{text!r} in the console log')

    def console_files(self, server):
        """Size in bytes of the console's log files."""
        storage = self.fabric.host('HV1').storage
        directory = '\\'.join((base.INSTANCES_DIR,
                               server['OS-EXT-SRV-ATTR:instance_name']))
        return {name: os.path.getsize(storage.local(f'{directory}\\{name}'))
                for name in os.listdir(storage.local(directory))
                if name.startswith('console.log')}

    def say(self, server, text):
        """Let the guest write to its serial port."""
        self.vm(server).vm.worker.guest._say(text)

    def say_until_seen(self, server, text):
        """What is said before the service has opened the pipe is lost."""
        def seen():
            self.say(server, text.encode())
            output = self.output(server)
            return output if text in output else None
        return self.until(seen, f'{text!r} in the console log')

    def stop(self, server):
        self.api.post_server_action(server['id'], {'os-stop': None})
        return self._wait_for_state_change(server, 'SHUTOFF')

    def start(self, server):
        self.api.post_server_action(server['id'], {'os-start': None})
        return self._wait_for_state_change(server, 'ACTIVE')


class LogTest(ConsoleCase):

    def test_log_shows_the_boot(self):
        """E1."""
        server = self.boot()
        self.assertIn('Linux version', self.wait_for_output(server, 'login:'))

    def test_log_of_a_stopped_server_comes_from_files(self):
        """L060: works for a stopped VM from files alone."""
        server = self.boot()
        self.wait_for_output(server, 'login:')
        self.stop(server)
        self.assertIn('login:', self.output(server))

    def test_log_goes_on_after_restarts_of_the_server(self):
        """E1, L058: a reader starts whenever the VM starts."""
        server = self.boot()
        for boots in (1, 2, 3):
            self.until(lambda: self.output(server).count('login:') == boots,
                       f'{boots} boots in the log')
            self.stop(server)
            self.start(server)

    def test_log_goes_on_after_a_restart_of_the_service(self):
        """E1, L062: at service start running VMs get readers."""
        server = self.boot()
        self.wait_for_output(server, 'login:')
        self.restart_compute('HV1')
        self.assertIn('login:',
                      self.say_until_seen(server, 'after the restart'))

    def test_log_goes_on_after_the_guest_restarted_itself(self):
        """L058, L069: also when the guest or an administrator starts it."""
        server = self.boot()
        self.wait_for_output(server, 'login:')
        self.view().reset_vm(self.vm(server))
        self.until(lambda: self.output(server).count('login:') == 2,
                   'the second boot in the log')

    def test_log_files_are_bounded(self):
        """L059: never above the cap; the old part becomes ".1"."""
        server = self.boot()
        self.wait_for_output(server, 'login:')
        for number in range(1500):
            self.say(server, b'%06d' % number + b'x' * 1017 + b'\n')
            if number % 500 == 499:     # a full pipe loses what comes next
                output = self.wait_for_output(server, f'{number:06}')
        sizes = self.console_files(server)
        self.assertEqual({'console.log', 'console.log.1'}, set(sizes))
        self.assertLessEqual(max(sizes.values()), LOG_LIMIT)
        self.assertNotIn('login:', output)
        self.assertGreater(len(output), LOG_LIMIT)

    def test_other_vms_are_not_read(self):
        """L062: only VMs that carry a Nova uuid get readers."""
        server = self.boot()
        self.view().create_vm('not-ours')
        self.view().request_state(self.view().vm('not-ours'), sim_vm.RUNNING)
        self.restart_compute('HV1')
        self.say_until_seen(server, 'read again')
        readers = self.driver()._ops.console._handlers
        self.assertEqual([self.vm(server).vm.name], list(readers))


class SerialConsoleTest(ConsoleCase):

    def setUp(self):
        super().setUp()
        self.proxy = self.useFixture(serialproxy.SerialProxy())

    def _set_flags(self):
        super()._set_flags()
        with socket.create_server(('127.0.0.1', 0)) as probe:
            first = probe.getsockname()[1]
        self.flags(enabled=True, port_range=f'{first}:{first + PORTS - 1}',
                   proxyclient_address='127.0.0.1', group='serial_console')

    def console_url(self, server):
        body = {'remote_console': {'protocol': 'serial', 'type': 'serial'}}
        response = self.api.api_post(
            f'/servers/{server["id"]}/remote-consoles', body)
        return response.body['remote_console']['url']

    def open(self, server):
        """A terminal, as soon as the service has opened the pipe."""
        terminal = self.proxy.open(self.until(
            lambda: self.early_url(server), 'a console'))
        self.addCleanup(terminal.close)
        return terminal

    def early_url(self, server):
        try:
            return self.console_url(server)
        except client.OpenStackApiException as exc:
            self.assertEqual(409, exc.response.status_code)
            return None

    def assert_alive(self, terminal, word):
        terminal.type(f'{word}\r')
        terminal.read_until(word)

    def test_typing_reaches_the_guest_and_comes_back(self):
        """E2: through the code of nova-serialproxy."""
        server = self.boot()
        self.assert_alive(self.open(server), 'uname -a')

    def test_console_is_logged_too(self):
        """L064: a port for both is read/write and also logged."""
        server = self.boot()
        self.assert_alive(self.open(server), 'whoami')
        self.wait_for_output(server, 'whoami')

    def test_one_client_after_the_other(self):
        """L063: client disconnect does not kill the console."""
        server = self.boot()
        for word in ('first', 'second'):
            terminal = self.open(server)
            self.assert_alive(terminal, word)
            terminal.close()
            self.until(lambda: self.is_free(server), 'the console is free')

    def is_free(self, server):
        handler, = self.driver()._ops.console._handlers[
            self.vm(server).vm.name]
        return not handler._proxy.connected.is_set()

    def test_console_works_after_restarts(self):
        """E2: of the server and of the service."""
        server = self.boot()
        self.stop(server)
        self.start(server)
        self.assert_alive(self.open(server), 'one')
        self.restart_compute('HV1')
        self.assert_alive(self.open(server), 'two')

    def test_stopped_server_has_no_console(self):
        server = self.boot()
        self.stop(server)
        error = self.assertRaises(client.OpenStackApiException,
                                  self.console_url, server)
        self.assertEqual(409, error.response.status_code)

    def test_ports_are_given_back(self):
        """L063: no port is lost by stops and deletes."""
        for _number in range(PORTS + 1):
            server = self.boot()
            self.assert_alive(self.open(server), 'hello')
            self._delete_server(server)
        self.fabric.assert_clean()


class DisabledConsoleTest(ConsoleCase):

    def test_request_is_refused(self):
        server = self.boot()
        body = {'remote_console': {'protocol': 'serial', 'type': 'serial'}}
        error = self.assertRaises(
            client.OpenStackApiException, self.api.api_post,
            f'/servers/{server["id"]}/remote-consoles', body)
        self.assertEqual(400, error.response.status_code)
