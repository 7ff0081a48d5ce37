# SPDX-License-Identifier: Apache-2.0
"""The databases' tables, made or brought up to date."""

from __future__ import annotations

import pathlib
import tempfile

from cloud import backing
from cloud import configs
from cloud import layout as layouts
from cloud import packages
from cloud import processes
from cloud import tasks

_HERE = pathlib.Path(__file__).resolve().parent
_PROJECTS = {'placement': 'openstack_placement'}
#: the databases that a service's migrations fill, if not one of its name
_DATABASES = {'nova': ('nova_api', 'nova')}
_TIMEOUT_S = 600


class Schemas:
    """Runs the services' own migrations, once per version."""

    def __init__(self, layout: layouts.Layout,
                 settings: layouts.Settings) -> None:
        self._layout = layout
        self._settings = settings

    def sync(self, service: str) -> str:
        """Make one service's tables, or migrate them to its version.

        :returns: a remark for the person.
        """
        version = self._version(service)
        stamp = self._stamp_path(service)
        if stamp.is_file() and stamp.read_text() == version:
            return tasks.NOTHING
        if stamp.is_file():
            self._migrate(service)
            remark = f'{stamp.read_text()} to {version}'
        else:
            remark = f'{version}{self._make(service)}'
        stamp.write_text(version)
        return remark

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
            '--bootstrap-region-id', configs.REGION,
            '--bootstrap-public-url', url, '--bootstrap-internal-url', url,
            '--bootstrap-admin-url', url])
        stamp.touch()
        return 'user admin'

    def discover_hosts(self) -> None:
        """Let Nova's cell find computes that have reported."""
        self._run('nova', ['nova-manage', '--config-file',
                           self._conf('nova'), 'cell_v2', 'discover_hosts'])

    def _make(self, service: str) -> str:
        """Make the tables from nothing, of a kept copy if there is one."""
        copies = {name: self._copy_path(service, name)
                  for name in _DATABASES.get(service, (service,))}
        kept = all(path.is_file() for path in copies.values())
        if not kept:
            # Anew, because an interrupted migration does not go on.
            self._tables('new', copies)
            self._migrate_new(service)
            self._tables('save', copies)
        if service == 'nova':
            fresh = {'nova_cell0': copies['nova']}
            self._tables('load', {**copies, **fresh} if kept else fresh)
            self._make_cells()
        elif kept:
            self._tables('load', copies)
        return ', copied' if kept else ''

    def _migrate_new(self, service: str) -> None:
        if service == 'nova':
            self._python('nova_manage.py', self._conf('nova'), 'tables')
        else:
            self._migrate(service)

    def _migrate(self, service: str) -> None:
        conf = ['--config-file', self._conf(service)]
        commands = {
            'keystone': [['keystone-manage', *conf, 'db_sync']],
            'placement': [['placement-manage', *conf, 'db', 'sync']],
            'glance': [['glance-manage', *conf, 'db_sync']],
            'cinder': [['cinder-manage', *conf, 'db', 'sync']],
            'neutron': [['neutron-db-manage', *conf, 'upgrade', 'heads']],
            'nova': [['nova-manage', *conf, 'api_db', 'sync'],
                     ['nova-manage', *conf, 'db', 'sync']],
        }
        if service == 'neutron':
            self._migrate_neutron(commands[service][0])
            return
        for command in commands[service]:
            self._run(service, command)

    def _migrate_neutron(self, command: list[str]) -> None:
        """Run neutron-db-manage from a path without blanks.

        It hands Alembic a list of folders, separated by blanks; with one in
        the venv's path it would do nothing, and succeed.
        """
        with tempfile.TemporaryDirectory() as folder:
            link = pathlib.Path(folder) / 'venv'
            link.symlink_to(self._layout.venv_dir)
            programs = link / 'bin'
            processes.run(
                self._layout,
                [str(programs / 'python'), str(programs / command[0]),
                 *command[1:]], 'neutron-manage', _TIMEOUT_S)

    def _make_cells(self) -> None:
        self._python('nova_manage.py', self._conf('nova'), 'cells',
                     backing.database_url(self._settings, 'nova_cell0'),
                     backing.database_url(self._settings, 'nova'),
                     backing.transport_url(self._settings))

    def _tables(self, action: str,
                files: dict[str, pathlib.Path]) -> None:
        self._python('tables.py', action,
                     str(self._settings.port('mariadb')),
                     *(f'{name}={path}' for name, path in files.items()))

    def _python(self, script: str, *words: str) -> None:
        # -P: our modules' names must not shadow anybody's.
        processes.run(
            self._layout, [self._layout.program('python'), '-P',
                           str(_HERE / script), *words],
            script.removesuffix('.py'), _TIMEOUT_S, {
                'DEMO_PASSWORD': self._settings.service_password})

    def _run(self, service: str, command: list[str]) -> None:
        processes.run(
            self._layout, [self._layout.program(command[0]), *command[1:]],
            f'{service}-manage', _TIMEOUT_S)

    def _version(self, service: str) -> str:
        return packages.versions(self._layout)[
            _PROJECTS.get(service, service)]

    def _copy_path(self, service: str, database: str) -> pathlib.Path:
        # In the venv, because it belongs to the versions in there.
        return (self._layout.venv_dir / 'tables' /
                f'{database}-{self._version(service)}.json.gz')

    def _conf(self, service: str) -> str:
        name = 'glance-api' if service == 'glance' else service
        return str(self._layout.etc_dir / service / f'{name}.conf')

    def _stamp_path(self, what: str) -> pathlib.Path:
        folder = self._layout.data_dir / 'schemas'
        folder.mkdir(parents=True, exist_ok=True)
        return folder / what
