# SPDX-License-Identifier: Apache-2.0
"""The disks of a running machine, as the system in it reads and writes.

For tests, and for whoever wants to look at what a guest would see: bytes
go through the attached disk to the image's chain or the logical unit.
"""

from __future__ import annotations

import dataclasses
import typing

from . import devices
from . import disks
from . import hostluns
from .vm import Vm
from .winerror import os_error
from .winerror import WinError

_NOT_READY = 21


@dataclasses.dataclass(frozen=True)
class GuestDisk:
    """A hard disk of a running machine.

    :ivar controller: 'IDE' or 'SCSI', with ``controller_number`` in the
        order of the controllers.
    :ivar slot: of the controller.
    :ivar path: HostResource: an image's path, or that of the Msvm_DiskDrive
        of a disk of the host.
    :ivar tag: ElementName of the drive: where the driver notes the volume.
    :ivar held: what the machine's worker has open.
    """

    vm: Vm
    controller: str
    controller_number: int
    slot: int
    path: str
    tag: str
    held: typing.Any = dataclasses.field(repr=False)

    @property
    def is_physical(self) -> bool:
        """Whether it is a disk of the host."""
        return isinstance(self.held, hostluns.Held)

    @property
    def size_bytes(self) -> int:
        """Size as the guest sees it."""
        if isinstance(self.held, hostluns.Held):
            return self._lun_disk().lun.size_bytes
        with self._image(writable=False) as image:
            return image.size_bytes

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the disk.

        :raises OSError: the disk is gone: an I/O error in the guest.
        """
        if isinstance(self.held, hostluns.Held):
            return self._lun_disk().read(offset, count)
        with self._image(writable=False) as image:
            self.held.io.read(count)
            return image.read(offset, count)

    def write(self, offset: int, data: bytes) -> None:
        """Change bytes of the disk.

        :raises OSError: the disk is gone: an I/O error in the guest.
        """
        if isinstance(self.held, hostluns.Held):
            self._lun_disk().write(offset, data)
            return
        with self._image(writable=True) as image:
            self.held.io.wrote(len(data))
            image.write(offset, data)

    def _lun_disk(self) -> hostluns.LunDisk:
        found: hostluns.LunDisk | None = self.held.disk
        if not self.held.is_open or found is None:
            raise os_error(_NOT_READY, self.path)
        return found

    def _image(self, *, writable: bool) -> disks.Disk:
        storage = self.vm.host.storage

        def resolve(path: str) -> str:
            try:
                return storage.locate(path).local
            except WinError as error:
                raise os_error(error.winerror, path) from error
        return disks.open_disk(
            storage.local(self.path), writable=writable, resolve=resolve,
            win_path=self.path)


def of(vm: Vm) -> list[GuestDisk]:
    """The hard disks of a running machine, by controller and slot.

    :raises ValueError: it is not running.
    """
    worker = vm.worker
    if worker is None:
        raise ValueError('%s is not running' % vm.name)
    found = []
    for kind, subtype in (('IDE', devices.IDE_CONTROLLER),
                          ('SCSI', devices.SCSI_CONTROLLER)):
        for number, controller in enumerate(
                vm.resources(devices.RASD, subtype)):
            for drive in vm.children(controller):
                for one in [drive, *vm.children(drive)]:
                    held = worker.files.get(one['InstanceID'])
                    if held is None or one['ResourceSubType'] not in (
                            devices.PHYSICAL_DISK, devices.HARD_DISK):
                        continue
                    found.append(GuestDisk(
                        vm, kind, number, int(drive['AddressOnParent']),
                        one['HostResource'][0], drive['ElementName'] or '',
                        held))
    return sorted(found, key=lambda disk: (
        disk.controller, disk.controller_number, disk.slot))
