# SPDX-License-Identifier: Apache-2.0
"""Controllers, drives and media (hyperv-semantics.md section 6).

A medium (file) sits in a drive, a drive in a slot of a controller. Files
are opened when the VM runs: its own for writing and for nobody else, the
parents of a chain for reading.
"""

from __future__ import annotations

import ntpath
import os

from .. import acls
from .. import devices
from .. import disks
from .. import jobs
from .. import vm as vms
from .. import worker as workers
from . import engine
from . import virtualization_passthrough as passthrough
from . import virtualization_power as power
from . import virtualization_rules as rules
from . import virtualization_tree as tree
from ..vm import Vm
from ..winerror import WinError

#: May be present while drives come and go: saved counts as not off.
_LIVE = frozenset((vms.OFF, vms.RUNNING, vms.PAUSED))
_MAX_IOPS = 10 ** 9
_FILE_NOT_FOUND, _ACCESS_DENIED = 2, 5

_SUFFIXES = {
    devices.HARD_DISK: ('.vhd', '.vhdx', '.avhd', '.avhdx', '.vhds'),
    devices.DVD_MEDIUM: ('.iso',),
    devices.FLOPPY_MEDIUM: ('.vfd', '.flp'),
}


def _need_live(vm: Vm, what: str) -> None:
    if vm.state not in _LIVE and vm.host.quirks.saved_keeps_storage:
        raise rules.wrong_state(vm, what)


def _need_off(vm: Vm, what: str) -> None:
    if not vm.is_off and vm.host.quirks.enforce_off_only:
        raise rules.wrong_state(vm, what)


# -- controllers
def _add_scsi(vm: Vm, props: tree.Props, others: list[tree.Addition]
              ) -> tree.Addition:
    _need_off(vm, 'SCSI controller')
    count = len(vm.resources(devices.RASD, devices.SCSI_CONTROLLER))
    count += sum(1 for one in others if one.props['ResourceSubType'] ==
                 devices.SCSI_CONTROLLER)
    if count >= vm.host.profile.scsi_controllers:
        raise rules.invalid(vm, 'A VM has at most 4 SCSI controllers.')
    given = props.get('VirtualSystemIdentifiers') or ()
    guid = str(given[0]).strip('{}').upper() if given else (
        vm.host.new_guid())
    instance_id = '%s\\%s\\0' % (vm.instance_id, guid)
    if vm.host.v2.get(devices.RASD, InstanceID=instance_id) or (
            tree.same_slot(others, instance_id)):
        raise rules.invalid(vm, 'There is a controller %s.' % guid)
    return tree.Addition(devices.RASD, instance_id, props)


def _remove_controller(vm: Vm, record: engine.Record) -> None:
    _need_off(vm, 'SCSI controller')
    if vm.children(record):
        raise rules.invalid(vm, 'The controller holds drives.')


# -- drives
def _slot(vm: Vm, controller: engine.Record, props: tree.Props,
          others: list[tree.Addition]) -> int:
    """The slot asked for, or the first free one."""
    scsi = controller['ResourceSubType'] == devices.SCSI_CONTROLLER
    count = vm.host.profile.scsi_slots if scsi else (
        vm.host.profile.ide_slots)
    taken = {drive['AddressOnParent'] for drive in vm.children(controller)}
    taken |= {one.props['AddressOnParent'] for one in others
              if one.props.get('Parent') == controller.path}
    asked = props.get('AddressOnParent')
    if asked in (None, ''):
        free = [slot for slot in range(count) if str(slot) not in taken]
        if not free:
            raise rules.invalid(vm, 'The controller is full.')
        return free[0]
    if not str(asked).isdecimal() or not int(asked) < count:
        raise rules.invalid(vm, 'The controller has no slot %s.' % asked)
    if str(int(asked)) in taken:
        raise rules.invalid(vm, 'Slot %s is in use.' % asked)
    return int(asked)


def _add_drive(vm: Vm, props: tree.Props, others: list[tree.Addition]
               ) -> tree.Addition:
    controller = tree.parent_of(vm, props)
    kind = controller['ResourceSubType']
    subtype = props['ResourceSubType']
    if kind == devices.IDE_CONTROLLER:
        _need_off(vm, 'IDE drive')
    elif kind == devices.SCSI_CONTROLLER:
        _need_live(vm, 'SCSI drive')
        if subtype == devices.DVD_DRIVE and vm.generation == 1 and (
                vm.host.quirks.scsi_dvd_needs_generation_2):
            raise rules.invalid(vm, 'Generation 1 has DVD drives on IDE.')
    else:
        raise rules.invalid(vm, '%s takes no drives.' % kind)
    if subtype == devices.PHYSICAL_DVD and vm.generation == 2:
        raise rules.invalid(vm, 'Generation 2 has no physical DVD drives.')
    slot = _slot(vm, controller, props, others)
    if subtype == devices.PHYSICAL_DISK:
        # The name cannot be given with the drive (L109).
        props = dict(props, ElementName='Hard Drive',
                     HostResource=passthrough.host_resource(
                         vm, props, new=True))
    return tree.Addition(
        devices.RASD, '%s\\%d\\D' % (controller['InstanceID'], slot),
        dict(props, Parent=controller.path, AddressOnParent=str(slot)))


