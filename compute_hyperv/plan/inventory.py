# SPDX-License-Identifier: Apache-2.0
"""What placement learns about a node."""

from __future__ import annotations

import collections.abc
import dataclasses

import os_resource_classes as orc
import os_traits

from compute_hyperv import model

Inventory = dict[str, dict[str, float]]
Ratios = collections.abc.Mapping[str, float]

#: Processor features of Windows under their names in os-traits.
_CPU_TRAITS = {
    '3dnow': os_traits.HW_CPU_X86_3DNOW,
    'mmx': os_traits.HW_CPU_X86_MMX,
    'sse': os_traits.HW_CPU_X86_SSE,
    'sse2': os_traits.HW_CPU_X86_SSE2,
    'sse3': os_traits.HW_CPU_X86_SSE3,
    'ssse3': os_traits.HW_CPU_X86_SSSE3,
    'sse4_1': os_traits.HW_CPU_X86_SSE41,
    'sse4_2': os_traits.HW_CPU_X86_SSE42,
    'avx': os_traits.HW_CPU_X86_AVX,
    'avx2': os_traits.HW_CPU_X86_AVX2,
    'vmx': os_traits.HW_CPU_X86_VMX,
}
#: Local disks can be limited (``quota:disk_total_iops_sec``); os-traits has
#: no name for that.
DISK_QOS_TRAIT = 'CUSTOM_HYPERV_DISK_QOS'


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reserved:
    """What the operator keeps for the host itself."""

    cpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0


def plan_inventory(facts: model.HostFacts, ratios: Ratios,
                   reserved: Reserved) -> Inventory:
    """The node's inventory by resource class.

    :param ratios: allocation ratio of VCPU, MEMORY_MB and DISK_GB.
    :returns: Placement's records; without disk space no DISK_GB, for
        placement knows no total of 0.
    """
    totals = {
        orc.VCPU: (facts.cpu.logical, reserved.cpus),
        orc.MEMORY_MB: (facts.memory_mib, reserved.memory_mib),
        orc.DISK_GB: (facts.disk_total_gib, reserved.disk_gib),
    }
    return {name: _record(total, kept, ratios[name])
            for name, (total, kept) in totals.items() if total > 0}


def _record(total: int, reserved: int, ratio: float) -> dict[str, float]:
    # Placement refuses a reservation above the total.
    return {'total': total, 'reserved': min(reserved, total),
            'min_unit': 1, 'max_unit': total, 'step_size': 1,
            'allocation_ratio': ratio}


def plan_traits(facts: model.HostFacts,
                caps: model.HostCaps) -> dict[str, bool]:
    """Every trait that is the driver's to set, and whether it holds.

    Traits of capabilities (image types, secure boot) are not among them:
    Nova derives them from the driver's ``capabilities``.
    """
    traits = {trait: feature in facts.cpu.features
              for feature, trait in _CPU_TRAITS.items()}
    traits[os_traits.HW_CPU_HYPERTHREADING] = facts.cpu.threads_per_core > 1
    bios = model.Generation.ONE in caps.generations
    traits[os_traits.COMPUTE_FIRMWARE_BIOS] = bios
    traits[os_traits.COMPUTE_STORAGE_BUS_IDE] = bios
    traits[os_traits.COMPUTE_FIRMWARE_UEFI] = (
        model.Generation.TWO in caps.generations)
    traits[os_traits.COMPUTE_STORAGE_BUS_SCSI] = True
    traits[DISK_QOS_TRAIT] = True
    return traits
