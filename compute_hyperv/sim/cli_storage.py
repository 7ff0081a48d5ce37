# SPDX-License-Identifier: Apache-2.0
"""``hyperv-sim storage``: file servers of a served fabric."""

from __future__ import annotations

import typing

from . import cli_common
from .cli_common import Args
from .cli_common import Socket
from .cli_common import Sub

_HELP = """\
File servers that stop to answer, and VMs that lose what they have there:
they go to a critical state, and on when it is back.  For example:

  hyperv-sim storage down FS      # the server of \\\\FS\\vms
  hyperv-sim storage up FS
  hyperv-sim storage look         # a file was removed, or put back
"""


def _call(args: Args) -> int:
    what = {'server': args.server} if 'server' in args else {}
    cli_common.call(args, 'admin.storage.' + args.act, **what)
    return 0


def add(commands: typing.Any, sub: Sub, socket: Socket) -> None:
    """Add the command to the command line."""
    parser = sub(commands, 'storage', None, 'file servers', _HELP)
    acts = parser.add_subparsers(metavar='ACT', required=True)
    for name, summary in (('down', 'let a server fail'),
                          ('up', 'repair it'),
                          ('look', 'see what is lost, or back')):
        one = sub(acts, name, _call, summary)
        one.set_defaults(act=name)
        if name != 'look':
            one.add_argument('server')
        socket(one)
