# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: Msvm_VirtualSystemSnapshotService.

A checkpoint is a second set of settings under its own GUID and frozen
disks (hyperv-semantics.md section 8); the files are in snapshotdisks.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import time
import typing

from .. import devices
from .. import jobs
from .. import snapshotdisks
from .. import vm as vms
from . import engine
from . import values
from . import virtualization
from . import virtualization_power as power
from . import virtualization_snapshot_rules as rules
from . import virtualization_storage as storage
from . import virtualization_system as system
from . import virtualization_tree as tree
from ..vm import Vm

if typing.TYPE_CHECKING:
    from ..host import Host

V2 = virtualization.V2
SERVICE = 'Msvm_VirtualSystemSnapshotService'
FULL, DISK, RECOVERY = 2, 3, 32768
INVALID_STATE, INVALID_TYPE = 5, 6
#: Second OperationalStatus (section 2).
_CREATING, _APPLYING, _MERGING = 32768, 32769, 32772
_OF_VM = 'Msvm_SnapshotOfVirtualSystem'
_CURRENT = 'Msvm_MostCurrentSnapshotInBranch'
_PARENT_CHILD = 'Msvm_ParentChildSettingData'
#: Settings that the VM keeps when a checkpoint is applied.
_OWN = frozenset(('InstanceID', 'ConfigurationID', 'VirtualSystemIdentifier',
                  'VirtualSystemType', 'ElementName', 'Parent',
                  'CreationTime', 'Notes', 'IsSaved', 'Caption',
                  'Description'))
_COPIED = ('CIM_ResourceAllocationSettingData', tree.BOOT_SOURCE,
           'Msvm_EthernetSwitchPortFeatureSettingData',
           'Msvm_SecuritySettingData')


def _vm_of(host: Host, record: engine.Record | None) -> Vm | None:
    """The VM of a checkpoint's settings; None if it is no checkpoint."""
    if record is None or record.get('VirtualSystemType') not in (
            devices.SNAPSHOT, devices.RECOVERY_SNAPSHOT):
        return None
    return host.vms.by_guid(record['VirtualSystemIdentifier'])


# -- create
@engine.method(V2, SERVICE, 'CreateSnapshot')
def create_snapshot(call: engine.Call) -> dict[str, typing.Any] | int:
    """Take a checkpoint; always a job (oswin-surface.md 9.5)."""
    host = call.host
    vm = host.vms.of_system(call.args['AffectedSystem'])
    kind = call.args['SnapshotType'] or FULL
    if vm is None or vm.is_planned:
        return host.quirks.invalid_parameter_code
    if kind not in (FULL, DISK, RECOVERY):
        return INVALID_TYPE
    if vm.state not in (vms.OFF, vms.RUNNING, vms.PAUSED, vms.SAVED) or (
            power.is_busy(vm)):
        return INVALID_STATE
    made: list[engine.Record] = []
    text = call.args['SnapshotSettings']
    ignores = bool(text) and bool(call.store.parse_text(text).get(
        'IgnoreNonSnapshottableDisks'))

    def work() -> None:
        made.append(take(vm, kind, without_physical=ignores))
        _idle(vm)

    host.v2.update(vm.system, OperationalStatus=(2, _CREATING))
    started = host.jobs.start(jobs.Task(
        work=work, job_type=jobs.SNAPSHOT, affected=(vm.system,),
        name='Creating Checkpoint', created=made, cancellable=True,
        undo=functools.partial(_idle, vm)))
    return dict(started, ResultingSnapshot=made[0] if made else None)


