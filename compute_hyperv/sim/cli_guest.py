# SPDX-License-Identifier: Apache-2.0
"""``hyperv-sim guest``: what the person in a running guest does."""

from __future__ import annotations

import typing

from . import cli_common
from .cli_common import Args
from .cli_common import Socket
from .cli_common import Sub

_AT = 1 << 20

_HELP = """\
The disks of a running machine, as its guest reads and writes them.  DISK is
an address as Linux has it: 0:1 for slot 1 of IDE controller 0, 0:0:0:2 for
slot 2 of SCSI controller 0.  For example:

  hyperv-sim guest disks instance-00000001
  hyperv-sim guest write instance-00000001 0:0:0:2 "my data"
  hyperv-sim guest read instance-00000001 0:0:0:2
"""


def _call(args: Args, act: str, **what: typing.Any) -> typing.Any:
    return cli_common.call(args, 'admin.guest.' + act, name=args.name,
                           host=args.on, **what)


def _disks(args: Args) -> int:
    rows = _call(args, 'disks')
    if args.json:
        import json
        print(json.dumps(rows, indent=2))
    else:
        cli_common.show_rows('guest disks', rows)
    return 0


def _write(args: Args) -> int:
    _call(args, 'write', disk=args.disk, offset=args.at, text=args.text)
    return 0


def _read(args: Args) -> int:
    print(_call(args, 'read', disk=args.disk, offset=args.at,
                count=args.count))
    return 0


def add(commands: typing.Any, sub: Sub, socket: Socket) -> None:
    """Add the command to the command line."""
    parser = sub(commands, 'guest', None, 'the disks that a guest sees',
                 _HELP)
    acts = parser.add_subparsers(metavar='ACT', required=True)
    for name, function, summary in (
            ('disks', _disks, 'list them'),
            ('write', _write, 'write text'),
            ('read', _read, 'read text, up to the first zero byte')):
        one = sub(acts, name, function, summary)
        one.add_argument('name', metavar='VM',
                         help='its name, id or instance UUID')
        one.add_argument('--on', metavar='HOST',
                         help='if the name is on several')
        if name == 'disks':
            one.add_argument('--json', action='store_true',
                             help='for programs instead of people')
        else:
            one.add_argument('disk', metavar='DISK', help='its address')
            one.add_argument('--at', type=int, default=_AT, metavar='BYTES',
                             help=f'how far from its start (default: {_AT})')
        if name == 'write':
            one.add_argument('text', metavar='TEXT')
        if name == 'read':
            one.add_argument('--count', type=int, default=4096,
                             metavar='BYTES', help='the most to read '
                             '(default: 4096)')
        socket(one)
