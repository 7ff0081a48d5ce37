# SPDX-License-Identifier: Apache-2.0
"""The state of a fabric on disk, so that a served one can come back.

What a Windows host would find on its disks after a reboot is kept: the
objects of the WMI repository (virtual disks and other files lie in the
fabric's folder anyway).  What lives in memory is not: after loading, each
provider's ``restore(host)`` turns running machines off and drops what a
reboot ends.
"""

from __future__ import annotations

import json
import os
import typing

from . import fabric as fabric_module
from .wmi import engine
from .wmi import ops

FORMAT = 1
State = typing.Dict[str, typing.Any]


def _dump_store(store: engine.Store) -> typing.List[typing.List[typing.Any]]:
    return [[rec.cls.name, engine.wire(rec.cls, '', rec.props)['props']]
            for rec in store.all()]


def dump(fabric: fabric_module.Fabric) -> State:
    """The state as JSON takes it."""
    with fabric.lock:
        return {'format': FORMAT, 'shares': fabric.shares.dump(),
                'san': fabric.san.dump(), 'hosts': {
            host.name: {
                'windows': host.spec.windows, 'powered': host.powered,
                'initiator': host.initiator.dump(),
                'online': [list(one) for one
                           in host.luns.remembered.items()],
                'rbd': [image for image in host.rbd.mapped
                        if image not in host.rbd.passing],
                'stores': {low: _dump_store(store)
                           for low, store in host.stores.items()}}
            for host in fabric.hosts.values()}}


def save(fabric: fabric_module.Fabric, path: str) -> None:
    """Write the state; a crash leaves the old or the new file."""
    text = json.dumps(dump(fabric), separators=(',', ':'))
    temporary = f'{path}.{os.getpid()}.part'
    with open(temporary, 'w', encoding='utf-8') as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def _load_store(store: engine.Store,
                rows: typing.List[typing.List[typing.Any]]) -> None:
    for rec in store.all():
        store.delete(rec)
    for name, props in rows:
        cls = store.cls(name)
        store.add(name, **ops.embedded(
            store, {'class': cls.name, 'props': props}).props)


def load(fabric: fabric_module.Fabric, path: str) -> typing.List[str]:
    """Bring a fresh fabric into the saved state.

    :returns: names of the hosts that were found in it.  A host that is
        new in the description stays fresh; one whose version of Windows
        changed too.
    :raises ValueError: the file is not such a state.
    """
    with open(path, encoding='utf-8') as stream:
        state = json.load(stream)
    if state.get('format') != FORMAT:
        raise ValueError(f'{path}: not the state of a fabric')
    found = []
    with fabric.lock:
        fabric.shares.load(state['shares'])
        if 'san' in state:          # older states have none
            fabric.san.load(state['san'])
        for name, saved in state['hosts'].items():
            host = fabric.find(name)
            if host is None or host.spec.windows != saved['windows']:
                continue
            for low, rows in saved['stores'].items():
                _load_store(host.stores[low], rows)
            if 'initiator' in saved:
                host.initiator.load(saved['initiator'])
                host.luns.remembered = {
                    number: offline for number, offline in saved['online']}
                host.rbd.mapped = {image: index for index, image
                                   in enumerate(saved['rbd'], 1)}
            host.powered = saved['powered']
            if host.powered:
                host.restore()
            found.append(host.name)
    return found
