# SPDX-License-Identifier: Apache-2.0
"""``tools/demo``: the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import os
import pathlib
import signal
import sys
import time

from cloud import check
from cloud import client as clients
from cloud import cloud as clouds
from cloud import errors
from cloud import layout as layouts
from cloud import packages
from cloud import progress
from cloud import status
from cloud import tour as tours

_FIRST_SERVER = 'demo1'
#: states that a server does not leave by itself, besides SHUTOFF
_AT_REST = ('ERROR', 'PAUSED', 'SUSPENDED', 'RESCUE', 'VERIFY_RESIZE',
            'SHELVED', 'SHELVED_OFFLOADED')

_DESCRIPTION = '''
OpenStack with two simulated Hyper-V nodes, on this machine only.

  up       (the default) install what is missing, start everything; boot a
           server, attach a volume, move the server to the other node
  status   what runs, where, and the servers
  boot     boot one more server: tools/demo boot NAME [--host HV2]
  migrate  move a running server: tools/demo migrate NAME [--host HV2]
  down     stop everything; "up" goes on from there
  clean    stop everything and remove it
  check    in a cloud of its own, removed afterwards: boot, consoles, stop,
           start, reboot, volumes, live and cold migration, the examples of
           the documentation, delete; says for each whether it works
'''


def main(argv: Sequence[str]) -> int:
    """Run one command.

    :returns: the exit code.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    _refuse_stray(parser, args)
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:      # nohup
            signal.signal(number, signal.default_int_handler)
    show = progress.Progress()
    try:
        return _COMMANDS[args.command](args, show)
    except errors.DemoError as exc:
        show.close()
        _explain(exc)
        return 1
    except BrokenPipeError:     # the reader, such as head, has enough
        sys.stdout = open(os.devnull, 'w')
        return 0
    except OSError as exc:      # a folder that cannot be written, a full disk
        show.close()
        text = (f'{exc.filename}: {exc.strerror}.' if exc.filename
                else str(exc))
        if isinstance(exc, PermissionError):
            text += ' "--dir FOLDER" takes another place.'
        _explain(errors.DemoError(text))
        return 1
    except KeyboardInterrupt:
        show.close()
        print('\nInterrupted.', file=sys.stderr)
        if args.command == 'up':
            down = layouts.Layout(_base_dir(args)).command('down')
            print(f'The same command goes on from here; "{down}" ends what '
                  f'runs.', file=sys.stderr)
        return 130
    finally:
        show.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='tools/demo', description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', nargs='?', default='up',
                        choices=list(_COMMANDS))
    parser.add_argument('name', nargs='?',
                        help='for boot, migrate: the server')
    parser.add_argument(
        '--dir', type=pathlib.Path, default=layouts.DEFAULT_DIR,
        metavar='FOLDER', help='where everything is kept '
        '(default: .demo in the checkout)')
    parser.add_argument(
        '--port', type=int, metavar='N', help='first of the '
        f'{layouts.PORT_SPAN} ports used on 127.0.0.1 (default: a free '
        'range is looked for)')
    parser.add_argument('--host', choices=layouts.NODES,
                        help='for boot, migrate: the node (default: the '
                        'scheduler\'s choice, the other one)')
    parser.add_argument('--keep-packages', action='store_true',
                        help='for clean: leave the Python packages')
    return parser


def _refuse_stray(parser: argparse.ArgumentParser,
                  args: argparse.Namespace) -> None:
    """Refuse what the command would not heed."""
    takes = {'boot': ('name', 'host'), 'migrate': ('name', 'host'),
             'up': ('port',), 'check': ('port',), 'clean': ('keep_packages',)}
    words = {'name': args.name, 'host': '--host', 'port': '--port',
             'keep_packages': '--keep-packages'}
    for name, word in words.items():
        if getattr(args, name) not in (None, False) and (
                name not in takes.get(args.command, ())):
            parser.error(f'{args.command} does not take {word}')


def _up(args: argparse.Namespace, show: progress.Progress) -> int:
    cloud = _cloud(args, show)
    show.say(f'OpenStack with simulated Hyper-V nodes, in '
             f'{cloud.layout.base_dir}')
    with cloud.locked():
        cloud.up(args.port)
        settings = cloud.settings()
        client = clients.Client(cloud.layout, settings, show)
        show.title('First server')
        _boot(cloud, client, show, _FIRST_SERVER, None)
        tour = tours.Tour(cloud, client, show, _FIRST_SERVER)
        show.title('Volume')
        tour.volume()
        show.title('Live migration')
        tour.migrate()
    spent = time.monotonic() - show.started
    show.title(f'Ready after {spent:.0f} s')
    status.how_to_go_on(cloud, show)
    return 0


