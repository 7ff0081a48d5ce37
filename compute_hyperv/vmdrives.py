# SPDX-License-Identifier: Apache-2.0
"""The drives of one VM: what is plugged in where, and whose it is.

os-win looks for a disk among those of all VMs of the host. Here a VM's own
settings decide, so that a volume that two VMs know is taken from the right
one. Every drive of a volume carries the volume's id as its name (the *tag*):
neither the number of a physical disk nor the spelling of a path says whose
data it is.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

from oslo_utils import uuidutils

from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv import oswin
from compute_hyperv import paths


#: Msvm_VirtualSystemMigrationSettingData.MigrationType: only disks.
_MOVE_STORAGE = 32769


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Drive:
    """A drive of a VM; *resource* is its WMI object."""

    slot: model.Slot
    tag: str
    is_physical: bool
    #: WMI path of the host's disk, for a physical one; '' if it has none.
    host_disk: str
    resource: Any = dataclasses.field(repr=False, compare=False)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a drive's virtual disk may do; 0: no limit."""

    iops: int = 0
    reserved_iops: int = 0


class VmDrives:
    """Reads and changes drives of VMs."""

    def __init__(self, win: oswin.Win) -> None:
        self._win = win

    def all_of(self, vm_name: str) -> list[Drive]:
        """Every drive, with a medium or without.

        :raises InstanceNotFound: there is no such VM.
        """
        vm = self._win.vm
        resources = self._resources(vm_name)
        controllers = self._controllers(resources)
        kinds = (vm._PHYS_DISK_RES_SUB_TYPE, vm._DISK_DRIVE_RES_SUB_TYPE,
                 vm._DVD_DRIVE_RES_SUB_TYPE)
        return [self._drive(item, *controllers[item.Parent.upper()])
                for item in resources if item.ResourceSubType in kinds
                and (item.Parent or '').upper() in controllers]

    def tagged(self, vm_name: str, volume_id: str) -> Drive | None:
        """The drive of a volume, if the VM has it."""
        return next((drive for drive in self.all_of(vm_name)
                     if drive.tag == volume_id), None)

    def users_of(self, volume_id: str, *, on: Any = None) -> list[str]:
        """Names of the (realized) VMs that a volume is passed through to.

        :param on: WMI connection to the Hyper-V of another host.
        """
        vm = self._win.vm
        drives = (on or vm._compat_conn).Msvm_ResourceAllocationSettingData(
            ['InstanceID'], ElementName=volume_id,
            ResourceSubType=vm._PHYS_DISK_RES_SUB_TYPE)
        owners = {drive.InstanceID.split('\\')[0] for drive in drives}
        return sorted(
            settings.ElementName for owner in owners
            for settings in (on or vm._conn).Msvm_VirtualSystemSettingData(
                ['ElementName'], InstanceID=owner,
                VirtualSystemType=vm._VIRTUAL_SYSTEM_TYPE_REALIZED))

    def _resources(self, vm_name: str) -> list[Any]:
        try:
            settings = self._win.vm._lookup_vm_check(vm_name)
        except errors.OS_WIN_ERRORS as exc:
            raise errors.to_nova(exc, vm_name) from exc
        return list(self._win.vm._compat_conn.query(
            "SELECT * FROM Msvm_ResourceAllocationSettingData WHERE "
            f"InstanceID LIKE '{settings.InstanceID}%'"))

    def _controllers(self, resources: list[Any]
                     ) -> dict[str, tuple[model.Bus, int]]:
        """WMI path -> bus and number. SCSI ones count in their order."""
        vm = self._win.vm
        found = {item.path_().upper(): (model.Bus.IDE, int(item.Address))
                 for item in resources
                 if item.ResourceSubType == vm._IDE_CTRL_RES_SUB_TYPE}
        scsi = [item.path_().upper() for item in resources
                if item.ResourceSubType == vm._SCSI_CTRL_RES_SUB_TYPE]
        return found | {path: (model.Bus.SCSI, number)
                        for number, path in enumerate(scsi)}

    def _drive(self, item: Any, bus: model.Bus, controller: int) -> Drive:
        disks = item.HostResource or ('',)
        return Drive(
            slot=model.Slot(bus=bus, controller=controller,
                            lun=int(item.AddressOnParent)),
            tag=item.ElementName or '', host_disk=disks[0],
            is_physical=(item.ResourceSubType
                         == self._win.vm._PHYS_DISK_RES_SUB_TYPE),
            resource=item)

    # -- changes ----------------------------------------------------------

    def add_file(self, vm_name: str, path: str, slot: model.Slot,
                 volume_id: str) -> None:
        """Plug in a virtual disk and tag its drive.

        What comes half-way is removed by :meth:`remove_at`.
        """
        self._win.attach_drive(vm_name, path, slot, oswin.DriveKind.DISK)
        drive = next(drive for drive in self.all_of(vm_name)
                     if drive.slot == slot)
        drive.resource.ElementName = volume_id
        self._win.vm._jobutils.modify_virt_resource(drive.resource)

    def add_physical(self, vm_name: str, host_disk: str, slot: model.Slot,
                     volume_id: str) -> None:
        """Pass a disk of the host to a VM and tag its drive.

        What comes half-way is removed by :meth:`remove_at`.

        :param host_disk: WMI path of the disk.
        """
        vm = self._win.vm
        if slot.bus is model.Bus.IDE:
            controller = vm.get_vm_ide_controller(vm_name, slot.controller)
        else:
            controller = vm.get_vm_scsi_controller(vm_name)
        vm.attach_volume_to_controller(vm_name, controller, slot.lun,
                                       host_disk, serial=volume_id)

    def map_physical(self, vm_name: str, drive: Drive,
                     host_disk: str) -> None:
        """Let a drive stand for another disk of the host.

        :raises HyperVError: the memory of the VM is saved.
        """
        if self._win.state(vm_name) is oswin.VMState.SAVED:
            raise errors.HyperVError(
                reason=f'volume {drive.tag} of {vm_name} is another disk of '
                       f'this host by now, and Hyper-V changes no disks of '
                       f'a VM whose memory is saved; a hard reboot starts '
                       f'it without that memory')
        self._win.vm.set_disk_host_res(drive.resource.path_(), host_disk)

    def remove_at(self, vm_name: str, slot: model.Slot) -> None:
        """Unplug what is in a slot, if anything is."""
        for drive in self.all_of(vm_name):
            if drive.slot == slot:
                self.remove(vm_name, drive)

    def remove_untagged(self, vm_name: str, stands_for: str) -> None:
        """Unplug disk drives without a tag that stand for that or nothing.

        :param stands_for: path of a file, or WMI path of a disk.
        """
        kind = self._win.vm._DVD_DRIVE_RES_SUB_TYPE
        for drive in self.all_of(vm_name):
            if (uuidutils.is_uuid_like(drive.tag)
                    or drive.resource.ResourceSubType == kind):
                continue
            now = (drive.host_disk if drive.is_physical
                   else self.file_of(drive))
            if not now or now.lower() == stands_for.lower():
                self.remove(vm_name, drive)

    def remove(self, vm_name: str, drive: Drive) -> None:
        """Unplug a drive and its medium."""
        medium = self._medium(drive)
        if medium is not None:
            self._win.vm._jobutils.remove_virt_resource(medium)
        self._win.vm._jobutils.remove_virt_resource(drive.resource)

    # -- the file in a drive ----------------------------------------------

    def file_of(self, drive: Drive) -> str | None:
        """Path of the virtual disk in a drive; None if it is empty."""
        return self.files_of([drive]).get(drive.slot)

    def files_of(self, drives: Sequence[Drive]) -> dict[model.Slot, str]:
        """Paths of the virtual disks in drives of one VM; one query."""
        media = self._media(drives)
        return {drive.slot: str(medium.HostResource[0]) for drive in drives
                if (medium := media.get(drive.resource.path_().upper()))
                is not None and medium.HostResource}

    def limits(self, vm_name: str, drive: Drive) -> Limits:
        """Of the virtual disk in a drive."""
        medium = self._medium(drive)
        if medium is None:
            return Limits()
        return Limits(iops=int(medium.IOPSLimit or 0),
                      reserved_iops=int(medium.IOPSReservation or 0))

    def eject(self, vm_name: str, drive: Drive) -> None:
        """Take the virtual disk out of a drive, which stays."""
        medium = self._medium(drive)
        if medium is not None:
            self._win.vm._jobutils.remove_virt_resource(medium)

    def insert(self, vm_name: str, drive: Drive, path: str,
               limits: Limits) -> None:
        """Let a drive have that virtual disk, whatever it has now.

        :param limits: of a disk that comes into an empty drive.
        """
        vm = self._win.vm
        medium = self._medium(drive)
        if medium is None:
            medium = vm._get_new_resource_setting_data(
                vm._HARD_DISK_RES_SUB_TYPE,
                vm._STORAGE_ALLOC_SETTING_DATA_CLASS)
            medium.Parent = drive.resource.path_()
            medium.HostResource = [path]
            medium.IOPSLimit = limits.iops
            medium.IOPSReservation = limits.reserved_iops
            vm._jobutils.add_virt_resource(
                medium, vm._lookup_vm_check(vm_name, as_vssd=False))
        elif not paths.same(medium.HostResource[0], path):
            medium.HostResource = [path]
            vm._jobutils.modify_virt_resource(medium)

    def move_file(self, vm_name: str, drive: Drive, path: str) -> None:
        """Let Hyper-V copy the virtual disk of a drive to another path.

        The guest may go on. At the end the drive has the copy, and the old
        file stays as it was at that moment. A paused VM cannot.

        :param path: of no file yet.
        """
        live, medium = self._win.live, self._medium(drive)
        if medium is None:
            raise errors.DiskOperationFailed(
                reason=f'{vm_name} has no file in {drive.slot}')
        medium.HostResource = [path]
        settings = live._compat_conn.Msvm_VirtualSystemMigrationSettingData(
            MigrationType=_MOVE_STORAGE)[0]
        settings.RetainVhdCopiesOnSource = True
        service = live._compat_conn.Msvm_VirtualSystemMigrationService()[0]
        job, result = service.MigrateVirtualSystemToHost(
            ComputerSystem=self._win.vm._lookup_vm_check(
                vm_name, as_vssd=False).path_(),
            DestinationHost=None, MigrationSettingData=settings.GetText_(1),
            NewResourceSettingData=[medium.GetText_(1)])
        self._win.vm._jobutils.check_ret_val(result, job)

    def _medium(self, drive: Drive) -> Any | None:
        """The WMI object of what is in a drive; None if it is empty."""
        return self._media([drive]).get(drive.resource.path_().upper())

    def _media(self, drives: Sequence[Drive]) -> dict[str, Any]:
        """What is in drives of one VM, by their WMI paths."""
        vm = self._win.vm
        owner = next((drive.resource.InstanceID.split('\\')[0]
                      for drive in drives if not drive.is_physical), None)
        if owner is None:
            return {}
        kinds = (vm._HARD_DISK_RES_SUB_TYPE, vm._DVD_DISK_RES_SUB_TYPE)
        return {medium.Parent.upper(): medium
                for medium in vm._compat_conn.query(
                    f'SELECT * FROM {vm._STORAGE_ALLOC_SETTING_DATA_CLASS} '
                    f"WHERE InstanceID LIKE '{owner}%'")
                if medium.ResourceSubType in kinds}
