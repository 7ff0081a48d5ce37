# SPDX-License-Identifier: Apache-2.0
"""Figures that Hyper-V collects of VMs, and Nova's diagnostics."""

from __future__ import annotations

import collections.abc
from typing import Any

from nova import objects
from nova.objects import fields
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

_STATES = {
    oswin.VMState.RUNNING: fields.InstancePowerState.RUNNING,
    oswin.VMState.OFF: fields.InstancePowerState.SHUTDOWN,
    oswin.VMState.PAUSED: fields.InstancePowerState.PAUSED,
    oswin.VMState.SAVED: fields.InstancePowerState.SUSPENDED,
}
_NS_PER_MS = 1_000_000


class MetricsOps:
    """Switches metrics on and reads them.

    :param win: the host.
    :param enabled: whether figures are collected on this node.
    :param cpu_mhz: clock of the host's processors, the unit of Hyper-V's
        processor figures.
    """

    def __init__(self, win: oswin.Win, *, enabled: bool,
                 cpu_mhz: collections.abc.Callable[[], int]) -> None:
        self._win = win
        self.enabled = enabled
        self._cpu_mhz = cpu_mhz

    def enable_vm(self, vm_name: str) -> None:
        """Collect processor, memory and disk figures of a VM.

        Hyper-V forgets it when the VM is off: call it at each start.
        A failure is a warning; the VM runs without figures.
        """
        if self.enabled:
            self._try(self._win.metrics.enable_vm_metrics_collection,
                      vm_name)

    def enable_nics(self, port_ids: collections.abc.Iterable[str]) -> None:
        """Collect figures of the NICs of a VM, which must be running."""
        if self.enabled:
            for port_id in port_ids:
                self._try(self._win.metrics.enable_port_metrics_collection,
                          port_id)

    def _try(self, enable: collections.abc.Callable[[str], None],
             name: str) -> None:
        try:
            enable(name)
        except errors.OS_WIN_ERRORS as exc:
            # Pass-through disks have none, for one.
            LOG.warning("Metrics of %s are not collected: %s", name,
                        errors.text_of(exc))

    def diagnostics(self, instance: objects.Instance
                    ) -> objects.diagnostics.Diagnostics:
        """What Nova's diagnostics API shows of an instance.

        Figures that are not collected are None, never 0.

        :raises nova.exception.InstanceNotFound: it has no VM here.
        """
        vm_name = instance.name
        state = self._win.state(vm_name)
        summary = self._win.vm.get_vm_summary_info(vm_name)
        uptime_ms = int(summary['UpTime'] or 0)
        result = objects.diagnostics.Diagnostics(
            state=_STATES[state], driver=fields.HypervisorDriver.HYPERV,
            hypervisor='hyperv', hypervisor_os='windows',
            uptime=uptime_ms // 1000,
            config_drive=bool(instance.config_drive),
            memory_details=objects.diagnostics.MemoryDiagnostics(
                maximum=instance.flavor.memory_mb,
                used=int(summary['MemoryUsage'] or 0)),
            cpu_details=[], nic_details=[], disk_details=[])
        self._add_cpus(result, vm_name, int(summary['NumberOfProcessors']))
        self._add_nics(result, vm_name)
        self._add_disks(result, vm_name)
        return result

    def _add_cpus(self, result: objects.diagnostics.Diagnostics,
                  vm_name: str, count: int) -> None:
        time_ns = utilisation = None
        if self.enabled:
            used_mhz, count, on_ms = self._win.metrics.get_cpu_metrics(
                vm_name)
            share = used_mhz / (self._cpu_mhz() * count)
            utilisation = min(100, round(100 * share))
            time_ns = int(on_ms * _NS_PER_MS * share)
        for number in range(count):
            result.add_cpu(id=number, time=time_ns, utilisation=utilisation)

    def _add_nics(self, result: objects.diagnostics.Diagnostics,
                  vm_name: str) -> None:
        if not self.enabled:
            return
        for nic in self._win.metrics.get_vnic_metrics(vm_name):
            result.add_nic(mac_address=_mac(nic['address']),
                           rx_octets=nic['rx_mb'] * model.MIB,
                           tx_octets=nic['tx_mb'] * model.MIB)

    def _add_disks(self, result: objects.diagnostics.Diagnostics,
                   vm_name: str) -> None:
        if not self.enabled:
            return
        for disk in self._win.metrics.get_disk_metrics(vm_name):
            result.add_disk(read_bytes=disk['read_mb'] * model.MIB,
                            write_bytes=disk['write_mb'] * model.MIB)


def _mac(address: Any) -> str:
    """Hyper-V's ``00155D010203`` with colons, lower case."""
    text = str(address).lower()
    return ':'.join(text[i:i + 2] for i in range(0, len(text), 2))
