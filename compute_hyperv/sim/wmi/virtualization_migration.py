# SPDX-License-Identifier: Apache-2.0
"""Msvm_VirtualSystemMigrationService (hyperv-semantics.md section 11).

A host takes part once an administrator has said so: ModifyServiceSettings
or the host's fact ``live_migration: true``. ``migration_addresses`` are
what its service listens at.
"""

from __future__ import annotations

import json
import typing

from .. import jobs
from .. import vm as vms
from . import engine
from . import virtualization
from . import virtualization_movable as movable
from . import virtualization_move as moving
from . import virtualization_power as power
from . import virtualization_rules as rules
from ..vm import Vm

if typing.TYPE_CHECKING:
    from ..host import Host

V2 = virtualization.V2
SERVICE = 'Msvm_VirtualSystemMigrationService'
_SETTINGS = 'Msvm_VirtualSystemMigrationSettingData'
_NETWORK = 'Msvm_VirtualSystemMigrationNetworkSettingData'
_MOVABLE = frozenset((vms.OFF, vms.RUNNING, vms.SAVED))
#: Answers of CheckVirtualSystemIsMigratableToHost (DMTF codes).
_BAD_PARAMETER = 4
_INCOMPATIBLE = 32784
Out = dict[str, typing.Any] | int


def populate(host: Host) -> None:
    """Migration is off unless the host's facts say otherwise."""
    if host.spec.extra.get('live_migration'):
        host.v2.update(movable.settings_of(host),
                       EnableVirtualSystemMigration=True)


@engine.computed(V2, SERVICE, 'MigrationServiceListenerIPAddressList',
                 'ActiveVirtualSystemMigrationCount',
                 'ActiveStorageMigrationCount')
def service_now(host: Host, record: engine.Record
                ) -> dict[str, typing.Any]:
    """Addresses while migration is enabled, and what goes on."""
    return {'MigrationServiceListenerIPAddressList': movable.listeners(host),
            'ActiveVirtualSystemMigrationCount': movable.active(
                host, *movable.MOVES),
            'ActiveStorageMigrationCount': movable.active(
                host, jobs.MOVE_STORAGE)}


# -- settings of the service
@engine.method(V2, SERVICE, 'ModifyServiceSettings')
def modify_service_settings(call: engine.Call) -> Out:
    """Enable or disable migration, change the maxima."""
    parsed = call.store.parse_text(call.args['ServiceSettingData'])
    record = movable.settings_of(call.host)
    if parsed.cls.name != record.cls.name:
        return jobs.INVALID_PARAMETER
    call.store.update(record, **rules.changed(record, parsed.props))
    return 0


@engine.method(V2, SERVICE, 'AddNetworkSettings')
def add_network_settings(call: engine.Call) -> Out:
    """Add networks that migrations may use."""
    for text in call.args['NetworkSettings'] or ():
        parsed = call.store.parse_text(text)
        if parsed.cls.name != _NETWORK or not parsed.get('SubnetNumber'):
            return jobs.INVALID_PARAMETER
        record = call.store.add(_NETWORK, **dict(
            parsed.props, InstanceID='Microsoft:%s\\%s' % (
                call.host.name, call.host.new_guid())))
        call.store.add(
            'Msvm_VirtualSystemMigrationServiceSettingDataComponent',
            GroupComponent=movable.settings_of(call.host),
            PartComponent=record)
    return 0


@engine.method(V2, SERVICE, 'ModifyNetworkSettings')
def modify_network_settings(call: engine.Call) -> Out:
    """Change networks."""
    for text in call.args['NetworkSettings'] or ():
        parsed = call.store.parse_text(text)
        record = call.store.get(_NETWORK,
                                InstanceID=parsed.get('InstanceID') or '')
        if record is None:
            return jobs.INVALID_PARAMETER
        call.store.update(record, **rules.changed(record, parsed.props))
    return 0


@engine.method(V2, SERVICE, 'RemoveNetworkSettings')
def remove_network_settings(call: engine.Call) -> Out:
    """Take networks away."""
    for record in call.args['NetworkSettings'] or ():
        for link in call.store.referring(record):
            call.store.delete(link)
        call.store.delete(record)
    return 0


# -- migration
def _request(call: engine.Call) -> movable.Request | None:
    """What was asked, or None for parameters that make no sense."""
    vm = call.host.vms.of(call.args['ComputerSystem'])
    text = call.args['MigrationSettingData']
    if vm is None or vm.is_planned or not text:
        return None
    settings = call.store.parse_text(text)
    if settings.cls.name != _SETTINGS or settings['MigrationType'] not in (
            virtualization.MIGRATION_TYPES):
        return None
    kind = settings['MigrationType']
    if (kind == movable.STORAGE) == bool(call.args['DestinationHost']):
        return None
    new_paths: dict[str, str] | None = None
    if call.args['NewResourceSettingData'] is not None:
        new_paths = _new_paths(call, vm)
        if new_paths is None:
            return None
    return movable.Request(
        vm=vm, kind=kind, settings=settings, new_paths=new_paths,
        destination=call.args['DestinationHost'] or call.host.name)


