# SPDX-License-Identifier: Apache-2.0
"""What an administrator does, as calls that a server takes.

These stand for Hyper-V Manager, the power button and the person who breaks
things for a test; they are neither recorded nor struck by faults.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import typing

from . import native
from . import storageloss
from . import views
from . import vm as vm_module
from .fabric import Fabric
from .host import Host
from .host import V2
from .wmi import ops

Args = typing.Dict[str, typing.Any]
Action = typing.Callable[..., typing.Any]
_actions: typing.Dict[str, Action] = {}
A = typing.TypeVar('A', bound=Action)

#: RequestedState of Msvm_ComputerSystem.RequestStateChange.
STATES = {'start': 2, 'off': 3, 'save': 6, 'pause': 9, 'reset': 11}
_DONE = (0, 4096)
_FINAL = (7, 8, 9, 32768)
_JOB_WAIT_S = 60
_CODES = {
    1: 'not supported', 5: 'invalid parameter', 32768: 'failed',
    32769: 'access denied', 32770: 'not supported',
    32773: 'invalid parameter', 32774: 'in use',
    32775: 'invalid state for this operation (32775)',
    32780: 'the guest does not answer (32780)'}
_STATE_AFTER = {'start': vm_module.RUNNING, 'off': vm_module.OFF,
                'save': vm_module.SAVED, 'pause': vm_module.PAUSED}


class Refused(ValueError):
    """Hyper-V, or the simulator, refused what was asked."""


def action(name: str) -> typing.Callable[[A], A]:
    """Register ``f(fabric, **args)`` as ``admin.name``."""
    def register(function: A) -> A:
        _actions['admin.' + name] = function
        return function
    return register


def perform(fabric: Fabric, name: str, args: Args) -> typing.Any:
    """Do one action.

    :raises ValueError: it was refused, or makes no sense.
    :raises LookupError: no such VM, host or action.
    """
    found = _actions.get(name)
    if found is None:
        raise LookupError(f'no action {name}')
    return found(fabric, **args)


def _host(fabric: Fabric, name: str) -> Host:
    found = fabric.find(name)
    if found is None:
        raise LookupError(f'no host {name}; there are '
                          f'{", ".join(fabric.hosts)}')
    return found


@action('storage.down')
def storage_down(fabric: Fabric, server: str) -> None:
    """A file server stops to answer.

    :raises LookupError: there is none of that name.
    """
    if not any(map(fabric.shares.knows_server,
                   fabric.shares.smb.servers(server))):
        raise LookupError(f'no file server {server}')
    fabric.lose_server(server)


@action('storage.up')
def storage_up(fabric: Fabric, server: str) -> None:
    """It answers again."""
    fabric.regain_server(server)


@action('storage.look')
def storage_look(fabric: Fabric) -> None:
    """VMs see whether their files are there."""
    storageloss.look_everywhere(fabric)


@action('show')
def show(fabric: Fabric, what: str, host: typing.Optional[str] = None,
         name: typing.Optional[str] = None) -> typing.Any:
    """Rows of a view (:mod:`.views`)."""
    hosts = [_host(fabric, host)] if host else list(fabric.hosts.values())
    if what == 'vm':
        return views.vm(find_vm(fabric, name or '', host))
    view = views.VIEWS.get(what)
    if view is None:
        raise LookupError(f'no view {what}')
    with fabric.lock:
        return view(hosts)


def find_vm(fabric: Fabric, name: str, host: typing.Optional[str] = None
            ) -> vm_module.Vm:
    """The VM with this display name, GUID, or instance UUID in its notes.

    :raises LookupError: none, or several.
    """
    hosts = [_host(fabric, host)] if host else fabric.hosts.values()
    low = name.lower()
    found = [vm for one in hosts for vm in one.vms
             if low in (vm.name.lower(), vm.guid.lower()) or
             low in [note.lower() for note in vm.settings['Notes'] or ()]]
    if not found:
        raise LookupError(f'no VM is named {name}')
    if len(found) > 1:
        raise LookupError(f'{len(found)} VMs are named {name}; the id tells '
                          f'which: ' + ', '.join(
                              f'{vm.guid} on {vm.host.name}' for vm in found))
    return found[0]


def _invoke(vm: vm_module.Vm, cls: str, path: str, method: str,
            **args: typing.Any) -> None:
    out = ops.invoke(vm.host, '.', V2, cls, path, method, args)
    code = out['ReturnValue']
    if code not in _DONE:
        why = _CODES.get(code, f'code {code}')
        raise Refused(f'{vm.name}: {method} was refused: {why}')
    if out.get('Job'):
        _wait_for(vm.host, out['Job'])


def _wait_for(host: Host, job_path: str) -> None:
    """Wait until a job has ended; a server's thread may sleep."""
    deadline_s = native.monotonic() + _JOB_WAIT_S
    while True:
        job = host.v2.by_path(job_path)
        state = job['JobState'] if job else 7
        if state == 10 and job is not None:
            raise Refused(job['ErrorDescription'])
        if state in _FINAL:
            return
        if native.monotonic() > deadline_s:
            raise Refused(f'not done after {_JOB_WAIT_S} s')
        native.sleep(0.02)


