# SPDX-License-Identifier: Apache-2.0
"""What a person is shown about a cloud."""

from __future__ import annotations

import shlex

from cloud import client as clients
from cloud import cloud as clouds
from cloud import configs
from cloud import layout as layouts
from cloud import progress

_CONSOLE_LINES = 12
_SERVER_COLUMNS = ('name', 'status', 'addresses', 'image',
                   'OS-EXT-SRV-ATTR:host', 'OS-EXT-SRV-ATTR:instance_name',
                   'OS-EXT-STS:vm_state', 'id')


def show_server(cloud: clouds.Cloud, client: clients.Client,
                show: progress.Progress, name: str) -> None:
    """The server's table, its console log, and the host's view of it."""
    columns = [word for column in _SERVER_COLUMNS
               for word in ('-c', column)]
    title = f'$ openstack server show {name}'
    show.title(title)
    show.say(client.run('server', 'show', name, *columns).rstrip())
    server = client.server(name) or {}
    instance_name = server.get('OS-EXT-SRV-ATTR:instance_name', name)
    client.show('console', 'log', 'show', '--lines', str(_CONSOLE_LINES),
                name)
    for words in (['show', 'vms'], ['show', 'vm', instance_name]):
        show.title(f'$ hyperv-sim {" ".join(words)}')
        show.say(cloud.simulator.ask(*words).rstrip())


def how_to_go_on(cloud: clouds.Cloud, show: progress.Progress) -> None:
    """The next things to type."""
    layout = cloud.layout
    openrc = shlex.quote(str(layout.openrc_path))
    rows = [
        ('For openstack, hyperv-sim', f'. {openrc}'),
        ('One more server', layout.command('boot NAME --host HV2')),
        ('Move it while it runs', layout.command('migrate NAME')),
        ('The simulated hosts', 'hyperv-sim show, hyperv-sim --help'),
        ('Logs', f'{layout.log_dir}/'),
        ('What runs', layout.command('status')),
        ('Stop, keep everything', layout.command('down')),
        ('Stop, remove everything', layout.command('clean'))]
    for what, command in rows:
        show.say(f'  {what:<27}{command}')


def report(cloud: clouds.Cloud, show: progress.Progress) -> int:
    """The table of processes, then the servers.

    :returns: 0 if all processes run, else 1.
    """
    settings = cloud.settings()
    show.say(f'{"process":<20}{"state":<9}{"pid":>8}{"MiB":>7}'
             f'{"minutes":>9}  address')
    total_mib = 0.0
    names = [name for group in reversed(clouds.STOP_ORDER) for name in group]
    for name in names:
        process = cloud.procs.find(name)
        if process is None:
            show.say(f'{name:<20}stopped')
            continue
        total_mib += process.rss_mib
        show.say(f'{name:<20}{"running":<9}{process.pid:>8}'
                 f'{process.rss_mib:>7.0f}{process.uptime_s / 60:>9.1f}  '
                 f'{_address(settings, name)}'.rstrip())
    show.say(f'{"":<29}{total_mib:>15.0f}')
    stopped = cloud.stopped()
    if len(stopped) == len(names):
        show.say(f'\nThe cloud is down. "{cloud.layout.command("up")}" '
                 f'starts it.')
        return 1
    if stopped:
        show.say(f'\n{len(stopped)} of {len(names)} processes do not run. '
                 f'"{cloud.layout.command("up")}" starts them; why one has '
                 f'ended is in {cloud.layout.log_dir}/')
        return 1
    client = clients.Client(cloud.layout, settings, show)
    client.show('server', 'list', '--long', '-c', 'Name', '-c', 'Status',
                '-c', 'Networks', '-c', 'Host')
    show.say()
    how_to_go_on(cloud, show)
    return 0


def _address(settings: layouts.Settings, process: str) -> str:
    service = process.removesuffix('-api').removeprefix('nova-serial')
    service = 'serialproxy' if service == 'proxy' else service
    if service in (*configs.SERVICE_TYPES, 'keystone'):
        return settings.url(service)
    if service in layouts.PORTS:
        return f'127.0.0.1:{settings.port(service)}'
    return ''
