# SPDX-License-Identifier: Apache-2.0
"""Rescue: an instance boots another image and has its own disk beside it.

============= ======================= ===========================
Slot          Usual                   Rescued
============= ======================= ===========================
boot slot     root                    rescue disk
free SCSI     (nothing)               root
config drive  config drive            config drive of the rescue
others        other disks, volumes    the same
============= ======================= ===========================

Drives are moved while the VM is off. Their files stay where they are, so
that the disks of a rescued instance are found as usual.
"""

import dataclasses
import ntpath
from typing import Any

from nova import exception
from nova.virt import configdrive as nova_configdrive
from oslo_log import log as logging

from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module
from compute_hyperv import vmdrives

LOG = logging.getLogger(__name__)

_RESCUE = '-rescue'


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Medium:
    """A disk or DVD image and the slot it is in."""

    path: str
    slot: model.Slot

    @property
    def kind(self) -> oswin.DriveKind:
        return (oswin.DriveKind.DVD if self.path.lower().endswith('.iso')
                else oswin.DriveKind.DISK)


class RescueOps:
    """Rescues and unrescues.

    :param use_cow: the rescue disk is a child of the cached image.
    """

    def __init__(self, *, win: oswin.Win, planner: Any, paths: Any,
                 disks: Any, image_cache: Any, config_drive: Any, power: Any,
                 locks: locks.Locks, use_cow: bool, **_others: Any) -> None:
        self._win = win
        self._planner = planner
        self._paths = paths
        self._disks = disks
        self._image_cache = image_cache
        self._config_drive = config_drive
        self._power = power
        self._locks = locks
        self._source = (model.DiskSource.IMAGE_CHILD if use_cow
                        else model.DiskSource.IMAGE_COPY)
        self._drives = vmdrives.VmDrives(win)

    # -- rescue -----------------------------------------------------------

    def rescue(self, context: Any, instance: Any, network_info: Any,
               image_meta: Any, password: str,
               block_device_info: Any) -> None:
        """Boot the rescue image; the VM is off when it fails.

        :raises InstanceNotRescuable: no system disk of its own, an image of
            another generation or an ISO. Nothing has been touched.
        :raises FlavorDiskSmallerThanImage: the image is larger than the
            flavor's disk.
        """
        name = instance.name
        progress = operation.Progress(f'Rescue of {name}')
        with (self._locks.held(locks.instance(instance.uuid)),
              operation.Rollback(f'rescue of {name}') as undo):
            generation = model.Generation(self._win.vm.get_vm_generation(
                name))
            root = self._root(instance)
            progress.step('image')
            image = self._image(context, instance, image_meta, generation)
            progress.step('power off')
            self._power.power_off(instance, 0, 0)
            progress.step('disks')
            rescue = self._make_disk(instance, image, root.slot, undo)
            undo.on_failure(self._boot_from, name, generation, root.path)
            beside = dataclasses.replace(
                root, slot=self._free_slot(name, generation))
            self._detach(instance, root, undo)
            self._attach(instance, beside, undo)
            self._attach(instance, rescue, undo)
            self._swap_config_drive(instance, network_info, password, undo)
            self._boot_from(name, generation, rescue.path)
            progress.step('power on')
            undo.on_failure(self._power.power_off, instance, 0, 0)
            self._power.power_on(instance, network_info, block_device_info)
        LOG.info("Rescued in %.1f seconds.", progress.elapsed_s,
                 instance=instance)

    def _root(self, instance: Any) -> _Medium:
        """The system disk, in the slot that the VM boots from."""
        path = self._paths.find_root(instance.name)
        for medium in self._media(instance.name):
            if path and paths_module.same(medium.path, path):
                if medium.slot.lun == medium.slot.controller == 0:
                    return medium
        raise exception.InstanceNotRescuable(
            instance_id=instance.uuid,
            reason='it does not boot from a local system disk')

    def _image(self, context: Any, instance: Any, image_meta: Any,
               generation: model.Generation) -> model.CachedImage:
        """The image as it is: never grown to the flavor."""
        machine = image_meta.properties.get('hw_machine_type')
        if machine and not machine.endswith(str(int(generation))):
            raise exception.InstanceNotRescuable(
                instance_id=instance.uuid,
                reason=f'the rescue image is for {machine}, the server is of '
                       f'generation {int(generation)}')
        image: model.CachedImage = self._image_cache.get(
            context, instance, image_meta)
        usable = {model.DiskFormat.VHDX}
        if generation is model.Generation.ONE:
            usable.add(model.DiskFormat.VHD)
        if image.format not in usable:
            raise exception.InstanceNotRescuable(
                instance_id=instance.uuid,
                reason=f'a server of generation {int(generation)} does not '
                       f'boot a rescue image in the format '
                       f'{image.format.value}')
        flavor_bytes = instance.flavor.root_gb * model.GIB
        if 0 < flavor_bytes < image.virtual_size_bytes:
            raise exception.FlavorDiskSmallerThanImage(
                flavor_size=flavor_bytes,
                image_size=image.virtual_size_bytes)
        return image

    def _make_disk(self, instance: Any, image: model.CachedImage,
                   slot: model.Slot, undo: operation.Rollback) -> _Medium:
        stem = self._paths.layout(instance.name).root_stem
        path = f'{stem}{_RESCUE}.{image.format.value}'
        self._paths.remove(path)        # of a process that was killed
        self._disks.create([model.DiskSpec(
            role=model.DiskRole.ROOT, source=self._source, path=path,
            format=image.format, size_bytes=0, slot=slot, boot_index=0,
            parent_path=image.path)], undo)
        return _Medium(path=path, slot=slot)

    def _swap_config_drive(self, instance: Any, network_info: Any,
                           password: str, undo: operation.Rollback) -> None:
        """Put a config drive with the rescue's password in place."""
        if not nova_configdrive.required_by(instance):
            return
        found = self._paths.find_config_drive(instance.name)
        usual = next((medium for medium in self._media(instance.name)
                      if found and paths_module.same(medium.path, found)),
                     None)
        if usual is None:
            return
        stem, extension = ntpath.splitext(usual.path)
        rescue = _Medium(path=f'{stem}{_RESCUE}{extension}', slot=usual.slot)
        self._paths.remove(rescue.path)
        self._config_drive.create(
            model.DiskSpec(
                role=model.DiskRole.CONFIG, path=rescue.path, size_bytes=0,
                source=model.DiskSource.CONFIG_DRIVE, slot=usual.slot,
                format=model.DiskFormat(extension[1:].lower())),
            self._config_drive.metadata(instance, network_info, None,
                                        password), undo)
        self._detach(instance, usual, undo)
        self._attach(instance, rescue, undo)

    # -- unrescue ---------------------------------------------------------

    def unrescue(self, instance: Any) -> None:
        """Boot the instance's own disk again; can be repeated."""
        name = instance.name
        with self._locks.held(locks.instance(instance.uuid)):
            self._power.power_off(instance, 0, 0)
            generation = model.Generation(
                self._win.vm.get_vm_generation(name))
            media = self._media(name)
            for medium in media:
                if self._is_rescue(medium.path):
                    self._drives.remove_at(name, medium.slot)
            self._put_root_back(instance, generation)
            for medium in media:
                if (self._is_rescue(medium.path)
                        and 'configdrive' in medium.path):
                    self._put_back(instance, medium)
            for medium in media:
                if self._is_rescue(medium.path):
                    self._paths.remove(medium.path)
            self._power.power_on(instance, instance.get_network_info())

    def _put_root_back(self, instance: Any,
                       generation: model.Generation) -> None:
        name = instance.name
        root = self._paths.find_root(name)
        bus = (model.Bus.IDE if generation is model.Generation.ONE
               else model.Bus.SCSI)
        boot = _Medium(path=root,
                       slot=model.Slot(bus=bus, controller=0, lun=0))
        for medium in self._media(name):
            if paths_module.same(medium.path, root):
                if medium.slot == boot.slot:
                    return
                self._drives.remove_at(name, medium.slot)
        self._plug(instance, boot)
        self._boot_from(name, generation, root)

    def _put_back(self, instance: Any, rescue: _Medium) -> None:
        """Plug the usual config drive in where the rescue's was."""
        self._plug(instance, dataclasses.replace(
            rescue, path=rescue.path.replace(_RESCUE, '')))

    def _is_rescue(self, path: str) -> bool:
        return ntpath.splitext(ntpath.basename(path))[0].endswith(_RESCUE)

    # -- drives -----------------------------------------------------------

    def _media(self, vm_name: str) -> list[_Medium]:
        """What is in the drives of a VM, except physical disks."""
        found = []
        media = self._paths_by_drive(vm_name)
        for drive in self._drives.all_of(vm_name):
            if drive.is_physical:
                continue
            path = media.get(drive.resource.path_().upper())
            if path:
                found.append(_Medium(path=path, slot=drive.slot))
        return found

    def _paths_by_drive(self, vm_name: str) -> dict[str, str]:
        """WMI path of a drive -> path of the image in it."""
        settings = self._win.vm._lookup_vm_check(vm_name)
        return {medium.Parent.upper(): medium.HostResource[0]
                for medium in self._win.vm._compat_conn.query(
                    "SELECT * FROM Msvm_StorageAllocationSettingData WHERE "
                    f"InstanceID LIKE '{settings.InstanceID}%'")
                if medium.HostResource}

    def _free_slot(self, vm_name: str,
                   generation: model.Generation) -> model.Slot:
        taken = [drive.slot for drive in self._drives.all_of(vm_name)]
        slot: model.Slot = self._planner.free_slot(generation, taken)
        return slot

    def _plug(self, instance: Any, medium: _Medium) -> None:
        """Plug a medium in where none is; one that is there may stay."""
        self._drives.remove_at(instance.name, medium.slot)
        self._win.attach_drive(instance.name, medium.path, medium.slot,
                               medium.kind)
        qos = self._planner.disk_qos(instance)
        if qos is not None and medium.kind is oswin.DriveKind.DISK:
            self._win.vm.set_disk_qos_specs(medium.path, qos.max_iops)

    def _attach(self, instance: Any, medium: _Medium,
                undo: operation.Rollback) -> None:
        undo.on_failure(self._drives.remove_at, instance.name, medium.slot)
        self._plug(instance, medium)

    def _detach(self, instance: Any, medium: _Medium,
                undo: operation.Rollback) -> None:
        undo.on_failure(self._plug, instance, medium)
        self._drives.remove_at(instance.name, medium.slot)

    def _boot_from(self, vm_name: str, generation: model.Generation,
                   path: str) -> None:
        """Generation 1 boots from its first IDE slot; 2 has an order."""
        if generation is model.Generation.TWO:
            self._win.vm.set_boot_order(vm_name, [path])
