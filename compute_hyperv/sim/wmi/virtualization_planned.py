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
from . import engine
from . import network_ports as ports
from . import virtualization
from . import virtualization_system as system
from ..vm import Vm

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
    :raises JobFailure: as :func:`validate`; the planned VM stays
    """
    validate(vm)
    store = vm.host.v2
    old = vm.system
    known = store.cls(vms.SYSTEM).props
    props = {name: value for name, value in old.props.items()
             if name in known}
    for link in store.referring(old):
        store.delete(link)
    store.delete(old)
    new = store.add(vms.SYSTEM, **dict(
        props, CreationClassName=vms.SYSTEM, EnabledState=vms.OFF))
    store.update(vm.settings, VirtualSystemType=devices.REALIZED)
    store.add('Msvm_SettingsDefineState', ManagedElement=new,
              SettingData=vm.settings)
    return new
