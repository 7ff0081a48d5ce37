# SPDX-License-Identifier: Apache-2.0
"""Msvm_ImageManagementService: what nova-compute asks of it.

os-win does the rest by virtdisk.dll.
"""

from __future__ import annotations

import typing

from .. import jobs
from .. import virtualdisks
from . import engine
from . import virtualization

_SERVICE = 'Msvm_ImageManagementService'


@engine.method(virtualization.V2, _SERVICE, 'SetParentVirtualHardDisk')
def set_parent(call: engine.Call) -> dict[str, typing.Any] | int:
    """Let a differencing disk have another parent.

    Without ``IgnoreIDMismatch`` only one of the same identity, as always.
    A leaf is named for a disk that is mounted, which is not simulated.
    """
    child, parent = call.args['ChildPath'], call.args['ParentPath']
    if not child or not parent:
        return jobs.INVALID_PARAMETER
    if call.args['LeafPath']:
        raise engine.NotSimulated('another parent inside a mounted chain')
    relink = bool(call.args['IgnoreIDMismatch'])

    def work() -> None:
        vdisks = call.host.vdisks
        handle = vdisks.open(child, device=0, access=virtualdisks.ALL,
                             flags=virtualdisks.NO_PARENTS)
        try:
            vdisks.set_parent(handle, parent, relink=relink)
        finally:
            vdisks.close(handle.number)

    return call.host.jobs.start(jobs.Task(
        work=work, job_type=jobs.UNKNOWN, cls='Msvm_StorageJob',
        name='Setting the parent of a virtual hard disk',
        facts={'Child': child, 'Parent': parent}))
