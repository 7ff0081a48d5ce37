# SPDX-License-Identifier: Apache-2.0
"""root/virtualization/v2: the host, its services, templates and topology.

What exists before the first VM is defined: hyperv-semantics.md sections 1,
7 (secure boot templates) and 5 (NUMA); names from oswin-surface.md.
"""

from __future__ import annotations

import os
import typing

from .. import devices
from .. import jobs
from . import engine
from . import values

if typing.TYPE_CHECKING:
    from ..host import Host

V2 = jobs.V2
SYSTEM = 'Msvm_ComputerSystem'

#: Singleton services and the Name of each; absent classes are skipped.
SERVICES = {
    'Msvm_VirtualSystemManagementService': 'vmms',
    'Msvm_VirtualSystemSnapshotService': 'vmms',
    'Msvm_VirtualSystemMigrationService': 'vmms',
    'Msvm_ImageManagementService': 'vhdsvc',
    'Msvm_VirtualEthernetSwitchManagementService': 'vmms',
    'Msvm_MetricService': 'vmms',
    'Msvm_ResourcePoolConfigurationService': 'vmms',
    'Msvm_SecurityService': 'vmms',
    'Msvm_AssignableDeviceService': 'vmms',
    'Msvm_ReplicationService': 'vmms',
    'Msvm_TerminalService': 'vmms',
    'Msvm_Synthetic3DService': 'vmms',
    'Msvm_VirtualSystemReferencePointService': 'vmms',
    'Msvm_CollectionManagementService': 'vmms',
}

#: Secure boot templates: name, id, whether 2012 R2 has it (section 7).
SECURE_BOOT = {
    'MicrosoftWindows': '1734c6e8-3154-4dda-ba5f-a874cc483422',
    'MicrosoftUEFICertificateAuthority':
        '272e7447-90a4-4563-a4b9-8e4ab00526ce',
    'OpenSourceShieldedVM': '4292ae2b-ee2c-42b5-a969-dd8f8689f6f3',
}

#: MigrationType values with a template each (oswin-surface.md 3.4).
MIGRATION_TYPES = (32768, 32769, 32770, 32771, 32772)


def service(host: Host, cls: str) -> engine.Record:
    """The singleton of a service class."""
    return host.v2.find(cls)[0]


def populate(host: Host) -> None:
    """Make a host as it is after Windows and Hyper-V were installed."""
    store = host.v2
    now = values.cim_datetime(host.clock.time())
    store.add(SYSTEM, CreationClassName=SYSTEM, Name=host.name,
              ElementName=host.name, EnabledState=2, RequestedState=12,
              EnabledDefault=2, HealthState=5, OperationalStatus=(2,),
              StatusDescriptions=('OK',), Status='OK', InstallDate=now,
              Caption='Hosting Computer System',
              Description='Microsoft Hosting Computer System')
    _add_services(host)
    _add_service_settings(host)
    for template in devices.templates(host.profile.is_2016):
        if store.classes.find(template.cls):
            for kind in devices.DEFINITIONS:
                store.add(template.cls,
                          InstanceID=template.instance_id(kind),
                          **dict(template.props(), **_bound(
                              host, template, kind)))
    if host.profile.is_2016:
        _add_secure_boot_templates(host)
    _add_topology(host)


def _bound(host: Host, template: devices.Template, kind: str
           ) -> dict[str, typing.Any]:
    """What a definition says of the quantity of its resource.

    Of everything but memory (MiB) and processors there is one a resource.
    """
    profile, quirks = host.profile, host.quirks
    bounds = {
        devices.MEMORY: (vm_default_memory_mib(host),
                         quirks.memory_minimum_mib,
                         profile.max_memory_mib(2), quirks.memory_step_mib),
        devices.PROCESSOR: (1, 1, profile.max_vcpus(2), 1),
    }.get(template.subtype)
    if bounds is None:
        return {}
    quantity = dict(zip(devices.DEFINITIONS, bounds, strict=True))[kind]
    return {'VirtualQuantity': quantity}


def _add_services(host: Host) -> None:
    for cls, name in SERVICES.items():
        if host.v2.classes.find(cls):
            host.v2.add(cls, CreationClassName=cls, Name=name,
                        SystemCreationClassName=SYSTEM, SystemName=host.name,
                        ElementName=name, EnabledState=5, Started=True,
                        HealthState=5, OperationalStatus=(2,), Status='OK')


