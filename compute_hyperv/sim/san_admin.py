# SPDX-License-Identifier: Apache-2.0
"""The storage array as its administrator sees it, and Cinder.

Actions ``admin.san.<name>`` are the methods of :class:`.san.San` of that
name, and those that look.
"""

from __future__ import annotations

import functools
import typing

from . import admin
from . import sanmodel
from .fabric import Fabric
from .host import Host

Row = typing.Dict[str, typing.Any]

#: Methods of the array that take and give what JSON can carry.
_METHODS = (
    'extend_lun', 'delete_lun', 'delete_target', 'map', 'unmap', 'grant',
    'revoke', 'add_storage_port', 'mask', 'unmask', 'port_down', 'port_up',
    'cut', 'mend')


def _perform(method: str, fabric: Fabric, /,
             **args: typing.Any) -> None:
    getattr(fabric.san, method)(**args)


for _name in _METHODS:
    admin.action('san.' + _name)(functools.partial(_perform, _name))


@admin.action('san.create_lun')
def create_lun(fabric: Fabric, **args: typing.Any) -> Row:
    """See :meth:`.San.create_lun`; gives the unit."""
    return lun_row(fabric, fabric.san.create_lun(**args))


@admin.action('san.create_target')
def create_target(fabric: Fabric, **args: typing.Any) -> Row:
    """See :meth:`.San.create_target`; gives the target."""
    return target_row(fabric.san.create_target(**args))


@admin.action('san.lun')
def show_lun(fabric: Fabric, name: str) -> Row:
    """One unit.

    :raises LookupError: there is none.
    """
    return lun_row(fabric, fabric.san.lun(name))


@admin.action('san.targets')
def show_targets(fabric: Fabric) -> typing.List[Row]:
    """The targets; whoever may use a socket may know the secrets' users."""
    return [target_row(one) for one in fabric.san.targets.values()]


@admin.action('san.luns')
def show_luns(fabric: Fabric) -> typing.List[Row]:
    """The units, and which disks hosts have made of them."""
    return [lun_row(fabric, one) for one in fabric.san.luns.values()]


@admin.action('san.initiator')
def show_initiator(fabric: Fabric, host: str) -> Row:
    """What a host is called on the storage network."""
    found = fabric.find(host)
    if found is None:
        raise LookupError('no host %s' % host)
    return {'host': found.name, 'iqn': found.initiator.node_name}


def lun_row(fabric: Fabric, lun: sanmodel.Lun) -> Row:
    """A unit for a table."""
    return {
        'name': lun.name, 'size_bytes': lun.size_bytes, 'kind': lun.kind,
        'unique_id': lun.unique_id, 'path': lun.path,
        'offered': ['%s %d' % (target.iqn, number)
                    for target in fabric.san.targets.values()
                    for number, name in sorted(target.luns.items())
                    if name == lun.name] + [
            '%s %d' % (mask.target_wwpn, mask.number)
            for mask in fabric.san.masks if mask.lun == lun.name],
        'disks': [text for host in fabric.hosts.values()
                  for text in _disks(host, lun)]}


def _disks(host: Host, lun: sanmodel.Lun) -> typing.Iterator[str]:
    for disk in host.luns.disks():
        if disk.lun is lun:
            vm = host.vms.by_guid(disk.owner) if disk.owner else None
            yield '%s disk %d%s' % (host.name, disk.number,
                                    ' in ' + vm.name if vm else '')


def target_row(target: sanmodel.Target) -> Row:
    """A target for a table."""
    return {'iqn': target.iqn,
            'portals': [str(one) for one in target.portals],
            'chap_user': target.chap[0] if target.chap else None,
            'initiators': None if target.initiators is None
            else sorted(target.initiators),
            'luns': {str(number): name for number, name
                     in sorted(target.luns.items())}}
