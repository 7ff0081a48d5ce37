# SPDX-License-Identifier: Apache-2.0
"""Everything that an operation will make of an instance."""

from __future__ import annotations

import dataclasses
import ntpath
from typing import Any

from compute_hyperv.model.drives import DiskSpec
from compute_hyperv.model.drives import VolumeSpec
from compute_hyperv.model.machine import MachineSpec
from compute_hyperv.model.values import BootDevice
from compute_hyperv.model.values import DiskFormat
from compute_hyperv.model.values import DiskRole
from compute_hyperv.model.values import require


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NicSpec:
    """A virtual NIC and the switch that it goes to."""

    port_id: str
    mac: str            #: with colons, as Neutron has it
    vif_type: str
    #: Name of the vSwitch; None if a layer 2 agent chooses.
    switch: str | None
    mtu: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class InstancePlan:
    """Everything that an operation will make of an instance.

    ``disks`` are in the order of making, ``boot_order`` in that of
    booting: a disk's path, or the id of a volume.
    """

    vm_name: str
    uuid: str
    machine: MachineSpec
    disks: tuple[DiskSpec, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()

    def __post_init__(self) -> None:
        slots = [drive.slot for drive in self.drives]
        require(len(set(slots)) == len(slots), 'two drives in one slot')

    @property
    def drives(self) -> tuple[DiskSpec | VolumeSpec, ...]:
        """All disks, DVDs and volumes."""
        return self.disks + self.volumes

    @property
    def root(self) -> DiskSpec | None:
        """The disk that is made from the image; None without one."""
        return next((disk for disk in self.disks if disk.source.is_image),
                    None)

    def with_root(self, **changes: Any) -> InstancePlan:
        """The plan with another :attr:`root`."""
        return self._with(self.root, **changes)

    def keeping(self, path: str) -> InstancePlan:
        """The plan with a system disk that is there already.

        Beside an ISO image that is not :attr:`root`.
        """
        disk = next((disk for disk in self.disks
                     if disk.role is DiskRole.ROOT), None)
        return self._with(disk, path=path, format=DiskFormat(
            ntpath.splitext(path)[1][1:].lower()))

    def _with(self, changed: DiskSpec | None,
              **changes: Any) -> InstancePlan:
        return dataclasses.replace(self, disks=tuple(
            dataclasses.replace(disk, **changes) if disk is changed else disk
            for disk in self.disks))

    @property
    def config_drive(self) -> DiskSpec | None:
        """The config drive, if there is one."""
        return next((disk for disk in self.disks
                     if disk.role is DiskRole.CONFIG), None)

    @property
    def boot_drives(self) -> tuple[DiskSpec | VolumeSpec, ...]:
        """All drives in boot order, for generation 2.

        Those with a boot index first; the config drive last, for
        nothing boots from it.
        """
        def rank(drive: DiskSpec | VolumeSpec) -> tuple[bool, int, bool]:
            config = (isinstance(drive, DiskSpec)
                      and drive.role is DiskRole.CONFIG)
            return (drive.boot_index is None, drive.boot_index or 0, config)
        return tuple(sorted(self.drives, key=rank))

    @property
    def boot_devices(self) -> tuple[BootDevice, ...]:
        """Boot order of generation 1: an ISO image comes first."""
        return BootDevice.order(dvd_first=any(
            disk.role is DiskRole.ISO for disk in self.disks))