def take(vm: Vm, kind: int, *, without_physical: bool = False
         ) -> engine.Record:
    """Freeze the disks and copy the settings.

    :param without_physical: disks of the host go on as they are
    :returns: settings of the new checkpoint
    :raises JobFailure, WinError: nothing is left behind
    """
    rules.check(vm, without_physical=without_physical)
    quiesced = kind == FULL and rules.quiesce(vm)
    host = vm.host
    media = snapshotdisks.hard_disks(host, vm.instance_id)
    frozen: list[tuple[engine.Record, str, str]] = []

    def undo() -> None:
        for record, old, new in frozen:
            host.v2.update(record, HostResource=(old,))
            snapshotdisks.delete(host, new)

    def freeze() -> None:
        for record in media:
            old = record['HostResource'][0]
            frozen.append((record, old, snapshotdisks.freeze(host, old)))

    _without_files(vm, media, freeze, undo)
    record = _copy_settings(vm, kind, quiesced)
    for medium, _old, new in frozen:
        host.v2.update(medium, HostResource=(new,))
    _without_files(vm, media, lambda: None, lambda: None)
    return record


def _without_files(vm: Vm, media: list[engine.Record],
                   action: Callable[[], None],
                   undo: Callable[[], None]) -> None:
    """Do something with disks that a running VM has open."""
    for record in media:
        storage.close_medium(vm, record)
    try:
        action()
    except Exception:
        undo()
        raise
    finally:
        for record in media:
            storage.open_medium(vm, record)


def _copy_settings(vm: Vm, kind: int, quiesced: bool) -> engine.Record:
    host = vm.host
    guid = host.new_guid()
    now_s = host.clock.time()
    stamp = time.strftime('%m/%d/%Y - %H:%M:%S', time.gmtime(now_s))
    settings = vm.settings
    paths: dict[str, str] = {}
    with_memory = vm.state in (vms.RUNNING, vms.PAUSED) and (
        kind == FULL) and not quiesced
    record = host.v2.add(vms.SETTINGS, **dict(
        settings.props, InstanceID='Microsoft:' + guid, ConfigurationID=guid,
        VirtualSystemIdentifier=vm.guid,
        VirtualSystemType=(devices.RECOVERY_SNAPSHOT if kind == RECOVERY
                           else devices.SNAPSHOT),
        ElementName='%s - (%s)' % (vm.name, stamp),
        CreationTime=values.cim_datetime(now_s), Parent=settings['Parent'],
        IsSaved=with_memory or vm.state == vms.SAVED,
        Caption='Virtual Machine Settings',
        Description='Checkpoint settings.'))
    _copy_tree(host, vm.instance_id, record, paths)
    host.v2.update(record, BootSourceOrder=tuple(
        paths.get(path.lower(), path)
        for path in record['BootSourceOrder'] or ()))
    host.v2.add(_OF_VM, Antecedent=vm.system, Dependent=record)
    if settings['Parent']:
        host.v2.add(_PARENT_CHILD, Antecedent=settings['Parent'],
                    Dependent=record)
    host.v2.update(settings, Parent=record.path)
    _set_current(vm, record)
    return record


def _set_current(vm: Vm, record: engine.Record | None) -> None:
    store = vm.host.v2
    for link in store.find(_CURRENT, Antecedent=vm.system):
        store.delete(link)
    if record is not None:
        store.add(_CURRENT, Antecedent=vm.system, Dependent=record)


def _copy_tree(host: Host, source: str, settings: engine.Record,
               paths: dict[str, str]) -> None:
    """Copy the resources below *source* under other settings.

    :param paths: filled: old path (lower case) -> new path
    """
    target = settings['InstanceID']
    old = [record for cls in _COPIED if host.v2.classes.find(cls)
           for record in host.v2.under(source, cls)]
    copies: list[tuple[engine.Record, engine.Record]] = []
    for record in sorted(old, key=lambda one: one.serial):
        props = dict(record.props, InstanceID=target + record[
            'InstanceID'][len(source):])
        parent = (props.get('Parent') or '').lower()
        if parent:
            props['Parent'] = paths.get(parent, props['Parent'])
        copy = host.v2.add(record.cls.name, **props)
        paths[record.path.lower()] = copy.path
        copies.append((record, copy))
    for record, copy in copies:
        for link in host.v2.referring(record):
            _copy_link(host, link, record, settings, paths)


