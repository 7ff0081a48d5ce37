# SPDX-License-Identifier: Apache-2.0
"""``hyperv-sim storage``: file servers of a served fabric."""

from __future__ import annotations

import argparse
import typing

from . import remote

Args = argparse.Namespace
Sub = typing.Callable[..., argparse.ArgumentParser]
Socket = typing.Callable[[argparse.ArgumentParser], None]

_HELP = """\
File servers that stop to answer, and VMs that lose what they have there:
they go to a critical state, and on when it is back.  For example:

  hyperv-sim storage down FS      # the server of \\\\FS\\vms
  hyperv-sim storage up FS
  hyperv-sim storage look         # a file was removed, or put back
"""


def _call(args: Args) -> int:
    if not args.socket:
        raise SystemExit('hyperv-sim: give --socket or set '
                         '$HYPERV_SIM_SOCKET')
    what = {'server': args.server} if 'server' in args else {}
    remote.admin(args.socket, 'admin.storage.' + args.act, **what)
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
