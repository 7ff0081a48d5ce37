# SPDX-License-Identifier: Apache-2.0
"""Add-, Modify- and RemoveResourceSettings.

All resources of one call are checked before the first one is changed, so
that a refusal changes nothing (hyperv-semantics.md section 20, 3 and 7).
"""

from __future__ import annotations

import typing

from .. import jobs
from .. import vm as vms
from . import engine
from . import virtualization
from . import virtualization_rules as rules
from . import virtualization_tree as tree
from ..vm import Vm
from ..winerror import WinError

if typing.TYPE_CHECKING:
    from ..host import Host

V2 = virtualization.V2
SERVICE = 'Msvm_VirtualSystemManagementService'
Out = dict[str, typing.Any]


def _given(parsed: engine.Embedded) -> tree.Props:
    return {name: value for name, value in parsed.props.items()
            if value is not None}


def kind_of(parsed: engine.Embedded | engine.Record) -> tree.Kind:
    """The kind of a resource or of a request for one."""
    return tree.kind_of(parsed.cls.name, parsed.get('ResourceSubType'))


def _as_job(vm: Vm, kinds: list[tree.Kind]) -> bool:
    """Storage of a running VM is changed by a job (section 3, [F])."""
    return (vm.host.quirks.running_storage_change_is_job and
            vm.state in (vms.RUNNING, vms.PAUSED) and
            any(kind.storage for kind in kinds))


def _failed(vm: Vm, exc: jobs.JobFailure | WinError, job_type: int) -> Out:
    if isinstance(exc, WinError):
        exc = jobs.from_windows(exc, '%s failed to change device' %
                                vm.describe())
    if not vm.host.quirks.file_errors_are_jobs:
        return {'ReturnValue': jobs.FAILED}
    return vm.host.jobs.failed(exc, job_type, (vm.system,))


def add_texts(vm: Vm, texts: tuple[str, ...]) -> Out:
    """AddResourceSettings of serialized resources."""
    parsed = [vm.host.v2.parse_text(text) for text in texts]
    kinds = [kind_of(each) for each in parsed]
    additions: list[tree.Addition] = []
    made: list[engine.Record] = []
    try:
        rules.need_settled(vm)
        for each, kind in zip(parsed, kinds, strict=True):
            if kind.check_add is None:
                raise rules.invalid(vm, '%s cannot be added.' %
                                    each.get('ResourceSubType'))
            additions.append(kind.check_add(vm, _given(each), additions))
        for addition, kind in zip(additions, kinds, strict=True):
            record = tree.add_resource(vm, addition.cls,
                                       addition.instance_id, addition.props)
            made.append(record)
            kind.added(vm, record)
    except rules.Refused as exc:
        return {'ReturnValue': exc.code}
    except (jobs.JobFailure, WinError) as exc:
        _undo(vm, made)
        return _failed(vm, exc, jobs.ADD_RESOURCES)
    vm.touch()
    out: Out = {'ReturnValue': 0}
    if _as_job(vm, kinds):
        out = vm.host.jobs.start(jobs.Task(
            work=lambda: None, job_type=jobs.ADD_RESOURCES,
            affected=(vm.system, *made), undo=lambda: _undo(vm, made),
            name='Adding Resources'))
    return dict(out, ResultingResourceSettings=tuple(
        record.path for record in made))


def _undo(vm: Vm, made: list[engine.Record]) -> None:
    for record in reversed(made):
        kind_of(record).removed(vm, record)
        tree.remove_record(vm.host, record)


@engine.method(V2, SERVICE, 'AddResourceSettings')
def add_resource_settings(call: engine.Call) -> Out | int:
    """Add devices to a VM, given as its system or its settings.

    os-win passes a Msvm_ComputerSystem for drives although a settings
    object is documented; Hyper-V takes both (oswin-surface.md 9.2).
    """
    target = call.args['AffectedConfiguration']
    vm = call.host.vms.of(target)
    if vm is None or (vms.isa(target, vms.SETTINGS) and
                      target['InstanceID'] != vm.instance_id):
        # Nothing of the kind, or a checkpoint, which never changes.
        return call.host.quirks.invalid_parameter_code
    return add_texts(vm, call.args['ResourceSettings'] or ())