def _drive_added(vm: Vm, record: engine.Record) -> None:
    controller = tree.parent_of(vm, record.props)
    number = [one.path for one in vm.resources(
        devices.RASD, controller['ResourceSubType'])].index(controller.path)
    tree.add_boot_source(
        vm, record, 1, 'EFI SCSI Device',
        '\\AcpiEx(VMBus,0,0)\\VenHw(SCSI,%d)\\Scsi(0,%s)' % (
            number, record['AddressOnParent']))
    if record['ResourceSubType'] == devices.PHYSICAL_DISK:
        passthrough.open_disk(vm, record)


def _modify_drive(vm: Vm, record: engine.Record, changes: tree.Props
                  ) -> tree.Props:
    if {'Parent', 'AddressOnParent'} & set(changes):
        raise engine.NotSimulated('moving a drive to another slot')
    if 'HostResource' in changes and (
            record['ResourceSubType'] == devices.PHYSICAL_DISK):
        _need_off(vm, 'Physical disk')
        changes['HostResource'] = passthrough.host_resource(
            vm, changes, new=False)
    return changes


def _remove_drive(vm: Vm, record: engine.Record) -> None:
    controller = tree.parent_of(vm, record.props)
    if controller['ResourceSubType'] == devices.IDE_CONTROLLER:
        _need_off(vm, 'IDE drive')
    else:
        _need_live(vm, 'SCSI drive')
    if vm.host.quirks.drive_with_medium_is_kept and vm.children(record):
        raise rules.invalid(vm, 'The drive still holds a medium.')


# -- media
def _medium_path(vm: Vm, props: tree.Props) -> str:
    given = props.get('HostResource') or ()
    if not given or not given[0]:
        raise rules.invalid(vm, 'A medium needs a file.')
    return str(given[0])


def _check_file(vm: Vm, subtype: str, path: str) -> None:
    """The file is there and of a kind that the VM can use.

    :raises JobFailure: text ends with the inner HRESULT (section 6)
    """
    suffix = ntpath.splitext(path)[1].lower()
    what = "%s failed to add device '%s': attachment '%s'" % (
        vm.describe(), subtype[len(devices.HV):], path)
    if not vm.host.storage.exists(path):
        raise jobs.from_windows(WinError(_FILE_NOT_FOUND, path),
                                what + ' not found')
    if vm.host.quirks.loopback_shares_refused and (
            vm.host.storage.shares.smb.is_loopback(vm.host.name, path)):
        raise jobs.from_windows(WinError(_ACCESS_DENIED, path), what)
    if os.path.isdir(vm.host.storage.local(path)):
        raise jobs.from_windows(WinError(_ACCESS_DENIED, path), what)
    if suffix not in _SUFFIXES[subtype]:
        raise jobs.JobFailure(what + ' is of an unsupported format. '
                              '(0xC03A0014).')
    try:
        acls.check_machine(vm.host, vm.guid, path)
        if subtype == devices.HARD_DISK:
            _check_disk(vm, path, what)
    except WinError as exc:
        raise jobs.from_windows(exc, what) from exc
    if suffix == '.vhd' and vm.generation == 2 and (
            vm.host.quirks.gen2_refuses_vhd):
        raise jobs.JobFailure(what + ' cannot be used by a generation 2 '
                              'virtual machine. (0xC03A0014).')


def _check_disk(vm: Vm, path: str, what: str) -> None:
    """The file is a disk, and its parents are there and its own.

    :raises WinError: the chain is broken
    """
    if disks.probe(vm.host.storage.local(path)) is None:
        raise jobs.JobFailure(what + ': a virtual disk provider for the '
                              'file was not found. (0xC03A0014).')
    if vm.host.quirks.chains_checked_when_added:
        vm.host.vdisks.chain(path)


def _check_iops(vm: Vm, props: tree.Props) -> None:
    limit, reservation = props.get('IOPSLimit'), props.get('IOPSReservation')
    for value in (limit, reservation):
        if value is not None and value > _MAX_IOPS:
            raise rules.invalid(vm, '%d IOPS are too many.' % value)
    if limit and reservation and reservation > limit:
        raise rules.invalid(vm, 'IOPSReservation is above IOPSLimit.')


