# SPDX-License-Identifier: Apache-2.0
"""Performance counters of disks, as classes of root/cimv2.

Raw counters only grow, for as long as their instance is there. The counter
set "Hyper-V Virtual Storage Device" has one for each virtual disk of a
running VM, called by its path with hyphens for backslashes; "PhysicalDisk"
has one for each disk of the host, called by its number.
"""

from __future__ import annotations

import typing

from . import cimv2
from . import engine

if typing.TYPE_CHECKING:
    from ..host import Host

STORAGE_DEVICE = 'Win32_PerfRawData_Counters_HyperVVirtualStorageDevice'
PHYSICAL_DISK = 'Win32_PerfRawData_PerfDisk_PhysicalDisk'
_Counters = dict[str, dict[str, int]]


@engine.live(cimv2.CIMV2, STORAGE_DEVICE)
def storage_devices(host: Host) -> None:
    """One instance for each virtual disk that a VM has open."""
    found: _Counters = {}
    for vm in host.vms:
        worker = vm.worker
        for medium in vm.media() if worker is not None else ():
            held: typing.Any = worker and worker.files.get(
                medium['InstanceID'])
            if held is not None:
                name = medium['HostResource'][0].replace('\\', '-')
                found[name] = {
                    'ErrorCount': 0, 'QueueLength': 0,
                    'ReadBytesPersec': held.io.read_bytes,
                    'ReadOperationsPerSec': held.io.reads,
                    'WriteBytesPersec': held.io.written_bytes,
                    'WriteOperationsPerSec': held.io.writes}
    _replace(host, STORAGE_DEVICE, found)


@engine.live(cimv2.CIMV2, PHYSICAL_DISK)
def physical_disks(host: Host) -> None:
    """One instance for each disk of the array, and their sum."""
    found = {
        str(disk.number): {
            'DiskReadBytesPersec': disk.io.read_bytes,
            'DiskReadsPersec': disk.io.reads,
            'DiskWriteBytesPersec': disk.io.written_bytes,
            'DiskWritesPersec': disk.io.writes}
        for disk in host.luns.disks()}
    total: dict[str, int] = {}
    for counters in found.values():
        for name, value in counters.items():
            total[name] = total.get(name, 0) + value
    _replace(host, PHYSICAL_DISK, found | {'_Total': total})


def _replace(host: Host, class_name: str, found: _Counters) -> None:
    store = host.stores[cimv2.CIMV2]
    for record in store.find(class_name):
        if record['Name'] not in found:
            store.delete(record)
    for name, counters in found.items():
        known = store.get(class_name, Name=name)
        if known is None:
            store.add(class_name, Name=name, **counters)
        elif any(known[key] != value for key, value in counters.items()):
            store.update(known, **counters)
