# SPDX-License-Identifier: Apache-2.0
"""From block device mappings to disks in the slots of a VM.

Pure: every refusal (a bus that the generation lacks, too many devices,
device types that Hyper-V does not have) comes before anything exists.

======================  =========================  ====================
drive                   generation 1               generation 2
======================  =========================  ====================
root                    IDE 0:0                    SCSI 0:0
ISO image, blank root   IDE 0:0, disk at IDE 0:1   SCSI 0:0, 0:1
config drive            IDE 1:1                    the next SCSI slot
ephemerals, swap        SCSI, or IDE if asked      SCSI
volumes                 SCSI, or IDE if asked      SCSI
======================  =========================  ====================
"""

from __future__ import annotations

import collections.abc
import dataclasses
from typing import Any

from nova import exception

from compute_hyperv import model
from compute_hyperv.plan import drivechecks
from compute_hyperv.plan import request as req
from compute_hyperv.plan import slots as slot_plan
from compute_hyperv.plan import volumes

#: One entry of Nova's ``block_device_info`` lists.
BlockDevice = collections.abc.Mapping[str, Any]
BlockDeviceInfo = collections.abc.Mapping[str, Any]

_CONFIG_SLOT = model.Slot(bus=model.Bus.IDE, controller=1, lun=1)
#: Image formats that hold a disk; ``images`` converts all but VHD(X).
_DISK_FORMATS = ('qcow2', 'raw', 'vhd', 'vhdx', 'vmdk')
#: The largest disks. Source: Microsoft, "Plan for Hyper-V scalability".
_LARGEST_GIB = {model.DiskFormat.VHD: 2040, model.DiskFormat.VHDX: 64 * 1024}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskOptions:
    """Configuration that shapes the disks of this node's VMs."""

    use_cow_images: bool = True
    config_drive_cdrom: bool = False
    #: Nova's option of that name; ISO 9660 is the only one here.
    config_drive_format: str = 'iso9660'
    #: Protocols of volumes that this node can attach.
    volumes: volumes.Protocols = volumes.Protocols()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskPlan:
    """The drives of one VM."""

    disks: tuple[model.DiskSpec, ...]
    volumes: tuple[model.VolumeSpec, ...]


