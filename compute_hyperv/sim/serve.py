# SPDX-License-Identifier: Apache-2.0
"""Serve a fabric until told to stop (``hyperv-sim serve``)."""

from __future__ import annotations

import os
import signal
import typing

from . import fabric as fabric_module
from . import persist
from . import server as server_module

STATE_FILE = 'state.json'


def run(fabric_path: str, socket_path: typing.Optional[str],
        root_dir: typing.Optional[str], fresh: bool) -> int:
    """Serve what a YAML file describes; gives the exit code.

    :param socket_path: by default ``socket`` in the root folder.
    :param fresh: do not load the state that was saved there.
    :raises OSError: it is being served already.
    """
    fabric = fabric_module.Fabric.from_yaml(fabric_path, root_dir)
    state_path = os.path.join(fabric.root_dir, STATE_FILE)
    restored: typing.List[str] = []
    if fresh and os.path.exists(state_path):
        os.unlink(state_path)
    elif os.path.exists(state_path):
        restored = persist.load(fabric, state_path)
    server = server_module.Server(
        fabric, socket_path or os.path.join(fabric.root_dir, 'socket'),
        state_path)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: server.ask_stop())
    server.start()
    for name, host in fabric.hosts.items():
        print(f'{name}: Windows Server {host.spec.windows}, '
              f'{host.spec.cpus} CPUs, {host.spec.memory_mib} MiB'
              + (', as it was' if name in restored else ''), flush=True)
    print(f'serving on {server.socket_path}', flush=True)
    server.wait()
    server.stop()
    print('stopped', flush=True)
    return 0