def _new_paths(call: engine.Call, vm: Vm) -> dict[str, str] | None:
    """InstanceID -> path of the resources that were given anew."""
    known = {one['InstanceID'].lower() for one in vm.media()}
    found = {}
    for text in call.args['NewResourceSettingData']:
        parsed = call.store.parse_text(text)
        name = str(parsed.get('InstanceID') or '').lower()
        if name not in known:
            return None
        found[name] = str((parsed.get('HostResource') or ('',))[0])
    return found


@engine.method(V2, SERVICE, 'MigrateVirtualSystemToHost')
def migrate_to_host(call: engine.Call) -> Out:
    """Move a VM; always a job or an error, never 0 [D]."""
    request = _request(call)
    if request is None or request.kind == movable.DEEP_CHECK:
        return jobs.INVALID_PARAMETER
    if call.args['NewSystemSettingData']:
        raise engine.NotSimulated('migration with NewSystemSettingData')
    vm = request.vm
    if not _is_movable(vm) or power.is_busy(vm):
        return jobs.INVALID_STATE
    move = moving.steps_of(request)
    move.mark()
    return call.host.jobs.start(jobs.Task(
        work=move.finish, steps=move.steps(), undo=move.undo,
        power_cut=move.power_cut, job_type=move.job_type, name=move.name,
        duration_s=move.duration_s(), cancellable=True,
        affected=(vm.system,), cls='Msvm_MigrationJob', facts={
            'DestinationHost': call.args['DestinationHost'],
            'MigrationType': request.kind, 'VirtualSystemName': vm.guid,
            'NewResourceSettingData': call.args['NewResourceSettingData']
        }))


def _is_movable(vm: Vm) -> bool:
    """Paused VMs do not move (section 11, [F])."""
    return vm.state in _MOVABLE or vm.state == vms.PAUSED and (
        'not paused' not in vm.host.quirks.migration_needs)


def _check(request: movable.Request) -> None:
    """All that can be said without moving anything.

    :raises JobFailure: the first reason why it cannot move
    """
    vm = request.vm
    if not _is_movable(vm):
        raise request.failure('the virtual machine is %s.' %
                              vms.state_name(vm.state), jobs.INVALID_STATE)
    if request.kind in (movable.STORAGE, movable.DEEP_CHECK):
        return
    target = movable.target_of(request)
    movable.check_hosts(request, target)
    movable.check_machine(request, target)
    movable.check_identity(request, target)


@engine.method(V2, SERVICE, 'CheckVirtualSystemIsMigratable')
def check_is_migratable(call: engine.Call) -> Out:
    """A job that fails where the migration would."""
    request = _request(call)
    if request is None:
        return jobs.INVALID_PARAMETER
    return call.host.jobs.start(jobs.Task(
        work=lambda: _check(request), job_type=jobs.CHECK_MIGRATION,
        affected=(request.vm.system,), cls='Msvm_MigrationJob',
        name='Checking Virtual Machine Compatibility', facts={
            'DestinationHost': call.args['DestinationHost'],
            'MigrationType': request.kind,
            'VirtualSystemName': request.vm.guid}))


@engine.method(V2, SERVICE, 'CheckVirtualSystemIsMigratableToHost')
def check_is_migratable_to_host(call: engine.Call) -> Out:
    """The same as an answer."""
    request = _request(call)
    if request is None:
        return _BAD_PARAMETER
    try:
        _check(request)
    except jobs.JobFailure:
        return {'IsMigratable': False}
    return {'IsMigratable': True}


@engine.method(V2, SERVICE, 'GetSystemCompatibilityInfo')
def get_compatibility_info(call: engine.Call) -> Out:
    """What another host has to have for this VM; opaque bytes."""
    vm = call.host.vms.of(call.args['ComputerSystem'])
    if vm is None:
        return jobs.INVALID_PARAMETER
    return {'CompatibilityInfo': tuple(json.dumps(dict(
        movable.compatibility(call.host), limited=bool(
            vm.processor['LimitProcessorFeatures']))).encode())}


@engine.method(V2, SERVICE, 'CheckSystemCompatibilityInfo')
def check_compatibility_info(call: engine.Call) -> Out:
    """0, or 32784 and the reasons."""
    try:
        needed = json.loads(bytes(call.args['CompatibilityInfo'] or ()))
    except ValueError:
        return jobs.INVALID_PARAMETER
    reasons = movable.incompatibilities(needed, call.host,
                                        limited=needed['limited'])
    return {'Reasons': tuple(reasons),
            'ReturnValue': _INCOMPATIBLE if reasons else 0}
