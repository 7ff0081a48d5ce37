# SPDX-License-Identifier: Apache-2.0
"""What a Hyper-V host is and can do."""

from __future__ import annotations

import dataclasses

from compute_hyperv.model.values import Generation
from compute_hyperv.model.values import GIB
from compute_hyperv.model.values import IDE_LUNS
from compute_hyperv.model.values import require
from compute_hyperv.model.values import SCSI_CONTROLLERS
from compute_hyperv.model.values import SCSI_LUNS


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
    #: Synthetic NICs of a VM (64 since 2019).
    nics: int = 8
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
    #: Oldest and newest configuration version of VMs that run here.
    vm_versions: tuple[tuple[int, ...], tuple[int, ...]] = ((5, 0), (12, 0))
    #: The node belongs to a failover cluster.
    clustered: bool = False

    def __post_init__(self) -> None:
        require(bool(self.limits), 'a host runs at least one generation')

    @property
    def generations(self) -> tuple[Generation, ...]:
        """The generations that this host runs."""
        return tuple(limit.generation for limit in self.limits)

    def runs_version(self, version: str) -> bool:
        """Whether VMs of a configuration version run here.

        :param version: as in ``Msvm_VirtualSystemSettingData``, '10.0'.
        """
        oldest, newest = self.vm_versions
        numbers = tuple(int(part) for part in version.split('.'))
        return oldest <= numbers <= newest

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