def _add_medium(vm: Vm, props: tree.Props, others: list[tree.Addition]
                ) -> tree.Addition:
    subtype = props['ResourceSubType']
    drive = tree.parent_of(vm, props)
    if drive['ResourceSubType'] != devices.MEDIA[subtype]:
        raise rules.invalid(vm, '%s takes no %s.' % (
            drive['ResourceSubType'], subtype))
    instance_id = drive['InstanceID'][:-1] + 'L'
    if vm.children(drive) or tree.same_slot(others, instance_id):
        raise rules.invalid(vm, 'The drive holds a medium.')
    if _is_removable(subtype) or not _on_ide(vm, drive):
        _need_live(vm, 'Medium')
    else:
        _need_off(vm, 'IDE disk')
    path = _medium_path(vm, props)
    _check_iops(vm, props)
    _check_file(vm, subtype, path)
    return tree.Addition(devices.SASD, instance_id,
                         dict(props, Parent=drive.path))


def _is_removable(subtype: str) -> bool:
    return subtype != devices.HARD_DISK


def _on_ide(vm: Vm, drive: engine.Record) -> bool:
    parent = vm.host.v2.by_path(drive['Parent'] or '')
    return parent is not None and (
        parent['ResourceSubType'] == devices.IDE_CONTROLLER)


def _modify_medium(vm: Vm, record: engine.Record, changes: tree.Props
                   ) -> tree.Props:
    _check_iops(vm, dict(record.props, **changes))
    if 'Parent' in changes:
        raise engine.NotSimulated('moving a medium to another drive')
    if 'HostResource' in changes:
        drive = tree.parent_of(vm, record.props)
        if not _is_removable(record['ResourceSubType']) and (
                _on_ide(vm, drive)) and vm.state != vms.SAVED:
            # A saved VM takes another path (L105), nothing more.
            _need_off(vm, 'IDE disk')
        _check_file(vm, record['ResourceSubType'],
                    _medium_path(vm, changes))
    return changes


def _remove_medium(vm: Vm, record: engine.Record) -> None:
    drive = tree.parent_of(vm, record.props)
    if not _is_removable(record['ResourceSubType']) and _on_ide(vm, drive):
        _need_off(vm, 'IDE disk')
    else:
        _need_live(vm, 'Medium')


def open_medium(vm: Vm, record: engine.Record) -> None:
    """Open the file of a medium for the VM's worker, if it has one.

    :raises JobFailure: missing, or in use by somebody else (0x80070020)
    """
    worker = vm.worker
    if worker is None or not record['HostResource']:
        return
    path = record['HostResource'][0]
    try:
        acls.check_machine(vm.host, vm.guid, path)
        worker.files[record['InstanceID']] = vm.host.vdisks.hold(
            path, owner='vm ' + vm.guid,
            shared=bool(record['PersistentReservationsSupported']),
            read_only=_is_removable(record['ResourceSubType']))
    except WinError as exc:
        raise jobs.from_windows(
            exc, "%s (Instance ID %s): Failed to Power on: attachment "
            "'%s'" % (vm.describe(), record['InstanceID'], path)) from exc


def close_medium(vm: Vm, record: engine.Record) -> None:
    """Close the file of a medium."""
    worker = vm.worker
    held = worker.files.pop(record['InstanceID'], None) if worker else None
    if held is not None:
        held.close()


def _swap_medium(vm: Vm, record: engine.Record, changes: tree.Props
                 ) -> None:
    """Open the new file of a running VM before the old one is let go."""
    worker = vm.worker
    if worker is None or 'HostResource' not in changes:
        return
    old = worker.files.get(record['InstanceID'])
    open_medium(vm, record)
    if old is not None:
        old.close()


def _drive_removed(vm: Vm, record: engine.Record) -> None:
    passthrough.close_disk(vm, record)
    for medium in vm.children(record):
        close_medium(vm, medium)
        tree.remove_record(vm.host, medium)
    tree.remove_boot_source(vm, record)


def _power_on(vm: Vm, worker: workers.Worker) -> None:
    for medium in vm.media():
        open_medium(vm, medium)
    for drive in passthrough.disks_of(vm):
        passthrough.open_disk(vm, drive)


# The worker's end closes the files: see worker.Lingering.
power.UP.append(_power_on)

_DRIVE = tree.Kind(check_add=_add_drive, added=_drive_added,
                   check_modify=_modify_drive, check_remove=_remove_drive,
                   removed=_drive_removed, storage=True)
_MEDIUM = tree.Kind(check_add=_add_medium, added=open_medium,
                    check_modify=_modify_medium, modified=_swap_medium,
                    check_remove=_remove_medium, removed=close_medium,
                    storage=True)
_FIXED = tree.Kind()

tree.KINDS.update({subtype: _DRIVE for subtype in devices.DRIVES})
tree.KINDS.update({subtype: _MEDIUM for subtype in devices.MEDIA})
tree.KINDS[devices.SCSI_CONTROLLER] = tree.Kind(
    check_add=_add_scsi, check_remove=_remove_controller, storage=True)
tree.KINDS.update({subtype: _FIXED for subtype in (
    devices.IDE_CONTROLLER, devices.FLOPPY_CONTROLLER,
    devices.FLOPPY_DRIVE, devices.SERIAL_CONTROLLER, devices.KEYBOARD,
    devices.PS2_MOUSE, devices.SYNTHETIC_MOUSE)})
