# SPDX-License-Identifier: Apache-2.0
"""What is left of virtual machines on a host that should be clean."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import typing

from . import devices
from .wmi import engine

if typing.TYPE_CHECKING:
    from .host import Host

#: Classes whose objects and links go with a VM or a checkpoint.
_OF_VMS = ('CIM_ResourceAllocationSettingData', 'Msvm_BootSourceSettingData',
           'Msvm_EthernetSwitchPortFeatureSettingData',
           'Msvm_SecuritySettingData', 'CIM_BaseMetricValue',
           'Msvm_MetricForME', 'CIM_SystemDevice', 'Msvm_LogicalIdentity',
           'Msvm_VirtualSystemSettingDataComponent',
           'Msvm_EthernetPortSettingDataComponent',
           'Msvm_SettingsDefineState', 'Msvm_SnapshotOfVirtualSystem',
           'Msvm_ElementSettingData', 'Msvm_MetricDefForME',
           'Msvm_MostCurrentSnapshotInBranch', 'Msvm_LastAppliedSnapshot',
           'Msvm_ParentChildSettingData')


_SETTINGS = 'Msvm_VirtualSystemSettingData'
GuidOf = Callable[[str], str]


def problems(host: Host, state_name: Callable[[int], str],
             guid_of: GuidOf) -> list[str]:
    """VMs, planned VMs, workers, ports and records of VMs, as text.

    :param state_name: EnabledState -> what people call it
    :param guid_of: InstanceID -> GUID of the VM or checkpoint
    """
    table = host.vms
    found = ['VM %s (%s) exists, %s' % (
        vm.name, vm.guid, state_name(vm.state)) for vm in table]
    found += ['planned VM %s (%s) exists' % (vm.name, vm.guid)
              for vm in table.planned()]
    found += ['worker process %d of %s has no VM' % (worker.pid, guid)
              for guid, worker in table.workers.items()
              if table.by_guid(guid) is None]
    return found + _stray_ports(host) + _orphans(host, guid_of)


def _stray_ports(host: Host) -> list[str]:
    """Switch ports that neither an uplink nor a connection has."""
    owned = {record.path for worker in host.vms.workers.values()
             for record in worker.records}
    used = {link['Antecedent'].lower() for link in host.v2.find(
        'Msvm_EthernetDeviceSAPImplementation')}
    if not host.quirks.port_only_while_running:
        used |= {(link['ManagedElement'] or '').lower()
                 for link in host.v2.find('Msvm_SettingsDefineState')}
    return ['switch port %s (%s) has no VM' % (
        port['ElementName'], port['Name'])
        for port in host.v2.find('Msvm_EthernetSwitchPort')
        if port.path not in owned and port.path.lower() not in used]


def _orphans(host: Host, guid_of: GuidOf) -> list[str]:
    """Records below a VM that no longer exists."""
    store = host.v2
    known = {vm.guid for vm in (*host.vms, *host.vms.planned())}
    snapshots: set[str] = set()
    found: list[str] = []
    for record in store.find(_SETTINGS):
        if record['VirtualSystemType'] == devices.DEFINITION:
            continue
        if (record['VirtualSystemIdentifier'] or '').upper() in known:
            snapshots.add(guid_of(record['InstanceID']))
        else:
            found.append('%s is left of a VM' % record.path)
    for cls in _OF_VMS:
        if store.classes.find(cls) is not None:
            found += _dangling(host, store.find(cls), known | snapshots,
                               guid_of)
    return found


def _dangling(host: Host, records: Iterable[engine.Record],
              known: set[str], guid_of: GuidOf) -> Iterator[str]:
    for record in records:
        name = record.get('InstanceID')
        if name is None:
            if any(host.v2.by_path(record[key] or '') is None
                   for key in record.cls.references):
                yield '%s links something that is gone' % record.path
        elif name.startswith('Microsoft:') and not (
                name.startswith('Microsoft:Definition') or
                guid_of(name) in known):
            yield '%s is left of a VM' % name
