# SPDX-License-Identifier: Apache-2.0
"""The openstack client, loaded once instead of anew for every command.

``warm.py serve FD`` runs in the cloud's venv: it imports the client, then
forks for each request that comes over the socket FD, so a command begins at
once instead of after a second. ``warm.py run ARGUMENT...`` makes such a
request over the socket that ``WARM_FD`` names; it stands for ``openstack`` in
shell commands that the examples' runner starts.

A request is one packet: JSON with the arguments, the environment and the
working folder, and four descriptors: standard input, output and error, and
a pipe that takes the exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import os
import select
import signal
import socket
import sys
from typing import Any

VARIABLE = 'WARM_FD'
_PACKET_BYTES = 1 << 17


class Ended(Exception):
    """The server, or the command, ended without an exit code."""


class TooSlow(Exception):
    """The command takes longer than it may."""


def request(sock: socket.socket, argv: Sequence[str], env: dict[str, str],
            fds: Sequence[int], timeout_s: float | None = None) -> int:
    """Run a command.

    :param fds: standard input, output and error of the command.
    :returns: its exit code.
    :raises Ended: it has none; the client's server is gone, or it crashed.
    :raises TooSlow: it is still running after *timeout_s* seconds.
    """
    body = json.dumps({'argv': list(argv), 'env': env, 'cwd': os.getcwd()})
    reader, writer = os.pipe()
    try:
        try:
            socket.send_fds(sock, [body.encode()], [*fds, writer])
        except OSError as exc:
            raise Ended(str(exc)) from exc
        finally:
            os.close(writer)
        if not select.select([reader], [], [], timeout_s)[0]:
            raise TooSlow
        answer = os.read(reader, 16)
    finally:
        os.close(reader)
    if not answer:
        raise Ended('no exit code')
    return int(answer)


def serve(sock: socket.socket) -> None:
    """Run the commands that are asked for, until the asker has ended."""
    from openstackclient import shell
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        body, fds, _flags, _address = socket.recv_fds(sock, _PACKET_BYTES, 4)
        if not body:
            break
        if os.fork() == 0:
            sock.close()
            _run(shell, json.loads(body), fds)
        for fd in fds:
            os.close(fd)
    # Commands that still run have nobody left who waits for them.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


def _run(shell: Any, what: dict[str, Any], fds: Sequence[int]) -> None:
    """Be the command; does not return."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, fd in enumerate(fds[:3]):
            os.dup2(fd, number)
        os.chdir(what['cwd'])
        os.environ.clear()
        os.environ.update(what['env'])
        sys.argv = ['openstack', *what['argv']]
        code = shell.main(sys.argv[1:]) or 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(bool(exc.code))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(fds[3], str(code).encode())
        os._exit(code)


def main(argv: list[str]) -> int:
    """Be the server, or ask it."""
    if argv[1] == 'serve':
        serve(socket.socket(fileno=int(argv[2])))
        return 0
    with socket.socket(fileno=os.dup(int(os.environ[VARIABLE]))) as sock:
        return request(sock, argv[2:], dict(os.environ), (0, 1, 2))


if __name__ == '__main__':
    sys.exit(main(sys.argv))
