# SPDX-License-Identifier: Apache-2.0
"""What a person would do by hand: the ordinary ``openstack`` client."""

from __future__ import annotations

from collections.abc import Callable
import hmac
import json
import shlex
import shutil
import time
from typing import Any
import urllib.request

from cloud import api as apis
from cloud import configs
from cloud import content
from cloud import errors
from cloud import layout as layouts
from cloud import openstack
from cloud import processes
from cloud import progress
from cloud import websocket

SERVER_TIMEOUT_S = 180
#: States of migrations that go on by themselves.
MOVING = frozenset((
    'accepted', 'queued', 'preparing', 'running', 'post-migrating',
    'pre-migrating', 'migrating', 'confirming', 'reverting'))
CONSOLE_TIMEOUT_S = 120
#: the node of a server, in Nova's API
HOST_KEY = 'OS-EXT-SRV-ATTR:host'
#: the VM's name on its host
VM_KEY = 'OS-EXT-SRV-ATTR:instance_name'
METADATA_PATH = '/openstack/latest/meta_data.json'
_POLL_S = 0.3


class Client:
    """Runs openstack commands and waits for what they start."""

    def __init__(self, layout: layouts.Layout, settings: layouts.Settings,
                 show: progress.Progress) -> None:
        self._layout = layout
        self._settings = settings
        self._show = show
        self.openstack = openstack.Openstack(layout, {
            **configs.client_environment(settings),
            'CLIFF_MAX_TERM_WIDTH': str(_table_width())})
        self.api = apis.Api(settings)

    def run(self, *words: str) -> str:
        """The output of an openstack command."""
        return self.openstack.run(words, SERVER_TIMEOUT_S)

    def show(self, *words: str) -> str:
        """Run a command and let the person see it with its output."""
        self._show.say()
        self._show.say(self._show.paint(f'$ openstack {shlex.join(words)}',
                                        'title'))
        output = self.run(*words)
        self._show.say(output.rstrip())
        return output

    def create(self, name: str, node: str | None = None,
               flavor: str = content.FLAVOR, image: str = content.IMAGE,
               network: str = content.NETWORK) -> None:
        """Ask for a server; on a certain node if told."""
        where = ['--host', node] if node else []
        self.run('server', 'create', '--image', image, '--flavor', flavor,
                 '--network', network, *where, name)

    def server(self, name: str) -> dict[str, Any] | None:
        """A server as Nova's API shows it, ``None`` if there is none."""
        return self.api.find('nova', '/servers/detail?all_tenants=1',
                             'servers', name=name)

    def wait_for(self, name: str, status: str) -> float:
        """Wait until a server has a status and no task.

        :returns: the seconds that it took.
        :raises DemoError: the server failed, or took too long.
        """
        began = time.monotonic()

        def there() -> bool:
            server = self.server(name)
            if server is None:
                raise errors.DemoError(f'Server {name} is gone.')
            if server['status'] == 'ERROR' != status:
                raise errors.DemoError(
                    f'Server {name} is in ERROR: {_fault(server)}',
                    self._log_path(server))
            return bool(server['status'] == status and
                        not server['OS-EXT-STS:task_state'])

        processes.until(there, SERVER_TIMEOUT_S, f'{name} is {status}',
                        _POLL_S)
        return time.monotonic() - began

    def wait_gone(self, name: str) -> None:
        """Wait until a server is deleted."""
        processes.until(lambda: self.server(name) is None, SERVER_TIMEOUT_S,
                        f'{name} is deleted', _POLL_S)

    def console(self, name: str) -> list[str]:
        """The lines of a server's console log."""
        answer = self._act(name, {'os-getConsoleOutput': {}})
        return list(answer['output'].splitlines())

    def wait_for_login(self, name: str, times: int = 1) -> int:
        """Wait until a server's console log shows a prompt.

        :param times: how many of them, one for each boot.
        :returns: how many lines the log has.
        """
        processes.until(lambda: self.logins(name) >= times, CONSOLE_TIMEOUT_S,
                        f'{name} shows its login prompt', _POLL_S)
        return len(self.console(name))

    def logins(self, name: str) -> int:
        """How many prompts a server's console log shows: its boots."""
        return sum('login:' in line for line in self.console(name))

    def type_at_console(self, name: str, text: str) -> None:
        """Type at a server's serial console and wait for the echo.

        :raises DemoError: nothing comes back.
        """
        urls: list[str] = []
        processes.until(lambda: bool(self._console_url(name, urls)),
                        CONSOLE_TIMEOUT_S, f'{name} has a serial console',
                        _POLL_S)
        with websocket.WebSocket(urls[0], CONSOLE_TIMEOUT_S) as console:
            console.send(text.encode() + b'\r')
            console.read_until(text.encode())

    def _console_url(self, name: str, urls: list[str]) -> list[str]:
        """There is one when nova-compute has opened the VM's pipe."""
        try:
            answer = self._act(name,
                               {'os-getSerialConsole': {'type': 'serial'}})
        except apis.ApiError as exc:
            if exc.status != 409:
                raise
            return []
        urls.append(answer['console']['url'])
        return urls

    def _act(self, name: str, action: dict[str, Any]) -> dict[str, Any]:
        server = self.server(name)
        if server is None:
            raise errors.DemoError(f'Server {name} is gone.')
        answer: dict[str, Any] = self.api.post(
            'nova', f'/servers/{server["id"]}/action', action)
        return answer

    def wait_for_migration(self, name: str, target: str,
                           tell: Callable[[], None]) -> None:
        """Wait until a server runs on another node.

        :param tell: called again and again meanwhile.
        :raises DemoError: it stays where it is.
        """
        def there() -> bool:
            tell()
            server = self.server(name)
            if server is None:
                raise errors.DemoError(f'Server {name} is gone.')
            if server['OS-EXT-STS:task_state']:
                return False
            state = self._last_migration(server['id'])
            if server[HOST_KEY] == target:
                # The other node may have something to tidy up yet.
                return server['status'] == 'ACTIVE' and state not in MOVING
            raise errors.DemoError(
                f'{name} did not move to {target}: the migration is {state}.',
                self._log_path(server))

        processes.until(there, SERVER_TIMEOUT_S, f'{name} is on {target}',
                        _POLL_S)

    def _last_migration(self, server_id: str) -> str:
        found = self.api.get(
            'nova', f'/os-migrations?instance_uuid={server_id}')
        statuses = [one['status'] for one in sorted(
            found['migrations'], key=lambda one: int(one['id']))]
        return statuses[-1] if statuses else 'not recorded'

    def metadata(self, name: str) -> dict[str, Any]:
        """What the metadata service tells the guest of a server."""
        request = urllib.request.Request(
            self._settings.url('metadata', METADATA_PATH),
            headers=self.metadata_headers(name))
        try:
            with apis.OPENER.open(request, timeout=CONSOLE_TIMEOUT_S) as it:
                return dict(json.load(it))
        except (OSError, ValueError) as exc:
            raise errors.DemoError(
                f'The metadata service: {exc}',
                self._layout.log_dir / 'nova-api.log') from exc

    def metadata_headers(self, name: str) -> dict[str, str]:
        """What Neutron's proxy adds to a guest's request."""
        server = self.server(name)
        if server is None:
            raise errors.DemoError(f'Server {name} is gone.')
        secret = self._settings.service_password.encode()
        return {'X-Instance-ID': server['id'],
                'X-Tenant-ID': server['tenant_id'],
                'X-Instance-ID-Signature': hmac.new(
                    secret, server['id'].encode(), 'sha256').hexdigest()}

    def volume(self, name: str) -> dict[str, Any] | None:
        """A volume as Cinder's API shows it, ``None`` without one."""
        project_id = self.api.login()[1]
        return self.api.find('cinder', f'/{project_id}/volumes/detail',
                             'volumes', name=name)

    def wait_for_volume(self, name: str, status: str | None) -> None:
        """Wait until a volume has a status; ``None``: it is gone."""
        def there() -> bool:
            volume = self.volume(name)
            now = volume['status'] if volume else None
            if now and now.startswith('error'):
                raise errors.DemoError(
                    f'Volume {name} is in {now}.',
                    self._layout.log_dir / 'cinder-volume.log')
            # Cinder knows a moment before Nova that it is detached.
            return now == status and not (
                volume and status == 'available'
                and volume['id'] in self.attached())

        processes.until(there, SERVER_TIMEOUT_S,
                        f'volume {name} is {status or "deleted"}', _POLL_S)

    def attached(self) -> set[str]:
        """Ids of the volumes that servers have, as Nova knows it."""
        found = self.api.get('nova', '/servers/detail?all_tenants=1')
        return {volume['id'] for server in found['servers'] for volume in
                server['os-extended-volumes:volumes_attached']}

    def _log_path(self, server: dict[str, Any]) -> Any:
        host = server.get('OS-EXT-SRV-ATTR:host')
        name = f'nova-compute-{host}' if host else 'nova-conductor'
        return self._layout.log_dir / f'{name}.log'


def _table_width() -> int:
    """Columns for the client's tables: the terminal's, within reason."""
    return max(72, min(shutil.get_terminal_size((100, 0)).columns, 120))


def _fault(server: dict[str, Any]) -> str:
    return str(server.get('fault', {}).get('message', 'no reason given'))