class DiskPlanner:
    """Plans the drives of one VM; used once."""

    def __init__(self, request: req.Request, generation: model.Generation,
                 caps: model.HostCaps, options: DiskOptions,
                 layout: model.InstanceLayout) -> None:
        self._request = request
        self._generation = generation
        self._options = options
        self._layout = layout
        self._slots = slot_plan.Slots(generation, caps)
        self._qos = plan_qos(request)

    def plan(self, info: BlockDeviceInfo, config_drive: bool) -> DiskPlan:
        """Give every drive its slot.

        :param info: Nova's dict, ``{'root_device_name': '/dev/sda',
            'image': [..], 'ephemerals': [..], 'swap': {..} or None,
            'block_device_mapping': [..]}``; a ``disk_bus`` that the user
            gave is kept.
        :param config_drive: whether the instance gets one.
        :raises nova.exception.InvalidInput: a device that Hyper-V does not
            have.
        :raises nova.exception.TooManyDiskDevices: more devices than slots.
        :raises nova.exception.VolumeDriverNotFound: a volume of a
            protocol that this node does not know.
        """
        mapping = tuple(info.get('block_device_mapping') or ())
        root_volume = find_root_volume(info)
        # The boot slot first, then the config drive, so that data disks
        # cannot take either.
        boot: list[model.DiskSpec] = []
        specs: list[model.VolumeSpec] = []
        if root_volume is None:
            boot = self._image_disks(info)
        else:
            specs.append(self._volume(root_volume, boots=True))
        config = [self._config_disk()] if config_drive else []
        data = self._ephemerals(info) + self._swap(info)
        specs += [self._volume(volume, boots=False) for volume in mapping
                  if volume is not root_volume]
        for disk in boot + data:
            _check_size(disk, model.DiskFormat.VHDX)
        return DiskPlan(disks=tuple(boot + data + config),
                        volumes=tuple(specs))

    # -- the image ---------------------------------------------------------

    def _image_disks(self, info: BlockDeviceInfo) -> list[model.DiskSpec]:
        device: BlockDevice = next(iter(info.get('image') or ()), {})
        drivechecks.refuse_encrypted(device, 'the root disk')
        device_name = _text(device.get('device_name')
                            or info.get('root_device_name'))
        if self._request.disk_format == 'iso':
            return self._iso_disks(device, device_name)
        if self._request.disk_format not in (*_DISK_FORMATS, ''):
            allowed = ', '.join(sorted((*_DISK_FORMATS, 'iso')))
            raise exception.InvalidDiskFormat(
                disk_format=f'{self._request.disk_format} (allowed: '
                            f'{allowed})')
        bus = self._root_bus(device, 'hw_disk_bus')
        source = model.DiskSource.IMAGE_COPY
        if self._options.use_cow_images:
            source = model.DiskSource.IMAGE_CHILD
        disk_format = self._guess_format()
        return [model.DiskSpec(
            role=model.DiskRole.ROOT, source=source, format=disk_format,
            path=self._layout.root_path(disk_format),
            size_bytes=self._root_bytes, slot=self._take(bus, 'root disk'),
            boot_index=0, qos=self._qos, device_name=device_name)]

    def _iso_disks(self, device: BlockDevice,
                   device_name: str | None) -> list[model.DiskSpec]:
        """The ISO in the DVD drive, and an empty disk to install to."""
        bus = self._root_bus(device, 'hw_cdrom_bus')
        iso, vhdx = model.DiskFormat.ISO, model.DiskFormat.VHDX
        disks = [model.DiskSpec(
            role=model.DiskRole.ISO, source=model.DiskSource.IMAGE_COPY,
            format=iso, path=self._layout.root_path(iso), size_bytes=0,
            slot=self._take(bus, 'ISO image'), boot_index=0,
            device_name=device_name)]
        if self._root_bytes:
            disks.append(model.DiskSpec(
                role=model.DiskRole.ROOT, source=model.DiskSource.BLANK,
                format=vhdx, path=self._layout.root_path(vhdx),
                size_bytes=self._root_bytes, slot=self._take(
                    self._slots.boot_bus, 'root disk'),
                boot_index=1, qos=self._qos))
        return disks

    @property
    def _root_bytes(self) -> int:
        return int(self._request.instance.flavor.root_gb) * model.GIB

    def _guess_format(self) -> model.DiskFormat:
        """What Glance says; the content decides when it is there."""
        vhd = (self._request.disk_format == 'vhd'
               and self._generation is model.Generation.ONE)
        return model.DiskFormat.VHD if vhd else model.DiskFormat.VHDX

    def _root_bus(self, device: BlockDevice, prop: str) -> model.Bus:
        """The bus of the boot slot, if nothing asks for another."""
        boot = self._slots.boot_bus
        asked = device.get('disk_bus')
        if asked:
            if asked != boot.value:
                raise self._slots.bad_bus(_text(asked) or '', 'the root disk',
                                          boot.value)
            return boot
        self._request.find_property_choice(prop, (boot.value,))
        return boot

    # -- other local disks -------------------------------------------------

    def _ephemerals(self, info: BlockDeviceInfo) -> list[model.DiskSpec]:
        disks = []
        for index, device in enumerate(info.get('ephemerals') or ()):
            name = f'ephemeral disk {index}'
            drivechecks.check_device(device, name)
            disks.append(self._blank(
                device, name, model.DiskRole.EPHEMERAL,
                self._layout.ephemeral_path(index, model.DiskFormat.VHDX),
                int(device['size']) * model.GIB))
        return disks

    def _swap(self, info: BlockDeviceInfo) -> list[model.DiskSpec]:
        device = info.get('swap')
        if not device or not device.get('swap_size'):
            return []
        drivechecks.check_device(device, 'swap disk')
        return [self._blank(
            device, 'swap disk', model.DiskRole.SWAP,
            self._layout.swap_path(model.DiskFormat.VHDX),
            int(device['swap_size']) * model.MIB)]

    def _blank(self, device: BlockDevice, name: str, role: model.DiskRole,
               path: str, size_bytes: int) -> model.DiskSpec:
        if size_bytes <= 0:
            raise req.conflict(f'{name} has no size')
        return model.DiskSpec(
            role=role, path=path, format=model.DiskFormat.VHDX,
            source=model.DiskSource.BLANK, size_bytes=size_bytes,
            slot=self._take(
                self._slots.data_bus(device.get('disk_bus'), name), name),
            qos=self._qos, device_name=_text(device.get('device_name')))

    def _config_disk(self) -> model.DiskSpec:
        if self._options.config_drive_format != 'iso9660':
            raise req.conflict(
                'option config_drive_format='
                f'{self._options.config_drive_format}; allowed on Hyper-V '
                'hosts: iso9660')
        if self._options.config_drive_cdrom:
            disk_format = model.DiskFormat.ISO
        elif self._generation is model.Generation.TWO:
            disk_format = model.DiskFormat.VHDX     # it knows no VHD
        else:
            disk_format = model.DiskFormat.VHD
        if self._generation is model.Generation.ONE:
            slot = self._slots.reserve(_CONFIG_SLOT)
        else:
            slot = self._take(model.Bus.SCSI, 'config drive')
        return model.DiskSpec(
            role=model.DiskRole.CONFIG, format=disk_format, slot=slot,
            path=self._layout.config_path(disk_format), size_bytes=0,
            source=model.DiskSource.CONFIG_DRIVE)

    # -- volumes -----------------------------------------------------------

    def _volume(self, volume: BlockDevice, *,
                boots: bool) -> model.VolumeSpec:
        bus = None
        if boots:
            bus = self._root_bus(volume, 'hw_disk_bus')
        return volumes.plan_volume(
            volume, self._slots, self._options.volumes, boot_bus=bus)

    # -- rules for all of them ---------------------------------------------

    def _take(self, bus: model.Bus, name: str) -> model.Slot:
        return self._slots.take(bus, name)


