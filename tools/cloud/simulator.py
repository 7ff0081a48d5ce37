# SPDX-License-Identifier: Apache-2.0
"""The simulated Hyper-V hosts: one server, used by every nova-compute."""

from __future__ import annotations

import json
import pathlib
import socket
from typing import Any

from compute_hyperv.sim import remote

from cloud import configs
from cloud import errors
from cloud import layout as layouts
from cloud import processes

HOST = {'windows': '2022', 'cpus': 8, 'memory_mib': 16384,
        'volumes': {'C': 200}, 'switches': [configs.SWITCH],
        # On a real host: Enable-VMMigration.
        'extra': {'live_migration': True},
        # Migrations take as long as on a gigabit network.
        'quirks': {'migration_mib_per_s': 110}}


class Simulator:
    """Starts and asks the fabric server of one cloud."""

    def __init__(self, layout: layouts.Layout,
                 procs: processes.Processes, time_scale: float) -> None:
        self._layout = layout
        self._procs = procs
        self._time_scale = time_scale

    @property
    def socket_path(self) -> pathlib.Path:
        """Where the server listens."""
        return self._layout.fabric_dir / 'socket'

    def start(self) -> str:
        """Start the server.

        :returns: a remark for the person.
        """
        # JSON is YAML, and needs no library here.
        description = self._layout.etc_dir / 'fabric.yaml'
        description.write_text(json.dumps({
            'root': str(self._layout.fabric_dir), 'clock': 'real',
            'scale': self._time_scale,
            'hosts': [{'name': node, **HOST} for node in layouts.NODES]},
            indent=1))
        self._procs.start('hyperv-sim', [
            self._layout.program('hyperv-sim'), 'serve', str(description),
            '--socket', str(self.socket_path)])
        self._procs.wait('hyperv-sim', self._listens, 30,
                         'the simulated hosts answer')
        return f'{" and ".join(layouts.NODES)}, Windows {HOST["windows"]}'

    def prefix(self, node: str) -> list[str]:
        """What to put before a command that shall run on a host."""
        return [self._layout.program('hyperv-sim'), 'exec', '--socket',
                str(self.socket_path), '--host', node, '--']

    def ask(self, *words: str) -> str:
        """The output of a command of hyperv-sim.

        :raises DemoError: it failed; ``check`` does if something is left.
        """
        return processes.output(
            self._layout, [self._layout.program('hyperv-sim'), *words,
                           '--socket', str(self.socket_path)],
            f'hyperv-sim-{words[0]}', 60)

    def call(self, act: str, **args: Any) -> Any:
        """What ``hyperv-sim`` would ask of the server, as data.

        :raises DemoError: it was refused.
        """
        try:
            return remote.admin(str(self.socket_path), f'admin.{act}', **args)
        except (LookupError, ValueError, OSError) as exc:
            raise errors.DemoError(f'The simulated hosts: {exc}') from exc

    def _listens(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(self.socket_path))
                return True
        except OSError:
            return False
