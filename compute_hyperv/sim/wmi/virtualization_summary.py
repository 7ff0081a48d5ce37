# SPDX-License-Identifier: Apache-2.0
"""GetSummaryInformation (hyperv-semantics.md sections 2 and 3).

Every field is a function of the VM; the request names fields by number.
"""

from __future__ import annotations

from collections.abc import Callable
import typing

from .. import guest as guests
from .. import jobs
from .. import vm as vms
from . import engine
from . import virtualization
from ..vm import Vm

V2 = virtualization.V2
SERVICE = 'Msvm_VirtualSystemManagementService'
_SIMULATED_LOAD = 3             #: percent of a guest that does nothing


def _guest(vm: Vm) -> guests.Guest | None:
    worker = vm.worker
    return worker.guest if worker is not None else None


def _memory(vm: Vm) -> dict[str, typing.Any]:
    worker = vm.worker
    return {'MemoryUsage': sum(worker.memory_mib.values())
            if worker is not None else None}


def _heartbeat(vm: Vm) -> dict[str, typing.Any]:
    guest = _guest(vm)
    return {'Heartbeat': guest.heartbeat if guest is not None else None}


def _guest_os(vm: Vm) -> dict[str, typing.Any]:
    guest = _guest(vm)
    return {'GuestOperatingSystem': guest.behaviour.os_name
            if guest is not None and guest.is_up else None}


def _switches(vm: Vm) -> dict[str, typing.Any]:
    names = []
    for record in vm.resources('Msvm_EthernetPortAllocationSettingData'):
        given = record['HostResource'] or ()
        switch = vm.host.v2.by_path(given[0]) if given and given[0] else None
        if switch is not None:
            names.append(switch['ElementName'])
    return {'VirtualSwitchNames': tuple(names)}


def _load(vm: Vm) -> dict[str, typing.Any]:
    running = vm.state == vms.RUNNING
    return {'ProcessorLoad': _SIMULATED_LOAD if running else None,
            'ProcessorLoadHistory': ((_SIMULATED_LOAD,) * 10
                                     if running else ())}


def _shielded(vm: Vm) -> dict[str, typing.Any]:
    if not vm.host.v2.classes.find('Msvm_SecuritySettingData'):
        return {}
    found = vm.resources('Msvm_SecuritySettingData')
    return {'Shielded': bool(found and found[0]['ShieldingRequested'])}


def _of_system(*names: str) -> Callable[[Vm], dict[str, typing.Any]]:
    return lambda vm: {name: vm.system[name] for name in names}


def _nothing(*names: str) -> Callable[[Vm], dict[str, typing.Any]]:
    """Fields that stay null or zero here: nothing is replicated."""
    return lambda vm: {name: 0 for name in names}


#: RequestedInformation -> fields.
FIELDS: dict[int, Callable[[Vm], dict[str, typing.Any]]] = {
    0: lambda vm: {'Name': vm.guid},
    1: lambda vm: {'ElementName': vm.name},
    2: lambda vm: {'CreationTime': vm.settings['CreationTime']},
    3: lambda vm: {'Notes': '\n'.join(vm.settings['Notes'] or ())},
    4: lambda vm: {'NumberOfProcessors': vm.processor['VirtualQuantity']},
    8: lambda vm: {'AllocatedGPU': ''},
    9: _switches,
    10: lambda vm: {'Version': vm.version},
    11: _shielded,
    100: lambda vm: {'EnabledState': vm.state},
    101: _load,
    102: _load,
    103: _memory,
    104: _heartbeat,
    105: lambda vm: {'UpTime': int(
        vm.host.vms.uptime_s(vm.guid) * 1000)},
    106: _guest_os,
    109: _of_system('HealthState'),
    110: _of_system('OperationalStatus'),
    111: _of_system('StatusDescriptions'),
    112: lambda vm: {'MemoryAvailable': 50 if vm.worker else None},
    113: lambda vm: {'AvailableMemoryBuffer': 0},
    114: _nothing('ReplicationMode'),
    115: _nothing('ReplicationState'),
    116: _nothing('ReplicationHealth'),
    117: _nothing('ApplicationHealth'),
    118: lambda vm: {'ReplicationStateEx': ()},
    119: lambda vm: {'ReplicationHealthEx': ()},
    120: lambda vm: {'SwapFilesInUse': False},
    121: _nothing('IntegrationServicesVersionState'),
    122: lambda vm: {'ReplicationProviderId': ()},
    123: lambda vm: {'MemorySpansPhysicalNumaNodes': bool(
        vm.worker and len(vm.worker.memory_mib) > 1)},
    132: _nothing('IntegrationServicesVersionState'),
}
#: Thumbnails, snapshots and tasks are not part of the simulation.
_NOT_SIMULATED = frozenset((5, 6, 7, 107, 108))


def summary(vm: Vm, requested: typing.Iterable[int]) -> engine.Embedded:
    """The Msvm_SummaryInformation of one VM."""
    fields: dict[str, typing.Any] = {
        'Name': vm.guid, 'InstanceID': vm.instance_id}
    for number in requested:
        if number in _NOT_SIMULATED:
            raise engine.NotSimulated('GetSummaryInformation(%d)' % number)
        field = FIELDS.get(number)
        if field is not None:
            fields.update(field(vm))
    return vm.host.v2.embedded('Msvm_SummaryInformation', **fields)


@engine.method(V2, SERVICE, 'GetSummaryInformation')
def get_summary_information(call: engine.Call
                            ) -> dict[str, typing.Any] | int:
    """Summaries of the VMs whose settings are given, or of all."""
    given = call.args['SettingData']
    if given is None:
        found = list(call.host.vms)
    else:
        found = []
        for record in given:
            vm = call.host.vms.of(record)
            if vm is None:
                return jobs.INVALID_PARAMETER
            found.append(vm)
    requested = call.args['RequestedInformation'] or ()
    return {'SummaryInformation': tuple(
        summary(vm, requested) for vm in found)}