@action('vm')
def change_vm(fabric: Fabric, name: str, act: str,
              host: typing.Optional[str] = None) -> str:
    """Start, stop (ask the guest), turn off, pause, save, reset, delete.

    :returns: the state it is in afterwards.
    """
    vm = find_vm(fabric, name, host)
    store = vm.host.v2
    if not vm.host.powered:
        raise Refused(f'{vm.host.name} is off')
    if act == 'delete':
        if vm.state not in (vm_module.OFF, vm_module.SAVED):
            raise Refused(f'{vm.name} is {vm_module.state_name(vm.state)}: '
                          f'"hyperv-sim vm off" first')
        service = store.find('Msvm_VirtualSystemManagementService')[0]
        _invoke(vm, service.cls.name, service.path, 'DestroySystem',
                AffectedSystem=vm.system.path)
        return 'deleted'
    if act == 'stop':
        component = store.find_one(
            'Msvm_ShutdownComponent', SystemName=vm.guid)
        if component is None:
            raise Refused(f'{vm.name} is not running')
        _invoke(vm, component.cls.name, component.path, 'InitiateShutdown',
                Force=False, Reason='asked by hyperv-sim')
    elif vm.state == _STATE_AFTER.get(act):
        return vm_module.state_name(vm.state)
    elif act in STATES:
        _invoke(vm, vm.system.cls.name, vm.system.path,
                'RequestStateChange', RequestedState=STATES[act])
    else:
        raise LookupError(f'no action {act}')
    return vm_module.state_name(vm.state)


@action('host')
def change_host(fabric: Fabric, name: str, act: str) -> str:
    """Power of a host: on, off, reboot."""
    host = _host(fabric, name)
    if act not in ('on', 'off', 'reboot'):
        raise LookupError(f'no action {act}')
    if act != 'on':
        host.power_off()
    if act != 'off':
        host.power_on()
    return 'on' if host.powered else 'off'


@action('network')
def change_network(fabric: Fabric, one: str, other: str, act: str) -> str:
    """Cut or mend the network between two hosts; tells how it is then."""
    names = _host(fabric, one).name, _host(fabric, other).name
    if names[0] == names[1]:
        raise ValueError(f'between {one} and itself there is no network')
    (fabric.cut if act == 'cut' else fabric.mend)(*names)
    return f'{names[0]} and {names[1]} ' + (
        'do not reach each other' if act == 'cut' else 'reach each other')


@action('fault.add')
def add_fault(fabric: Fabric, **what: typing.Any) -> Args:
    """Plan a fault; arguments as :class:`.faults.Fault`."""
    if what.get('host'):
        what['host'] = _host(fabric, what['host']).name
    return dataclasses.asdict(fabric.faults.add(**what))


@action('fault.latency')
def set_latency(fabric: Fabric, kind: str, seconds: float) -> None:
    """Make every call of a kind slower; 0 takes it back."""
    if seconds:
        fabric.faults.latency_s[kind] = seconds
    else:
        fabric.faults.latency_s.pop(kind, None)


@action('fault.list')
def list_faults(fabric: Fabric) -> Args:
    """The plan."""
    return {'latency_s': fabric.faults.latency_s,
            'faults': [dict(dataclasses.asdict(one),
                            effect=one.effect(one.kind or ''))
                       for one in fabric.faults]}


@action('fault.clear')
def clear_faults(fabric: Fabric, number: typing.Optional[int] = None
                 ) -> None:
    """Drop one fault, or everything."""
    if number is None:
        fabric.faults.clear()
    elif not fabric.faults.remove(number):
        raise LookupError(f'no fault {number}')


@action('trace')
def trace(fabric: Fabric, host: typing.Optional[str] = None,
          after: int = 0, last: int = 0) -> Args:
    """Calls that reached the hosts.

    :param after: number of the last call seen before; 0: from the oldest
        that is kept.
    :param last: only so many of them.
    """
    name = _host(fabric, host).name if host else None
    calls = fabric.recorder.since(after, name)
    if last:
        calls = calls[-last:]
    return {'calls': [list(one) for one in calls],
            'counts': {one: dict(fabric.recorder.counts(one))
                       for one in fabric.hosts
                       if name in (None, one)}}


@action('trace.reset')
def reset_trace(fabric: Fabric) -> None:
    """Forget the calls and counts so far."""
    fabric.recorder.reset()


@action('mark')
def mark(fabric: Fabric, ignore: typing.Sequence[str] = ()) -> None:
    """Take the files that are there now as belonging to the hosts.

    :param ignore: patterns of Windows paths, with ``*`` and ``?``, of files
        that may come: those of a cache, for one.
    """
    for host in fabric.hosts.values():
        host.storage.ignored = [
            r'\A' + fnmatch.translate(pattern.replace('[', '[[]'))
            for pattern in ignore]
    fabric.mark()


@action('marked')
def marked(fabric: Fabric) -> bool:
    """Whether the clean check looks at files."""
    return fabric.is_marked


@action('check')
def check(fabric: Fabric) -> typing.List[str]:
    """The clean check; no problems, no lines."""
    return fabric.problems()


@action('save')
def save(fabric: Fabric) -> None:
    """Write the state file now."""
    if fabric.server is not None:
        fabric.server.save()


@action('stop')
def stop(fabric: Fabric) -> None:
    """End the server, orderly."""
    fabric.server.ask_stop()
