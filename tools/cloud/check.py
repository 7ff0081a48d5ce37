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
from cloud import examples
from cloud import layout as layouts
from cloud import progress
from cloud import tour as tours

_NAME = 'check1'
_MARK = 'written by the guest of check1'
#: the guests boot in a quarter of the demo's time: any faster, and a busy
#: machine opens their consoles when they have said all that they say
_TIME_SCALE = 0.25
_STOP_TIMEOUT_S = 120.0
_NOTICE_TIMEOUT_S = 60.0


class _Check:
    """The life of one server, step by step."""

    def __init__(self, cloud: clouds.Cloud, client: clients.Client,
                 show: progress.Progress) -> None:
        self._cloud = cloud
        self._client = client
        self._settings = cloud.settings()
        self._tour = tours.Tour(cloud, client, show, _NAME)
        self._boots = 0
        self.step = progress.Step('')

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
            ('live migration', self.live_migration),
            ('cold migration', self.cold_migration),
            ('volume again', self.detach),
            ('server that boots from a volume', self.volume_server),
            ('delete', self.delete),
            ('examples of the documentation', self.examples),
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
        """A volume in the running server; its guest writes to it."""
        self._client.run('volume', 'create', '--size', '1', _NAME)
        self._client.wait_for_volume(_NAME, 'available')
        self._tour.attach(_NAME)
        self._write()
        self._client.run('volume', 'set', '--size', '2', _NAME)
        self._client.wait_for_volume(_NAME, 'in-use')
        self._expect(2 << 30)
        return 'created, attached, written, extended'

    def live_migration(self) -> str:
        """To the other node and back, with the volume."""
        notes = []
        for _turn in layouts.NODES:
            source = self._tour.node()
            target = next(node for node in layouts.NODES if node != source)
            self._tour.move(target, self.step)
            notes.append(self.step.note)
            self._expect(2 << 30)
            boots = self._client.logins(_NAME)
            if boots != self._boots:
                raise errors.DemoError(
                    f'The guest booted {boots} times, not {self._boots}.')
            self._client.type_at_console(_NAME, f'now on {target}')
        return '; '.join(notes)

    def cold_migration(self) -> str:
        """To the other node, with the volume; confirmed."""
        source = self._tour.node()
        self._client.run('server', 'migrate', _NAME)
        self._client.wait_for(_NAME, 'VERIFY_RESIZE')
        self._client.run('server', 'migrate', 'confirm', _NAME)
        self._client.wait_for(_NAME, 'ACTIVE')
        if self._tour.node() == source:
            raise errors.DemoError(f'{_NAME} is still on {source}.')
        booted = self._booted()
        self._expect(2 << 30)
        return f'{booted}, on {self._tour.node()}'

    def detach(self) -> str:
        """Detach the volume, attach it anew, and delete it."""
        for _turn in range(2):
            self._client.run('server', 'remove', 'volume', _NAME, _NAME)
            self._client.wait_for_volume(_NAME, 'available')
            if not _turn:
                self._tour.attach(_NAME)
                self._expect(2 << 30)
        self._client.run('volume', 'delete', _NAME)
        self._client.wait_for_volume(_NAME, None)
        return 'detached, attached with its data, detached, deleted'

    def _write(self) -> None:
        """Have the guest write its mark to its volume."""
        self._cloud.simulator.call(
            'guest.write', name=self._tour.vm(), offset=1 << 20, text=_MARK,
            disk=self._tour.disk_of(_NAME)['address'])

    def _expect(self, size_bytes: int) -> None:
        """The guest finds its mark on the volume, which has that size.

        :raises DemoError: it does not.
        """
        deadline = time.monotonic() + _NOTICE_TIMEOUT_S
        while True:
            try:
                return self._find(size_bytes)
            except errors.DemoError:
                # Nova hears of a volume that has grown after Cinder.
                if time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def _find(self, size_bytes: int) -> None:
        where = self._tour.disk_of(_NAME)['address']
        found = self._tour.read(where)
        if found != _MARK:
            raise errors.DemoError(f'The guest reads {found!r} from its '
                                   f'volume, not what it wrote.')
        sizes = {disk['address']: disk['size_bytes']
                 for disk in self._cloud.simulator.call(
                     'guest.disks', name=self._tour.vm())}
        if sizes[where] != size_bytes:
            raise errors.DemoError(f'The guest sees {sizes[where]} bytes on '
                                   f'its volume, not {size_bytes}.')

    def examples(self) -> str:
        """What the documentation tells people to type."""
        count = 0
        runner = examples.Runner(self._cloud.layout, self._settings,
                                 self._client)
        for page in examples.pages():
            self.step.detail = page.name
            count += runner.run(page)
        runner.close()
        return f'{count} commands'

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
        """Nothing is left on the hosts, files included."""
        return self._cloud.simulator.check_clean(_NOTICE_TIMEOUT_S)


def run(layout: layouts.Layout, show: progress.Progress,
        first_port: int | None) -> int:
    """Go through everything with a new cloud, which is removed at the end.

    After a failure the cloud is stopped and its folder left for a look.

    :returns: the exit code.
    """
    cloud = clouds.Cloud(layout, show, _TIME_SCALE, strict=True)
    with cloud.locked():
        cloud.clean()
        try:
            cloud.up(first_port)
            client = clients.Client(layout, cloud.settings(), show)
            show.title('Check')
            check = _Check(cloud, client, show)
            for title, action in check.steps():
                with show.step(title) as check.step:
                    check.step.note = action()
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
