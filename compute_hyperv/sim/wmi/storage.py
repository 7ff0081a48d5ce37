# SPDX-License-Identifier: Apache-2.0
r"""root/microsoft/windows/storage and the disks that Hyper-V sees.

A disk of the host is a MSFT_Disk (number, offline, read-only), a
Win32_DiskDrive and a Msvm_DiskDrive; all three appear and vanish together
(oswin-surface.md 3.11).
"""

from __future__ import annotations

import dataclasses
import typing

from . import engine
from . import virtualization

if typing.TYPE_CHECKING:
    from ..host import Host

NAMESPACE = 'root/microsoft/windows/storage'
CIMV2 = 'root/cimv2'
#: MSFT_Disk.BusType
SAS, ISCSI, FIBRE_CHANNEL, FILE_BACKED = 10, 9, 6, 15
#: SAN policy: NewDiskPolicy of MSFT_StorageSetting.
OFFLINE_SHARED, OFFLINE_ALL, OFFLINE_INTERNAL = 2, 3, 4
_FCPH_NAME = 3                      #: UniqueIdFormat
_BOOT_DISK_BYTES = 64 << 30


def populate(host: Host) -> None:
    """The disk that Windows is on, and the storage settings."""
    host.stores[NAMESPACE].add(
        'MSFT_StorageSetting', NewDiskPolicy=host.spec.extra.get(
            'san_policy', OFFLINE_SHARED), ScrubPolicy=1)
    add_disk(host, HostDisk(
        location='Integrated : Bus 0 : Device 0 : Function 0',
        size_bytes=_BOOT_DISK_BYTES, bus_type=SAS, offline=False,
        system=True))


def restore(host: Host) -> None:
    """After a reboot no image is attached any more."""
    for record in host.stores[NAMESPACE].find('MSFT_Disk',
                                              BusType=FILE_BACKED):
        remove_disk(host, record['Number'])


def _policy(host: Host) -> int:
    return int(host.stores[NAMESPACE].find('MSFT_StorageSetting')[0][
        'NewDiskPolicy'])


def _starts_offline(host: Host, bus_type: int) -> bool:
    """Whether a new disk is offline under the SAN policy."""
    policy = _policy(host)
    shared = bus_type in (SAS, ISCSI, FIBRE_CHANNEL)
    return policy == OFFLINE_ALL or (
        policy == OFFLINE_SHARED and shared) or (
        policy == OFFLINE_INTERNAL and not shared)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HostDisk:
    """A disk that a host is to see."""

    location: str               #: for a mounted image the path of its file
    size_bytes: int
    bus_type: int
    unique_id: str = ''
    unique_id_format: int = _FCPH_NAME
    offline: bool | None = None     #: None: as the SAN policy says
    read_only: bool = False
    system: bool = False            #: Windows is on it
    serial: str = ''
    multipath: bool = False         #: multipath I/O has claimed it


def add_disk(host: Host, disk: HostDisk) -> int:
    """Make a disk appear on the host.

    :returns: its number
    """
    taken = {record['Number']
             for record in host.stores[NAMESPACE].find('MSFT_Disk')}
    number = next(each for each in range(len(taken) + 1)
                  if each not in taken)
    offline = disk.offline
    read_only = disk.read_only
    if offline is None:
        offline = host.luns.remembered.get(number)
        if offline is None:
            # "Disks that are left offline will be read-only by default."
            offline = read_only = _starts_offline(host, disk.bus_type)
    unique_id = disk.unique_id or host.new_guid().replace('-', '')[:16]
    path = '\\\\?\\%s#disk&ven_sim&prod_disk#%d' % (
        'mpio' if disk.multipath else 'scsi', number)
    host.stores[NAMESPACE].add(
        'MSFT_Disk', ObjectId='{1}\\\\%s\\root:Disk:%s' % (host.name, path),
        Number=number, UniqueId=unique_id, Path=path,
        Location=disk.location, UniqueIdFormat=disk.unique_id_format,
        Size=disk.size_bytes, BusType=disk.bus_type, IsOffline=offline,
        SerialNumber=disk.serial or None,
        IsReadOnly=read_only, IsSystem=disk.system, IsBoot=disk.system,
        OperationalStatus=(2,), HealthStatus=0,
        LogicalSectorSize=512, PhysicalSectorSize=512, PartitionStyle=2,
        FriendlyName='Simulated disk', Model='Simulated disk',
        OfflineReason=1 if offline else 0, NumberOfPartitions=0)
    drive = '\\\\.\\PHYSICALDRIVE%d' % number
    host.stores[CIMV2].add(
        'Win32_DiskDrive', DeviceID=drive, Name=drive, Index=number,
        CreationClassName='Win32_DiskDrive', Size=disk.size_bytes,
        SystemCreationClassName='Win32_ComputerSystem',
        SystemName=host.name, BytesPerSector=512,
        InterfaceType='SCSI', Status='OK', Model='Simulated disk')
    host.v2.add(
        'Msvm_DiskDrive', CreationClassName='Msvm_DiskDrive',
        DeviceID='Microsoft:%s\\%d' % (host.name, number),
        SystemCreationClassName=virtualization.SYSTEM, SystemName=host.name,
        DriveNumber=number, ElementName='Disk %d' % number, EnabledState=2)
    return number


