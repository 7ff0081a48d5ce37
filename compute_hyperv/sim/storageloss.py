# SPDX-License-Identifier: Apache-2.0
"""Storage that goes away under virtual machines.

hyperv-semantics.md section 2 [D]: the states 32781..32792 are the critical
variants of the others, "used when storage is lost"; HealthState is 25 then;
AutomaticCriticalErrorAction 1 (2016 and later) pauses the machine until the
storage is back, and powers it off after a timeout.

=============  ========================  ===================================
the VM         what counts               what happens
=============  ========================  ===================================
running        files of its drives, and  1: paused critical, goes on when
               its configuration         they are back; 0, or 2012 R2:
                                         running critical
paused         the same                  paused critical
off, saved     its configuration         off critical, saved critical
=============  ========================  ===================================

A disk of the host (pass-through) that goes away is an I/O error in the
guest, nothing more.
"""

from __future__ import annotations

import datetime
import functools
import typing

from . import vm as vms
from . import vmfiles
from .vm import Vm
from .wmi import engine
from .wmi import values
from .wmi import virtualization_power as power

if typing.TYPE_CHECKING:
    from .fabric import Fabric
    from .host import Host

_PAUSE = 1                      #: AutomaticCriticalErrorAction


def look_everywhere(fabric: Fabric) -> None:
    """Every host of a fabric finds out what storage it has left."""
    with fabric.lock:
        for host in fabric.hosts.values():
            if host.powered:
                look(host)


def look(host: Host) -> None:
    """Notice lost storage, and storage that came back."""
    if not host.quirks.notices_lost_storage:
        return
    for vm in list(host.vms):
        state = vm.state
        if state in vms.CRITICAL and _is_lost(vm):
            _lose(vm, state)
        elif state in vms.UNCRITICAL and not _is_lost(vm):
            _regain(vm, state)


def _is_lost(vm: Vm) -> bool:
    paths = vmfiles.names(vm)
    if vm.worker is not None:
        paths += [medium['HostResource'][0] for medium in vm.media()
                  if medium['InstanceID'] in vm.worker.files]
    return not all(map(vm.host.storage.exists, paths))


def _lose(vm: Vm, state: int) -> None:
    settings, worker = vm.settings, vm.worker
    if state == vms.RUNNING and vm.host.profile.is_2016 and (
            settings['AutomaticCriticalErrorAction'] == _PAUSE):
        if worker is not None and worker.guest is not None:
            worker.guest.pause()
        vm.host.vms.paused_by_loss[vm.guid] = vm.host.clock.call_later(
            _timeout_s(settings),
            functools.partial(_give_up, vm))
        state = vms.PAUSED
    vm.set_state(vms.CRITICAL[state])


def _timeout_s(settings: engine.Record) -> float:
    span = values.python_datetime(
        settings['AutomaticCriticalErrorActionTimeout'])
    return span.total_seconds() if isinstance(
        span, datetime.timedelta) else 0.0


def _regain(vm: Vm, state: int) -> None:
    state = vms.UNCRITICAL[state]
    timer = vm.host.vms.paused_by_loss.pop(vm.guid, None)
    worker = vm.worker
    if timer is not None:
        timer.cancel()
        if worker is not None and worker.guest is not None:
            worker.guest.resume()
        state = vms.RUNNING
    vm.set_state(state)


def _give_up(vm: Vm) -> None:
    """The timeout is over: the machine is powered off."""
    if vm.exists and vm.guid in vm.host.vms.paused_by_loss:
        power.turn_off(vm)
        look(vm.host)
