# SPDX-License-Identifier: Apache-2.0
"""What the guest may learn about its devices from Nova's metadata."""

from __future__ import annotations

import collections.abc

from nova import objects

from compute_hyperv import model

Tags = collections.abc.Mapping[str, str]


def plan_metadata(plan: model.InstancePlan, nic_tags: Tags,
                  disk_tags: Tags) -> objects.InstanceDeviceMetadata:
    """Addresses, serials and tags of all NICs and disks.

    Untagged devices are listed too: without a serial in the guest, the
    address is the only way to tell volumes apart.

    :param nic_tags: port id to the user's tag.
    :param disk_tags: Nova's device name (``/dev/sdb``) to the tag.
    """
    devices = [nic_metadata(nic, nic_tags.get(nic.port_id))
               for nic in plan.nics]
    devices += [disk_metadata(drive, disk_tags.get(drive.device_name or ''))
                for drive in plan.drives
                if not _is_config_drive(drive)]
    return objects.InstanceDeviceMetadata(devices=devices)


def nic_metadata(nic: model.NicSpec,
                 tag: str | None) -> objects.NetworkInterfaceMetadata:
    """A NIC, by its MAC address."""
    # No bus: Nova leaves out devices on a bus that it cannot name, and it
    # cannot name VMBus.
    return objects.NetworkInterfaceMetadata(mac=nic.mac, tags=_tags(tag))


def disk_metadata(drive: model.DiskSpec | model.VolumeSpec,
                  tag: str | None) -> objects.DiskMetadata:
    """A disk at its controller slot."""
    metadata = objects.DiskMetadata(bus=_bus(drive.slot), tags=_tags(tag))
    if isinstance(drive, model.VolumeSpec):
        metadata.serial = drive.volume_id
    return metadata


def _bus(slot: model.Slot) -> objects.DeviceBus:
    if slot.bus is model.Bus.IDE:
        return objects.IDEDeviceBus(
            address=f'{slot.controller}:{slot.lun}')
    # Linux shows each synthetic controller as a host with one target, and
    # names a disk by its slot: /dev/disk/by-path/*-lun-12.
    return objects.SCSIDeviceBus(
        address=f'{slot.controller}:0:0:{slot.lun}')


def _tags(tag: str | None) -> list[str]:
    return [tag] if tag else []


def _is_config_drive(drive: model.DiskSpec | model.VolumeSpec) -> bool:
    return (isinstance(drive, model.DiskSpec)
            and drive.role is model.DiskRole.CONFIG)
