# SPDX-License-Identifier: Apache-2.0
"""Where a volume goes in a VM, and whether it may."""

from __future__ import annotations

import collections.abc
import dataclasses
from typing import Any

from nova import exception

from compute_hyperv import model
from compute_hyperv.plan import drivechecks
from compute_hyperv.plan import request as req
from compute_hyperv.plan import slots as slot_plan

#: Cinder's front-end limits that Hyper-V knows; the first one wins.
QOS_KEYS = ('total_iops_sec', 'total_bytes_sec')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Protocols:
    """Cinder's ``driver_volume_type``s by what this node can do with them."""

    known: frozenset[str] = frozenset()
    #: Those whose volumes several hosts may attach.
    multiattach: frozenset[str] = frozenset()
    #: Those whose volumes can be limited in their I/O rate.
    qos: frozenset[str] = frozenset()


def plan_volume(volume: collections.abc.Mapping[str, Any],
                slots: slot_plan.Slots, protocols: Protocols,
                boot_bus: model.Bus | None = None) -> model.VolumeSpec:
    """Give a volume its slot.

    :param volume: ``{'connection_info': {'driver_volume_type': 'iscsi',
        'serial': volume_id, 'data': {..}}, 'mount_device': '/dev/sdb',
        'boot_index': 0, 'disk_bus': .., 'device_type': ..}``.
    :param slots: those that are free.
    :param boot_bus: for the root volume, the bus to boot from.
    :raises nova.exception.InvalidInput: a device that Hyper-V does not
        have, a read-only volume, or a limit that is no number.
    :raises nova.exception.TooManyDiskDevices: no slot is left.
    :raises nova.exception.VolumeDriverNotFound: an unknown protocol.
    :raises nova.exception.VolumeEncryptionNotSupported: it is encrypted.
    :raises nova.exception.MultiattachNotSupportedByVirtDriver: it is shared
        over a protocol that cannot.
    """
    connection = volume.get('connection_info') or {}
    volume_id = str(connection.get('serial') or '')
    name = f'volume {volume_id}'
    drivechecks.check_device(volume, name)
    protocol = str(connection.get('driver_volume_type'))
    _check_connection(connection, volume_id, protocol, protocols)
    bus = boot_bus or slots.data_bus(volume.get('disk_bus'), name)
    return model.VolumeSpec(
        volume_id=volume_id, protocol=protocol, slot=slots.take(bus, name),
        boot_index=_boot_index(volume, boot_bus is not None),
        device_name=volume.get('mount_device'), connection=connection,
        qos=_qos(connection, name) if protocol in protocols.qos else None)


def _check_connection(connection: collections.abc.Mapping[str, Any],
                      volume_id: str, protocol: str,
                      protocols: Protocols) -> None:
    if protocol not in protocols.known:
        raise unknown_protocol(protocol, protocols.known)
    data = connection.get('data') or {}
    if data.get('encrypted'):
        raise exception.VolumeEncryptionNotSupported(
            volume_type=protocol, volume_id=volume_id)
    if data.get('access_mode') == 'ro':
        # The guest could write to it.
        raise req.conflict(f'access_mode=ro of volume {volume_id}; allowed '
                           'on Hyper-V: rw')
    if (connection.get('multiattach')
            and protocol not in protocols.multiattach):
        raise exception.MultiattachNotSupportedByVirtDriver(
            volume_id=volume_id)


def unknown_protocol(protocol: str,
                     known: collections.abc.Iterable[str]
                     ) -> exception.VolumeDriverNotFound:
    """The refusal of a volume that this node cannot attach."""
    return exception.VolumeDriverNotFound(
        driver_type=f'{protocol} (allowed: {", ".join(sorted(known))})')


def _boot_index(volume: collections.abc.Mapping[str, Any],
                boots: bool) -> int | None:
    index = volume.get('boot_index')
    if index is None:
        return 0 if boots else None
    return int(index) if int(index) >= 0 else None


def _qos(connection: collections.abc.Mapping[str, Any],
         name: str) -> model.QosSpec | None:
    """Cinder's front-end limits: ``{'total_iops_sec': '500', ..}``."""
    specs = (connection.get('data') or {}).get('qos_specs') or {}
    return drivechecks.qos_of(*(_limit(specs, key, name)
                                for key in QOS_KEYS))


def _limit(specs: collections.abc.Mapping[str, Any], key: str,
           name: str) -> int:
    text = str(specs.get(key) or 0)
    if not text.isdecimal() or int(text) > req.LARGEST:
        raise req.conflict(f'QoS spec {key}={text} of {name}; allowed: a '
                           f'whole number, at most {req.LARGEST}')
    return int(text)