@engine.method(V2, SERVICE, 'ModifyResourceSettings')
def modify_resource_settings(call: engine.Call) -> Out | int:
    """Change devices; settings of a snapshot cannot be changed."""
    host = call.host
    planned: list[tuple[Vm, engine.Record, tree.Props]] = []
    vm: Vm | None = None
    try:
        for text in call.args['ResourceSettings'] or ():
            vm, record, props = _find(host, call.store.parse_text(text))
            planned.append((vm, record, kind_of(record).check_modify(
                vm, record, props)))
        for vm, record, changes in planned:
            _modify(vm, record, changes)
    except rules.Refused as exc:
        return exc.code
    except (jobs.JobFailure, WinError) as exc:
        if vm is None:
            raise
        return _failed(vm, exc, jobs.MODIFY_RESOURCES)
    return dict(modified(vm), ResultingResourceSettings=tuple(
        record.path for _vm, record, _changes in planned))


def modified(vm: Vm | None) -> Out:
    """Answer to a modification that was carried out: 0, or a job.

    A planned system is always answered 0 (oswin-surface.md 9.4).
    """
    if vm is None or vm.is_planned or not vm.host.quirks.modify_is_job:
        return {'ReturnValue': 0}
    return vm.host.jobs.start(jobs.Task(
        work=lambda: None, job_type=jobs.MODIFY_RESOURCES,
        affected=(vm.system,), name='Modifying Resources'))


def _modify(vm: Vm, record: engine.Record, changes: tree.Props) -> None:
    if not changes:
        return
    before = {name: record[name] for name in changes}
    vm.host.v2.update(record, **changes)
    try:
        kind_of(record).modified(vm, record, changes)
    except Exception:
        vm.host.v2.update(record, **before)
        raise
    vm.touch()


def _find(host: Host, parsed: engine.Embedded
          ) -> tuple[Vm, engine.Record, tree.Props]:
    """The VM and record that a text means, and what it would change."""
    record = host.v2.get(parsed.cls.name,
                         InstanceID=parsed.get('InstanceID') or '')
    vm = host.vms.of(record) if record is not None else None
    if record is None or vm is None:
        raise rules.invalid(host, 'There is no resource %s.' %
                            parsed.get('InstanceID'))
    rules.need_settled(vm)
    changes = rules.changed(record, parsed.props)
    for name in ('ResourceSubType', 'ResourceType'):
        if name in changes:
            raise rules.invalid(host, '%s cannot change.' % name)
    return vm, record, changes


@engine.method(V2, SERVICE, 'RemoveResourceSettings')
def remove_resource_settings(call: engine.Call) -> Out | int:
    """Remove devices of one or several VMs."""
    host = call.host
    found: list[tuple[Vm, engine.Record]] = []
    try:
        for record in call.args['ResourceSettings'] or ():
            vm = host.vms.of(record)
            kind = kind_of(record)
            if vm is None or kind.check_remove is None:
                raise rules.invalid(host, '%s cannot be removed.' %
                                    record.path)
            rules.need_settled(vm)
            kind.check_remove(vm, record)
            found.append((vm, record))
    except rules.Refused as exc:
        return exc.code
    for vm, record in found:
        kind_of(record).removed(vm, record)
        tree.remove_record(host, record)
        vm.touch()
    if found and _as_job(found[0][0], [kind_of(record)
                                       for _vm, record in found]):
        return host.jobs.start(jobs.Task(
            work=lambda: None, job_type=jobs.REMOVE_RESOURCES,
            affected=(found[0][0].system,), name='Removing Resources'))
    return 0


# -- memory and processor: only ever modified
def _processor(vm: Vm, record: engine.Record, changes: tree.Props
               ) -> tree.Props:
    rules.check_processor(vm, record, changes)
    return changes


def _memory_changed(vm: Vm, record: engine.Record,
                    changes: tree.Props) -> None:
    """Memory of a running VM follows (hot add and remove)."""
    worker = vm.worker
    if worker is None or record['DynamicMemoryEnabled']:
        return
    have_mib = sum(worker.memory_mib.values())
    wanted_mib = int(record['VirtualQuantity'])
    node = max(worker.memory_mib, key=lambda one: worker.memory_mib[one])
    grown_mib = worker.memory_mib[node] + wanted_mib - have_mib
    free_mib = virtualization.numa_memory_mib(vm.host)[node] - (
        vm.host.vms.used_memory_mib(node))
    if wanted_mib - have_mib > free_mib or grown_mib < 0:
        raise jobs.JobFailure('%s: not enough memory on the host.' %
                              vm.describe(), jobs.OUT_OF_MEMORY)
    worker.memory_mib[node] = grown_mib


tree.KINDS.update({
    'Msvm_ProcessorSettingData': tree.Kind(check_modify=_processor),
    'Msvm_MemorySettingData': tree.Kind(check_modify=rules.check_memory,
                                        modified=_memory_changed),
})
