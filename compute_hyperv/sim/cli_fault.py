# SPDX-License-Identifier: Apache-2.0
"""``hyperv-sim fault``: make calls fail, slow or deadly."""

from __future__ import annotations

import typing

from . import cli_common
from . import faults
from .cli_common import Args
from .cli_common import call
from .cli_common import integer
from .cli_common import limited
from .cli_common import Socket
from .cli_common import Sub

_HELP = """\
Plan a fault.  It strikes calls that fit --on, --kind and --match, from the
NTH such call on, TIMES times.  A call's kind is query, method, get, ref (a
reference parameter), connect, dll, file or program (rbd and the like);
its label is what "hyperv-sim trace" shows: the query, Class.Method, the
object, or the function and path.
Without an effect the call fails in the way of its kind.
"""


def add(commands: typing.Any, sub: Sub, socket: Socket) -> None:
    """Add the command to the command line."""
    fault = sub(commands, 'fault', None, 'make calls fail, slow or deadly')
    acts = fault.add_subparsers(metavar='ACT', required=True)
    add = sub(acts, 'add', _add, 'plan a fault', _HELP)
    add.add_argument('--on', dest='host', metavar='HOST')
    add.add_argument('--kind', choices=(*faults.KINDS, 'job'))
    add.add_argument('--match', default='*', metavar='PATTERN',
                     help='of the label, with * and ?; default: all')
    add.add_argument('--nth', type=limited(int, 1), default=1, metavar='N',
                     help='the first such call that is struck (default: 1)')
    add.add_argument('--times', type=limited(int, 0), default=1,
                     metavar='N', help='how many calls (default: 1); 0: '
                     'all from the NTH on')
    add.add_argument('--hresult', type=integer, metavar='0x80041001',
                     help='fail with this WMI error')
    add.add_argument('--code', type=integer, metavar='N',
                     help='return code of a WMI method')
    add.add_argument('--win32', type=integer, metavar='N',
                     help='error of a DLL or file function, such as 32')
    seconds = limited(float, 0)
    add.add_argument('--delay', type=seconds, default=0, dest='delay_s',
                     metavar='S', help='slower by so many seconds')
    add.add_argument('--hang', type=seconds, default=0, dest='hang_s',
                     metavar='S', help='time out after so many seconds')
    add.add_argument('--kill', action='store_true',
                     help='kill the process that makes the call')
    add.add_argument('--at-percent', type=limited(float, 0, 100),
                     metavar='N',
                     help='break a job off when it is so far; --match is '
                     'of its name, such as "Moving Virtual Machine*"')
    socket(add)
    socket(sub(acts, 'list', _list, 'the plan'))
    clear = sub(acts, 'clear', _clear, 'drop a fault, or all')
    clear.add_argument('number', nargs='?', type=int)
    socket(clear)
    slow = sub(acts, 'latency', _latency, 'slow down all calls of a kind')
    slow.add_argument('kind', choices=faults.KINDS)
    slow.add_argument('seconds', type=seconds, help='0: as fast as before')
    socket(slow)


def _add(args: Args) -> int:
    if (args.kind == 'job') > (args.at_percent is not None):
        raise ValueError('fault add: --kind job goes with --at-percent')
    if args.at_percent is not None and args.kind not in (None, 'job'):
        raise ValueError('fault add: --at-percent strikes jobs, not calls '
                         f'of the kind {args.kind}')
    fault = call(args, 'admin.fault.add', **{
        name: getattr(args, name) for name in (
            'host', 'kind', 'match', 'nth', 'hresult', 'code', 'win32',
            'delay_s', 'hang_s', 'kill', 'at_percent')},
        times=args.times or None)
    print(f'fault {fault["number"]}')
    return 0


def _list(args: Args) -> int:
    from . import show
    cli_common.show(show.faults(call(args, 'admin.fault.list')))
    return 0


def _clear(args: Args) -> int:
    call(args, 'admin.fault.clear', number=args.number)
    return 0


def _latency(args: Args) -> int:
    call(args, 'admin.fault.latency', kind=args.kind,
         seconds=args.seconds)
    return 0
