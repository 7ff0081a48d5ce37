# SPDX-License-Identifier: Apache-2.0
"""Disks of the host in virtual machines (hyperv-semantics.md section 6).

HostResource of the drive is the path of a Msvm_DiskDrive, which carries
the disk's number: after the numbers moved, it leads to another disk, or
nowhere, and Hyper-V does not notice (field-lessons.md L108).
"""

from __future__ import annotations

from .. import devices
from .. import jobs
from . import engine
from . import virtualization_rules as rules
from . import virtualization_tree as tree
from ..vm import Vm

_STORAGE = 'root/microsoft/windows/storage'
_NOT_FOUND, _IN_USE = '0x80070002', '0x80070020'


def _drive_of(vm: Vm, path: str) -> engine.Record | None:
    record = vm.host.v2.by_path(path)
    if record is None or record.cls.name != 'Msvm_DiskDrive':
        return None
    return record


def _check_offline(vm: Vm, number: int, what: str) -> None:
    if not vm.host.quirks.passthrough_needs_offline:
        return
    disk = vm.host.stores[_STORAGE].find_one('MSFT_Disk', Number=number)
    if disk is None or not disk['IsOffline']:
        raise jobs.JobFailure(
            '%s %s: the disk %s is not offline. (%s).' % (
                vm.describe(), what, number, _IN_USE))


def host_resource(vm: Vm, props: tree.Props, *, new: bool
                  ) -> tuple[str, ...]:
    """The disk that a drive is to lead to, checked.

    :param new: the drive is being added.
    :raises Refused: it is no disk of the host.
    :raises JobFailure: it is not offline, or another VM has it.
    """
    given = props.get('HostResource') or ('',)
    record = _drive_of(vm, given[0])
    if record is None:
        raise rules.invalid(vm, '%s is no disk of the host.' % given[0])
    number = record['DriveNumber']
    _check_offline(vm, number, 'failed to add device')
    if vm.host.luns.holder(number) not in ('', vm.guid) or (
            new and vm.host.quirks.physical_disk_in_one_configuration and
            _is_configured(vm, record.path)):
        raise jobs.JobFailure(
            '%s failed to add device: the disk %s is used by another '
            'virtual machine. (%s).' % (vm.describe(), number, _IN_USE))
    return (record.path,)


def _is_configured(vm: Vm, path: str) -> bool:
    return any(
        (other['HostResource'] or ('',))[0].lower() == path.lower()
        for other in vm.host.v2.find(devices.RASD,
                                     ResourceSubType=devices.PHYSICAL_DISK))


def disks_of(vm: Vm) -> list[engine.Record]:
    """The drives of a VM that are disks of the host."""
    return vm.resources(devices.RASD, devices.PHYSICAL_DISK)


def open_disk(vm: Vm, record: engine.Record) -> None:
    """Open the disk for the VM's worker, if it has one.

    :raises JobFailure: it is gone, online, or open by another VM.
    """
    worker = vm.worker
    if worker is None:
        return
    path = (record['HostResource'] or ('',))[0]
    drive = _drive_of(vm, path)
    what = "(Instance ID %s): Failed to Power on: attachment '%s'" % (
        record['InstanceID'], path)
    if drive is None:
        raise jobs.JobFailure('%s %s not found. (%s).' % (
            vm.describe(), what, _NOT_FOUND))
    number = drive['DriveNumber']
    _check_offline(vm, number, what)
    held = vm.host.luns.hold(number, vm.guid)
    if held is None:
        raise jobs.JobFailure(
            '%s %s: the disk %s is used by another virtual machine. '
            '(%s).' % (vm.describe(), what, number, _IN_USE))
    worker.files[record['InstanceID']] = held


def close_disk(vm: Vm, record: engine.Record) -> None:
    """Let the disk go."""
    worker = vm.worker
    held = worker.files.pop(record['InstanceID'], None) if worker else None
    if held is not None:
        held.close()
