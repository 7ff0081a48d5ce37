# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint needs (hyperv-semantics.md section 8)."""

from __future__ import annotations

from .. import devices
from .. import jobs
from . import engine
from ..vm import Vm

#: UserSnapshotType.
_DISABLED, _PRODUCTION, _PRODUCTION_ONLY = 2, 3, 4
_OF_VM = 'Msvm_SnapshotOfVirtualSystem'


def snapshots(vm: Vm) -> list[engine.Record]:
    """Settings of the checkpoints of a VM, oldest first."""
    found = []
    for link in vm.host.v2.find(_OF_VM, Antecedent=vm.system):
        record = vm.host.v2.by_path(link['Dependent'])
        if record is not None:
            found.append(record)
    return found


def check(vm: Vm, *, without_physical: bool = False) -> None:
    """Whether a checkpoint of *vm* can be taken.

    :param without_physical: leave disks of the host out of it
        (IgnoreNonSnapshottableDisks)
    :raises JobFailure: why not
    """
    settings = vm.settings
    if settings['UserSnapshotType'] == _DISABLED and (
            vm.host.profile.is_2016 and vm.allows('production_checkpoint')):
        raise jobs.JobFailure('Checkpoints of %s are disabled.' %
                              vm.describe(), jobs.INVALID_STATE)
    if len(snapshots(vm)) >= vm.host.profile.checkpoints:
        raise jobs.JobFailure('%s has as many checkpoints as it can.' %
                              vm.describe())
    refused_by = vm.host.quirks.checkpoint_refused_by
    if not without_physical and 'physical disk' in refused_by and (
            vm.resources(devices.RASD, devices.PHYSICAL_DISK)):
        raise jobs.JobFailure('Checkpoint operation for %s failed: a '
                              'physical disk is attached.' % vm.describe())
    if 'assigned device' in refused_by and (
            vm.resources(devices.PCI) and vm.worker is not None):
        raise jobs.JobFailure('Checkpoint operation for %s failed: a '
                              'device is assigned.' % vm.describe())
    if 'shared disk' in refused_by and any(
            record['PersistentReservationsSupported']
            for record in vm.media()):
        raise jobs.JobFailure('Checkpoint operation for %s failed: a '
                              'shared disk is attached.' % vm.describe())


def quiesce(vm: Vm) -> bool:
    """Have the guest write out what it holds, for production checkpoints.

    :returns: whether it did; otherwise the checkpoint holds memory
    :raises JobFailure: only production checkpoints are allowed
    """
    wanted = vm.settings['UserSnapshotType']
    if not (vm.host.profile.is_2016 and vm.allows('production_checkpoint')
            and wanted in (_PRODUCTION, _PRODUCTION_ONLY)):
        return False
    worker = vm.worker
    if worker is None:
        return True                 # nothing is in memory
    enabled = any(one['EnabledState'] == 2 for one in vm.resources(
        'Msvm_VssComponentSettingData'))
    if enabled and worker.guest is not None and worker.guest.freeze():
        return True
    if wanted == _PRODUCTION_ONLY:
        raise jobs.JobFailure(
            'Production checkpoints cannot be created for %s.' %
            vm.describe())
    return False
