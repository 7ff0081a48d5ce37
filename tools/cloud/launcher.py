# SPDX-License-Identifier: Apache-2.0
"""Serve WSGI modules: ``launcher.py MODULE=PORT[,MODULE=PORT] [ARG...]``.

Runs in the cloud's venv. The services' WSGI modules build ``application``
when they are imported, and read their options from ``sys.argv``. Two in one
process must be of the same service.
"""

from __future__ import annotations

from collections.abc import Iterable
import importlib
import signal
import sys
import threading
from typing import Any

from cheroot import wsgi

_THREADS = 8


class _Body:
    """A request's body that an application cannot close.

    Glance closes ``wsgi.input`` after an upload; in cheroot that is the
    connection's own file, and the client's next request would be dropped.
    """

    def __init__(self, body: Any) -> None:
        self._body = body
        self.read = body.read
        self.readline = body.readline

    def __iter__(self) -> Iterable[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """The connection outlives the request."""


def adapt(application: Any) -> Any:
    """Put what the services expect around cheroot's environment."""
    def call(environ: dict[str, Any], start_response: Any) -> Any:
        environ['wsgi.input'] = _Body(environ['wsgi.input'])
        if environ.get('HTTP_TRANSFER_ENCODING', '').lower() == 'chunked':
            # Without it Glance takes a chunked upload for an empty one.
            environ['wsgi.input_terminated'] = True
        return application(environ, start_response)
    return call


def main(argv: list[str]) -> None:
    """Serve until SIGTERM."""
    servers = []
    for pair in argv[1].split(','):
        module, _, port = pair.partition('=')
        sys.argv = [module, *argv[2:]]
        application = importlib.import_module(module).application
        servers.append(wsgi.Server(
            ('127.0.0.1', int(port)), adapt(application),
            numthreads=_THREADS, request_queue_size=64))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    for server in servers:
        server.prepare()
        threading.Thread(target=server.serve, daemon=True).start()
    ended.wait()
    for server in servers:
        server.stop()


if __name__ == '__main__':
    main(sys.argv)
