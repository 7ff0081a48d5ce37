# SPDX-License-Identifier: Apache-2.0
"""nova-serialproxy in the test's process, and a browser's side of it.

Nova's request handler does what it does in the service: the WebSocket
handshake, the token, the check of the port with nova-compute, the bytes. Only
websockify's process for each connection is a thread here, for the databases
are this process's.
"""

import contextlib
import socket
import threading
import urllib.parse

import fixtures
from nova.console import websocketproxy
from nova import utils
from websockify import websocket

from tests.functional import serialtext

ADDRESS = '127.0.0.1'
_TIMEOUT_S = 20


class SerialProxy(fixtures.Fixture):
    """Serves ``ws://127.0.0.1:<port>/?token=...`` until the test ends."""

    def _setUp(self):
        eventlet = utils.get_eventlet()
        if eventlet is not None:
            self._keep_hub(eventlet.hubs)
        self._listener = socket.create_server((ADDRESS, 0))
        self.port = self._listener.getsockname()[1]
        self._proxy = websocketproxy.NovaWebSocketProxy(
            listen_host=ADDRESS, listen_port=self.port, web=None,
            file_only=True, traffic=False,
            RequestHandlerClass=websocketproxy.NovaProxyRequestHandler)
        self._threads = []
        self._closing = False
        self.addCleanup(self._close)
        self._start(self._accept)

    def _keep_hub(self, hubs):
        """Nova's handler opens a new hub because websockify forked.

        Here nobody did, and it would end all other green threads.
        """
        use_hub = hubs.use_hub
        self.useFixture(fixtures.MonkeyPatch(
            'eventlet.hubs.use_hub',
            lambda: getattr(hubs._threadlocal, 'hub', None) or use_hub()))

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            client, address = self._listener.accept()
            if self._closing:
                client.close()
                return
            self._start(self._serve, client, address)

    def _serve(self, client, address):
        with client:
            self._proxy.top_new_client(client, address)

    def _close(self):
        self._closing = True
        # Under eventlet no close wakes who waits for a connection.
        socket.create_connection((ADDRESS, self.port)).close()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def open(self, console_url):
        """A client of the address that Nova's API gave out."""
        query = urllib.parse.urlparse(console_url).query
        return Client(f'ws://{ADDRESS}:{self.port}/', query)


class _WebSocket(websocket.WebSocket):
    """websockify's client, which itself forgets the query of an address."""

    def __init__(self, query):
        super().__init__()
        self._query = query

    def send_request(self, type, path):
        super().send_request(type, f'{path}?{self._query}')


class Client(serialtext.Reader):
    """A terminal in a browser."""

    def __init__(self, url, query):
        super().__init__()
        self._web = _WebSocket(query)
        self._web.connect(url, protocols=['binary'])
        self._web.socket.settimeout(_TIMEOUT_S)

    def type(self, text):
        self._web.sendmsg(text.encode())

    def receive(self):
        return self._web.recvmsg()

    def close(self):
        if self._web.socket is not None:
            with contextlib.suppress(OSError):      # the proxy was faster
                self._web.close()
            self._web.socket = None
