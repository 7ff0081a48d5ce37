# SPDX-License-Identifier: Apache-2.0
"""root/cimv2: the Windows below Hyper-V.

Operating system, computer, processors, drives, server features and PnP
devices, as os-win's HostUtils reads them (oswin-surface.md 3.9).
"""

from __future__ import annotations

import typing

from . import engine
from . import values
from . import virtualization
from . import virtualization_power as power

if typing.TYPE_CHECKING:
    from ..host import Host

CIMV2 = 'root/cimv2'
_KIB_PER_MIB = 1024
_SERVER_EDITION_SKU = 8             #: Datacenter
_X64 = 9
_CENTRAL_PROCESSOR = 3
#: Win32_ServerFeature: the roles of a Hyper-V host (oswin-surface.md 3.9).
HYPER_V, MPIO, RDS_VIRTUALIZATION = 20, 57, 322
_FEATURES = {HYPER_V: 'Hyper-V', 33: 'Failover Clustering',
             MPIO: 'Multipath I/O',
             RDS_VIRTUALIZATION: 'Remote Desktop Virtualization Host'}
#: Flags of Win32Shutdown.
_LOG_OFF, _REBOOT, _FORCED = 0, 2, 4


def populate(host: Host) -> None:
    """Describe the machine."""
    store = host.stores[CIMV2]
    profile = host.profile
    booted = values.cim_datetime(host.clock.time())
    store.add('Win32_OperatingSystem',
              CreationClassName='Win32_OperatingSystem',
              CSCreationClassName='Win32_ComputerSystem', CSName=host.name,
              Name='%s|C:\\Windows|\\Device\\Harddisk0\\Partition2' % (
                  profile.caption), Caption=profile.caption,
              Version=profile.version, BuildNumber=str(profile.build),
              ProductType=3, OSArchitecture='64-bit', Status='OK',
              OperatingSystemSKU=_SERVER_EDITION_SKU, LastBootUpTime=booted,
              InstallDate=booted, LocalDateTime=booted, SystemDrive='C:',
              SystemDirectory='C:\\Windows\\system32',
              WindowsDirectory='C:\\Windows', Manufacturer='Microsoft '
              'Corporation', NumberOfProcesses=64, OSType=18,
              TotalVisibleMemorySize=host.spec.memory_mib * _KIB_PER_MIB,
              FreePhysicalMemory=host.spec.memory_mib * _KIB_PER_MIB)
    store.add('Win32_ComputerSystem',
              CreationClassName='Win32_ComputerSystem', Name=host.name,
              DNSHostName=host.name, Caption=host.name, Domain='WORKGROUP',
              DomainRole=2, PartOfDomain=False, HypervisorPresent=True,
              Manufacturer='compute-hyperv', Model='Simulated host',
              NumberOfLogicalProcessors=host.spec.cpus, Status='OK',
              NumberOfProcessors=host.spec.numa_nodes,
              SystemType='x64-based PC',
              TotalPhysicalMemory=host.spec.memory_mib << 20)
    _add_processors(host, store)
    features = tuple(host.spec.extra.get('features', (HYPER_V,)))
    if host.spec.extra.get('mpio') and MPIO not in features:
        features += (MPIO,)
    for number in features:
        store.add('Win32_ServerFeature', ID=number, ParentID=0,
                  Name=_FEATURES.get(number, 'Feature %d' % number))
    for letter in host.storage.volumes():
        total_bytes, free_bytes = host.storage.volume(letter)
        store.add('Win32_LogicalDisk', CreationClassName='Win32_LogicalDisk',
                  DeviceID=letter + ':', Name=letter + ':', DriveType=3,
                  SystemCreationClassName='Win32_ComputerSystem',
                  SystemName=host.name, FileSystem='NTFS', Size=total_bytes,
                  FreeSpace=free_bytes, VolumeName='')


