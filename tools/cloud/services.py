# SPDX-License-Identifier: Apache-2.0
"""OpenStack's services: how each is started, and when it is ready."""

from __future__ import annotations

import datetime
import os

from cloud import api as apis
from cloud import backing
from cloud import layout as layouts
from cloud import processes

_API_TIMEOUT_S = 240
_AGENT_TIMEOUT_S = 240
#: service -> WSGI modules by the name of their port
_MODULES = {'keystone': {'keystone': 'keystone.wsgi.api'},
            'placement': {'placement': 'placement.wsgi.api'},
            'glance': {'glance': 'glance.wsgi.api'},
            'neutron': {'neutron': 'neutron.wsgi.api'},
            'nova': {'nova': 'nova.wsgi.osapi_compute',
                     'metadata': 'nova.wsgi.metadata'},
            'cinder': {'cinder': 'cinder.wsgi.api'}}


class Services:
    """Starts one cloud's services."""

    def __init__(self, layout: layouts.Layout, settings: layouts.Settings,
                 procs: processes.Processes, api: apis.Api) -> None:
        self._layout = layout
        self._settings = settings
        self._procs = procs
        self._api = api

    def start_api(self, service: str) -> str:
        """Start a service's API under cheroot and wait for its answer.

        :returns: its URL, for the person.
        """
        name = f'{service}-api'
        ports = {module: self._settings.port(port)
                 for port, module in _MODULES[service].items()}
        for port in ports.values():
            backing.refuse_taken_port(self._procs, name, port)
        launcher = os.path.join(os.path.dirname(__file__), 'launcher.py')
        more = []
        if service == 'cinder':
            more = ['--config-file', self._etc('cinder/cinder.conf')]
        self._procs.start(name, [
            # -P: our modules' names must not shadow anybody's.
            self._layout.program('python'), '-P', launcher,
            ','.join(f'{module}={port}' for module, port in ports.items()),
            *more],
            self._api_environment(service))
        url = self._settings.url(service)
        self._procs.wait(name, lambda: apis.answers(url), _API_TIMEOUT_S,
                         f'{name} answers')
        return url

    def start_nova_service(self, name: str) -> str:
        """Start nova-conductor or nova-scheduler; wait until it reports."""
        self._procs.start(name, [
            self._layout.program(name), '--config-file',
            self._etc('nova/nova.conf')])
        self._procs.wait(name, lambda: self._nova_reports(name, 'ctl', name),
                         _AGENT_TIMEOUT_S, f'{name} reports to Nova')
        return f'pid {self._pid(name)}'

    def start_serial_proxy(self) -> str:
        """Start the proxy between web sockets and the nodes' consoles.

        :returns: its port, for the person.
        """
        port = self._settings.port('serialproxy')
        backing.refuse_taken_port(self._procs, 'nova-serialproxy', port)
        self._procs.start('nova-serialproxy', [
            self._layout.program('nova-serialproxy'), '--config-file',
            self._etc('nova/nova.conf')])
        self._procs.wait(
            'nova-serialproxy', lambda: not layouts.is_free(port),
            _AGENT_TIMEOUT_S, 'nova-serialproxy listens')
        return f'port {port}'

    def start_compute(self, node: str, prefix: list[str]) -> str:
        """Start the nova-compute of a node and wait until it reports.

        :param prefix: the command that gives it its simulated host.
        """
        name = f'nova-compute-{node}'
        self._procs.start(name, [
            *prefix, self._layout.program('nova-compute'),
            '--config-file', self._etc('nova/compute.conf'),
            '--config-file', self._etc(f'nova/{node}.conf')],
            # Here Nova takes "C:\\OpenStack\\Instances" for a relative path.
            cwd=self._layout.data_dir)
        self._procs.wait(
            name, lambda: self._nova_reports('nova-compute', node, name),
            _AGENT_TIMEOUT_S, f'{name} reports to Nova')
        return f'pid {self._pid(name)}'

    def start_cinder_service(self, name: str) -> str:
        """Start cinder-scheduler or cinder-volume; wait until it reports."""
        self._procs.start(name, [
            self._layout.program(name), '--config-file',
            self._etc('cinder/cinder.conf')],
            {'OS_CINDER_DISABLE_EVENTLET_PATCHING': 'false'})
        self._procs.wait(name, lambda: self._cinder_reports(name),
                         _AGENT_TIMEOUT_S, f'{name} reports to Cinder')
        return f'pid {self._pid(name)}'

    def _pid(self, name: str) -> int | None:
        running = self._procs.find(name)
        return running.pid if running else None

    def _nova_reports(self, binary: str, host: str, process: str) -> bool:
        services = self._api.get('nova', f'/os-services?binary={binary}')
        # A row of an earlier run counts as up for a minute after its end.
        return any(entry['host'] == host and entry['state'] == 'up' and
                   self._is_fresh(entry['updated_at'], process)
                   for entry in services['services'])

    def _cinder_reports(self, binary: str) -> bool:
        project_id = self._api.login()[1]
        services = self._api.get(
            'cinder', f'/{project_id}/os-services?binary={binary}')
        return any(entry['state'] == 'up' and
                   self._is_fresh(entry['updated_at'], binary)
                   for entry in services['services'])

    def _is_fresh(self, updated_at: str | None, process: str) -> bool:
        running = self._procs.find(process)
        if running is None or updated_at is None:
            return running is not None
        began = datetime.datetime.now(datetime.timezone.utc) - \
            datetime.timedelta(seconds=running.uptime_s)
        reported = datetime.datetime.fromisoformat(updated_at)
        return reported.replace(tzinfo=datetime.timezone.utc) > began

    def _api_environment(self, service: str) -> dict[str, str]:
        folder = self._etc(service)
        paste = self._layout.venv_dir / 'etc' / 'nova' / 'api-paste.ini'
        # Nova's paste loader wants its own file first.
        files = {'keystone': 'keystone.conf', 'neutron': 'neutron.conf',
                 'nova': f'{paste};nova.conf'}
        if service == 'cinder':
            return {}
        env = {f'OS_{service.upper()}_CONFIG_DIR': folder}
        if service in files:
            env[f'OS_{service.upper()}_CONFIG_FILES'] = files[service]
        return env

    def _etc(self, name: str) -> str:
        return str(self._layout.etc_dir / name)