def _copy_link(host: Host, link: engine.Record, record: engine.Record,
               settings: engine.Record, paths: dict[str, str]) -> None:
    """Repeat a link between two copied records, or to the settings."""
    if link.cls.name == tree.COMPONENT:
        host.v2.add(tree.COMPONENT, GroupComponent=settings,
                    PartComponent=paths[record.path.lower()])
    elif link.cls.name in ('Msvm_LogicalIdentity',
                           'Msvm_EthernetPortSettingDataComponent'):
        ends = {name: paths.get(link[name].lower())
                for name in link.cls.references}
        if link[link.cls.references[0]].lower() == record.path.lower() and (
                all(ends.values())):
            host.v2.add(link.cls.name, **ends)


# -- destroy
@engine.method(V2, SERVICE, 'DestroySnapshot')
def destroy_snapshot(call: engine.Call) -> dict[str, typing.Any] | int:
    """Remove a checkpoint; its disks are merged."""
    return _destroy(call, call.args['AffectedSnapshot'], tree_too=False)


@engine.method(V2, SERVICE, 'DestroySnapshotTree')
def destroy_snapshot_tree(call: engine.Call) -> dict[str, typing.Any] | int:
    """Remove a checkpoint and all that were taken after it."""
    return _destroy(call, call.args['SnapshotSettingData'], tree_too=True)


def _destroy(call: engine.Call, record: engine.Record, *, tree_too: bool
             ) -> dict[str, typing.Any] | int:
    host = call.host
    vm = _vm_of(host, record)
    if vm is None:
        return host.quirks.invalid_parameter_code
    if vm.state not in (vms.OFF, vms.RUNNING, vms.PAUSED, vms.SAVED) or (
            system.merging(vm) or power.is_busy(vm)):
        return INVALID_STATE
    gone = [record] + (_descendants(host, record) if tree_too else [])
    host.v2.update(vm.system, OperationalStatus=(2, _MERGING))
    return host.jobs.start(jobs.Task(
        work=functools.partial(_remove_all, vm, gone),
        job_type=jobs.DELETE_SNAPSHOT, affected=(vm.system, record),
        name='Deleting Checkpoint', undo=functools.partial(_idle, vm)))


def _descendants(host: Host, record: engine.Record) -> list[engine.Record]:
    found: list[engine.Record] = []
    for link in host.v2.find(_PARENT_CHILD, Antecedent=record):
        child = host.v2.by_path(link['Dependent'])
        if child is not None:
            found += [child] + _descendants(host, child)
    return found


def _idle(vm: Vm) -> None:
    if vm.exists:
        vm.host.v2.update(vm.system, OperationalStatus=(2,))


def _remove_all(vm: Vm, gone: list[engine.Record]) -> None:
    host = vm.host
    for record in gone:
        _unlink(vm, record)
    media = snapshotdisks.hard_disks(host, vm.instance_id)

    def collapse() -> None:
        every = list(media)
        for record in (*rules.snapshots(vm), *gone):
            every += snapshotdisks.hard_disks(host, record['InstanceID'])
        removed = {record['InstanceID'].lower() for record in gone}
        snapshotdisks.Chains(host, every, lambda user: any(
            user['InstanceID'].lower().startswith(one)
            for one in removed)).collapse()

    _without_files(vm, media, collapse, lambda: None)
    for record in gone:
        tree.remove_tree(host, record['InstanceID'])
    _idle(vm)


def _merge_automatic(vm: Vm) -> None:
    """Checkpoints that the host took by itself go before their VM."""
    gone = [one for one in rules.snapshots(vm) if one['IsAutomaticSnapshot']]
    if gone and vm.host.quirks.automatic_snapshots_merge:
        _remove_all(vm, gone)


system.BEFORE_DESTROY.append(_merge_automatic)


