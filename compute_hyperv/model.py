# SPDX-License-Identifier: Apache-2.0
"""The values that cross module borders: frozen, typed, checked once.

Quantities carry their unit in the name (``size_bytes``, ``memory_mib``).
A value that could not exist on a Hyper-V host cannot be built: the
constructors raise :class:`ValueError`.  Nothing here knows Nova, os-win,
files or time.
"""

from __future__ import annotations

import dataclasses
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


class OSType(enum.Enum):
    """Guest families that Nova's ``os_type`` image property knows."""

    WINDOWS = 'windows'
    LINUX = 'linux'


class ShutdownAction(enum.IntEnum):
    """``AutomaticShutdownAction``: what happens as the host shuts down."""

    TURN_OFF = 2
    SAVE = 3
    SHUTDOWN = 4


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(text)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WindowsVersion:
    """Version of the host's Windows, ``Win32_OperatingSystem.Version``."""

    major: int
    minor: int
    build: int

    @classmethod
    def parse(cls, text: str) -> WindowsVersion:
        """Read ``'10.0.17763'``; a missing build counts as 0."""
        numbers = [int(part) for part in text.split('.')]
        major, minor, build = (numbers + [0, 0])[:3]
        return cls(major=major, minor=minor, build=build)

    @property
    def nova_int(self) -> int:
        """Nova's form, ``major * 1000 + minor``; 10.0 is 10000."""
        return self.major * 1000 + self.minor

    def __str__(self) -> str:
        return f'{self.major}.{self.minor}.{self.build}'


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MachineLimits:
    """The largest VM of one generation that this Windows runs."""

    generation: Generation
    vcpus: int
    memory_mib: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostCaps:
    """What this Windows build can do; detected once, by ``oswin``."""

    windows: WindowsVersion
    #: One entry for each generation that the host can run.
    limits: tuple[MachineLimits, ...]
    ide_luns: int = IDE_LUNS
    scsi_controllers: int = SCSI_CONTROLLERS
    scsi_luns: int = SCSI_LUNS
    #: NICs can be added to running generation 2 VMs (2016).
    hot_nic: bool
    #: VMs can run VMs (2016).
    nested: bool
    #: Generation 2 Linux guests can have secure boot (2016).
    linux_secure_boot: bool
    vtpm: bool
    dda: bool
    remotefx: bool
    production_checkpoints: bool
    #: A VM's threads per core can be chosen (2016, version 1703; 2019).
    threads_per_core: bool = False
    #: The node belongs to a failover cluster.
    clustered: bool = False

    def __post_init__(self) -> None:
        _require(bool(self.limits), 'a host runs at least one generation')

    @property
    def generations(self) -> tuple[Generation, ...]:
        """The generations that this host runs."""
        return tuple(limit.generation for limit in self.limits)

    def limits_of(self, generation: Generation) -> MachineLimits:
        """The limits of one generation.

        :raises KeyError: this host does not run it.
        """
        for limit in self.limits:
            if limit.generation is generation:
                return limit
        raise KeyError(generation)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NumaNode:
    """One NUMA node of the host."""

    node_id: int
    cpus: frozenset[int]
    memory_mib: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CpuFacts:
    """The host's processors, all sockets together."""

    arch: str           #: Nova's canonical name, ``x86_64``
    vendor: str
    model: str
    mhz: int
    sockets: int
    cores_per_socket: int
    threads_per_core: int
    logical: int        #: logical processors of all sockets
    features: frozenset[str]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VolumeFacts:
    """A volume that holds instances."""

    path: str
    total_bytes: int
    free_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostFacts:
    """What the host has; read by ``hostops``."""

    name: str
    windows: WindowsVersion
    cpu: CpuFacts
    memory_mib: int
    free_memory_mib: int
    numa: tuple[NumaNode, ...]
    volumes: tuple[VolumeFacts, ...]

    @property
    def disk_total_gib(self) -> int:
        """Capacity of the volumes of instances, rounded down."""
        return sum(volume.total_bytes for volume in self.volumes) // GIB

    @property
    def disk_free_gib(self) -> int:
        """Space free on the volumes of instances, rounded down."""
        return sum(volume.free_bytes for volume in self.volumes) // GIB


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CpuSpec:
    """Virtual processors of a VM."""

    count: int
    #: Hide features that processors of other hosts may lack.
    limit_features: bool = False
    #: Cap in thousandths of a percent of the VM's processors.
    limit: int = CPU_LIMIT_NONE
    #: Share of a busy host against other VMs, 1 to 10000.
    weight: int = CPU_WEIGHT_DEFAULT
    #: Threads per core shown to the guest; None leaves it to the host.
    threads_per_core: int | None = None

    def __post_init__(self) -> None:
        _require(self.count > 0, 'a VM has at least one vCPU')
        _require(0 < self.limit <= CPU_LIMIT_NONE, f'limit {self.limit}')
        _require(1 <= self.weight <= 10_000, f'weight {self.weight}')
        _require(self.threads_per_core in (None, 1, 2),
                 f'{self.threads_per_core} threads per core')

    @property
    def is_tuned(self) -> bool:
        """Whether more is asked than count and feature limit."""
        return (self.limit != CPU_LIMIT_NONE
                or self.weight != CPU_WEIGHT_DEFAULT
                or self.threads_per_core is not None)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemorySpec:
    """Memory of a VM.

    With a ratio above 1 the VM starts with ``maximum / ratio`` and may
    grow; with 1 it has all of it all the time.
    """

    maximum_mib: int
    ratio: float = 1.0

    def __post_init__(self) -> None:
        _require(self.maximum_mib >= 32, 'a VM has at least 32 MiB')
        _require(self.maximum_mib % 2 == 0, 'memory is an even number')
        _require(self.ratio >= 1.0, f'ratio {self.ratio}')

    @property
    def is_dynamic(self) -> bool:
        """Whether the host may take memory away from the VM."""
        return self.ratio > 1.0

    @property
    def startup_mib(self) -> int:
        """Memory at start: rounded down to an even number of MiB."""
        return int(self.maximum_mib / self.ratio) // 2 * 2

    @property
    def minimum_mib(self) -> int:
        """The least that the VM keeps: what it started with."""
        return self.startup_mib


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NumaSpec:
    """Symmetric virtual NUMA topology."""

    nodes: int
    vcpus_per_node: int
    memory_mib_per_node: int

    def __post_init__(self) -> None:
        _require(self.nodes > 0 and self.vcpus_per_node > 0, 'empty NUMA')
        _require(self.memory_mib_per_node % 2 == 0, 'odd node memory')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SecuritySpec:
    """Firmware security of a VM."""

    secure_boot: bool = False
    #: The guest family chooses the template of trusted certificates.
    os_type: OSType | None = None

    def __post_init__(self) -> None:
        _require(not self.secure_boot or self.os_type is not None,
                 'secure boot needs the guest family')

    @property
    def needs_microsoft_uefi_ca(self) -> bool:
        """Whether the loader is signed by the UEFI certificate authority.

        Linux loaders are; Windows ones by Microsoft's own authority.
        """
        return self.secure_boot and self.os_type is OSType.LINUX


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SerialPortSpec:
    """A COM port that is connected to a named pipe."""

    number: int         #: 1 or 2
    interactive: bool   #: read and write; else only read
    logged: bool        #: what the guest writes goes to the console log

    def __post_init__(self) -> None:
        _require(self.number in SERIAL_PORT_NUMBERS, f'COM{self.number}')
        _require(self.interactive or self.logged, 'an unused port')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MachineSpec:
    """A VM without its drives and NICs."""

    generation: Generation
    cpu: CpuSpec
    memory: MemorySpec
    numa: NumaSpec | None = None
    security: SecuritySpec = SecuritySpec()
    serial_ports: tuple[SerialPortSpec, ...] = ()
    #: The VM may run VMs.
    nested: bool = False
    #: None leaves Hyper-V's default, which saves the VM.
    shutdown_action: ShutdownAction | None = None

    def __post_init__(self) -> None:
        _require(self.numa is None or not self.memory.is_dynamic,
                 'dynamic memory and vNUMA exclude each other')
        _require(not (self.nested and self.memory.is_dynamic),
                 'dynamic memory and nesting exclude each other')
        _require(not self.security.secure_boot
                 or self.generation is Generation.TWO,
                 'secure boot needs generation 2')


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
        _require(0 <= self.controller < controllers,
                 f'{self.bus.value} controller {self.controller}')
        _require(0 <= self.lun < luns,
                 f'{self.bus.value} has no LUN {self.lun}')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class QosSpec:
    """Limit of a virtual disk, in I/O operations of 8 KiB a second."""

    max_iops: int

    def __post_init__(self) -> None:
        _require(self.max_iops > 0, f'{self.max_iops} IOPS')


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
    tag: str | None = None
    device_name: str | None = None

    def __post_init__(self) -> None:
        _require(self.size_bytes >= 0, f'{self.size_bytes} bytes')
        _require(self.source is not DiskSource.BLANK or self.size_bytes > 0,
                 'a blank disk has a size')
        _require(self.boot_index is None or self.boot_index >= 0,
                 f'boot index {self.boot_index}')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VolumeSpec:
    """A Cinder volume and its place in a VM."""

    volume_id: str
    protocol: str       #: Cinder's ``driver_volume_type``
    slot: Slot
    boot_index: int | None = None
    device_name: str | None = None
    tag: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NicSpec:
    """A virtual NIC and the switch that it goes to."""

    port_id: str
    mac: str            #: with colons, as Neutron has it
    vif_type: str
    switch: str
    sriov: bool = False
    mac_spoofing: bool = False
    mtu: int | None = None
    tag: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VhdInfo:
    """What virtdisk.dll says about a virtual disk."""

    path: str
    format: DiskFormat
    type: DiskType
    virtual_size_bytes: int
    file_size_bytes: int
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
        _require(len(set(slots)) == len(slots), 'two drives in one slot')

    @property
    def drives(self) -> tuple[DiskSpec | VolumeSpec, ...]:
        """All disks, DVDs and volumes."""
        return self.disks + self.volumes

    @property
    def root(self) -> DiskSpec | None:
        """The disk that is made from the image; None without one."""
        return next((disk for disk in self.disks if disk.source.is_image),
                    None)

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
        order = [BootDevice.HARD_DISK, BootDevice.CDROM,
                 BootDevice.NETWORK, BootDevice.FLOPPY]
        if any(disk.role is DiskRole.ISO for disk in self.disks):
            order[:2] = [BootDevice.CDROM, BootDevice.HARD_DISK]
        return tuple(order)
