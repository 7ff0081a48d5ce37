# SPDX-License-Identifier: Apache-2.0
"""``tools/demo check``: does the whole of it work, from nothing?"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import time

from cloud import client as clients
from cloud import cloud as clouds
from cloud import content
from cloud import errors
from cloud import layout as layouts
from cloud import progress

_NAME = 'check1'
#: the guests boot in a quarter of the demo's time
_TIME_SCALE = 0.25
_STOP_TIMEOUT_S = 60.0
_NOTICE_TIMEOUT_S = 10.0


class _Check:
    """The life of one server, step by step."""

    def __init__(self, cloud: clouds.Cloud, client: clients.Client) -> None:
        self._cloud = cloud
        self._client = client
        self._boots = 0

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """What is done, in order; each returns its remark."""
        return [
            ('boot', self.boot),
            ('console log', self.console),
            ('serial console', self.serial_console),
            ('stop', self.stop),
            ('start', self.start),
            ('reboot, soft', lambda: self.reboot('--soft')),
            ('reboot, hard', lambda: self.reboot('--hard')),
            ('volume', self.volume),
            ('server that boots from a volume', self.volume_server),
            ('delete', self.delete),
            ('nova-compute stops', self.stop_computes),
            ('clean fabric', self.clean)]

    def boot(self) -> str:
        self._client.create(_NAME)
        self._client.wait_for(_NAME, 'ACTIVE')
        server = self._client.server(_NAME)
        host = server['OS-EXT-SRV-ATTR:host'] if server else ''
        return f'{self._booted()}, on {host}'

    def console(self) -> str:
        shown = self._client.run('console', 'log', 'show', _NAME)
        if 'login:' not in shown:
            raise errors.DemoError('"openstack console log show" has no '
                                   'login prompt.')
        return f'{len(shown.splitlines())} lines'

    def serial_console(self) -> str:
        self._client.type_at_console(_NAME, 'who is there')
        return 'what is typed comes back'

    def stop(self) -> str:
        self._client.run('server', 'stop', _NAME)
        self._client.wait_for(_NAME, 'SHUTOFF')
        return 'SHUTOFF'

    def start(self) -> str:
        self._client.run('server', 'start', _NAME)
        self._client.wait_for(_NAME, 'ACTIVE')
        return self._booted()

    def reboot(self, kind: str) -> str:
        self._client.run('server', 'reboot', kind, _NAME)
        self._client.wait_for(_NAME, 'ACTIVE')
        return self._booted()

    def _booted(self) -> str:
        """Wait for one more login prompt; the log survives reboots."""
        self._boots += 1
        self._client.wait_for_login(_NAME, self._boots)
        return f'ACTIVE, login prompt {self._boots}'

    def volume(self) -> str:
        """A volume in the running server, over the simulated SAN."""
        self._client.run('volume', 'create', '--size', '1', _NAME)
        self._client.wait_for_volume(_NAME, 'available')
        self._client.run('server', 'add', 'volume', _NAME, _NAME)
        self._client.wait_for_volume(_NAME, 'in-use')
        self._client.run('--os-volume-api-version', '3.42', 'volume', 'set',
                         '--size', '2', _NAME)
        self._client.wait_for_volume(_NAME, 'in-use')
        self._client.run('server', 'remove', 'volume', _NAME, _NAME)
        self._client.wait_for_volume(_NAME, 'available')
        self._client.run('volume', 'delete', _NAME)
        self._client.wait_for_volume(_NAME, None)
        return 'created, attached, extended, detached, deleted'

    def volume_server(self) -> str:
        """A server that boots from a volume, made from the image."""
        name = f'{_NAME}-volume'
        self._client.run('volume', 'create', '--size', '1', '--image',
                         content.IMAGE, '--bootable', name)
        self._client.wait_for_volume(name, 'available')
        self._client.run('server', 'create', '--volume', name, '--flavor',
                         content.FLAVOR, '--network', content.NETWORK, name)
        self._client.wait_for(name, 'ACTIVE')
        self._client.wait_for_login(name, 1)
        self._client.run('server', 'delete', name)
        self._client.wait_gone(name)
        self._client.wait_for_volume(name, 'available')
        self._client.run('volume', 'delete', name)
        self._client.wait_for_volume(name, None)
        return 'booted, deleted'

    def delete(self) -> str:
        self._client.run('server', 'delete', _NAME)
        self._client.wait_gone(_NAME)
        return ''

    def stop_computes(self) -> str:
        """What the services themselves hold open has to go as well."""
        names = [f'nova-compute-{node}' for node in layouts.NODES]
        if self._cloud.procs.stop(names, _STOP_TIMEOUT_S):
            raise errors.DemoError(
                f'nova-compute did not stop within {_STOP_TIMEOUT_S:.0f} s.',
                self._cloud.procs.log_path(names[0]))
        return ''

    def clean(self) -> str:
        """Nothing is left on the hosts.

        The simulator notices that a nova-compute has ended when the call in
        which it waits for events returns, seconds later.
        """
        deadline = time.monotonic() + _NOTICE_TIMEOUT_S
        while True:
            try:
                answer = self._cloud.simulator.ask('check')
                return answer.strip().splitlines()[-1]
            except errors.DemoError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(1)


def run(layout: layouts.Layout, show: progress.Progress,
        first_port: int | None) -> int:
    """Go through everything with a new cloud, which is removed at the end.

    After a failure the cloud is stopped and its folder left for a look.

    :returns: the exit code.
    """
    cloud = clouds.Cloud(layout, show, _TIME_SCALE)
    with cloud.locked():
        cloud.clean()
        try:
            cloud.up(first_port)
            client = clients.Client(layout, cloud.settings(), show)
            show.title('Check')
            for title, action in _Check(cloud, client).steps():
                with show.step(title) as step:
                    step.note = action()
        except BaseException:
            with contextlib.suppress(errors.DemoError):
                _take_down(cloud, show)
            show.line('FAIL', None, 'check', f'see {layout.log_dir}')
            raise
        _take_down(cloud, show)
        cloud.clean()
    spent = time.monotonic() - show.started
    show.line('ok', spent, 'check', 'everything works')
    return 0


def _take_down(cloud: clouds.Cloud, show: progress.Progress) -> None:
    with show.step('down'):
        cloud.down()
        left = cloud.procs.belonging()
        if left:
            raise errors.DemoError(f'Processes {sorted(left)} are left.')