def plan_qos(request: req.Request) -> model.QosSpec | None:
    """The limit of every local disk of an instance."""
    return drivechecks.qos_of(
        request.find_spec_int('quota:disk_total_iops_sec', minimum=0),
        request.find_spec_int('quota:disk_total_bytes_sec', minimum=0))


def check_image(disk: model.DiskSpec, disk_format: str,
                generation: model.Generation) -> None:
    """Refuse an image by what Glance says, before it is fetched.

    :param disk: the root disk that is to be made of it.
    :raises nova.exception.InvalidDiskFormat: VHD for generation 2.
    :raises nova.exception.InvalidInput: too large for a VHD.
    """
    if disk_format == model.DiskFormat.VHD.value:
        _check_generation(model.DiskFormat.VHD, generation)
        _check_size(disk, model.DiskFormat.VHD)


def _check_generation(disk_format: model.DiskFormat,
                      generation: model.Generation) -> None:
    if (disk_format is model.DiskFormat.VHD
            and generation is model.Generation.TWO):
        raise exception.InvalidDiskFormat(
            disk_format='vhd (hw_machine_type=hyperv-gen2 needs vhdx)')


def _check_size(disk: model.DiskSpec, disk_format: model.DiskFormat) -> None:
    size_gib = -(-disk.size_bytes // model.GIB)
    if size_gib > _LARGEST_GIB[disk_format]:
        raise req.conflict(
            f'the {disk.role.value} disk of the flavor has {size_gib} GiB; '
            f'allowed for {disk_format.value}: up to '
            f'{_LARGEST_GIB[disk_format]}')


def fit_image(disk: model.DiskSpec, image: model.CachedImage,
              generation: model.Generation,
              layout: model.InstanceLayout) -> model.DiskSpec:
    """The root disk once it is known what the image really is.

    :raises nova.exception.FlavorDiskSmallerThanImage: it does not fit.
    :raises nova.exception.InvalidDiskFormat: an ISO that is none, a disk
        image registered as ISO, or VHD for generation 2.
    """
    iso = image.format is model.DiskFormat.ISO
    if iso != (disk.role is model.DiskRole.ISO):
        raise exception.InvalidDiskFormat(disk_format=image.format.value)
    _check_generation(image.format, generation)
    size_bytes = disk.size_bytes
    if not iso and 0 < size_bytes < image.virtual_size_bytes:
        raise exception.FlavorDiskSmallerThanImage(
            flavor_size=size_bytes, image_size=image.virtual_size_bytes)
    return dataclasses.replace(
        disk, format=image.format, parent_path=image.path,
        path=layout.root_path(image.format))


def find_root_volume(info: BlockDeviceInfo) -> BlockDevice | None:
    """The volume at the root device's name, whatever its position.

    :param info: as for :meth:`DiskPlanner.plan`.
    """
    root_device = _text(info.get('root_device_name'))
    return next((volume for volume in info.get('block_device_mapping') or ()
                 if root_device
                 and _text(volume.get('mount_device')) == root_device),
                None)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
