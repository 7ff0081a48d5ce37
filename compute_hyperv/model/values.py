# SPDX-License-Identifier: Apache-2.0
"""Closed sets, limits and units that the other values are made of."""

from __future__ import annotations

import enum

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

#: IDE controllers of a generation 1 VM, and drives on each of them.
IDE_CONTROLLERS = 2
IDE_LUNS = 2
#: SCSI controllers that a VM may have, and drives on each of them.
SCSI_CONTROLLERS = 4
SCSI_LUNS = 64

#: The value of ``Msvm_ProcessorSettingData.Limit`` that means "no limit".
CPU_LIMIT_NONE = 100_000
CPU_WEIGHT_DEFAULT = 100
#: Serial ports that every VM has: COM1 and COM2.
SERIAL_PORT_NUMBERS = (1, 2)


def require(condition: bool, text: str) -> None:
    """Refuse to build a value that cannot exist.

    :raises ValueError: *condition* does not hold.
    """
    if not condition:
        raise ValueError(text)


class Generation(enum.IntEnum):
    """Virtual machine generation; the value is Hyper-V's own number."""

    ONE = 1
    TWO = 2


class Bus(enum.Enum):
    """Controller type; the value is Nova's name of the bus."""

    IDE = 'ide'
    SCSI = 'scsi'


class DriveType(enum.Enum):
    """What a drive looks like to the guest."""

    DISK = 'disk'
    DVD = 'dvd'


class DiskFormat(enum.Enum):
    """Format of a file behind a drive; the value is its extension."""

    VHD = 'vhd'
    VHDX = 'vhdx'
    ISO = 'iso'

    @property
    def drive_type(self) -> DriveType:
        """The drive that such a file goes into."""
        return DriveType.DVD if self is DiskFormat.ISO else DriveType.DISK


class DiskType(enum.IntEnum):
    """Kind of a virtual disk; the value is virtdisk.dll's subtype."""

    FIXED = 2
    DYNAMIC = 3
    DIFFERENCING = 4


class DiskRole(enum.Enum):
    """Why an instance has a local disk."""

    ROOT = 'root'
    ISO = 'iso'             #: the image itself, in the DVD drive
    EPHEMERAL = 'ephemeral'
    SWAP = 'swap'
    CONFIG = 'config'


class DiskSource(enum.Enum):
    """How the file of a local disk comes into being."""

    IMAGE_CHILD = 'image-child'     #: differencing disk on a cached image
    IMAGE_COPY = 'image-copy'       #: full copy of a cached image
    BLANK = 'blank'                 #: new dynamic disk
    CONFIG_DRIVE = 'config-drive'   #: built from metadata
    MOVED = 'moved'                 #: it was there before a resize

    @property
    def is_image(self) -> bool:
        """Whether the file is made from a cached image."""
        return self in (DiskSource.IMAGE_CHILD, DiskSource.IMAGE_COPY)


class BootDevice(enum.IntEnum):
    """Boot devices of generation 1; ``BootOrder`` numbers them so."""

    FLOPPY = 0
    CDROM = 1
    HARD_DISK = 2
    NETWORK = 3

    @classmethod
    def order(cls, *, dvd_first: bool) -> tuple[BootDevice, ...]:
        """All of them, in the order in which the BIOS is to look."""
        disks = [cls.HARD_DISK, cls.CDROM]
        if dvd_first:
            disks.reverse()
        return (*disks, cls.NETWORK, cls.FLOPPY)


class OSType(enum.Enum):
    """Guest families that Nova's ``os_type`` image property knows."""

    WINDOWS = 'windows'
    LINUX = 'linux'


class ShutdownAction(enum.IntEnum):
    """``AutomaticShutdownAction``: what happens as the host shuts down."""

    TURN_OFF = 2
    SAVE = 3
    SHUTDOWN = 4
