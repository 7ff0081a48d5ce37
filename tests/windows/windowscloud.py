# SPDX-License-Identifier: Apache-2.0
"""The demo's cloud, with one node: nova-compute as a Windows service.

RabbitMQ, MariaDB and OpenStack's services are those of tools/cloud, on this
machine. The simulated host and its nova-compute are Windows programs under
Wine: the first a process that serves named pipes and a loopback port, the
second a service of Wine's service manager.
"""

from __future__ import annotations

import json
import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'tools'))

from cloud import layout as layouts  # noqa: E402

NODE = 'HV1'
# Before anybody reads it: this cloud has one node.
layouts.NODES = (NODE,)

from cloud import api as apis  # noqa: E402
from cloud import cloud as clouds  # noqa: E402
from cloud import configs  # noqa: E402
from cloud import processes  # noqa: E402
from cloud import schemas  # noqa: E402
from cloud import services  # noqa: E402
from cloud import simulator  # noqa: E402
from cloud import tasks  # noqa: E402

import wine as wines  # noqa: E402

_HERE = pathlib.Path(__file__).resolve().parent
SERVICE = 'nova-compute-test'
#: Offset from the cloud's first port, beyond those of its services.
_FABRIC_PORT = 15
_START_TIMEOUT_S = 300
#: What this test has no use for.
_LEFT_OUT = ('cinder', 'cinder-tables', 'cinder-scheduler', 'cinder-volume',
             'volume-type')


class Simulator(simulator.Simulator):
    """The simulated host as a Windows process."""

    def __init__(self, layout: layouts.Layout, procs: processes.Processes,
                 wine: wines.Wine) -> None:
        super().__init__(layout, procs, 0.25)
        self._wine = wine
        self.port = 0

    @property
    def token_path(self) -> pathlib.Path:
        """The secret of those who may use the fabric."""
        return self._layout.fabric_dir / 'token'

    @property
    def socket_path(self) -> str:
        """Where programs of this machine find the fabric."""
        return f'tcp:{self.port}:{self.token_path}'

    @property
    def windows_address(self) -> str:
        """Where programs of the Windows machine find it."""
        return f'tcp:{self.port}:{wines.windows_path(self.token_path)}'

    def start(self) -> str:
        """Start the server; returns a remark for the person."""
        description = self._layout.etc_dir / 'fabric.yaml'
        description.write_text(json.dumps({
            'root': wines.windows_path(self._layout.fabric_dir),
            'clock': 'real', 'scale': 0.25,
            'hosts': [{'name': NODE, **simulator.HOST}]}))
        self._procs.start('hyperv-sim', self._wine.command(
            'run', '-m', 'compute_hyperv.sim', 'serve',
            wines.windows_path(description), '--socket',
            self.windows_address))
        self._procs.wait('hyperv-sim', self._listens, 180,
                         'the simulated host answers')
        return f'{NODE}, a process of Windows, port {self.port}'

    def _listens(self) -> bool:
        try:
            socket.create_connection(('127.0.0.1', self.port)).close()
        except OSError:
            return False
        return True


class Configs(configs.Configs):
    """What differs on Windows."""

    fabric_address = ''

    def neutron(self) -> configs.Sections:
        """The same, with the fabric's address."""
        sections = dict(super().neutron())
        sections['ml2_hyperv_sim'] = {
            **sections['ml2_hyperv_sim'], 'fabric_socket':
                self.fabric_address}
        return sections

    def node(self, node: str) -> configs.Sections:
        """nova.conf of the Windows machine: its paths, its log."""
        sections = dict(super().node(node))
        state_dir = self._layout.data_dir / f'nova-{node}'
        sections['DEFAULT'] = {
            **sections['DEFAULT'],
            'state_path': wines.windows_path(state_dir),
            'log_file': wines.windows_path(
                self._layout.log_dir / f'nova-compute-{node}.log'),
            'graceful_shutdown_timeout': 20, 'manager_shutdown_timeout': 10,
            # mkisofs.exe is no part of Wine: doc/source/contributor/windows.
            'force_config_drive': 'false'}
        sections['oslo_concurrency'] = {
            'lock_path': wines.windows_path(state_dir / 'locks')}
        return sections


class Cloud(clouds.Cloud):
    """One cloud with a Windows node."""

    def __init__(self, layout: layouts.Layout, show: object,
                 wine: wines.Wine) -> None:
        super().__init__(layout, show)
        self.wine = wine
        self.simulator = Simulator(layout, self.procs, wine)

    def configs(self, settings: layouts.Settings) -> Configs:
        """The configuration, and the facts of the Windows machine."""
        self.simulator.port = settings.first_port + _FABRIC_PORT
        self.wine.become_a_host(self.simulator.windows_address, NODE)
        made = Configs(self.layout, settings)
        made.fabric_address = self.simulator.socket_path
        return made

    def down(self) -> None:
        """End the Windows machine, then everything else."""
        self.wine.call('stop')
        super().down()
        self.wine.become_plain()

    def _tasks(self, settings: layouts.Settings) -> list[tasks.Task]:
        return [task for task in super()._tasks(settings)
                if task.name not in _LEFT_OUT]

    def _node_tasks(self, parts: services.Services, tables: schemas.Schemas,
                    api: apis.Api) -> list[tasks.Task]:
        return [
            tasks.Task('service', 'Service installed and started',
                       lambda: self.start_service(api),
                       ('simulator', 'nova-conductor', 'placement')),
            tasks.Task('mapping', 'Node in the cell',
                       lambda: clouds.map_nodes(tables, api), ('service',))]

    def start_service(self, api: apis.Api) -> str:
        """Install the Windows service, start it, wait for its report."""
        code, text = self.wine.service(
            '--name', SERVICE, 'install', '--startup', 'manual',
            '--config-file', self._etc('compute.conf'),
            '--config-file', self._etc(f'{NODE}.conf'),
            '--log-dir', wines.windows_path(self.layout.log_dir))
        if code:
            raise wines.Failed(f'install: {text}')
        code, text = self.wine.service(
            '--name', SERVICE, 'start', '--timeout', str(_START_TIMEOUT_S),
            timeout_s=_START_TIMEOUT_S + 30)
        if code:
            raise wines.Failed(f'start: {text}')
        processes.until(lambda: self.is_reporting(api), 60,
                        'nova-compute reports to Nova')
        return text.strip().splitlines()[-1]

    def start_plain(self) -> None:
        """Start nova-compute as a person would, without the service."""
        self.procs.start('nova-compute-plain', self.wine.command(
            'run', wines.windows_path(_HERE / 'nova_compute.py'),
            '--config-file', self._etc('compute.conf'),
            '--config-file', self._etc(f'{NODE}.conf')))

    def is_reporting(self, api: apis.Api) -> bool:
        """Whether Nova takes the node's nova-compute for living."""
        found = api.get('nova', '/os-services?binary=nova-compute')
        return any(entry['host'] == NODE and entry['state'] == 'up'
                   for entry in found['services'])

    def _etc(self, name: str) -> str:
        return wines.windows_path(self.layout.etc_dir / 'nova' / name)

    @property
    def status_path(self) -> pathlib.Path:
        """Where the supervisor's child tells its state."""
        return self.layout.log_dir / f'{SERVICE}.status'

    def child(self) -> tuple[int, str]:
        """Process id (of Windows) and state of nova-compute; 0 for none."""
        try:
            status = json.loads(self.status_path.read_text())
        except (FileNotFoundError, ValueError):
            return 0, ''
        return status['pid'], status['state']