def _add_service_settings(host: Host) -> None:
    store = host.v2
    prefix = host.quirks.mac_prefix
    octet = '%02X' % (sum(host.name.encode()) & 0xFF)
    root = 'C:\\ProgramData\\Microsoft\\Windows\\Hyper-V'
    disks = 'C:\\Users\\Public\\Documents\\Hyper-V\\Virtual Hard Disks'
    for folder in (root, disks):
        if host.spec.volumes.get('C'):
            os.makedirs(host.storage.locate(folder).local, exist_ok=True)
    store.add('Msvm_VirtualSystemManagementServiceSettingData',
              InstanceID='Microsoft:' + host.name,
              ElementName='Hyper-V Virtual System Management Service',
              DefaultExternalDataRoot=root, NumaSpanningEnabled=True,
              DefaultVirtualHardDiskPath=disks,
              MinimumMacAddress=prefix + octet + '0000',
              MaximumMacAddress=prefix + octet + 'FFFF',
              EnhancedSessionModeEnabled=False)
    store.add('Msvm_VirtualSystemMigrationServiceSettingData',
              InstanceID='Microsoft:%s\\Migration' % host.name,
              EnableVirtualSystemMigration=False, AuthenticationType=0,
              MaximumActiveVirtualSystemMigration=2, EnableCompression=True,
              MaximumActiveStorageMigration=2, EnableSmbTransport=False)
    for number in MIGRATION_TYPES:
        store.add('Msvm_VirtualSystemMigrationSettingData',
                  InstanceID='Microsoft:Definition\\Migration\\%d' % number,
                  MigrationType=number, TransportType=5,
                  EnableCompression=True, RetainVhdCopiesOnSource=False)
    store.add('Msvm_TerminalServiceSettingData',
              InstanceID='Microsoft:%s\\Terminal' % host.name,
              ListenerPort=host.quirks.vmconnect_port)
    if store.classes.find('Msvm_Synth3dVideoPool'):
        store.add('Msvm_Synth3dVideoPool', PoolID='',
                  InstanceID='Microsoft:%s\\3D' % host.name,
                  IsGPUCapable=False, IsSLATCapable=True)


def _add_secure_boot_templates(host: Host) -> None:
    for name, guid in SECURE_BOOT.items():
        host.v2.add('Msvm_VirtualSystemSettingData',
                    InstanceID='Microsoft:Definition\\%s\\%s' % (
                        guid.upper(), name), ElementName=name,
                    VirtualSystemType=devices.DEFINITION,
                    VirtualSystemSubType=devices.HV + 'SubType:2',
                    SecureBootTemplateId=guid, SecureBootEnabled=True)


def numa_memory_mib(host: Host) -> list[int]:
    """Memory of each NUMA node in MiB; the first takes the remainder."""
    nodes = host.spec.numa_nodes
    share, rest = divmod(host.spec.memory_mib, nodes)
    return [share + (rest if node == 0 else 0) for node in range(nodes)]


def numa_processors(host: Host) -> list[list[int]]:
    """Logical processor numbers of each NUMA node."""
    nodes = host.spec.numa_nodes
    per_node = -(-host.spec.cpus // nodes)
    every = list(range(host.spec.cpus))
    return [every[node * per_node:(node + 1) * per_node]
            for node in range(nodes)]


def _device(host: Host, cls: str, device_id: str) -> dict[str, typing.Any]:
    return {'CreationClassName': cls, 'DeviceID': device_id,
            'SystemCreationClassName': SYSTEM, 'SystemName': host.name,
            'EnabledState': 2, 'HealthState': 5, 'OperationalStatus': (2,)}


def _add_topology(host: Host) -> None:
    for node, cpus in enumerate(numa_processors(host)):
        _add_node(host, node, cpus)


def _add_node(host: Host, node: int, cpus: list[int]) -> None:
    store = host.v2
    blocks = numa_memory_mib(host)[node]
    record = store.add(
        'Msvm_NumaNode', CreationClassName='Msvm_NumaNode',
        NodeID='Microsoft:PhysicalNode\\%d' % node, EnabledState=2,
        SystemCreationClassName=SYSTEM, SystemName=host.name,
        ElementName='Physical NUMA Node %d' % node,
        NumberOfLogicalProcessors=len(cpus),
        NumberOfProcessorCores=len(cpus),
        CurrentlyConsumableMemoryBlocks=blocks)
    memory_id = 'Microsoft:%s\\%d' % (devices.MEMORY_GUID, node)
    members = [store.add(
        'Msvm_Memory', BlockSize=1 << 20, NumberOfBlocks=blocks,
        ConsumableBlocks=blocks, **_device(host, 'Msvm_Memory', memory_id))]
    for cpu in cpus:
        cpu_id = 'Microsoft:%s\\0\\%d' % (devices.PROCESSOR_GUID.upper(), cpu)
        members.append(store.add('Msvm_Processor', LoadPercentage=0,
                                 **_device(host, 'Msvm_Processor', cpu_id)))
    for member in members:
        store.add('Msvm_HostedDependency', Antecedent=record,
                  Dependent=member)


@engine.computed(V2, 'Msvm_NumaNode', 'CurrentlyConsumableMemoryBlocks')
def free_blocks(host: Host, record: engine.Record) -> dict[str, typing.Any]:
    """Blocks (MiB) that no running VM has reserved, per node (section 5)."""
    node = int(record['NodeID'].rsplit('\\', 1)[1])
    free_mib = numa_memory_mib(host)[node] - host.vms.used_memory_mib(node)
    if node == 0:
        free_mib -= host.quirks.host_reserve_mib
    return {'CurrentlyConsumableMemoryBlocks': max(0, free_mib)}


def vm_default_memory_mib(host: Host) -> int:
    """Startup memory of a new VM (section 4, [F])."""
    return host.quirks.default_memory_mib if host.profile.is_2016 else 512
