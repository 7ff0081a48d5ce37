# SPDX-License-Identifier: Apache-2.0
"""How the drives of a rescued VM are arranged, and put back.

=============== ===================== =========================
Slot            Usual                 Rescued
=============== ===================== =========================
boot slot       root                  rescue disk
free SCSI       (nothing)             root
config drive    config drive          config drive of the rescue
others          other disks, volumes  the same
=============== ===================== =========================

A *stable* rescue (the image has ``hw_rescue_device`` or ``hw_rescue_bus``)
moves nothing: the rescue disk or DVD takes a free slot and is booted first.
The BIOS of generation 1 boots disks from one slot only, so a disk cannot be
stable there, but a DVD is.

All of this is done while the VM is off. Files stay where they are; those of
the rescue lie beside them and have names of their own, by which whatever an
interrupted rescue left is found.
"""

import dataclasses
import ntpath
import re
from typing import Any

from nova import exception

from compute_hyperv import model
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module
from compute_hyperv import vmdrives

_RESCUE = '-rescue'
#: Disks of a rescue and what making them leaves when it is interrupted.
_OWN = re.compile(rf'(root|configdrive){_RESCUE}\.', re.IGNORECASE)
_ISO_ENDING = f'root{_RESCUE}.iso'


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Medium:
    """A disk or DVD image and the slot it is in."""

    path: str
    slot: model.Slot

    @property
    def kind(self) -> oswin.DriveKind:
        return (oswin.DriveKind.DVD if self.path.lower().endswith('.iso')
                else oswin.DriveKind.DISK)


def boot_slot(generation: model.Generation) -> model.Slot:
    """What a VM boots from when nothing is said."""
    bus = (model.Bus.IDE if generation is model.Generation.ONE
           else model.Bus.SCSI)
    return model.Slot(bus=bus, controller=0, lun=0)


def beside(path: str) -> str:
    """The rescue's own file in the place of another."""
    stem, extension = ntpath.splitext(path)
    return f'{stem}{_RESCUE}{extension}'


