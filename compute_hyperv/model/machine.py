# SPDX-License-Identifier: Apache-2.0
"""A virtual machine without its drives and NICs."""

from __future__ import annotations

import dataclasses

from compute_hyperv.model.values import CPU_LIMIT_NONE
from compute_hyperv.model.values import CPU_WEIGHT_DEFAULT
from compute_hyperv.model.values import Generation
from compute_hyperv.model.values import OSType
from compute_hyperv.model.values import require
from compute_hyperv.model.values import SERIAL_PORT_NUMBERS
from compute_hyperv.model.values import ShutdownAction


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
        require(self.count > 0, 'a VM has at least one vCPU')
        require(0 < self.limit <= CPU_LIMIT_NONE, f'limit {self.limit}')
        require(1 <= self.weight <= 10_000, f'weight {self.weight}')
        require(self.threads_per_core in (None, 1, 2),
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
        require(self.maximum_mib >= 32, 'a VM has at least 32 MiB')
        require(self.maximum_mib % 2 == 0, 'memory is an even number')
        require(self.ratio >= 1.0, f'ratio {self.ratio}')

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
        require(self.nodes > 0 and self.vcpus_per_node > 0, 'empty NUMA')
        require(self.memory_mib_per_node % 2 == 0, 'odd node memory')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SecuritySpec:
    """Firmware security of a VM."""

    secure_boot: bool = False
    #: The guest family chooses the template of trusted certificates.
    os_type: OSType | None = None

    def __post_init__(self) -> None:
        require(not self.secure_boot or self.os_type is not None,
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
        require(self.number in SERIAL_PORT_NUMBERS, f'COM{self.number}')
        require(self.interactive or self.logged, 'an unused port')


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
        require(self.numa is None or not self.memory.is_dynamic,
                'dynamic memory and vNUMA exclude each other')
        require(not (self.nested and self.memory.is_dynamic),
                'dynamic memory and nesting exclude each other')
        require(not self.security.secure_boot
                or self.generation is Generation.TWO,
                'secure boot needs generation 2')
