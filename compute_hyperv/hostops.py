# SPDX-License-Identifier: Apache-2.0
"""The host itself: what it has, what it reports, and its power switch."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

from nova import objects
from nova.objects import fields
from oslo_log import log as logging

from compute_hyperv import model
from compute_hyperv import oswin
from compute_hyperv import paths
from compute_hyperv.plan import inventory

LOG = logging.getLogger(__name__)

#: Win32_Processor.Architecture.
_ARCHITECTURES = {
    0: fields.Architecture.I686,
    5: fields.Architecture.ARMV7,
    9: fields.Architecture.X86_64,
    12: fields.Architecture.AARCH64,
}
#: 64-bit hosts run 32-bit guests of the same family.
_GUEST_ARCHITECTURES = {
    fields.Architecture.X86_64: (fields.Architecture.X86_64,
                                 fields.Architecture.I686),
}
#: PF_* of winnt.h, what IsProcessorFeaturePresent answers for.
_CPU_FEATURES = {
    3: 'mmx', 6: 'sse', 7: '3dnow', 8: 'rdtsc', 9: 'pae', 10: 'sse2',
    12: 'nx', 13: 'sse3', 17: 'xsave', 20: 'slat', 21: 'vmx', 36: 'ssse3',
    37: 'sse4_1', 38: 'sse4_2', 39: 'avx', 40: 'avx2',
}
_PAGE_KIB = 4
_KIB_PER_MIB = 1024


class HostOps:
    """Facts, resources and power of the host.

    :param win: the host.
    :param paths: tell the volume that instances live on.
    :param my_ip: address that other nodes reach this one by.
    :param reserved_cpus: logical processors kept for the host itself.
    :param reserved_memory_mib: memory kept for the host itself.
    """

    def __init__(self, win: oswin.Win, paths: paths.Paths, *, my_ip: str,
                 reserved_cpus: int = 0,
                 reserved_memory_mib: int = 0) -> None:
        self._win = win
        self._paths = paths
        self._my_ip = my_ip
        self._reserved_cpus = reserved_cpus
        self._reserved_memory_mib = reserved_memory_mib

    def get_available_nodes(self) -> list[str]:
        """The one node: the host's own name, as Windows spells it."""
        return [self._win.name]

    def get_host_ip_addr(self) -> str:
        """Address that other nodes reach this one by."""
        return self._my_ip

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """What Nova's resource tracker stores of this node.

        :returns: the dict of ``ComputeDriver.get_available_resource``;
            sizes in MiB and GiB, nested structures as JSON text.
        """
        facts = self.facts()
        used_mib = facts.memory_mib - facts.free_memory_mib
        return {
            'vcpus': facts.cpu.logical,
            'vcpus_used': 0,
            'memory_mb': facts.memory_mib,
            'memory_mb_used': used_mib,
            'local_gb': facts.disk_total_gib,
            'local_gb_used': facts.disk_total_gib - facts.disk_free_gib,
            'disk_available_least': facts.disk_free_gib,
            'hypervisor_type': fields.HVType.HYPERV,
            'hypervisor_version': facts.windows.nova_int,
            'hypervisor_hostname': facts.name,
            'supported_instances': _supported_instances(facts.cpu.arch),
            'cpu_info': _cpu_info(facts.cpu),
            'numa_topology': _numa_topology(facts.numa),
            'pci_passthrough_devices': '[]',
        }

    def update_provider_tree(self, provider_tree: Any, nodename: str,
                             ratios: inventory.Ratios,
                             reserved_disk_gib: int) -> None:
        """Write inventory and traits of this node into Nova's copy.

        Traits and providers of others (operators, PCI devices) stay.

        :param ratios: allocation ratio of VCPU, MEMORY_MB and DISK_GB.
        :param reserved_disk_gib: disk space kept for the host itself.
        """
        facts = self.facts()
        reserved = inventory.Reserved(
            cpus=self._reserved_cpus, disk_gib=reserved_disk_gib,
            memory_mib=self._reserved_memory_mib)
        provider_tree.update_inventory(
            nodename, inventory.plan_inventory(facts, ratios, reserved))
        traits = inventory.plan_traits(facts, self._win.caps)
        provider_tree.add_traits(
            nodename, *[trait for trait, holds in traits.items() if holds])
        provider_tree.remove_traits(
            nodename, *[trait for trait, holds in traits.items()
                        if not holds])

    def get_host_uptime(self) -> str:
        """Time and uptime in the form of the Unix command."""
        seconds = self._win.host.get_host_tick_count64() // 1000
        days, seconds = divmod(seconds, 24 * 3600)
        hours, minutes = divmod(seconds // 60, 60)
        return (f'{time.strftime("%H:%M:%S")} up {days} days, '
                f'{hours:02}:{minutes:02}, 0 users, '
                'load average: 0, 0, 0')

    def host_power_action(self, action: str) -> str:
        """Shut the host down, or restart it.

        :param action: ``shutdown`` or ``reboot``.
        :raises NotImplementedError: ``startup``; nobody is there to do it.
        """
        if action not in ('shutdown', 'reboot'):
            raise NotImplementedError(
                f'Host action {action}; allowed: shutdown, reboot')
        LOG.warning("Host %s: %s, asked for by Nova", self._win.name, action)
        self._win.host.host_power_action(action)
        return action

    def cpu_mhz(self) -> int:
        """Clock of the host's processors."""
        return self._cpu.mhz

    def facts(self) -> model.HostFacts:
        """What the host has now; what cannot change is read once."""
        total_kib, free_kib = self._win.host.get_memory_info()
        return model.HostFacts(
            name=self._win.name, windows=self._win.caps.windows,
            cpu=self._cpu, numa=self._numa,
            memory_mib=total_kib // _KIB_PER_MIB,
            free_memory_mib=free_kib // _KIB_PER_MIB,
            volumes=tuple(map(self._volume, self._paths.readable_roots())))

    def _volume(self, path: str) -> model.VolumeFacts:
        """A volume of instances: drive, mount point or share."""
        total_bytes, free_bytes = self._win.disk.get_disk_capacity(path)
        return model.VolumeFacts(path=path, total_bytes=total_bytes,
                                 free_bytes=free_bytes)

    @functools.cached_property
    def _cpu(self) -> model.CpuFacts:
        sockets = self._win.host.get_cpus_info()
        first = sockets[0]
        cores = int(first['NumberOfCores'])
        threads = int(first['NumberOfLogicalProcessors'])
        architecture = int(first['Architecture'])
        return model.CpuFacts(
            arch=_ARCHITECTURES.get(architecture, str(architecture)),
            vendor=first['Manufacturer'], model=first['Name'],
            mhz=int(first['MaxClockSpeed']), sockets=len(sockets),
            cores_per_socket=cores, threads_per_core=threads // cores,
            logical=sum(int(socket['NumberOfLogicalProcessors'])
                        for socket in sockets),
            features=frozenset(
                name for key, name in _CPU_FEATURES.items()
                if self._win.host.is_cpu_feature_present(key)))

    @functools.cached_property
    def _numa(self) -> tuple[model.NumaNode, ...]:
        return tuple(
            model.NumaNode(
                node_id=int(node['id']), memory_mib=int(node['memory']),
                cpus=frozenset(int(cpu) for cpu in node['cpuset']))
            for node in self._win.host.get_numa_nodes())


def _supported_instances(arch: str) -> list[tuple[str, str, str]]:
    return [(guest, fields.HVType.HYPERV, fields.VMMode.HVM)
            for guest in _GUEST_ARCHITECTURES.get(arch, (arch,))]


def _cpu_info(cpu: model.CpuFacts) -> str:
    return json.dumps({
        'arch': cpu.arch,
        'vendor': cpu.vendor,
        'model': cpu.model,
        'features': sorted(cpu.features),
        'topology': {'sockets': cpu.sockets,
                     'cores': cpu.cores_per_socket,
                     'threads': cpu.threads_per_core},
    })


def _numa_topology(nodes: tuple[model.NumaNode, ...]) -> str | None:
    """Nova's object as JSON.

    The resource tracker reads every field of a cell as soon as an instance
    has a NUMA topology, and takes the smallest page size: a cell without
    ``pcpuset``, ``socket`` or ``mempages`` breaks it.
    """
    if not nodes:
        return None
    topology = objects.NUMATopology(cells=[_numa_cell(n) for n in nodes])
    return str(topology._to_json())


def _numa_cell(node: model.NumaNode) -> objects.NUMACell:
    pages = objects.NUMAPagesTopology(
        size_kb=_PAGE_KIB, total=node.memory_mib * _KIB_PER_MIB // _PAGE_KIB,
        used=0, reserved=0)
    return objects.NUMACell(
        id=node.node_id, cpuset=set(node.cpus), pcpuset=set(),
        memory=node.memory_mib, cpu_usage=0, memory_usage=0,
        pinned_cpus=set(), siblings=[], mempages=[pages], socket=None,
        network_metadata=objects.NetworkMetadata(physnets=set(),
                                                 tunneled=False))
