# SPDX-License-Identifier: Apache-2.0
import queue
import socket
import time
import unittest

from nova import exception

from compute_hyperv.console import serialproxy
from compute_hyperv import oswin

ADDRESS = '127.0.0.1'

#: os-win's queues are native ones in both modes.
native_queue = oswin.native(queue)


class Queue(native_queue.Queue):
    """os-win's IOQueue in short: works only while a client is there."""

    def __init__(self, connected):
        super().__init__()
        self._client = connected

    def get(self):
        while self._client.is_set():
            try:
                return super().get(timeout=0.05)
            except native_queue.Empty:
                continue

    get_burst = get

    def put(self, item):
        if self._client.is_set():
            super().put(item)


class Host:
    io_queue = staticmethod(Queue)


def free_ports(count):
    """First of *count* neighbouring ports that are free just now."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        first = probe.getsockname()[1]
    return f'{first}:{first + count - 1}'


class SerialProxyTest(unittest.TestCase):

    def setUp(self):
        self.pool = serialproxy.PortPool(ADDRESS, free_ports(1))
        self.proxy = self.start()

    def start(self):
        proxy = serialproxy.SerialProxy(Host, self.pool)
        proxy.start()
        self.addCleanup(proxy.stop)
        return proxy

    def connect(self):
        client = socket.create_connection(self.proxy.address, timeout=60)
        self.addCleanup(client.close)
        return client

    def wait_for(self, what):
        deadline = time.monotonic() + 60
        while not what():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)

    def connected_client(self):
        client = self.connect()
        self.wait_for(self.proxy.connected.is_set)
        return client

    def test_bytes_reach_the_guest_as_text(self):
        client = self.connected_client()
        client.sendall(b'root\r\xff')
        self.assertEqual('root\r\xff', self.proxy.to_guest.get())

    def test_bytes_of_the_guest_reach_the_client(self):
        client = self.connected_client()
        self.proxy.from_guest.put(b'login: \xc3\xa4')
        self.assertEqual(b'login: \xc3\xa4', client.recv(100))

    def test_a_second_client_is_sent_away(self):
        """L063: one client at a time."""
        first = self.connected_client()
        self.assertEqual(b'', self.connect().recv(10))
        self.proxy.from_guest.put(b'still here')
        self.assertEqual(b'still here', first.recv(100))

    def test_the_console_survives_its_clients(self):
        """L063: client disconnect does not kill the console."""
        for turn in range(20):
            client = self.connected_client()
            self.proxy.from_guest.put(b'turn %d' % turn)
            self.assertEqual(b'turn %d' % turn, client.recv(100))
            client.close()
            self.wait_for(lambda: not self.proxy.connected.is_set())

    def test_nothing_is_kept_for_a_client_that_comes_later(self):
        self.proxy.from_guest.put(b'lost')
        client = self.connected_client()
        self.proxy.from_guest.put(b'seen')
        self.assertEqual(b'seen', client.recv(100))

    def test_stop_hangs_up_and_gives_the_port_back(self):
        """L063: gives the port back on stop."""
        client, address = self.connected_client(), self.proxy.address
        self.proxy.stop()
        self.assertEqual(b'', client.recv(10))
        self.assertEqual(address, self.start().address)

    def test_stop_twice_is_harmless(self):
        self.proxy.stop()
        self.proxy.stop()


class PortPoolTest(unittest.TestCase):

    def setUp(self):
        self.pool = serialproxy.PortPool(ADDRESS, free_ports(2))

    def listen(self):
        listener = self.pool.listen()
        self.addCleanup(listener.close)
        return listener

    def test_lowest_free_port_comes_first(self):
        first, second = self.listen(), self.listen()
        port = first.getsockname()[1]
        self.assertEqual(port + 1, second.getsockname()[1])
        self.pool.release(first)
        self.assertEqual(port, self.listen().getsockname()[1])

    def test_exhausted_range_is_an_error_of_nova(self):
        self.listen(), self.listen()
        self.assertRaises(exception.SocketPortRangeExhaustedException,
                          self.pool.listen)

    def test_a_port_of_another_program_is_skipped(self):
        first, last = self.pool._ports[0], self.pool._ports[-1]
        with socket.socket() as other:
            other.bind((ADDRESS, first))
            other.listen()
            self.assertEqual(last, self.listen().getsockname()[1])


class NativeTest(unittest.TestCase):

    def test_sockets_are_those_of_the_operating_system(self):
        self.assertEqual('socket', oswin.native(socket).socket.__module__)