def _add_processors(host: Host, store: engine.Store) -> None:
    for node, cpus in enumerate(virtualization.numa_processors(host)):
        if not cpus:
            continue
        store.add('Win32_Processor', CreationClassName='Win32_Processor',
                  DeviceID='CPU%d' % node, Architecture=_X64,
                  ProcessorType=_CENTRAL_PROCESSOR, AddressWidth=64,
                  Name=host.spec.extra.get(
                      'cpu_name', 'Simulated CPU @ 2.40GHz'),
                  Manufacturer=host.spec.extra.get('cpu_vendor',
                                                   'GenuineIntel'),
                  MaxClockSpeed=host.spec.extra.get('cpu_mhz', 2400),
                  CurrentClockSpeed=host.spec.extra.get('cpu_mhz', 2400),
                  NumberOfCores=len(cpus), NumberOfEnabledCore=len(cpus),
                  NumberOfLogicalProcessors=len(cpus), Status='OK',
                  SystemCreationClassName='Win32_ComputerSystem',
                  SystemName=host.name, LoadPercentage=1,
                  SecondLevelAddressTranslationExtensions=True,
                  VirtualizationFirmwareEnabled=True,
                  VMMonitorModeExtensions=True)


@engine.computed(CIMV2, 'Win32_OperatingSystem', 'FreePhysicalMemory',
                 'LocalDateTime')
def os_now(host: Host, record: engine.Record) -> dict[str, typing.Any]:
    """Memory (KiB) that neither Windows nor a running VM has taken."""
    free_mib = host.spec.memory_mib - host.quirks.host_reserve_mib - (
        host.vms.used_memory_mib())
    return {'FreePhysicalMemory': max(0, free_mib) * _KIB_PER_MIB,
            'LocalDateTime': values.cim_datetime(host.clock.time())}


@engine.computed(CIMV2, 'Win32_LogicalDisk', 'FreeSpace', 'Size')
def disk_now(host: Host, record: engine.Record) -> dict[str, typing.Any]:
    """Bytes of a drive, total and free."""
    total_bytes, free_bytes = host.storage.volume(record['DeviceID'][0])
    return {'Size': total_bytes, 'FreeSpace': free_bytes}


def _go_down(host: Host, *, reboot: bool) -> int:
    power.shut_down_all(host)
    if not reboot:
        host.powered = False
        return 0
    restore(host)
    host.find_disks()
    power.start_all(host)
    return 0


def restore(host: Host) -> None:
    """The host has booted."""
    store = host.stores[CIMV2]
    store.update(store.find('Win32_OperatingSystem')[0],
                 LastBootUpTime=values.cim_datetime(host.clock.time()))


@engine.method(CIMV2, 'Win32_OperatingSystem', 'Win32Shutdown')
def win32_shutdown(call: engine.Call) -> int:
    """Shut the host down (1, 8) or reboot it (2); 4 forces."""
    flags = call.args['Flags'] or 0
    action = flags & ~_FORCED
    if action == _LOG_OFF:
        return 0
    return _go_down(call.host, reboot=action == _REBOOT)


@engine.method(CIMV2, 'Win32_OperatingSystem', 'Reboot')
def reboot(call: engine.Call) -> int:
    """Reboot the host."""
    return _go_down(call.host, reboot=True)


@engine.method(CIMV2, 'Win32_OperatingSystem', 'Shutdown')
def shutdown(call: engine.Call) -> int:
    """Shut the host down."""
    return _go_down(call.host, reboot=False)


def add_pnp_device(host: Host, device_id: str, name: str,
                   properties: dict[str, typing.Any]) -> engine.Record:
    """A Plug and Play device.

    :param properties: DEVPKEY name -> text or number
    """
    record = host.stores[CIMV2].add(
        'Win32_PnPEntity', CreationClassName='Win32_PnPEntity',
        DeviceID=device_id, PNPDeviceID=device_id, Name=name, Status='OK',
        SystemCreationClassName='Win32_ComputerSystem',
        SystemName=host.name, Present=True, ConfigManagerErrorCode=0)
    host.vms.pnp_properties[device_id.lower()] = properties
    return record


@engine.method(CIMV2, 'Win32_PnPEntity', 'GetDeviceProperties')
def get_device_properties(call: engine.Call) -> dict[str, typing.Any]:
    """The properties of a device, those asked for or all."""
    known = call.host.vms.pnp_properties.get(
        call.record['DeviceID'].lower(), {})
    wanted = call.args['devicePropertyKeys'] or tuple(known)
    found = []
    for key in wanted:
        if key not in known:
            continue
        text = isinstance(known[key], str)
        found.append(call.store.embedded(
            'Win32_PnPDevicePropertyString' if text else
            'Win32_PnPDevicePropertyUint32', DeviceID=call.record[
                'DeviceID'], KeyName=key, Type=18 if text else 7,
            Data=known[key]))
    return {'deviceProperties': tuple(found)}
