# SPDX-License-Identifier: Apache-2.0
r"""Virtual switches of a host (hyperv-semantics.md section 16).

An external switch leads to a physical adapter by this chain, which os-win
walks (oswin-surface.md 3.7)::

    Msvm_ExternalEthernetPort -(EthernetDeviceSAPImplementation)->
    Msvm_LANEndpoint -(ActiveConnection)-> Msvm_LANEndpoint of the switch

The other end of an internal switch is a Msvm_InternalEthernetPort, a
private one has none.
"""

from __future__ import annotations

import typing
import uuid

from . import engine
from . import virtualization

if typing.TYPE_CHECKING:
    from ..host import Host
    from ..host import SwitchSpec


SWITCH = 'Msvm_VirtualEthernetSwitch'
_OFFLOAD = 'Msvm_EthernetSwitchPortOffloadSettingData'
SWITCH_SETTINGS = 'Msvm_VirtualEthernetSwitchSettingData'
EXTENSIONS = (
    ('Microsoft Windows Filtering Platform', 2,
     'E7C3B2F0-F3C5-48DF-AF2B-10FED6D72E7A', 2),
    ('Microsoft NDIS Capture', 1,
     'EA24CD6C-D17A-4348-9190-09F0D5BE83DD', 3),
)


def adapter_name(host: Host, spec: SwitchSpec) -> str:
    """Interface description of the adapter below an external switch."""
    if spec.nic:
        return spec.nic
    number = [each.name for each in host.spec.switches].index(spec.name)
    return 'Simulated Ethernet Adapter' + (
        ' #%d' % (number + 1) if number else '')


def populate(host: Host) -> None:
    """Make the switches of the host's description."""
    for spec in host.spec.switches:
        add_switch(host, spec)


def stable_guid(host: Host, *parts: str) -> str:
    """An identity that is the same each time the fabric is made."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, '\\'.join(
        (host.name, *parts)))).upper()


def add_switch(host: Host, spec: SwitchSpec) -> engine.Record:
    """Create a virtual switch."""
    store = host.v2
    guid = stable_guid(host, 'switch', spec.name)
    switch = store.add(
        SWITCH, CreationClassName=SWITCH, Name=guid, ElementName=spec.name,
        EnabledState=5, HealthState=5, OperationalStatus=(2,),
        StatusDescriptions=('OK',), Caption='Virtual Switch',
        MaxVMQOffloads=spec.vmqs, MaxIOVOffloads=spec.vfs)
    settings = store.add(
        SWITCH_SETTINGS, InstanceID='Microsoft:' + guid,
        ElementName=spec.name, VirtualSystemIdentifier=guid,
        IOVPreferred=spec.iov, BandwidthReservationMode=spec.bandwidth_mode,
        TeamingEnabled=False, PacketDirectEnabled=False, Notes=(),
        ExtensionOrder=())
    store.add('Msvm_SettingsDefineState', ManagedElement=switch,
              SettingData=settings)
    store.add('Msvm_EthernetSwitchHardwareOffloadData',
              CreationClassName='Msvm_EthernetSwitchHardwareOffloadData',
              Name=guid, SystemCreationClassName=SWITCH, SystemName=guid,
              InstanceID='Microsoft:%s\\Offload' % guid,
              IovVfCapacity=spec.vfs, IovVfUsage=0, VmqCapacity=spec.vmqs,
              VmqUsage=0, IPsecSACapacity=0, IPsecSAUsage=0,
              IovQueuePairCapacity=spec.queue_pairs, IovQueuePairUsage=0)
    for name, kind, extension, state in EXTENSIONS:
        store.add('Msvm_EthernetSwitchExtension',
                  CreationClassName='Msvm_EthernetSwitchExtension',
                  Name=extension, SystemCreationClassName=SWITCH,
                  SystemName=guid, ElementName=name, ExtensionType=kind,
                  Vendor='Microsoft', Version='%d.0' % (
                      host.profile.build), EnabledState=state,
                  HealthState=5)
    _add_uplink(host, spec, guid)
    return switch


def _endpoint(host: Host, system_cls: str, system: str, name: str
              ) -> engine.Record:
    return host.v2.add(
        'Msvm_LANEndpoint', CreationClassName='Msvm_LANEndpoint',
        Name=name, SystemCreationClassName=system_cls, SystemName=system,
        ElementName=name, Connected=True, EnabledState=2)


def _add_uplink(host: Host, spec: SwitchSpec, guid: str) -> None:
    if spec.kind == 'private':
        return
    store = host.v2
    external = spec.kind == 'external'
    cls = ('Msvm_ExternalEthernetPort' if external else
           'Msvm_InternalEthernetPort')
    device = stable_guid(host, 'uplink', spec.name)
    mac = mac_of(host, spec)
    port = store.add(
        cls, CreationClassName=cls, DeviceID='Microsoft:' + device,
        SystemCreationClassName=virtualization.SYSTEM, SystemName=host.name,
        ElementName=(adapter_name(host, spec) if external else spec.name),
        Name=mac, PermanentAddress=mac, EnabledState=2, HealthState=5,
        OperationalStatus=(2,), **({'IsBound': True} if external else {}))
    ours = _endpoint(host, virtualization.SYSTEM, host.name,
                     'Microsoft:%s\\0' % device)
    theirs = _endpoint(host, SWITCH, guid, 'Microsoft:%s\\1' % device)
    store.add('Msvm_EthernetDeviceSAPImplementation', Antecedent=port,
              Dependent=ours)
    store.add('Msvm_ActiveConnection', Antecedent=theirs, Dependent=ours)
    uplink = add_port(host, guid, spec.name, device)
    store.add('Msvm_EthernetDeviceSAPImplementation', Antecedent=uplink,
              Dependent=theirs)


def mac_of(host: Host, spec: SwitchSpec) -> str:
    """MAC address of a switch's uplink, without separators."""
    return '021500' + stable_guid(host, 'mac', spec.name)[:6]


