# SPDX-License-Identifier: Apache-2.0
"""Planned systems: defined, validated, realized; they never run.

Basics of hyperv-semantics.md section 10; import, export and migration
build on them.
"""

from __future__ import annotations

import functools
import typing

from .. import devices
from .. import jobs
from .. import vm as vms
from .. import vmfiles
from . import engine
from . import network_ports as ports
from . import virtualization
from . import virtualization_definition as definitions
from . import virtualization_system as system
from ..vm import Vm
from ..winerror import WinError

if typing.TYPE_CHECKING:
    from ..host import Host

V2 = virtualization.V2
SERVICE = 'Msvm_VirtualSystemManagementService'
VALIDATE, REALIZE = 140, 141        #: JobType
Out = dict[str, typing.Any] | int


@engine.method(V2, SERVICE, 'DefinePlannedSystem')
def define_planned_system(call: engine.Call) -> Out:
    """Create a planned VM; Msvm_ComputerSystem does not show it."""
    return system.define(call, planned=True)


def _planned(call: engine.Call) -> Vm | None:
    vm = call.host.vms.of(call.args['PlannedSystem'])
    return vm if vm is not None and vm.is_planned else None


def validate(vm: Vm) -> None:
    """Check what a realized VM would need.

    :raises JobFailure: a disk or a switch is missing, or the version is
        not supported here
    """
    for medium in vm.media():
        path = medium['HostResource'][0]
        if not vm.host.storage.exists(path):
            raise jobs.JobFailure("%s: the virtual hard disk '%s' cannot "
                                  'be found. (0x80070002).' % (
                                      vm.describe(), path))
    for drive in vm.resources(devices.RASD, devices.PHYSICAL_DISK):
        if vm.host.v2.by_path((drive['HostResource'] or ('',))[0]) is None:
            raise jobs.JobFailure('%s: a physical disk cannot be found. '
                                  '(0x80070002).' % vm.describe())
    if any(record['VirtualSystemType'] == devices.SNAPSHOT_MISSING
           for record in definitions.snapshots_of(vm)):
        raise jobs.JobFailure('%s: a checkpoint cannot be found. '
                              '(0x80070002).' % vm.describe())
    for port in vm.resources(devices.PORT):
        given = port['HostResource'] or ('',)
        if given[0] and ports.switch_of(vm, port.props) is None:
            raise jobs.JobFailure("%s: could not find switch '%s'. "
                                  '(0x80070490).' % (
                                      vm.describe(), given[0]))
    if not vm.host.profile.supports(vm.version):
        raise jobs.JobFailure('%s: version %s is not supported.' % (
            vm.describe(), vm.version), jobs.NOT_SUPPORTED)


@engine.method(V2, SERVICE, 'ValidatePlannedSystem')
def validate_planned_system(call: engine.Call) -> Out:
    """Check a planned VM; always a job."""
    vm = _planned(call)
    if vm is None:
        return jobs.INVALID_PARAMETER
    return call.host.jobs.start(jobs.Task(
        work=functools.partial(validate, vm), job_type=VALIDATE,
        affected=(vm.system,), name='Validating Planned Virtual Machine'))


@engine.method(V2, SERVICE, 'RealizePlannedSystem')
def realize_planned_system(call: engine.Call) -> Out:
    """Turn a planned VM into a VM of the same GUID that is off."""
    vm = _planned(call)
    if vm is None:
        return jobs.INVALID_PARAMETER
    realized: list[engine.Record] = []
    started = call.host.jobs.start(jobs.Task(
        work=lambda: realized.append(realize(vm)), job_type=REALIZE,
        affected=(vm.system,), name='Realizing Planned Virtual Machine',
        created=realized))
    return dict(started, ResultingSystem=realized[0] if realized else None)


def realize(vm: Vm) -> engine.Record:
    """Make the realized system out of the planned one.

    :returns: the Msvm_ComputerSystem
    :raises JobFailure, WinError: as :func:`validate`, or its files
        cannot be made; the planned VM stays
    """
    validate(vm)
    before = vmfiles.names(vm)
    record = _turn_into(vm, vms.SYSTEM, devices.REALIZED)
    try:
        vm.host.vms.files.move(vm, before)
    except WinError:
        _turn_into(vm, vms.PLANNED_SYSTEM, devices.PLANNED)
        vm.host.vms.files.create(vm)
        raise
    return record


def _turn_into(vm: Vm, cls: str, kind: str) -> engine.Record:
    """Replace the system by one of another class; links follow."""
    store = vm.host.v2
    old = vm.system
    known = store.cls(cls).props
    props = {name: value for name, value in old.props.items()
             if name in known}
    links = [link for link in store.referring(old)
             if link.cls.name != 'Msvm_AffectedJobElement']
    for link in store.referring(old):
        store.delete(link)
    store.delete(old)
    new = store.add(cls, **dict(props, CreationClassName=cls,
                                EnabledState=vms.OFF))
    for link in links:
        store.add(link.cls.name, **{
            name: new.path if value == old.path else value
            for name, value in link.props.items()})
    store.update(vm.settings, VirtualSystemType=kind)
    return new


def restore(host: Host) -> None:
    """The management service starts: planned systems are gone [F]."""
    for vm in host.vms.planned():
        host.vms.files.open(vm)
        if host.quirks.planned_lost_at_restart:
            system.destroy(vm)
