#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One server on a nova-compute that runs as a Windows service, end to end.

Runs on Linux; ``tools/wine-python setup`` comes first. Brings up the cloud of
:mod:`windowscloud`, goes through the steps below and ends with ``N passed, N
failed, N skipped``. After a failure the cloud's folder (by default
``.demo/windows``) is left for a look.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import datetime
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import windowscloud  # noqa: E402
from windowscloud import NODE  # noqa: E402
from windowscloud import SERVICE  # noqa: E402

import wine as wines  # noqa: E402

from cloud import client as clients  # noqa: E402
from cloud import errors  # noqa: E402
from cloud import layout as layouts  # noqa: E402
from cloud import processes  # noqa: E402
from cloud import progress  # noqa: E402

_NAME = 'windows1'
_RESTART_TIMEOUT_S = 300
_NOTICE_TIMEOUT_S = 60


class Check:
    """The life of one server and of the service below it."""

    def __init__(self, cloud: windowscloud.Cloud,
                 client: clients.Client) -> None:
        self._cloud = cloud
        self._wine = cloud.wine
        self._client = client
        self._machine = ''

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """What is done, in order; each returns its remark."""
        return [
            ('service runs', self.service_runs),
            ('node reports its resources', self.resources),
            ('server boots', self.boot),
            ('serial console', self.console),
            ('nova-compute killed', self.kill_child),
            ('server is still there', self.still_there),
            ('server deleted', self.delete),
            ('service stops gracefully', self.stop),
            ('simulated host is clean', self.clean),
            ('service removed', self.remove),
            ('plain nova-compute runs', self.plain)]

    def service_runs(self) -> str:
        code, text = self._wine.service('--name', SERVICE, 'status')
        expect(code == 0 and text.strip() == 'running', text)
        state, _ = self._wine.service_state(SERVICE)
        expect(state == 'RUNNING', state)
        # On a slow machine the service runs before nova-compute is ready.
        processes.until(lambda: self._cloud.child()[1] == 'running',
                        _RESTART_TIMEOUT_S, 'nova-compute is running')
        return f'nova-compute is process {self._cloud.child()[0]} of Windows'

    def resources(self) -> str:
        found = self._client.api.get('placement', '/resource_providers')
        provider, = found['resource_providers']
        expect(provider['name'].upper() == NODE, provider['name'])
        inventories = self._client.api.get(
            'placement', f'/resource_providers/{provider["uuid"]}'
            '/inventories')['inventories']
        totals = {name: inventories[name]['total']
                  for name in ('VCPU', 'MEMORY_MB', 'DISK_GB')}
        expect(totals == {'VCPU': 8, 'MEMORY_MB': 16384,
                          'DISK_GB': totals['DISK_GB']}, str(totals))
        return ', '.join(f'{name} {total}' for name, total in totals.items())

    def boot(self) -> str:
        self._client.create(_NAME)
        self._client.wait_for(_NAME, 'ACTIVE')
        lines = self._client.wait_for_login(_NAME)
        server = self._server()
        expect(server['OS-EXT-SRV-ATTR:host'] == NODE, str(server))
        self._machine = server['OS-EXT-SRV-ATTR:instance_name']
        return f'ACTIVE on {NODE}, {lines} lines of console log'

    def console(self) -> str:
        self._client.type_at_console(_NAME, 'who is there')
        return 'through a named pipe of Windows'

    def kill_child(self) -> str:
        killed, _ = self._cloud.child()
        self._wine.run('sh', 'taskkill.exe', '/f', '/pid', str(killed))

        def restarted() -> bool:
            pid, state = self._cloud.child()
            return pid not in (0, killed) and state == 'running'

        processes.until(restarted, _RESTART_TIMEOUT_S,
                        'the supervisor starts nova-compute again')
        state, _ = self._wine.service_state(SERVICE)
        expect(state == 'RUNNING', state)
        return f'{killed}, now {self._cloud.child()[0]}'

    def still_there(self) -> str:
        shown = self._cloud.simulator.ask('show', 'vm', self._machine)
        expect('running' in shown, shown)
        self._client.wait_for(_NAME, 'ACTIVE')
        # The new process has opened the pipe again.
        self._client.type_at_console(_NAME, 'still there')
        return f'{self._machine} runs, its console answers'

    def delete(self) -> str:
        self._client.run('server', 'delete', _NAME)
        self._client.wait_gone(_NAME)
        return ''

    def stop(self) -> str:
        code, text = self._wine.service('--name', SERVICE, 'stop')
        expect(code == 0, text)
        found = self._wine.service_state(SERVICE)
        expect(found == ('STOPPED', 0), str(found))
        code, text = self._wine.service('--name', SERVICE, 'status')
        expect(code == 3 and text.strip() == 'stopped', text)
        return 'STOPPED, exit code 0'

    def clean(self) -> str:
        return self._cloud.simulator.check_clean(_NOTICE_TIMEOUT_S)

    def remove(self) -> str:
        code, text = self._wine.service('--name', SERVICE, 'remove')
        expect(code == 0, text)
        code, text = self._wine.service('--name', SERVICE, 'status')
        expect(code == 4, text)
        return ''

    def plain(self) -> str:
        """Without the service: os-vif's plugin brings the shims in time."""
        began = datetime.datetime.now(datetime.timezone.utc)
        self._cloud.start_plain()

        def reports() -> bool:
            found = self._client.api.get(
                'nova', '/os-services?binary=nova-compute')
            return any(_time(entry['updated_at']) > began
                       for entry in found['services'])

        processes.until(reports, _RESTART_TIMEOUT_S,
                        'plain nova-compute reports to Nova')
        return 'it reports to Nova'

    def _server(self) -> dict[str, object]:
        server = self._client.server(_NAME)
        expect(server is not None, f'{_NAME} is gone')
        return dict(server or {})