def add_port(host: Host, switch_guid: str, name: str, port_guid: str
             ) -> engine.Record:
    """A port of a switch; for a VM it exists only while the VM runs."""
    cls = 'Msvm_EthernetSwitchPort'
    return host.v2.add(
        cls, CreationClassName=cls, DeviceID='Microsoft:' + port_guid,
        SystemCreationClassName=SWITCH, SystemName=switch_guid,
        Name=port_guid, ElementName=name, EnabledState=2, HealthState=5,
        OperationalStatus=(2,), VMQOffloadUsage=0, IOVOffloadUsage=0)


def settings_of(host: Host, switch: engine.Record) -> engine.Record:
    """The settings of a switch."""
    record = host.v2.get(SWITCH_SETTINGS,
                         InstanceID='Microsoft:' + switch['Name'])
    if record is None:
        raise LookupError('switch %s has no settings' % switch['Name'])
    return record


@engine.computed(virtualization.V2, 'Msvm_EthernetSwitchHardwareOffloadData',
                 'IovVfUsage', 'IovQueuePairUsage', 'VmqUsage')
def offload_usage(host: Host, record: engine.Record
                  ) -> dict[str, typing.Any]:
    """What the ports of running VMs use of an adapter's offloads."""
    vfs = queue_pairs = vmqs = 0
    for vm in host.vms:
        if vm.worker is None:
            continue
        for port in vm.resources('Msvm_EthernetPortAllocationSettingData'):
            if record['SystemName'].lower() not in (
                    (port['HostResource'] or ('',))[0].lower()):
                continue
            for offload in host.v2.under(port['InstanceID'] + '\\', _OFFLOAD):
                vmqs += 1 if offload['VMQOffloadWeight'] else 0
                if offload['IOVOffloadWeight']:
                    vfs += 1
                    queue_pairs += offload['IOVQueuePairsRequested']
    return {'IovVfUsage': min(vfs, record['IovVfCapacity']),
            'IovQueuePairUsage': min(queue_pairs,
                                     record['IovQueuePairCapacity']),
            'VmqUsage': min(vmqs, record['VmqCapacity'])}
