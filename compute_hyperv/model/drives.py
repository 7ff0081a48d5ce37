# SPDX-License-Identifier: Apache-2.0
"""Disks, volumes, and where the files of an instance lie."""

from __future__ import annotations

import dataclasses
from typing import Any

from compute_hyperv.model.values import Bus
from compute_hyperv.model.values import DiskFormat
from compute_hyperv.model.values import DiskRole
from compute_hyperv.model.values import DiskSource
from compute_hyperv.model.values import DiskType
from compute_hyperv.model.values import IDE_CONTROLLERS
from compute_hyperv.model.values import IDE_LUNS
from compute_hyperv.model.values import require
from compute_hyperv.model.values import SCSI_CONTROLLERS
from compute_hyperv.model.values import SCSI_LUNS


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """Where a drive plugs into a VM."""

    bus: Bus
    controller: int     #: 0-based; generation 1 has two IDE controllers
    lun: int            #: 0-based position on that controller

    def __post_init__(self) -> None:
        ide = self.bus is Bus.IDE
        luns = IDE_LUNS if ide else SCSI_LUNS
        controllers = IDE_CONTROLLERS if ide else SCSI_CONTROLLERS
        require(0 <= self.controller < controllers,
                f'{self.bus.value} controller {self.controller}')
        require(0 <= self.lun < luns,
                f'{self.bus.value} has no LUN {self.lun}')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class QosSpec:
    """Limit of a virtual disk, in I/O operations of 8 KiB a second."""

    max_iops: int

    def __post_init__(self) -> None:
        require(self.max_iops > 0, f'{self.max_iops} IOPS')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskSpec:
    """A local disk of an instance."""

    role: DiskRole
    path: str
    format: DiskFormat
    source: DiskSource
    #: Size that the guest sees; for an image's disk the flavor's size,
    #: 0 to keep that of the image.
    size_bytes: int
    slot: Slot
    boot_index: int | None = None
    #: The cached image; known once the image is there.
    parent_path: str | None = None
    qos: QosSpec | None = None
    device_name: str | None = None

    def __post_init__(self) -> None:
        require(self.size_bytes >= 0, f'{self.size_bytes} bytes')
        require(self.source is not DiskSource.BLANK or self.size_bytes > 0,
                'a blank disk has a size')
        require(self.boot_index is None or self.boot_index >= 0,
                f'boot index {self.boot_index}')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VolumeSpec:
    """A Cinder volume and its place in a VM."""

    volume_id: str
    protocol: str       #: Cinder's ``driver_volume_type``
    slot: Slot
    boot_index: int | None = None
    device_name: str | None = None
    #: Nova's ``connection_info``; it holds secrets, so no log shows it.
    connection: dict[str, Any] = dataclasses.field(
        default_factory=dict, repr=False, compare=False)
    qos: QosSpec | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The protocol's part of the connection."""
        found: dict[str, Any] = self.connection.get('data') or {}
        return found


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VhdInfo:
    """What virtdisk.dll says about a virtual disk."""

    path: str
    format: DiskFormat
    type: DiskType
    virtual_size_bytes: int
    file_size_bytes: int
    #: Unit in which a dynamic disk's file grows; 0 for a fixed one.
    block_bytes: int = 0
    parent_path: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CachedImage:
    """An image in the cache, or the copy of it that fits a flavor."""

    path: str
    format: DiskFormat
    virtual_size_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class InstanceLayout:
    """Where the files of an instance go; made by ``paths``.

    A *stem* is a path without its extension, which follows from the
    format: ``<dir>\\root`` gives ``<dir>\\root.vhdx``.
    """

    instance_dir: str
    root_stem: str
    ephemeral_stem: str
    swap_stem: str
    config_stem: str
    console_path: str
    base_dir: str

    def root_path(self, disk_format: DiskFormat) -> str:
        """Path of the root disk, or of the ISO that is booted."""
        return f'{self.root_stem}.{disk_format.value}'

    def ephemeral_path(self, index: int, disk_format: DiskFormat) -> str:
        """Path of the ephemeral disk with this 0-based number."""
        return f'{self.ephemeral_stem}{index}.{disk_format.value}'

    def swap_path(self, disk_format: DiskFormat) -> str:
        """Path of the swap disk."""
        return f'{self.swap_stem}.{disk_format.value}'

    def config_path(self, disk_format: DiskFormat) -> str:
        """Path of the config drive."""
        return f'{self.config_stem}.{disk_format.value}'
