# SPDX-License-Identifier: Apache-2.0
"""``hyperv-sim san``: the storage array of a served fabric."""

from __future__ import annotations

import typing

from . import cli_common
from .cli_common import Args
from .cli_common import limited
from .cli_common import Socket
from .cli_common import Sub

MIB = 1 << 20
_TYPES = {'mib': limited(int, 1), 'number': limited(int, 0)}

_HELP = """\
The storage array that all hosts of the fabric reach: logical units offered
by iSCSI targets, and its portals.  For example:

  hyperv-sim san create-lun volume-1 1024
  hyperv-sim san create-target iqn.2010-10.org.openstack:volume-1 \\
      127.0.0.10:3260 127.0.0.11:3260 --chap user a-long-secret
  hyperv-sim san map iqn.2010-10.org.openstack:volume-1 1 volume-1
  hyperv-sim san down 127.0.0.10:3260
"""


def _call(args: Args, act: str, **what: typing.Any) -> typing.Any:
    return cli_common.call(args, 'admin.san.' + act, **what)


def _table(view: str) -> typing.Callable[[Args], int]:
    def run(args: Args) -> int:
        cli_common.show_rows(view, _call(args, view))
        return 0
    return run


def _delete_lun(args: Args) -> int:
    _call(args, 'lun', name=args.name)      # says if there is none
    _call(args, 'delete_lun', name=args.name)
    return 0


def _delete_target(args: Args) -> int:
    _target(args)
    _call(args, 'delete_target', iqn=args.iqn)
    return 0


def _unmap(args: Args) -> int:
    if str(args.number) not in _target(args)['luns']:
        raise LookupError(f'{args.iqn} has no unit {args.number}')
    _call(args, 'unmap', iqn=args.iqn, number=args.number)
    return 0


def _target(args: Args) -> typing.Dict[str, typing.Any]:
    """The target that is meant.

    :raises LookupError: there is none.
    """
    for row in _call(args, 'targets'):
        if row['iqn'].lower() == args.iqn.lower():
            return dict(row)
    raise LookupError(f'no target {args.iqn}')


def _create_lun(args: Args) -> int:
    row = _call(args, 'create_lun', name=args.name,
                size_bytes=args.mib * MIB)
    print(row['path'])
    return 0


def _create_target(args: Args) -> int:
    _call(args, 'create_target', iqn=args.iqn, portals=args.portal,
          chap=args.chap, initiators=args.initiator)
    return 0


def _extend(args: Args) -> int:
    _call(args, 'extend_lun', name=args.name, size_bytes=args.mib * MIB)
    return 0


def _simple(name: str, *names: str) -> typing.Callable[[Args], int]:
    def run(args: Args) -> int:
        _call(args, name, **{one: getattr(args, one) for one in names})
        return 0
    return run


def add(commands: typing.Any, sub: Sub, socket: Socket) -> None:
    """Add the command to the command line."""
    parser = sub(commands, 'san', None, 'the storage array', _HELP)
    acts = parser.add_subparsers(metavar='ACT', required=True)
    for name, function, summary, names in (
            ('luns', _table('luns'), 'the units, and who has them', ()),
            ('targets', _table('targets'), 'the targets', ()),
            ('create-lun', _create_lun, 'a unit of zeros', ('name', 'mib')),
            ('extend', _extend, 'grow a unit', ('name', 'mib')),
            ('delete-lun', _delete_lun,
             'remove a unit, in use or not', ('name',)),
            ('create-target', _create_target, 'an iSCSI target', ('iqn',)),
            ('delete-target', _delete_target,
             'remove a target; sessions break', ('iqn',)),
            ('map', _simple('map', 'iqn', 'number', 'lun'),
             'offer a unit behind a target', ('iqn', 'number', 'lun')),
            ('unmap', _unmap, 'take a unit away', ('iqn', 'number')),
            ('down', _simple('port_down', 'port'), 'let a portal or port '
             'fail', ('port',)),
            ('up', _simple('port_up', 'port'), 'repair it', ('port',))):
        one = sub(acts, name, function, summary)
        for argument in names:
            one.add_argument(argument, type=_TYPES.get(argument, str))
        if name == 'create-target':
            one.add_argument('portal', nargs='+', metavar='ADDRESS:PORT')
            one.add_argument('--chap', nargs=2, metavar=('USER', 'SECRET'))
            one.add_argument('--initiator', action='append', metavar='IQN',
                             help='only these may log in')
        socket(one)
