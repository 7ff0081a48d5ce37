# SPDX-License-Identifier: Apache-2.0
"""The ordinary openstack client, without its second of loading each time."""

from __future__ import annotations

from collections.abc import Sequence
import os
import pathlib
import socket
import subprocess
import tempfile

from cloud import errors
from cloud import layout as layouts
from cloud import processes
from cloud import warm

_LOG = 'openstack'


class Openstack:
    """Runs commands of the venv's client, see :mod:`cloud.warm`.

    :param env: the credentials, and whatever else the client reads.
    """

    def __init__(self, layout: layouts.Layout, env: dict[str, str]) -> None:
        self._layout = layout
        self.env = env
        self._server: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None

    def run(self, words: Sequence[str], timeout_s: float) -> str:
        """Run a command to its end, with its errors in a log.

        :returns: its standard output.
        :raises DemoError: it failed, or took too long.
        """
        log = processes.open_log(self._layout, _LOG, ['openstack', *words])
        path = pathlib.Path(log.name)
        with (log, tempfile.TemporaryFile() as answer,
              open(os.devnull, 'rb') as nothing):
            fds = [stream.fileno() for stream in (nothing, answer, log)]
            try:
                code = warm.request(
                    self.socket(), words,
                    processes.environment(self._layout, self.env), fds,
                    timeout_s)
            except warm.TooSlow as exc:
                self.close()
                raise errors.DemoError(
                    f'"openstack {" ".join(words)}" took longer than '
                    f'{timeout_s:.0f} s.', path) from exc
            except warm.Ended as exc:
                self.close()
                raise errors.DemoError(
                    f'"openstack {" ".join(words)}" ended: {exc}.',
                    path) from exc
            answer.seek(0)
            text = answer.read()
            log.write(text)
        if code:
            raise errors.DemoError(
                f'"openstack {" ".join(words)}" failed with code {code}.',
                path)
        return text.decode('utf-8', 'replace')

    def socket(self) -> socket.socket:
        """Where commands are asked for; starts the server."""
        if self._sock is None:
            self._sock, theirs = socket.socketpair(
                socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs, open(os.devnull, 'rb') as nothing, open(
                    self._layout.log_dir / f'{_LOG}.log', 'ab') as log:
                self._server = subprocess.Popen(
                    [self._layout.program('python'), '-P', warm.__file__,
                     'serve', str(theirs.fileno())], stdin=nothing,
                    stdout=log, stderr=log, pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    env=processes.environment(self._layout))
        return self._sock

    def close(self) -> None:
        """End the server, and what it still runs."""
        if self._sock is not None and self._server is not None:
            self._sock.close()
            self._server.wait()
            self._sock = self._server = None
