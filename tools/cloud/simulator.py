# SPDX-License-Identifier: Apache-2.0
"""The simulated Hyper-V hosts: one server, used by every nova-compute."""

from __future__ import annotations

import json
import pathlib
import shutil
import socket
import time
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


#: what nova-compute keeps when its last server is gone
_ID = '-'.join('?' * count for count in (8, 4, 4, 4, 12))
KEPT = [rf'{configs.INSTANCES_PATH}\{name}' for name in (
    rf'_base\{_ID}.vhdx', rf'_base\{_ID}.vhd', rf'_base\{_ID}_*.vhd',
    rf'_base\{_ID}.iso', '_base\\', rf'locks\hyperv-*-{_ID}.lock',
    'locks\\', 'export\\')]


class Simulator:
    """Starts and asks the fabric server of one cloud.

    :param strict: files that the nodes leave behind count in ``check``.
    """

    def __init__(self, layout: layouts.Layout,
                 procs: processes.Processes, time_scale: float,
                 strict: bool = False) -> None:
        self._layout = layout
        self._procs = procs
        self._time_scale = time_scale
        self._strict = strict

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
        self._procs.wait('hyperv-sim', self._listens, 120,
                         'the simulated hosts answer')
        if self._strict:
            # Before a nova-compute runs, so that what it opens counts too.
            self.call('mark', ignore=KEPT)
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
            f'hyperv-sim-{words[0]}', 60, {'COLUMNS': str(_width())})

    def check_clean(self, patience_s: float) -> str:
        """What ``hyperv-sim check`` says of hosts that nobody uses any more.

        The server notices that a process has ended when the call in which
        that waited for events returns, seconds later.

        :raises DemoError: something is left after *patience_s* seconds.
        """
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self.ask('check').strip().replace('\n', '; ')
            except errors.DemoError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(1)

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


def _width() -> int:
    """Columns for tables: the terminal's, many if it is none."""
    return max(72, shutil.get_terminal_size((160, 0)).columns)
