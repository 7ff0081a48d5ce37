# SPDX-License-Identifier: Apache-2.0
"""From flavor, image and host to a VM without drives and NICs.

Pure: nothing is read but the arguments, nothing is touched.  A request
that this host or no host can run is refused with the name of the property
and the values that it may have.
"""

from __future__ import annotations

import dataclasses

from compute_hyperv import model
from compute_hyperv.plan import request as req
from compute_hyperv.plan import security

_GENERATIONS = {
    'hyperv-gen1': model.Generation.ONE,
    'hyperv-gen2': model.Generation.TWO,
}
_FIRMWARE = {
    'bios': model.Generation.ONE,
    'uefi': model.Generation.TWO,
}
_MINIMUM_MIB = 32
#: libvirt's defaults, which Nova's documentation of the specs assumes.
_CPU_PERIOD_DEFAULT_US = 100_000
_CPU_SHARES_PER_VCPU = 1024
_REMOTEFX_SPECS = ('os:resolution', 'os:monitors', 'os:vram')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MachineOptions:
    """Configuration that shapes every VM of this node."""

    dynamic_memory_ratio: float = 1.0
    limit_cpu_features: bool = False
    shutdown_action: model.ShutdownAction | None = None


def plan_machine(request: req.Request, caps: model.HostCaps,
                 options: MachineOptions) -> model.MachineSpec:
    """Decide generation, processors, memory, ports and firmware.

    :raises nova.exception.InvalidInput: the flavor, or its combination
        with the image, cannot be run anywhere.
    :raises nova.exception.ImageUnacceptable: an image property.
    :raises nova.exception.ComputeResourcesUnavailable: this host cannot.
    """
    _refuse_remotefx(request)
    generation = plan_generation(request, caps)
    nested = _plan_nesting(request, caps)
    numa = _plan_numa(request)
    ratio = options.dynamic_memory_ratio
    if numa is not None or nested:
        ratio = 1.0
    return model.MachineSpec(
        generation=generation,
        cpu=_plan_cpu(request, generation, caps, options),
        memory=_plan_memory(request, generation, caps, ratio),
        numa=numa,
        security=security.plan_security(request, generation, caps),
        serial_ports=_plan_serial_ports(request),
        nested=nested,
        shutdown_action=options.shutdown_action)


def plan_generation(request: req.Request,
                    caps: model.HostCaps) -> model.Generation:
    """The generation that the image was prepared for.

    ``hw_machine_type`` decides, then ``hw_firmware_type``; both must
    agree.  Without either it is generation 1.
    """
    machine = request.find_property_choice('hw_machine_type', _GENERATIONS)
    firmware = request.find_property_choice('hw_firmware_type', _FIRMWARE)
    generation = model.Generation.ONE
    if firmware is not None:
        generation = _FIRMWARE[firmware]
    if machine is not None:
        if firmware is not None and generation is not _GENERATIONS[machine]:
            raise req.conflict(
                f'image properties hw_machine_type={machine} and '
                f'hw_firmware_type={firmware} exclude each other; allowed: '
                'hyperv-gen1 with bios, hyperv-gen2 with uefi')
        generation = _GENERATIONS[machine]
    if generation not in caps.generations:
        raise req.host_cannot(
            f'this host ({caps.windows}) runs no generation '
            f'{generation.value} VMs')
    return generation


def _plan_cpu(request: req.Request, generation: model.Generation,
              caps: model.HostCaps,
              options: MachineOptions) -> model.CpuSpec:
    count = request.instance.flavor.vcpus
    limit = caps.limits_of(generation).vcpus
    if count > limit:
        raise req.host_cannot(
            f'a generation {generation.value} VM has at most {limit} vCPUs '
            f'on this host ({caps.windows}), the flavor has {count}')
    return model.CpuSpec(
        count=count,
        limit_features=options.limit_cpu_features,
        limit=_plan_cpu_limit(request),
        weight=_plan_cpu_weight(request, count),
        threads_per_core=_plan_threads(request, count, caps))


