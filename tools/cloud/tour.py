# SPDX-License-Identifier: Apache-2.0
"""What a running server can do, shown step by step: a volume, a move."""

from __future__ import annotations

import shlex
from typing import Any

from cloud import client as clients
from cloud import cloud as clouds
from cloud import errors
from cloud import layout as layouts
from cloud import progress

_MOVING = 'Moving Virtual Machine'
_RUNNING = 4            # Msvm_ConcreteJob.JobState


class Tour:
    """Shows it with one server."""

    def __init__(self, cloud: clouds.Cloud, client: clients.Client,
                 show: progress.Progress, name: str) -> None:
        self._cloud = cloud
        self._client = client
        self._show = show
        self._name = name

    def volume(self) -> None:
        """Attach a volume; the guest writes to it, unless it did before."""
        name = f'{self._name}-data'
        volume = self._client.volume(name)
        if volume is None:
            with self._show.step('openstack volume create') as step:
                step.note = f'{name}, 1 GiB'
                self._client.run('volume', 'create', '--size', '1', name)
                self._client.wait_for_volume(name, 'available')
            volume = self._client.volume(name)
        if volume is not None and volume['status'] == 'available':
            with self._show.step('openstack server add volume') as step:
                self.attach(name)
                step.note = f'{name} at SCSI {self.disk_of(name)["address"]}'
        self._client.show('server', 'volume', 'list', self._name,
                          '-c', 'Volume ID', '-c', 'Device')
        disk = self.disk_of(name)['address']
        self.ask('guest', 'disks', self.vm())
        if not self.read(disk):
            self.ask('guest', 'write', self.vm(), disk,
                     f'written by the guest of {self._name}')
        self.ask('guest', 'read', self.vm(), disk)

    def attach(self, volume: str) -> None:
        """Attach a volume and wait until it is in use."""
        self._client.run('server', 'add', 'volume', self._name, volume)
        self._client.wait_for_volume(volume, 'in-use')

    def disk_of(self, volume: str) -> dict[str, Any]:
        """The disk that a volume is in the guest, found as a guest finds it.

        :raises DemoError: the metadata does not name it.
        """
        known = self._client.volume(volume) or {}
        for device in self._client.metadata(self._name)['devices']:
            if device.get('serial') == known.get('id'):
                return dict(device)
        raise errors.DemoError(
            f'The metadata of {self._name} does not have {volume}.')

    def read(self, disk: str) -> str:
        """The text that the guest has on a disk, where it writes."""
        text: str = self._cloud.simulator.call(
            'guest.read', name=self.vm(), disk=disk, offset=1 << 20,
            count=4096)
        return text

    def migrate(self, target: str | None = None) -> None:
        """Move the running server to the other node, or to a certain one."""
        source = self.node()
        target = target or next(
            node for node in layouts.NODES if node != source)
        self.ask('show', 'vms')
        self._show.title(f'$ openstack server migrate --live-migration '
                         f'--host {target} {self._name}')
        with self._show.step(f'{self._name} moves to {target}') as step:
            self.move(target, step)
        self._client.show('server', 'migration', 'list', '--server',
                          self._name, '-c', 'Source Compute', '-c',
                          'Dest Compute', '-c', 'Status', '-c', 'Type')
        self._client.show('server', 'show', self._name, '-c', 'status',
                          '-c', clients.HOST_KEY)
        self.ask('show', 'vms')
        volume = self._client.volume(f'{self._name}-data')
        if volume is not None and volume['status'] == 'in-use':
            self.ask('guest', 'read', self.vm(),
                     self.disk_of(volume['name'])['address'])

    def move(self, target: str, step: progress.Step) -> None:
        """Live migrate, and tell how far it is.

        :raises DemoError: it did not work.
        """
        source = self.node()
        seen: list[int] = []

        def look() -> None:
            percent = self._percent(source)
            if percent is not None and percent not in seen:
                seen.append(percent)
                step.detail = f'{percent} %'

        self._client.run('server', 'migrate', '--live-migration', '--host',
                         target, self._name)
        self._client.wait_for_migration(self._name, target, look)
        way = ', '.join(str(one) for one in seen)
        step.note = f'from {source}' + (f': {way} %' if way else '')

    def _percent(self, source: str) -> int | None:
        """How far the source's job is, by the host itself."""
        rows = self._cloud.simulator.call('show', what='jobs', host=source)
        for row in rows:
            if row['what'].startswith(_MOVING) and row['state'] == _RUNNING:
                return int(row['percent'] or 0)
        return None

    def node(self) -> str:
        """Where the server is, as Nova knows it."""
        return str(self._server()[clients.HOST_KEY])

    def vm(self) -> str:
        """The name of its VM on the host."""
        return str(self._server()[clients.VM_KEY])

    def _server(self) -> dict[str, Any]:
        server = self._client.server(self._name)
        if server is None:
            raise errors.DemoError(f'Server {self._name} is gone.')
        return server

    def ask(self, *words: str) -> None:
        """Run hyperv-sim and let the person see it with its output."""
        self._show.title(f'$ hyperv-sim {shlex.join(words)}')
        answer = self._cloud.simulator.ask(*words).rstrip()
        if answer:
            self._show.say(answer)
