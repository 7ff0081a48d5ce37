# SPDX-License-Identifier: Apache-2.0
"""The command ``compute-hyperv-service``."""

import argparse
from collections.abc import Sequence
import dataclasses
import getpass
import logging
import signal
import sys
from typing import Any

from compute_hyperv.service import settings
from compute_hyperv.service import supervisor

if sys.platform == 'win32':
    import pywintypes
    import win32api

    from compute_hyperv.service import winservice

#: Exit codes of ``status`` (those of the LSB's init scripts).
STATUS_CODES = {'running': 0, 'not installed': 4}
NOT_RUNNING = 3


def _add_common(parser: argparse.ArgumentParser) -> None:
    policy = supervisor.Policy()
    parser.add_argument(
        '--config-file', action='append', required=True, metavar='FILE',
        help="nova.conf; repeat it for several, later ones win")
    parser.add_argument(
        '--config-dir', action='append', default=[], metavar='DIR',
        help='directory of further *.conf files')
    parser.add_argument(
        '--log-dir', default=settings.default_log_dir(), metavar='DIR',
        help="takes what nova-compute prints; Nova's own log is where "
             'nova.conf says (default: %(default)s)')
    parser.add_argument(
        '--start-timeout', type=float, default=policy.start_timeout_s,
        metavar='S', help='the service counts as running after this time '
        'even if nova-compute still waits for nova-conductor '
        '(default: %(default)g)')
    parser.add_argument(
        '--stop-timeout', type=float, default=policy.stop_timeout_s,
        metavar='S', help="time for a graceful stop; keep it above Nova's "
        'graceful_shutdown_timeout (default: %(default)g)')
    parser.add_argument(
        '--max-restarts', type=int, default=policy.max_restarts,
        metavar='N', help='restarts in a row before the service stops with '
        "an error and the service manager's recovery takes over "
        '(default: %(default)d)')


def _add_install(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--startup', choices=('auto', 'delayed', 'manual', 'disabled'),
        default='delayed', help='when Windows starts it '
        '(default: %(default)s)')
    parser.add_argument(
        '--account', metavar='DOMAIN\\USER',
        help='account that the service runs as; live migration needs a '
        'domain account. A name that ends in $ is a managed account '
        '(default: LocalSystem)')
    parser.add_argument(
        '--password-stdin', action='store_true',
        help="read the account's password from standard input instead of "
        'asking for it')
    parser.add_argument(
        '--restart-delay', type=int, action='append', metavar='S',
        help='pause before the service manager restarts a failed service; '
        'repeat it for the second, third … failure; 0 alone switches '
        'recovery off (default: 60, 120, 300)')
    parser.add_argument(
        '--reset-after', type=int, default=86400, metavar='S',
        help='time without failure that clears the count '
        '(default: %(default)d)')


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog='compute-hyperv-service',
        description='Run nova-compute with the Hyper-V driver as a Windows '
                    'service, or in this console.')
    parser.add_argument('--name', default='nova-compute',
                        help="the service's name (default: %(default)s)")
    commands = parser.add_subparsers(dest='command', required=True,
                                     metavar='COMMAND')
    install = commands.add_parser(
        'install', help='register the service, or change how it is '
        'registered')
    _add_common(install)
    _add_install(install)
    run = commands.add_parser(
        'run', help='run nova-compute here until Ctrl-C')
    _add_common(run)
    commands.add_parser('remove', help='stop and unregister the service')
    for name in ('start', 'stop'):
        command = commands.add_parser(name, help=f'{name} the service and '
                                      'wait for it')
        command.add_argument('--timeout', type=float, default=240.0,
                             metavar='S', help='(default: %(default)g)')
    commands.add_parser('status', help='print the state of the service; '
                        'exit code 0 running, 3 not running, 4 not '
                        'installed')
    return parser


def _settings(given: argparse.Namespace) -> settings.Settings:
    return settings.Settings(
        name=given.name, config_files=settings.absolute(given.config_file),
        config_dirs=settings.absolute(given.config_dir),
        log_dir=settings.absolute([given.log_dir])[0],
        policy=dataclasses.replace(
            supervisor.Policy(), start_timeout_s=given.start_timeout,
            stop_timeout_s=given.stop_timeout,
            max_restarts=given.max_restarts))


def _password(given: argparse.Namespace) -> str | None:
    """The account's password; managed and built-in accounts have none."""
    account = given.account
    if not account or account.endswith('$') or account.upper().startswith(
            'NT AUTHORITY\\'):
        return None
    if given.password_stdin:
        return sys.stdin.readline().rstrip('\r\n')
    return getpass.getpass(f'Password of {account}: ')


def run_here(options: settings.Settings) -> int:
    """Supervise nova-compute in this console until Ctrl-C."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr,
                        format='%(asctime)s %(levelname)s %(message)s')
    one = supervisor.Supervisor(
        options.launch, policy=options.policy, report=lambda state, text: None)
    print(f'nova-compute prints to {options.output_path}; Ctrl-C stops it.')
    _on_interrupt(one)
    ended = one.run()
    return 0 if ended is supervisor.State.STOPPED else 1


def _on_interrupt(one: supervisor.Supervisor) -> None:
    """Let Ctrl-C, Ctrl-Break, a closed console or SIGTERM stop it."""
    if sys.platform == 'win32':
        def handler(kind: int) -> bool:
            one.stop()
            return True
        win32api.SetConsoleCtrlHandler(handler, True)
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, frame: one.stop())


def _do(given: argparse.Namespace) -> int:
    if given.command == 'run':
        return run_here(_settings(given))
    if sys.platform != 'win32':
        print('compute-hyperv-service: there are services on Windows only; '
              "'run' works everywhere.", file=sys.stderr)
        return 2
    return _windows(given)


def _windows(given: argparse.Namespace) -> int:
    name = given.name
    if given.command == 'install':
        delays = given.restart_delay or [60, 120, 300]
        winservice.install(_settings(given), winservice.Install(
            startup=given.startup, account=given.account,
            password=_password(given), reset_after_s=given.reset_after,
            restart_delays_s=tuple(delay for delay in delays if delay)))
        print(f'The service {name} is installed.')
    elif given.command == 'remove':
        winservice.remove(name)
        print(f'The service {name} is removed.')
    elif given.command in ('start', 'stop'):
        getattr(winservice, given.command)(name, given.timeout)
        print(f'The service {name} is {winservice.status(name)}.')
    else:
        state = winservice.status(name)
        print(state)
        return STATUS_CODES.get(state, NOT_RUNNING)
    return 0


def _failure(error: Any) -> str:
    """What a person can do something with, of any error."""
    return str(getattr(error, 'strerror', None) or error)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    given = make_parser().parse_args(argv)
    expected: tuple[type[BaseException], ...] = (ValueError, OSError)
    if sys.platform == 'win32':
        expected = (*expected, pywintypes.error)
    try:
        return _do(given)
    except expected as error:
        print(f'compute-hyperv-service: {_failure(error)}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