def _plan_cpu_limit(request: req.Request) -> int:
    """``quota:cpu_quota`` of ``quota:cpu_period`` for each vCPU.

    A quota of 0 or less, as in libvirt, means no limit.
    """
    period = request.find_spec_int('quota:cpu_period', minimum=1)
    quota = request.find_spec_int('quota:cpu_quota', minimum=-1)
    if quota is None or quota <= 0:
        return model.CPU_LIMIT_NONE
    share = quota / (period or _CPU_PERIOD_DEFAULT_US)
    limit = round(share * model.CPU_LIMIT_NONE)
    return min(max(limit, 1), model.CPU_LIMIT_NONE)


def _plan_cpu_weight(request: req.Request, count: int) -> int:
    """``quota:cpu_shares``: 1024 for each vCPU are Hyper-V's 100."""
    shares = request.find_spec_int('quota:cpu_shares', minimum=1)
    if shares is None:
        return model.CPU_WEIGHT_DEFAULT
    usual = _CPU_SHARES_PER_VCPU * count
    weight = round(shares * model.CPU_WEIGHT_DEFAULT / usual)
    return min(max(weight, 1), 10_000)


def _plan_threads(request: req.Request, count: int,
                  caps: model.HostCaps) -> int | None:
    """Threads per core; None leaves the choice to Hyper-V.

    Sockets and cores follow from the virtual NUMA topology in Hyper-V, so
    that only ``hw:cpu_threads`` and ``hw:cpu_max_threads`` matter.
    """
    threads = _find_topology(request, 'threads')
    maximum = _find_topology(request, 'max_threads')
    if threads is None and maximum is None:
        return None
    if threads is not None and maximum is not None and threads > maximum:
        raise req.conflict(f'hw:cpu_threads={threads} is more than '
                           f'hw:cpu_max_threads={maximum}')
    wanted = 1 if maximum == 1 else threads
    if wanted is None:
        return None
    if wanted > 2 or count % wanted:
        raise req.conflict(
            f'hw:cpu_threads={wanted} (hw_cpu_threads of the image); allowed: '
            f'1, or 2 with an even number of vCPUs; the flavor has {count}')
    if not caps.threads_per_core:
        if wanted > 1:
            raise req.host_cannot(
                'hw:cpu_threads=2 needs Windows Server 2019 or newer, this '
                f'host is {caps.windows}')
        # Older Windows shows guests no threads anyhow.
        return None
    return wanted


def _find_topology(request: req.Request, what: str) -> int | None:
    """``hw:cpu_<what>`` of the flavor, else ``hw_cpu_<what>``."""
    value = request.find_spec_int(f'hw:cpu_{what}', minimum=1)
    if value is not None:
        return value
    text = request.find_property(f'hw_cpu_{what}')
    if text is None or text == '':
        return None
    if not text.isdigit() or int(text) < 1:
        raise request.bad_property(f'hw_cpu_{what}', text, '1 or more')
    return int(text)


def _plan_memory(request: req.Request, generation: model.Generation,
                 caps: model.HostCaps, ratio: float) -> model.MemorySpec:
    """Memory in even MiB; never more than the flavor has."""
    memory_mib = request.instance.flavor.memory_mb
    limit_mib = caps.limits_of(generation).memory_mib
    if memory_mib < _MINIMUM_MIB:
        raise req.conflict(f'the flavor has {memory_mib} MiB of memory, '
                           f'Hyper-V needs {_MINIMUM_MIB}')
    if memory_mib > limit_mib:
        raise req.host_cannot(
            f'a generation {generation.value} VM has at most {limit_mib} '
            f'MiB on this host ({caps.windows}), the flavor has '
            f'{memory_mib}')
    maximum_mib = memory_mib // 2 * 2
    # A VM does not start with less than the minimum.
    ratio = max(1.0, min(ratio, maximum_mib / _MINIMUM_MIB))
    return model.MemorySpec(maximum_mib=maximum_mib, ratio=ratio)


