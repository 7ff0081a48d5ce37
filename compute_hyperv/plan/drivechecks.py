# SPDX-License-Identifier: Apache-2.0
"""What holds for local disks and volumes alike."""

from __future__ import annotations

import collections.abc
from typing import Any

from compute_hyperv import model
from compute_hyperv.plan import request as req

#: Hyper-V counts I/O in units of this size.
_IOPS_BYTES = 8 * model.KIB


def check_device(device: collections.abc.Mapping[str, Any],
                 name: str) -> None:
    """Refuse what no disk of a VM can be.

    :raises nova.exception.InvalidInput: another type of device, or one that
        Nova wants encrypted.
    """
    refuse_encrypted(device, name)
    device_type = device.get('device_type')
    if device_type not in (None, 'disk'):
        raise req.conflict(
            f'device_type={device_type} of {name}; allowed: disk')


def refuse_encrypted(device: collections.abc.Mapping[str, Any],
                     name: str) -> None:
    """Refuse a disk that Nova wants encrypted.

    :raises nova.exception.InvalidInput: it is one.
    """
    if device.get('encrypted'):
        raise req.conflict(
            f'hw:ephemeral_encryption: {name} cannot be encrypted on '
            'Hyper-V; allowed: false')


def qos_of(iops: int | None,
           bytes_per_s: int | None) -> model.QosSpec | None:
    """The limit of a disk.

    Hyper-V counts I/O in units of 8 KiB: bytes are rounded down to it,
    but not to nothing.  A limit of operations wins over one of bytes.
    """
    if iops:
        return model.QosSpec(max_iops=iops)
    if bytes_per_s:
        return model.QosSpec(max_iops=max(1, bytes_per_s // _IOPS_BYTES))
    return None
