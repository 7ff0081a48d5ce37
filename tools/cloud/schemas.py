# SPDX-License-Identifier: Apache-2.0
"""The databases' tables, made or brought up to date."""

from __future__ import annotations

import pathlib

from cloud import backing
from cloud import layout as layouts
from cloud import packages
from cloud import processes
from cloud import tasks

_PROJECTS = {'placement': 'openstack_placement'}
_TIMEOUT_S = 300


class Schemas:
    """Runs the services' own migrations, once per version."""

    def __init__(self, layout: layouts.Layout,
                 settings: layouts.Settings) -> None:
        self._layout = layout
        self._settings = settings

    def sync(self, service: str) -> str:
        """Migrate one service's database.

        :returns: a remark for the person.
        """
        version = packages.versions(self._layout)[
            _PROJECTS.get(service, service)]
        stamp = self._stamp_path(service)
        if stamp.is_file() and stamp.read_text() == version:
            return tasks.NOTHING
        for command in self._commands(service):
            self._run(service, command)
        if service == 'nova':
            self._make_cell()
        stamp.write_text(version)
        return version

    def bootstrap_identity(self) -> str:
        """Make the admin user and Keystone's own catalog entry.

        :returns: a remark for the person.
        """
        stamp = self._stamp_path('bootstrap')
        if stamp.is_file():
            return tasks.NOTHING
        url = self._settings.url('keystone', '/v3')
        self._run('keystone', [
            'keystone-manage', '--config-file', self._conf('keystone'),
            'bootstrap', '--bootstrap-password',
            self._settings.admin_password,
            '--bootstrap-region-id', 'RegionOne',
            '--bootstrap-public-url', url, '--bootstrap-internal-url', url,
            '--bootstrap-admin-url', url])
        stamp.touch()
        return 'user admin'

    def discover_hosts(self) -> None:
        """Let Nova's cell find computes that have reported."""
        self._run('nova', ['nova-manage', '--config-file',
                           self._conf('nova'), 'cell_v2', 'discover_hosts'])

    def _commands(self, service: str) -> list[list[str]]:
        conf = ['--config-file', self._conf(service)]
        return {
            'keystone': [['keystone-manage', *conf, 'db_sync']],
            'placement': [['placement-manage', *conf, 'db', 'sync']],
            'glance': [['glance-manage', *conf, 'db_sync']],
            'cinder': [['cinder-manage', *conf, 'db', 'sync']],
            'neutron': [['neutron-db-manage', *conf, 'upgrade', 'heads']],
            'nova': [
                ['nova-manage', *conf, 'api_db', 'sync'],
                ['nova-manage', *conf, 'cell_v2', 'map_cell0',
                 '--database_connection',
                 backing.database_url(self._settings, 'nova_cell0')],
                ['nova-manage', *conf, 'db', 'sync']],
        }[service]

    def _make_cell(self) -> None:
        conf = ['--config-file', self._conf('nova')]
        listing = self._run('nova', [
            'nova-manage', *conf, 'cell_v2', 'list_cells'])
        if 'cell1' not in listing:
            self._run('nova', [
                'nova-manage', *conf, 'cell_v2', 'create_cell',
                '--name=cell1', '--database_connection',
                backing.database_url(self._settings, 'nova'),
                '--transport-url', backing.transport_url(self._settings)])

    def _run(self, service: str, command: list[str]) -> str:
        return processes.output(
            self._layout, [self._layout.program(command[0]), *command[1:]],
            f'{service}-manage', _TIMEOUT_S)

    def _conf(self, service: str) -> str:
        name = 'glance-api' if service == 'glance' else service
        return str(self._layout.etc_dir / service / f'{name}.conf')

    def _stamp_path(self, what: str) -> pathlib.Path:
        folder = self._layout.data_dir / 'schemas'
        folder.mkdir(parents=True, exist_ok=True)
        return folder / what
