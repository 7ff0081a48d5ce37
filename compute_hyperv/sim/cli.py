# SPDX-License-Identifier: Apache-2.0
"""The command ``hyperv-sim``: serve a fabric, look at it, work on it."""

from __future__ import annotations

import argparse
import os
import sys
import typing

from . import cli_common
from . import cli_fault
from . import cli_guest
from . import cli_san
from . import cli_storage
from .cli_common import Args
from .cli_common import call
from .cli_common import SOCKET_VARIABLE

_EPILOG = """\
examples:
  hyperv-sim serve fabric.yaml --root /tmp/hv --socket /tmp/hv/socket
  hyperv-sim exec --host HV1 -- nova-compute --config-file nova.conf
  hyperv-sim show vms
  hyperv-sim vm off instance-00000001      (Nova must notice)
  hyperv-sim fault add --match '*.DefineSystem' --code 32768

The socket is found by --socket or in $%s.
""" % SOCKET_VARIABLE

_FABRIC_HELP = """\
Serve the hosts that FABRIC.yaml describes, until stopped (SIGTERM, Ctrl-C
or "hyperv-sim stop").  The state is kept in ROOT/state.json: started again,
the hosts come back as after a reboot, running machines off unless they are
set to start.  Nothing listens on the network.

FABRIC.yaml:
  clock: real              # jobs and boots take time; or instant
  scale: 1.0               # how long, compared with a fast real host
  hosts:
    - name: HV1
      windows: 2022        # 2012R2, 2016, 2019, 2022, 2025
      cpus: 8
      memory_mib: 32768
      numa_nodes: 1
      volumes: {C: 200}    # GiB
      switches: [external]
      features: []         # clustering, dns, shielding, iscsi-target
      extra: {live_migration: true, mpio: true}
      quirks: {migration_mib_per_s: 110}    # see "Field knowledge"
  shares:                  # optional: a file server's, in GiB
    '\\\\SRV\\vms': 100
"""

_EXEC_HELP = """\
Run a command of this Python environment as a process of a simulated host:
os-win in it sees that host.  COMMAND is the name of an installed console
script, such as nova-compute, or the path of a Python script.  It runs
unmodified in this very process, and dies with the host ("host off").
"""


def _socket(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--socket', default=os.environ.get(SOCKET_VARIABLE),
        help='where the fabric is served (default: $%s)' % SOCKET_VARIABLE)


def _sub(commands: typing.Any, name: str, function: typing.Any,
         summary: str, description: typing.Optional[str] = None
         ) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description or summary,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(function=function)
    return parser


def _add_serve(commands: typing.Any) -> None:
    serve = _sub(commands, 'serve', _serve, 'serve simulated hosts',
                 _FABRIC_HELP)
    serve.add_argument('fabric', metavar='FABRIC.yaml')
    serve.add_argument('--root', help='folder of disks and state '
                       '(default: what the file says, else "fabric" '
                       'beside it)')
    serve.add_argument('--fresh', action='store_true',
                       help='forget the saved state')
    _socket(serve)
    run = _sub(commands, 'exec', _exec,
               'run nova-compute, or another command, on a host',
               _EXEC_HELP)
    run.add_argument('--host', required=True, help='name of the host')
    run.add_argument('--wait', type=float, default=0, metavar='SECONDS',
                     help='wait so long for the fabric to be served')
    _socket(run)
    run.add_argument('command', nargs=argparse.REMAINDER,
                     metavar='-- COMMAND [ARGUMENT ...]')
    _socket(_sub(commands, 'stop', _stop, 'end the server, orderly'))


def _add_looking(commands: typing.Any) -> None:
    show = _sub(commands, 'show', _show, 'what is on the hosts, as tables')
    show.add_argument(
        'view', nargs='?', default='hosts', choices=(
            'hosts', 'vms', 'vm', 'disks', 'switches', 'adapters', 'jobs',
            'sessions'))
    show.add_argument('name', nargs='?', help='the machine, for "show vm": '
                      'its name, id or instance UUID')
    show.add_argument('--on', metavar='HOST', help='only this host')
    show.add_argument('--json', action='store_true',
                      help='for programs instead of people')
    _socket(show)
    trace = _sub(commands, 'trace', _trace,
                 'the calls that os-win made of the hosts')
    trace.add_argument('--on', metavar='HOST', help='only this host')
    trace.add_argument('--last', type=cli_common.limited(int, 0),
                       default=40, metavar='N', help='how many '
                       '(default: 40; 0: all that are kept)')
    trace.add_argument('--follow', action='store_true',
                       help='go on with the calls to come, until Ctrl-C')
    trace.add_argument('--counts', action='store_true',
                       help='only how many of each kind')
    trace.add_argument('--reset', action='store_true',
                       help='forget calls and counts so far')
    _socket(trace)
    check = _sub(commands, 'check', _check, 'the clean check', (
        'Say what was left behind: machines, files that were not there at\n'
        'the mark, open files, mounted disks, jobs, pipes; and calls that\n'
        'could not be simulated.  Exit code 1 if there is any.'))
    check.add_argument('--mark', action='store_true', help='take the files '
                       'of now as belonging to the hosts')
    check.add_argument('--ignore', action='append', metavar='PATTERN',
                       help='with --mark: files that may come, such as '
                       "'*\\_base\\*.vhdx'; until the next mark")
    _socket(check)