class RescueDrives:
    """Changes the drives of a VM that is off."""

    def __init__(self, *, win: oswin.Win, planner: Any, paths: Any,
                 volumes: Any) -> None:
        self._win = win
        self._planner = planner
        self._paths = paths
        self._volumes = volumes
        self._drives = vmdrives.VmDrives(win)

    # -- what is there ----------------------------------------------------

    def generation(self, vm_name: str) -> model.Generation:
        """The generation of a VM."""
        return model.Generation(self._win.vm.get_vm_generation(vm_name))

    def media(self, vm_name: str) -> list[Medium]:
        """What is in the drives of a VM, except physical disks."""
        paths = {medium.Parent.upper(): medium.HostResource[0]
                 for medium in self._win.vm.get_vm_disks(vm_name)[0]
                 if medium.HostResource}
        found = []
        for drive in self._drives.all_of(vm_name):
            path = paths.get(drive.resource.path_().upper())
            if path and not drive.is_physical:
                found.append(Medium(path=path, slot=drive.slot))
        return found

    def own_root(self, vm_name: str) -> Medium | None:
        """The local system disk; None if the VM boots from another."""
        path = self._paths.find_root(vm_name)
        return next((medium for medium in self.media(vm_name) if path
                     and paths_module.same(medium.path, path)), None)

    def own_files(self, vm_name: str) -> list[str]:
        """What a rescue has in the directory of an instance."""
        directory = self._paths.instance_dir(vm_name)
        return [ntpath.join(directory, name)
                for name in self._paths.list_dir(directory)
                if _OWN.match(name)]

    def free_slot(self, vm_name: str, bus: model.Bus) -> model.Slot:
        """The first free slot of a bus."""
        taken = [drive.slot for drive in self._drives.all_of(vm_name)]
        slot: model.Slot = self._planner.free_slot(
            self.generation(vm_name), taken, bus)
        return slot

    # -- rescue -----------------------------------------------------------

    def add(self, instance: Any, path: str) -> None:
        """Let the VM boot from a rescue medium beside everything else."""
        name = instance.name
        generation = self.generation(name)
        rescue = Medium(path=path, slot=self.free_slot(
            name, boot_slot(generation).bus))
        self._plug(instance, rescue)
        if generation is model.Generation.TWO:
            self._boot_first(name, path)
        else:
            self._set_boot_order(name, dvd_first=True)

    def put_in_front(self, instance: Any, path: str,
                     block_device_info: Any) -> None:
        """Put a rescue disk into the boot slot, the root on a free one."""
        root = self.own_root(instance.name)
        slot = boot_slot(self.generation(instance.name))
        if root is None:
            self._move_root_volume(instance, block_device_info, None)
            self._plug(instance, Medium(path=path, slot=slot))
            return
        self.exchange(instance.name, root.path, path)
        self._plug(instance, Medium(path=root.path, slot=self.free_slot(
            instance.name, model.Bus.SCSI)))

    def exchange(self, vm_name: str, old: str, new: str) -> None:
        """Put another file into the drive that holds *old*.

        :raises DiskNotFound: no drive of the VM holds it.
        """
        for medium in self._win.vm.get_vm_disks(vm_name)[0]:
            if medium.HostResource and paths_module.same(
                    medium.HostResource[0], old):
                medium.HostResource = [new]
                self._win.vm._jobutils.modify_virt_resource(medium)
                return
        raise exception.DiskNotFound(location=old)

    # -- and back ---------------------------------------------------------

    def put_back(self, instance: Any, block_device_info: Any) -> None:
        """Arrange the drives as usual and delete the rescue's files.

        Works on whatever an interrupted rescue or return left, and can be
        repeated.
        """
        name = instance.name
        files = self.own_files(name)
        for medium in self.media(name):
            if any(paths_module.same(medium.path, path) for path in files):
                self._take_away(instance, medium)
        if self.generation(name) is model.Generation.ONE:
            self._put_root_volume_back(instance, block_device_info)
            if any(path.lower().endswith(_ISO_ENDING) for path in files):
                self._restore_boot_order(name)
        for path in files:
            if self._paths.is_dir(path):
                self._paths.delete_tree(path)
            else:
                self._paths.remove(path)

    def _take_away(self, instance: Any, rescue: Medium) -> None:
        name = instance.name
        usual = ''.join(rescue.path.rsplit(_RESCUE, 1))
        if ntpath.basename(usual).lower().startswith('configdrive'):
            self.exchange(name, rescue.path, usual)
            return
        root = self._paths.find_root(name)
        if root and rescue.slot == boot_slot(self.generation(name)):
            for medium in self.media(name):
                if paths_module.same(medium.path, root):
                    self._drives.remove_at(name, medium.slot)
            self.exchange(name, rescue.path, root)
            return
        self._drives.remove_at(name, rescue.slot)

    def _put_root_volume_back(self, instance: Any,
                              block_device_info: Any) -> None:
        """Back to the boot slot, if a rescue took it from there."""
        slot = boot_slot(model.Generation.ONE)
        drives = self._drives.all_of(instance.name)
        if not any(drive.slot == slot for drive in drives):
            self._move_root_volume(instance, block_device_info, slot)

    def _move_root_volume(self, instance: Any, block_device_info: Any,
                          slot: model.Slot | None) -> None:
        """Put the volume that the instance boots from into another slot.

        :param slot: None for a free one; nothing moves without a volume.
        """
        volume = self._planner.root_volume(block_device_info)
        if volume is None:
            return
        name = instance.name
        volume_id = volume['connection_info']['serial']
        drives = self._drives.all_of(name)
        for drive in drives:
            if drive.tag == volume_id:
                self._drives.remove(name, drive)
        # Its old slot counts as taken.
        spec = self._planner.volume(volume, self.generation(name),
                                    [drive.slot for drive in drives])
        if slot is not None:
            spec = dataclasses.replace(spec, slot=slot)
        self._volumes.attach_all(name, (spec,))

    # -- parts ------------------------------------------------------------

    def _plug(self, instance: Any, medium: Medium) -> None:
        name = instance.name
        self._win.attach_drive(name, medium.path, medium.slot, medium.kind)
        qos = self._planner.disk_qos(instance)
        if qos is not None and medium.kind is oswin.DriveKind.DISK:
            self._win.vm.set_disk_qos_specs(medium.path, qos.max_iops)

    def _boot_first(self, vm_name: str, path: str) -> None:
        """Let a VM of generation 2 boot from a drive, else as before.

        os-win's ``set_boot_order`` puts the others in any order.
        """
        vm = self._win.vm
        source = vm._drive_to_boot_source(path)
        settings = vm._lookup_vm_check(vm_name)
        settings.BootSourceOrder = (source, *(
            other for other in settings.BootSourceOrder
            if other.upper() != source.upper()))
        vm._modify_virtual_system(settings)

    def _restore_boot_order(self, vm_name: str) -> None:
        slot = boot_slot(model.Generation.ONE)
        self._set_boot_order(vm_name, dvd_first=any(
            medium.slot == slot and medium.kind is oswin.DriveKind.DVD
            for medium in self.media(vm_name)))

    def _set_boot_order(self, vm_name: str, *, dvd_first: bool) -> None:
        """What the BIOS of generation 1 looks at, in its order."""
        order = model.BootDevice.order(dvd_first=dvd_first)
        self._win.vm.set_boot_order(vm_name, [int(one) for one in order])