def remove_disk(host: Host, number: int) -> None:
    """Make a disk vanish from the host; one that is gone is fine."""
    for store, cls, name in ((NAMESPACE, 'MSFT_Disk', 'Number'),
                             (CIMV2, 'Win32_DiskDrive', 'Index'),
                             (virtualization.V2, 'Msvm_DiskDrive',
                              'DriveNumber')):
        for record in host.stores[store].find(cls, **{name: number}):
            host.stores[store].delete(record)


def remove_lun_disks(host: Host) -> None:
    """Forget all disks of the storage array, as a reboot does."""
    for record in host.stores[NAMESPACE].find('MSFT_Disk'):
        if record['SerialNumber']:
            remove_disk(host, record['Number'])


def set_size(host: Host, number: int, size_bytes: int) -> None:
    """Windows has read the size of a disk again."""
    for store, cls, name in ((NAMESPACE, 'MSFT_Disk', 'Number'),
                             (CIMV2, 'Win32_DiskDrive', 'Index')):
        for record in host.stores[store].find(cls, **{name: number}):
            if record['Size'] != size_bytes:
                host.stores[store].update(record, Size=size_bytes)


def add_virtual_disk(host: Host, *, location: str, size_bytes: int,
                     read_only: bool, bus_type: int = FILE_BACKED) -> int:
    """The disk of an image that virtdisk has attached; online."""
    with host.fabric.lock:
        return add_disk(host, HostDisk(
            location=location, size_bytes=size_bytes, bus_type=bus_type,
            offline=False, read_only=read_only))


def remove_virtual_disk(host: Host, number: int) -> None:
    """The image was detached."""
    with host.fabric.lock:
        remove_disk(host, number)


@engine.method(NAMESPACE, 'MSFT_Disk', 'Refresh')
def refresh(call: engine.Call) -> int:
    """Read the disk's size again, which may have grown meanwhile."""
    call.host.luns.refresh(call.record['Number'])
    return 0


@engine.method(NAMESPACE, 'MSFT_Disk', 'Online')
def online(call: engine.Call) -> int:
    """Bring a disk online, unless a VM has it."""
    if _used_by_vm(call.host, call.record['Number']):
        return 40001                    # access denied
    call.store.update(call.record, IsOffline=False, OfflineReason=0)
    call.host.luns.note_state(call.record['Number'], False)
    return 0


@engine.method(NAMESPACE, 'MSFT_Disk', 'Offline')
def offline(call: engine.Call) -> int:
    """Take a disk offline; the system's own cannot be."""
    if call.record['IsSystem']:
        return 40001
    call.store.update(call.record, IsOffline=True, OfflineReason=1)
    call.host.luns.note_state(call.record['Number'], True)
    return 0


@engine.method(NAMESPACE, 'MSFT_Disk', 'SetAttributes')
def set_attributes(call: engine.Call) -> int:
    """Change the read-only flag."""
    if call.args['Signature'] is not None or call.args['Guid'] is not None:
        raise engine.NotSimulated('MSFT_Disk.SetAttributes(Signature, Guid)')
    if call.args['IsReadOnly'] is not None:
        call.store.update(call.record, IsReadOnly=call.args['IsReadOnly'])
    return 0


def _used_by_vm(host: Host, number: int) -> bool:
    drive = host.v2.find_one('Msvm_DiskDrive', DriveNumber=number)
    return drive is not None and any(
        (record['HostResource'] or ('',))[0].lower() == drive.path.lower()
        for record in host.v2.find(
            'Msvm_ResourceAllocationSettingData',
            ResourceSubType='Microsoft:Hyper-V:Physical Disk Drive'))


@engine.method(NAMESPACE, 'MSFT_StorageSetting', 'Get')
def get_setting(call: engine.Call) -> dict[str, typing.Any]:
    """The storage settings, as an embedded instance."""
    record = call.store.find('MSFT_StorageSetting')[0]
    return {'StorageSetting': call.store.embedded(
        'MSFT_StorageSetting', **record.props)}


@engine.method(NAMESPACE, 'MSFT_StorageSetting', 'Set')
def set_setting(call: engine.Call) -> int:
    """Change the SAN policy: 1 online all ... 4 offline internal."""
    policy = call.args['NewDiskPolicy']
    if policy is not None and not 1 <= policy <= 4:
        return 5                        # invalid parameter
    changes = {name: value for name, value in call.args.items()
               if value is not None}
    call.store.update(call.store.find('MSFT_StorageSetting')[0], **changes)
    return 0


@engine.method(NAMESPACE, 'MSFT_StorageSetting', 'UpdateHostStorageCache')
def update_cache(call: engine.Call) -> int:
    """Look for new disks, gone disks and new sizes."""
    call.host.luns.rescan()
    return 0