def _boot_command(args: argparse.Namespace, show: progress.Progress) -> int:
    if not args.name:
        raise errors.DemoError('Which name shall the new server have?')
    cloud = _cloud(args, show)
    _boot(cloud, _client(cloud, show), show, args.name, args.host)
    return 0


def _migrate(args: argparse.Namespace, show: progress.Progress) -> int:
    cloud = _cloud(args, show)
    client = _client(cloud, show)
    name = args.name or _FIRST_SERVER
    server = client.server(name)
    if server is None:
        raise errors.DemoError(f'There is no server {name}.')
    if server['status'] in ('SHUTOFF', *_AT_REST):
        raise errors.DemoError(f'{name} is {server["status"]}, not ACTIVE.')
    client.wait_for(name, 'ACTIVE')
    server = client.server(name) or server
    if args.host == server[clients.HOST_KEY]:
        raise errors.DemoError(f'{name} is on {args.host} already.')
    tours.Tour(cloud, client, show, name).migrate(args.host)
    return 0


def _client(cloud: clouds.Cloud, show: progress.Progress) -> clients.Client:
    """The client of a cloud that runs."""
    settings = cloud.settings()
    stopped = cloud.stopped()
    if stopped:
        raise errors.DemoError(
            f'{", ".join(stopped)} of the cloud in {cloud.layout.base_dir} '
            f'do{"es" if len(stopped) == 1 else ""} not run: '
            f'"{cloud.layout.command("up")}" first.')
    return clients.Client(cloud.layout, settings, show)


def _boot(cloud: clouds.Cloud, client: clients.Client,
          show: progress.Progress, name: str, node: str | None) -> None:
    """Boot a server unless it exists, start it if it is off; show it."""
    known = client.server(name)
    if known is None:
        with show.step(f'openstack server create {name}'):
            client.create(name, node)
    elif known['status'] == 'SHUTOFF':
        with show.step(f'openstack server start {name}'):
            client.run('server', 'start', name)
    elif known['status'] in _AT_REST:
        raise errors.DemoError(
            f'{name} is {known["status"]}: bring it back, or delete it '
            f'("openstack server delete {name}").')
    with show.step(f'{name} becomes ACTIVE') as step:
        client.wait_for(name, 'ACTIVE')
        server = client.server(name)
        step.note = f'on {server["OS-EXT-SRV-ATTR:host"]}' if server else ''
    with show.step(f'{name} shows its login prompt') as step:
        step.note = f'{client.wait_for_login(name)} lines of console log'
    status.show_server(cloud, client, show, name)


def _status(args: argparse.Namespace, show: progress.Progress) -> int:
    return status.report(_cloud(args, show), show)


def _down(args: argparse.Namespace, show: progress.Progress) -> int:
    cloud = _cloud(args, show)
    cloud.settings()
    with cloud.locked(), show.step('Everything stops'):
        cloud.down()
    return 0


def _clean(args: argparse.Namespace, show: progress.Progress) -> int:
    base_dir = _base_dir(args)
    for name in ('cloud', 'check'):
        cloud = clouds.Cloud(layouts.Layout(base_dir, name), show)
        if cloud.layout.root_dir.is_dir():
            with cloud.locked(), show.step(f'Remove {cloud.layout.root_dir}'):
                cloud.clean()
    if not base_dir.is_dir():
        show.say(f'There is nothing in {base_dir}.')
    elif not args.keep_packages:
        with show.step('Remove the Python packages'):
            packages.remove(base_dir)
    return 0


def _check(args: argparse.Namespace, show: progress.Progress) -> int:
    return check.run(layouts.Layout(_base_dir(args), 'check'), show,
                     args.port)


def _cloud(args: argparse.Namespace, show: progress.Progress
           ) -> clouds.Cloud:
    return clouds.Cloud(layouts.Layout(_base_dir(args)), show)


def _base_dir(args: argparse.Namespace) -> pathlib.Path:
    folder: pathlib.Path = args.dir.absolute()
    return folder


def _explain(exc: errors.DemoError) -> None:
    print(f'\nFailed: {exc}', file=sys.stderr)
    if exc.log_path is not None:
        print(f'\nThe end of {exc.log_path}:', file=sys.stderr)
        for line in errors.tail(exc.log_path):
            print(f'  {line}', file=sys.stderr)


_COMMANDS = {'up': _up, 'status': _status, 'boot': _boot_command,
             'migrate': _migrate, 'down': _down, 'clean': _clean,
             'check': _check}
