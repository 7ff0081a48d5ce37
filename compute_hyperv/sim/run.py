# SPDX-License-Identifier: Apache-2.0
"""Run a command as a process of a simulated host (``hyperv-sim exec``).

Nothing of eventlet or Nova is imported here: the command's own first
imports (``nova.cmd`` patches for green threads, or refuses eventlet) find
a fresh interpreter.  What this module imports keeps native threads,
whatever is patched later.
"""

from __future__ import annotations

from importlib import metadata
import os
import runpy
import sys
import time
import typing

from . import install
from . import remote


def _connect(socket_path: str, host: str, wait_s: float
             ) -> remote.RemotePort:
    """A port to the host; waits for a server to come up.

    :raises OSError: none came.
    :raises LookupError: the fabric has no such host.
    """
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            return remote.RemotePort(socket_path, host, role='compute')
        except OSError:
            if time.monotonic() >= deadline_s:
                raise OSError(
                    f'no fabric is served on {socket_path}') from None
            time.sleep(0.2)


def _script(name: str) -> typing.Optional[metadata.EntryPoint]:
    found = [one for one in metadata.entry_points(group='console_scripts')
             if one.name == name]
    return found[0] if found else None


def run(socket_path: str, host: str, command: typing.Sequence[str],
        wait_s: float = 0.0) -> int:
    """Run *command* in this process; gives its exit code.

    :param command: name of an installed console script, or path of a
        Python script, with its arguments.
    """
    port = _connect(socket_path, host, wait_s)
    install.install(sole_host=remote.RemoteHost(port))
    name = command[0]
    script = _script(os.path.basename(name))
    sys.argv = list(command)
    if script is not None:
        outcome = script.load()()
    elif os.path.exists(name):
        sys.path.insert(0, os.path.dirname(os.path.abspath(name)))
        runpy.run_path(name, run_name='__main__')
        outcome = 0
    else:
        raise LookupError(f'no console script and no file {name}')
    return int(outcome or 0)