def _time(text: str | None) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text or '1970-01-01')
    return moment.replace(tzinfo=datetime.timezone.utc)


def expect(fits: bool, found: str) -> None:
    """Raise with what was found unless it fits."""
    if not fits:
        raise wines.Failed(f'found: {found}')


def run(cloud: windowscloud.Cloud, show: progress.Progress) -> int:
    """Bring the cloud up and go through the steps; how many passed."""
    passed = 0
    with cloud.locked():
        cloud.clean()
        cloud.up()
        client = clients.Client(cloud.layout, cloud.settings(), show)
        show.title('Check')
        check = Check(cloud, client)
        for title, action in check.steps():
            with show.step(title) as step:
                step.note = action()
            passed += 1
    return passed


def main() -> int:
    """Run everything; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--dir', type=pathlib.Path, metavar='FOLDER',
                        default=layouts.CHECKOUT_DIR / '.demo')
    args = parser.parse_args()
    os.umask(0o077)
    # A test that takes too long is ended this way: the cloud goes down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('ended by SIGTERM'))
    show = progress.Progress()
    cloud = windowscloud.Cloud(
        layouts.Layout(args.dir.absolute(), 'windows'), show,
        wines.Wine())
    total = len(Check(cloud, None).steps()) + 1     # and the cloud itself
    passed, failed = 0, 1
    try:
        passed, failed = run(cloud, show) + 1, 0
    except (errors.DemoError, wines.Failed) as exc:
        print(f'\nFailed: {exc}', file=sys.stderr)
        log_path = getattr(exc, 'log_path', None)
        for line in errors.tail(log_path) if log_path else ():
            print(f'  {line}', file=sys.stderr)
    finally:
        show.close()
        cloud.down()
    if not failed:
        cloud.clean()
    print(f'{passed} passed, {failed} failed, {total - passed - failed} '
          'skipped')
    return failed


if __name__ == '__main__':
    sys.exit(main())