def _plan_numa(request: req.Request) -> model.NumaSpec | None:
    """Nova's cells as Hyper-V's: all alike, none pinned."""
    topology = request.instance.numa_topology
    if topology is None or not topology.cells:
        return None
    cells = topology.cells
    if any(cell.cpu_policy in ('dedicated', 'mixed') for cell in cells):
        raise req.conflict('hw:cpu_policy: Hyper-V pins no virtual '
                           'processors; allowed: shared')
    shapes = {(len(cell.cpuset), cell.memory) for cell in cells}
    if len(shapes) > 1:
        raise req.conflict(
            'hw:numa_nodes, hw:numa_cpus.N, hw:numa_mem.N: Hyper-V has only '
            'symmetric virtual NUMA, every node with the same number of '
            'vCPUs and the same memory')
    vcpus, memory_mib = shapes.pop()
    if memory_mib % 2:
        raise req.conflict(
            f'hw:numa_nodes={len(cells)}: each node would have '
            f'{memory_mib} MiB of memory, Hyper-V needs an even number')
    return model.NumaSpec(nodes=len(cells), vcpus_per_node=vcpus,
                          memory_mib_per_node=memory_mib)


def _plan_nesting(request: req.Request, caps: model.HostCaps) -> bool:
    """``vmx`` among the CPU features of flavor or image."""
    flavor = _features(request.find_spec('hw:cpu_features'))
    image = _features(request.find_property('hw_cpu_features'))
    if flavor - {'vmx'}:
        raise req.bad_spec('hw:cpu_features', ','.join(sorted(flavor)),
                           'vmx')
    if image - {'vmx'}:
        raise request.bad_property('hw_cpu_features',
                                   ','.join(sorted(image)), 'vmx')
    if not flavor and not image:
        return False
    if not caps.nested:
        raise req.host_cannot(
            'cpu feature vmx: nested virtualization needs Windows Server '
            f'2016 or newer, this host is {caps.windows}')
    if caps.clustered:
        raise req.host_cannot('cpu feature vmx: nested virtualization does '
                              'not work on nodes of a failover cluster')
    return True


def _features(text: str | None) -> set[str]:
    parts = (part.strip().lower() for part in (text or '').split(','))
    return {part for part in parts if part}


def _plan_serial_ports(request: req.Request
                       ) -> tuple[model.SerialPortSpec, ...]:
    """COM ports: one for reading and writing, one for the log.

    Without properties COM1 is both.  The port that is only logged is
    read only.
    """
    _check_port_count(request)
    interactive = _find_port(request, 'interactive_serial_port')
    logging = _find_port(request, 'logging_serial_port')
    if interactive is None:
        interactive = 1
    if logging is None:
        logging = interactive
    return tuple(
        model.SerialPortSpec(number=number,
                             interactive=number == interactive,
                             logged=number == logging)
        for number in sorted({interactive, logging}))


def _find_port(request: req.Request, name: str) -> int | None:
    text = request.find_property_choice(
        name, [str(number) for number in model.SERIAL_PORT_NUMBERS])
    return None if text is None else int(text)


def _check_port_count(request: req.Request) -> None:
    ports = len(model.SERIAL_PORT_NUMBERS)
    count = request.find_spec_int('hw:serial_port_count', minimum=0)
    if count is not None and count > ports:
        raise req.bad_spec('hw:serial_port_count', str(count),
                           f'0 to {ports}')
    text = request.find_property('hw_serial_port_count')
    if text and (not text.isdigit() or int(text) > ports):
        raise request.bad_property('hw_serial_port_count', text,
                                   f'0 to {ports}')


def _refuse_remotefx(request: req.Request) -> None:
    """Refuse what would otherwise be left out without a word."""
    for name in _REMOTEFX_SPECS:
        value = request.find_spec(name)
        if value:
            raise req.conflict(
                f'flavor extra spec {name}={value}: this driver makes no '
                'RemoteFX adapters; Windows removed them in 2021 '
                '(KB4570006)')
