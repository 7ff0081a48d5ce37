# SPDX-License-Identifier: Apache-2.0
"""``hyperv-sim san``: the storage array of a served fabric."""

from __future__ import annotations

import argparse
import typing

from . import remote

Args = argparse.Namespace
Sub = typing.Callable[..., argparse.ArgumentParser]
Socket = typing.Callable[[argparse.ArgumentParser], None]
MIB = 1 << 20

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
    if not args.socket:
        raise SystemExit('hyperv-sim: give --socket or set '
                         '$HYPERV_SIM_SOCKET')
    return remote.admin(args.socket, 'admin.san.' + act, **what)


def _luns(args: Args) -> int:
    for row in _call(args, 'luns'):
        print('%s  %d MiB  %s' % (row['name'], row['size_bytes'] // MIB,
                                  row['unique_id']))
        for text in row['offered'] + row['disks']:
            print('    ' + text)
    return 0


def _targets(args: Args) -> int:
    for row in _call(args, 'targets'):
        print('%s  at %s' % (row['iqn'], ' '.join(row['portals'])))
        for number, name in row['luns'].items():
            print('    %s: %s' % (number, name))
    return 0


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
            ('luns', _luns, 'the units, and who has them', ()),
            ('targets', _targets, 'the targets', ()),
            ('create-lun', _create_lun, 'a unit of zeros', ('name', 'mib')),
            ('extend', _extend, 'grow a unit', ('name', 'mib')),
            ('delete-lun', _simple('delete_lun', 'name'),
             'remove a unit, in use or not', ('name',)),
            ('create-target', _create_target, 'an iSCSI target', ('iqn',)),
            ('delete-target', _simple('delete_target', 'iqn'),
             'remove a target; sessions break', ('iqn',)),
            ('map', _simple('map', 'iqn', 'number', 'lun'),
             'offer a unit behind a target', ('iqn', 'number', 'lun')),
            ('unmap', _simple('unmap', 'iqn', 'number'),
             'take a unit away', ('iqn', 'number')),
            ('down', _simple('port_down', 'port'), 'let a portal or port '
             'fail', ('port',)),
            ('up', _simple('port_up', 'port'), 'repair it', ('port',))):
        one = sub(acts, name, function, summary)
        for argument in names:
            one.add_argument(
                argument, type=int if argument in ('mib', 'number') else str)
        if name == 'create-target':
            one.add_argument('portal', nargs='+', metavar='ADDRESS:PORT')
            one.add_argument('--chap', nargs=2, metavar=('USER', 'SECRET'))
            one.add_argument('--initiator', action='append', metavar='IQN',
                             help='only these may log in')
        socket(one)