def _add_acting(commands: typing.Any) -> None:
    vm = _sub(commands, 'vm', _vm, 'what one does in Hyper-V Manager', (
        'stop asks the guest to shut down, off cuts the power.'))
    vm.add_argument('act', choices=('start', 'stop', 'off', 'pause', 'save',
                                    'reset', 'delete'))
    vm.add_argument('name', help='name, id or instance UUID')
    vm.add_argument('--on', metavar='HOST', help='if the name is on several')
    _socket(vm)
    host = _sub(commands, 'host', _host, 'the power button of a host', (
        'off also kills the processes that "exec" runs on the host.'))
    host.add_argument('act', choices=('on', 'off', 'reboot'))
    host.add_argument('name')
    _socket(host)
    network = _sub(commands, 'network', _network,
                   'cut or mend the network between two hosts')
    network.add_argument('act', choices=('cut', 'mend'))
    network.add_argument('one')
    network.add_argument('other')
    _socket(network)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog='hyperv-sim', description='Simulated Hyper-V hosts below the '
        'real os-win and nova-compute.', epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = found.add_subparsers(metavar='COMMAND', required=True)
    _add_serve(commands)
    _add_looking(commands)
    _add_acting(commands)
    cli_fault.add(commands, _sub, _socket)
    cli_guest.add(commands, _sub, _socket)
    cli_san.add(commands, _sub, _socket)
    cli_storage.add(commands, _sub, _socket)
    return found


# -- commands --------------------------------------------------------------

def _serve(args: Args) -> int:
    from . import serve
    return serve.run(args.fabric, args.socket, args.root, args.fresh)


def _exec(args: Args) -> int:
    from . import run
    command = args.command
    if command[:1] == ['--']:
        command = command[1:]
    if not command:
        raise ValueError('exec: a command is missing, such as "hyperv-sim '
                         'exec --host HV1 -- nova-compute"')
    cli_common.check_socket(args)
    return run.run(args.socket, args.host, command, args.wait)


def _stop(args: Args) -> int:
    call(args, 'admin.stop')
    return 0


def _show(args: Args) -> int:
    if args.view == 'vm' and not args.name:
        raise ValueError('show vm: the name of a machine is missing')
    if args.view != 'vm' and args.name:
        raise ValueError(f'show {args.view}: {args.name} is one too many; '
                         f'--on HOST chooses a host, "show vm NAME" a '
                         f'machine')
    rows = call(args, 'admin.show', what=args.view, host=args.on,
                name=args.name)
    if args.json:
        import json
        print(json.dumps(rows, indent=2))
    elif args.view == 'vm':
        from . import show
        cli_common.show(show.machine(rows))
    else:
        cli_common.show_rows(args.view, rows)
    return 0


def _trace(args: Args) -> int:
    import time
    if args.reset:
        call(args, 'admin.trace.reset')
        return 0
    found = call(args, 'admin.trace', host=args.on, last=args.last)
    if args.counts:
        for host, counts in found['counts'].items():
            print(host, ' '.join(f'{kind}={count}' for kind, count
                                 in sorted(counts.items())) or 'no calls')
        return 0
    after = 0
    while True:
        if not found['calls'] and not args.follow:
            print('no calls')
        for number, host, kind, label in found['calls']:
            print(f'{number:>7} {host:<8} {kind:<7} {label}', flush=True)
            after = number
        if not args.follow:
            return 0
        time.sleep(0.5)
        found = call(args, 'admin.trace', host=args.on, after=after)


def _check(args: Args) -> int:
    if args.ignore and not args.mark:
        raise ValueError('check: --ignore goes with --mark')
    if args.mark:
        call(args, 'admin.mark', ignore=args.ignore or [])
    problems = call(args, 'admin.check')
    for line in problems:
        print(line)
    if not call(args, 'admin.marked'):
        print('(files were not compared: "check --mark" sets the mark)')
    count = len(problems)
    print(f'{count} problem{"s" * (count > 1)}' if problems else 'clean')
    return 1 if problems else 0


def _vm(args: Args) -> int:
    print(args.name, call(args, 'admin.vm', name=args.name, act=args.act,
                          host=args.on))
    return 0


def _host(args: Args) -> int:
    print(args.name, call(args, 'admin.host', name=args.name,
                          act=args.act))
    return 0


def _network(args: Args) -> int:
    print(call(args, 'admin.network', one=args.one, other=args.other,
               act=args.act))
    return 0


def main(argv: typing.Optional[typing.Sequence[str]] = None) -> int:
    """Entry point; gives the exit code."""
    args = parser().parse_args(argv)
    try:
        code: int = args.function(args)
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except (LookupError, ValueError, OSError) as exc:
        text = str(exc)
        if isinstance(exc, OSError) and exc.filename and exc.strerror:
            text = f'{exc.filename}: {exc.strerror}'
        print(f'hyperv-sim: {text}', file=sys.stderr)
        return 1
