# SPDX-License-Identifier: Apache-2.0
"""The devices of an instance as its metadata service knows them."""

from typing import Any

from nova import objects

from compute_hyperv import model
from compute_hyperv.plan import metadata


def describe(context: Any, instance: Any, plan: model.InstancePlan) -> None:
    """Let the instance's object say what devices *plan* gives it."""
    instance.device_metadata = metadata.plan_metadata(
        plan, nic_tags=_nic_tags(context, instance),
        disk_tags=_disk_tags(context, instance))


def store(context: Any, instance: Any, plan: model.InstancePlan) -> None:
    """Describe all devices of an instance that was made by *plan*."""
    describe(context, instance, plan)
    instance.save()


def replace_nic(context: Any, instance: Any, mac: str,
                nic: model.NicSpec | None) -> None:
    """Describe the NIC of that MAC address anew, or not any more."""
    described = []
    if nic is not None:
        tag = _nic_tags(context, instance).get(nic.port_id)
        described.append(metadata.nic_metadata(nic, tag))
    _replace(context, instance, 'mac', mac, described)


def replace_volume(context: Any, instance: Any, volume_id: str,
                   volume: model.VolumeSpec | None) -> None:
    """Describe a volume anew, or not any more."""
    described = []
    if volume is not None:
        tag = _disk_tags(context, instance).get(volume.device_name or '')
        described.append(metadata.disk_metadata(volume, tag))
    _replace(context, instance, 'serial', volume_id, described)


def _replace(context: Any, instance: Any, key: str, value: str,
             new: list[Any]) -> None:
    # What came with the request is as old as that: devices may have come
    # and gone while it waited.
    current = objects.Instance.get_by_uuid(
        context, instance.uuid,
        expected_attrs=['device_metadata']).device_metadata
    known = current.devices if current else []
    devices = [device for device in known
               if not (key in device and getattr(device, key) == value)]
    instance.device_metadata = objects.InstanceDeviceMetadata(
        devices=[*devices, *new])
    instance.save()


def _nic_tags(context: Any, instance: Any) -> dict[str, str]:
    vifs = objects.VirtualInterfaceList.get_by_instance_uuid(
        context, instance.uuid)
    return {vif.uuid: vif.tag for vif in vifs if vif.tag}


def _disk_tags(context: Any, instance: Any) -> dict[str, str]:
    """Nova's device name -> the user's tag."""
    bdms = objects.BlockDeviceMappingList.get_by_instance_uuid(
        context, instance.uuid)
    return {bdm.device_name: bdm.tag for bdm in bdms
            if bdm.device_name and bdm.tag}
