# SPDX-License-Identifier: Apache-2.0
"""What a person would do by hand: the ordinary ``openstack`` client."""

from __future__ import annotations

import shutil
import time
from typing import Any

from cloud import api as apis
from cloud import configs
from cloud import content
from cloud import errors
from cloud import layout as layouts
from cloud import processes
from cloud import progress
from cloud import websocket

SERVER_TIMEOUT_S = 120
CONSOLE_TIMEOUT_S = 60
_POLL_S = 0.3


class Client:
    """Runs openstack commands and waits for what they start."""

    def __init__(self, layout: layouts.Layout, settings: layouts.Settings,
                 show: progress.Progress) -> None:
        self._layout = layout
        self._env = {
            'OS_AUTH_URL': settings.url('keystone', '/v3'),
            'OS_USERNAME': 'admin', 'OS_PROJECT_NAME': 'admin',
            'OS_PASSWORD': settings.admin_password,
            'OS_USER_DOMAIN_ID': 'default',
            'OS_PROJECT_DOMAIN_ID': 'default',
            'OS_IDENTITY_API_VERSION': '3',
            'OS_REGION_NAME': configs.REGION,
            'CLIFF_MAX_TERM_WIDTH': str(_table_width())}
        self._show = show
        self.api = apis.Api(settings)

    def run(self, *words: str) -> str:
        """The output of an openstack command."""
        return processes.output(
            self._layout, [self._layout.program('openstack'), *words],
            'openstack', SERVER_TIMEOUT_S, self._env)

    def show(self, *words: str) -> str:
        """Run a command and let the person see it with its output."""
        self._show.say()
        self._show.say(self._show.paint(f'$ openstack {" ".join(words)}',
                                        'title'))
        output = self.run(*words)
        self._show.say(output.rstrip())
        return output

    def create(self, name: str, node: str | None = None,
               flavor: str = content.FLAVOR, image: str = content.IMAGE,
               network: str = content.NETWORK) -> None:
        """Ask for a server; on a certain node if told."""
        where = ['--os-compute-api-version', '2.74', '--host', node
                 ] if node else []
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
        def logins() -> int:
            return sum('login:' in line for line in self.console(name))

        processes.until(lambda: logins() >= times, CONSOLE_TIMEOUT_S,
                        f'{name} shows its login prompt', _POLL_S)
        return len(self.console(name))

    def type_at_console(self, name: str, text: str) -> None:
        """Type at a server's serial console and wait for the echo.

        :raises DemoError: nothing comes back.
        """
        answer = self._act(name, {'os-getSerialConsole': {'type': 'serial'}})
        with websocket.WebSocket(answer['console']['url'],
                                 CONSOLE_TIMEOUT_S) as console:
            console.send(text.encode() + b'\r')
            console.read_until(text.encode())

    def _act(self, name: str, action: dict[str, Any]) -> dict[str, Any]:
        server = self.server(name)
        if server is None:
            raise errors.DemoError(f'Server {name} is gone.')
        answer: dict[str, Any] = self.api.post(
            'nova', f'/servers/{server["id"]}/action', action)
        return answer

    def wait_for_volume(self, name: str, status: str | None) -> None:
        """Wait until a volume has a status; ``None``: it is gone."""
        project_id = self.api.login()[1]

        def there() -> bool:
            volume = self.api.find('cinder', f'/{project_id}/volumes/detail',
                                   'volumes', name=name)
            now = volume['status'] if volume else None
            if now and now.startswith('error'):
                raise errors.DemoError(
                    f'Volume {name} is in {now}.',
                    self._layout.log_dir / 'cinder-volume.log')
            return now == status

        processes.until(there, SERVER_TIMEOUT_S,
                        f'volume {name} is {status or "deleted"}', _POLL_S)

    def _log_path(self, server: dict[str, Any]) -> Any:
        host = server.get('OS-EXT-SRV-ATTR:host')
        name = f'nova-compute-{host}' if host else 'nova-conductor'
        return self._layout.log_dir / f'{name}.log'


def _table_width() -> int:
    """Columns for the client's tables: the terminal's, within reason."""
    return max(72, min(shutil.get_terminal_size((100, 0)).columns, 120))


def _fault(server: dict[str, Any]) -> str:
    return str(server.get('fault', {}).get('message', 'no reason given'))
