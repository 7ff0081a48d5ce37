# SPDX-License-Identifier: Apache-2.0
"""Power: Msvm_ComputerSystem.RequestStateChange and what it moves.

The matrix is hyperv-semantics.md section 2. A transition goes through its
state on the way (starting, saving, ...) when the method is called and
reaches its end in the job; a failed job goes back to where it began.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import typing

from .. import jobs
from .. import vm as vms
from .. import worker as workers
from . import engine
from . import virtualization
from ..vm import OFF
from ..vm import PAUSED
from ..vm import RUNNING
from ..vm import SAVED
from ..vm import Vm

if typing.TYPE_CHECKING:
    from ..host import Host

#: Hooks that open or close a part of a VM; each module adds its own.
#: ``up(vm, worker)`` may raise JobFailure or WinError.
UP: list[Callable[[Vm, workers.Worker], None]] = []
DOWN: list[Callable[[Vm, workers.Worker], None]] = []

#: RequestedState values that Hyper-V documents but that this simulation
#: has no meaning for.
_NOT_SIMULATED = frozenset((4, 7, 8, 32773, 32774, 32775, 32776, 32777,
                            32778, 32779))


def power_on(vm: Vm) -> None:
    """Create the worker: memory, disks, ports, guest.

    :raises JobFailure: no memory (32778), disk missing or in use, ...;
        nothing stays reserved
    """
    host = vm.host
    _check_can_run(vm)
    host.vms.lingering.close(vm.guid)
    worker = host.vms.new_worker(reserve(vm))
    host.vms.workers[vm.guid] = worker
    try:
        for up in UP:
            up(vm, worker)
    except Exception:
        power_off(vm)
        raise


def power_off(vm: Vm) -> None:
    """End the worker and give back everything it held."""
    worker = vm.host.vms.workers.get(vm.guid)
    if worker is None:
        return
    for down in reversed(DOWN):
        down(vm, worker)
    vm.host.vms.lingering.take(vm.guid, worker.release())
    for record in reversed(worker.records):
        vm.host.v2.delete(record)
    table = vm.host.vms
    table.earlier_runs_s[vm.guid] = table.run_time_s(vm.guid)
    del table.workers[vm.guid]


def _check_can_run(vm: Vm) -> None:
    host = vm.host
    if not host.profile.supports(vm.version):
        raise jobs.JobFailure(
            '%s failed to start: configuration version %s is not supported '
            'by this host.' % (vm.describe(), vm.version),
            jobs.NOT_SUPPORTED)
    if len(host.vms.workers) >= host.profile.running_vms:
        raise jobs.JobFailure(
            '%s failed to start: the host runs as many virtual machines as '
            'it can.' % vm.describe())
    vcpus = vm.processor['VirtualQuantity'] + sum(
        other.processor['VirtualQuantity'] for other in host.vms.running())
    if vcpus > host.profile.vcpus_in_use:
        raise jobs.JobFailure(
            '%s failed to start: the host has as many virtual processors '
            'in use as it can.' % vm.describe())


def reserve(vm: Vm) -> dict[int, int]:
    """Choose host memory for a VM (section 5).

    :returns: NUMA node -> MiB; several nodes only when the host lets
        memory span them and no single one is large enough
    :raises JobFailure: out of memory (32778)
    """
    host = vm.host
    needed_mib = int(vm.memory['VirtualQuantity'])
    free_mib = {}
    for node, total_mib in enumerate(virtualization.numa_memory_mib(host)):
        reserve_mib = host.quirks.host_reserve_mib if node == 0 else 0
        free_mib[node] = max(0, total_mib - reserve_mib -
                             host.vms.used_memory_mib(node))
    wanted_mib = needed_mib + host.quirks.vm_overhead_mib
    best = max(free_mib, key=lambda node: free_mib[node])
    if free_mib[best] >= wanted_mib:
        return {best: needed_mib}
    if _spans(host) and sum(free_mib.values()) >= wanted_mib:
        return _spread(free_mib, needed_mib)
    raise jobs.JobFailure(
        "%s could not initialize memory: There's not enough memory on this "
        "system. Unable to allocate %d MB of RAM: Insufficient system "
        "resources exist to complete the requested service. (0x800705AA)."
        % (vm.describe(), needed_mib), host.quirks.out_of_memory_code)


def _spans(host: Host) -> bool:
    settings = host.v2.find('Msvm_VirtualSystemManagementServiceSettingData')
    return bool(settings[0]['NumaSpanningEnabled'])


def _spread(free_mib: dict[int, int], needed_mib: int) -> dict[int, int]:
    taken: dict[int, int] = {}
    for node in sorted(free_mib, key=lambda each: -free_mib[each]):
        part_mib = min(free_mib[node], needed_mib)
        if part_mib:
            taken[node] = part_mib
            needed_mib -= part_mib
    return taken


# -- the ends of the transitions
def _start(vm: Vm) -> None:
    power_on(vm)
    worker = vm.worker
    if worker is None:
        raise jobs.Gone('The worker of VM %s is gone' % vm.guid)
    vm.set_state(RUNNING, ProcessID=worker.pid)
    if worker.guest is not None:
        worker.guest.boot()


def _restore(vm: Vm) -> None:
    power_on(vm)
    worker = vm.worker
    if worker is None:
        raise jobs.Gone('The worker of VM %s is gone' % vm.guid)
    vm.host.v2.update(vm.settings, IsSaved=False)
    vm.set_state(RUNNING, ProcessID=worker.pid)
    if worker.guest is not None:
        worker.guest.resume()
    vm.host.vms.saved_without_system.discard(vm.guid)


def turn_off(vm: Vm) -> None:
    """Power cut: to off at once; a saved state is thrown away."""
    vm.host.vms.forget_loss(vm.guid)
    power_off(vm)
    if vm.settings['IsSaved']:
        vm.host.v2.update(vm.settings, IsSaved=False)
        vm.host.vms.saved_without_system.discard(vm.guid)
    vm.set_state(OFF, ProcessID=None)


def _save(vm: Vm) -> None:
    guest = vm.worker.guest if vm.worker is not None else None
    if guest is not None and not guest.has_system:
        vm.host.vms.saved_without_system.add(vm.guid)
    power_off(vm)
    vm.host.v2.update(vm.settings, IsSaved=True)
    vm.set_state(SAVED, ProcessID=None)


def _pause(vm: Vm) -> None:
    vm.set_state(PAUSED)
    worker = vm.worker
    if worker is not None and worker.guest is not None:
        worker.guest.pause()


def _resume(vm: Vm) -> None:
    vm.set_state(RUNNING)
    worker = vm.worker
    if worker is not None and worker.guest is not None:
        worker.guest.resume()


def reset(vm: Vm) -> None:
    """Restart the guest; its uptime counts from zero."""
    worker = vm.worker
    if worker is None:
        raise jobs.Gone('The worker of VM %s is gone' % vm.guid)
    table = vm.host.vms
    table.earlier_runs_s[vm.guid] = table.run_time_s(vm.guid)
    worker.started_s = vm.host.clock.monotonic()
    vm.set_state(RUNNING)
    if worker.guest is not None:
        worker.guest.boot()


#: (from, requested) -> (job type, state on the way, end of the transition)
MATRIX: dict[tuple[int, int],
             tuple[int, int | None, Callable[[Vm], None]]] = {
    (OFF, 2): (jobs.START, vms.STARTING, _start),
    (OFF, 10): (jobs.START, vms.STARTING, _start),
    (SAVED, 2): (jobs.RESTORE, vms.STARTING, _restore),
    (SAVED, 10): (jobs.RESTORE, vms.STARTING, _restore),
    (SAVED, 3): (jobs.POWER_OFF, None, turn_off),
    (RUNNING, 3): (jobs.POWER_OFF, None, turn_off),
    (RUNNING, 6): (jobs.SAVE, vms.SAVING, _save),
    (RUNNING, 9): (jobs.PAUSE, vms.PAUSING, _pause),
    (RUNNING, 11): (jobs.RESET, None, reset),
    (PAUSED, 2): (jobs.RESUME, vms.RESUMING, _resume),
    (PAUSED, 3): (jobs.POWER_OFF, None, turn_off),
    (PAUSED, 6): (jobs.SAVE, vms.SAVING, _save),
    (PAUSED, 11): (jobs.RESET, None, reset),
    # The guest is shutting down: the plug can still be pulled.
    (vms.SHUTTING_DOWN, 3): (jobs.POWER_OFF, None, turn_off),
    # So it can when the storage is lost.
    (vms.CRITICAL[RUNNING], 3): (jobs.POWER_OFF, None, turn_off),
    (vms.CRITICAL[PAUSED], 3): (jobs.POWER_OFF, None, turn_off),
}

REQUESTS = frozenset((2, 3, 6, 9, 10, 11))

_JOB_NAMES = {jobs.START: 'Starting Virtual Machine',
              jobs.RESTORE: 'Restoring Virtual Machine',
              jobs.POWER_OFF: 'Turning Off Virtual Machine',
              jobs.SAVE: 'Saving Virtual Machine',
              jobs.PAUSE: 'Pausing Virtual Machine',
              jobs.RESUME: 'Resuming Virtual Machine',
              jobs.RESET: 'Resetting Virtual Machine'}


def request_state(vm: Vm, requested: int) -> dict[str, typing.Any] | int:
    """Ask a VM for a power state.

    :param requested: 2 start or resume, 3 turn off, 6 save, 9 pause,
        10 reboot, 11 reset
    :returns: out parameters of a job, or a code: 32775 not possible from
        the present state, 32773 no such state
    """
    if requested not in REQUESTS:
        return jobs.INVALID_PARAMETER
    before = vm.state
    answer = vm.host.quirks.power_answers.get('%d:%d' % (before, requested))
    if answer is not None:
        return answer
    transition = MATRIX.get((before, requested))
    if transition is None or is_busy(vm):
        return jobs.INVALID_STATE
    job_type, via, finish = transition
    if job_type == jobs.SAVE and vm.resources('Msvm_PciExpressSettingData'):
        return jobs.INVALID_STATE           # DDA: no save [D]
    settings = vm.settings
    system = vm.system
    if via is not None:
        vm.set_state(via)
    return vm.host.jobs.start(jobs.Task(
        work=functools.partial(finish, vm), job_type=job_type,
        affected=(system, settings), name=_JOB_NAMES[job_type],
        undo=functools.partial(_go_back, vm, before)))


def is_busy(vm: Vm) -> bool:
    """Whether a job runs that nothing else may happen beside.

    A checkpoint being taken made instances undeletable: 32775 (field
    lesson L008).
    """
    return vm.host.jobs.running_on(
        vm.system, *_JOB_NAMES, jobs.SNAPSHOT, jobs.APPLY_SNAPSHOT,
        jobs.DESTROY, jobs.EXPORT, jobs.CREATE_REMOTE, jobs.MOVE,
        jobs.MOVE_ALL, jobs.MOVE_STORAGE)


def _go_back(vm: Vm, state: int) -> None:
    if vm.state != state:
        vm.set_state(state)


# -- the host's own power (section 2, automatic actions)
def shut_down_all(host: Host) -> None:
    """Windows shuts down: running VMs do as their settings say.

    AutomaticShutdownAction 3 saves; 2 turns off and 4 shuts the guest
    down, which both end in off.
    """
    for vm in host.vms:
        if vm.worker is None:
            continue
        host.vms.were_active.add(vm.guid)
        if vm.settings['AutomaticShutdownAction'] == 3:
            _save(vm)
        else:
            turn_off(vm)


def restore(host: Host) -> None:
    """Bring the records in order after a power cut or a reload.

    VMs that ran are off (saved ones stay saved), jobs are gone, and
    AutomaticStartupAction 3 starts what was active, 4 every VM.
    """
    store = host.v2
    for cls in ('Msvm_AffectedJobElement', 'CIM_ConcreteJob'):
        for record in store.find(cls):
            store.delete(record)
    for vm in host.vms:
        if vm.state in (vms.CRITICAL[OFF], vms.CRITICAL[SAVED]):
            vm.set_state(vms.UNCRITICAL[vm.state])
        if vm.state not in (OFF, SAVED):
            host.vms.were_active.add(vm.guid)
            for record in _live_records(vm):
                store.delete(record)
            vm.set_state(OFF, ProcessID=None)
        host.vms.files.open(vm)
    start_all(host)


def _live_records(vm: Vm) -> list[engine.Record]:
    """Records that only a running VM has: its devices and switch ports."""
    store = vm.host.v2
    found = store.find('CIM_SystemDevice', GroupComponent=vm.system)
    found += store.find('CIM_LogicalDevice', SystemName=vm.guid)
    for connection in vm.resources('Msvm_EthernetPortAllocationSettingData'):
        for link in store.find('Msvm_SettingsDefineState',
                               SettingData=connection):
            port = store.by_path(link['ManagedElement'])
            found += [link] if port is None else [link, port]
    return found


def start_all(host: Host) -> None:
    """Carry out the automatic startup actions."""
    active, host.vms.were_active = host.vms.were_active, set()
    for vm in host.vms:
        action = vm.settings['AutomaticStartupAction']
        if vm.worker is None and (
                action == 4 or (action == 3 and vm.guid in active)):
            request_state(vm, 2)


@engine.method(virtualization.V2, 'Msvm_ComputerSystem',
               'RequestStateChange')
def request_state_change(call: engine.Call
                         ) -> dict[str, typing.Any] | int:
    """Msvm_ComputerSystem.RequestStateChange (section 2)."""
    requested = call.args['RequestedState']
    if requested in _NOT_SIMULATED:
        raise engine.NotSimulated(
            'RequestStateChange(%s) of a virtual machine' % requested)
    vm = call.host.vms.of(call.record)
    if vm is None:
        return jobs.NOT_SUPPORTED           # the host system itself
    return request_state(vm, requested)


@engine.computed(virtualization.V2, 'Msvm_ComputerSystem',
                 'OnTimeInMilliseconds')
def on_time(host: Host, record: engine.Record) -> dict[str, typing.Any]:
    """Milliseconds since power-on (section 2)."""
    return {'OnTimeInMilliseconds': int(
        host.vms.uptime_s(record['Name']) * 1000)}