def _unlink(vm: Vm, record: engine.Record) -> None:
    """Children and the VM get the parent of a checkpoint that goes."""
    store = vm.host.v2
    parent = record['Parent']
    for link in store.find(_PARENT_CHILD, Antecedent=record):
        child = store.by_path(link['Dependent'])
        store.delete(link)
        if child is not None:
            store.update(child, Parent=parent)
            if parent:
                store.add(_PARENT_CHILD, Antecedent=parent, Dependent=child)
    if (vm.settings['Parent'] or '').lower() == record.path.lower():
        store.update(vm.settings, Parent=parent)
        _set_current(vm, store.by_path(parent) if parent else None)
    for link in store.find(_OF_VM, Dependent=record):
        store.delete(link)


# -- apply
@engine.method(V2, SERVICE, 'ApplySnapshot')
def apply_snapshot(call: engine.Call) -> dict[str, typing.Any] | int:
    """Go back to a checkpoint; the VM is off or saved (else 5)."""
    host = call.host
    record = call.args['Snapshot']
    vm = _vm_of(host, record)
    if vm is None:
        return host.quirks.invalid_parameter_code
    if vm.state not in (vms.OFF, vms.SAVED) and (
            host.quirks.apply_needs_off) or system.merging(vm) or (
            power.is_busy(vm)):
        return INVALID_STATE
    host.v2.update(vm.system, OperationalStatus=(2, _APPLYING))
    return host.jobs.start(jobs.Task(
        work=functools.partial(_apply, vm, record),
        undo=functools.partial(_idle, vm),
        job_type=jobs.APPLY_SNAPSHOT, affected=(vm.system, record),
        name='Applying Checkpoint'))


def _apply(vm: Vm, record: engine.Record) -> None:
    """Settings and disks of the checkpoint become the VM's."""
    host = vm.host
    if vm.worker is not None:
        power.turn_off(vm)          # FieldKnowledge.apply_needs_off
    old_media = snapshotdisks.hard_disks(host, vm.instance_id)
    left = [one['HostResource'][0] for one in old_media]
    fresh = {one['InstanceID'][len(record['InstanceID']):]:
             snapshotdisks.freeze(host, one['HostResource'][0])
             for one in snapshotdisks.hard_disks(host,
                                                 record['InstanceID'])}
    for cls in _COPIED:
        if host.v2.classes.find(cls):
            for one in reversed(host.v2.under(vm.instance_id, cls)):
                tree.remove_record(host, one)
    paths: dict[str, str] = {}
    settings = vm.settings
    _copy_tree(host, record['InstanceID'], settings, paths)
    changes = {name: value for name, value in record.props.items()
               if name not in _OWN}
    changes['BootSourceOrder'] = tuple(
        paths.get(path.lower(), path)
        for path in record['BootSourceOrder'] or ())
    host.v2.update(settings, Parent=record.path,
                   IsSaved=record['IsSaved'], **changes)
    for medium in snapshotdisks.hard_disks(host, vm.instance_id):
        host.v2.update(medium, HostResource=(
            fresh[medium['InstanceID'][len(vm.instance_id):]],))
    used = {one['HostResource'][0].lower() for each in rules.snapshots(vm)
            for one in snapshotdisks.hard_disks(host, each['InstanceID'])}
    for path in left:
        if snapshotdisks.is_difference(path) and path.lower() not in used:
            snapshotdisks.delete(host, path)
    _set_current(vm, record)
    for link in host.v2.find('Msvm_LastAppliedSnapshot',
                             Dependent=vm.system):
        host.v2.delete(link)
    host.v2.add('Msvm_LastAppliedSnapshot', Antecedent=record,
                Dependent=vm.system)
    vm.set_state(vms.SAVED if record['IsSaved'] else vms.OFF)
    _idle(vm)


@engine.method(V2, SERVICE, 'ClearSnapshotState')
def clear_snapshot_state(call: engine.Call) -> dict[str, typing.Any] | int:
    """Drop the memory state that a checkpoint holds."""
    record = call.args['SnapshotSettingData']
    if _vm_of(call.host, record) is None:
        return call.host.quirks.invalid_parameter_code
    call.store.update(record, IsSaved=False)
    return 0
