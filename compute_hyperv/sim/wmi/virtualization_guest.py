# SPDX-License-Identifier: Apache-2.0
"""What connects host and guest: COM ports and integration components.

Device objects of the components exist while the VM runs; os-win takes a
missing shutdown component for a VM that is already off
(hyperv-semantics.md section 15, oswin-surface.md 3.3).
"""

from __future__ import annotations

import functools
import typing

from .. import devices
from .. import guest as guests
from .. import jobs
from .. import vm as vms
from .. import worker as workers
from . import engine
from . import virtualization
from . import virtualization_power as power
from . import virtualization_rules as rules
from . import virtualization_tree as tree
from ..vm import Vm

if typing.TYPE_CHECKING:
    from ..host import Host

V2 = virtualization.V2
SERVICE = 'Msvm_VirtualSystemManagementService'
NOT_READY, LOCKED, IN_PROGRESS = 32780, 32781, 32782


# -- serial ports
def _pipe_name(record: engine.Record) -> str | None:
    connection = record['Connection'] or ()
    name = connection[0] if connection else ''
    return str(name) if name else None


def _check_serial(vm: Vm, record: engine.Record, changes: tree.Props
                  ) -> tree.Props:
    if 'Connection' in changes:
        name = (changes['Connection'] or ('',))[0]
        if name and not name.lower().startswith('\\\\.\\pipe\\'):
            raise rules.invalid(vm, '%s is no named pipe.' % name)
        if not vm.is_off and not (
                vm.host.quirks.serial_change_while_running):
            raise rules.wrong_state(vm, 'Serial port')
    return changes


def _open_serial(vm: Vm, worker: workers.Worker,
                 record: engine.Record) -> None:
    name = _pipe_name(record)
    guest = worker.guest
    _close_idle(vm, record)
    if name is None or guest is None:
        return
    # The pipe calls back with data and clients; it is known only after.
    port: list[typing.Any] = []

    def on_data(data: bytes) -> None:
        guest.typed(port[0], data)

    def on_client() -> None:
        guest.client_came(port[0])

    pipe = vm.host.pipes.open(name, on_data, on_client)
    port.append(pipe)
    guest.connect(pipe)
    worker.pipes[record['InstanceID']] = pipe


def _close_serial(worker: workers.Worker, record: engine.Record) -> None:
    pipe = worker.pipes.pop(record['InstanceID'], None)
    if pipe is not None:
        if worker.guest is not None:
            worker.guest.disconnect(typing.cast(guests.Port, pipe))
        pipe.close()


def _open_idle(vm: Vm, record: engine.Record) -> None:
    """Serve the pipe of a VM that is off; nobody is behind it."""
    name = _pipe_name(record)
    if name and not vm.is_planned and (
            not vm.host.quirks.pipe_only_while_running):
        vm.host.vms.idle_pipes[record['InstanceID']] = vm.host.pipes.open(
            name, lambda data: None, lambda: None)


def _close_idle(vm: Vm, record: engine.Record) -> None:
    pipe = vm.host.vms.idle_pipes.pop(record['InstanceID'], None)
    if pipe is not None:
        pipe.close()


def _serial_changed(vm: Vm, record: engine.Record,
                    changes: tree.Props) -> None:
    worker = vm.worker
    if worker is None and 'Connection' in changes:
        _close_idle(vm, record)
        _open_idle(vm, record)
    if worker is not None and 'Connection' in changes:
        _close_serial(worker, record)
        _open_serial(vm, worker, record)


# -- components
def _component(vm: Vm, cls: str, guid: str, name: str, enabled: bool
               ) -> engine.Record:
    return vm.host.v2.add(
        cls, CreationClassName=cls,
        DeviceID='Microsoft:%s\\%s' % (vm.guid, guid),
        SystemCreationClassName=vms.SYSTEM, SystemName=vm.guid,
        ElementName=name, EnabledState=2 if enabled else 3, HealthState=5,
        OperationalStatus=(2,), StatusDescriptions=('OK',))


def _power_on(vm: Vm, worker: workers.Worker) -> None:
    guest = guests.Guest(vm, functools.partial(power.turn_off, vm))
    worker.guest = guest
    for settings_cls, cls, guid, name in devices.COMPONENTS:
        settings = vm.resources(settings_cls)
        enabled = bool(settings) and settings[0]['EnabledState'] == 2
        record = _component(vm, cls, guid, name, enabled)
        worker.records.append(record)
        worker.records.append(vm.host.v2.add(
            'Msvm_SystemDevice', GroupComponent=vm.system,
            PartComponent=record))
    for port in vm.resources('CIM_ResourceAllocationSettingData',
                             devices.SERIAL_PORT):
        _open_serial(vm, worker, port)


def _power_off(vm: Vm, worker: workers.Worker) -> None:
    if worker.guest is not None:
        worker.guest.stop()
    for port in vm.resources('CIM_ResourceAllocationSettingData',
                             devices.SERIAL_PORT):
        _close_serial(worker, port)
        _open_idle(vm, port)


power.UP.append(_power_on)
power.DOWN.append(_power_off)
tree.KINDS[devices.SERIAL_PORT] = tree.Kind(
    check_modify=_check_serial, modified=_serial_changed,
    removed=_close_idle)
tree.KINDS.update({cls: tree.Kind() for cls, _device, _guid, _name in (
    devices.COMPONENTS)})


def _guest_of(call: engine.Call) -> tuple[Vm, guests.Guest] | None:
    vm = call.host.vms.by_guid(call.record['SystemName'])
    worker = vm.worker if vm is not None else None
    if vm is None or worker is None or worker.guest is None:
        return None
    return vm, worker.guest


def _initiate(call: engine.Call, *, reboot: bool) -> int:
    """InitiateShutdown and InitiateReboot (section 15).

    :returns: 0 accepted; 32780 still booting, 32781 locked without force,
        32782 under way already, 32775 no services in the guest
    """
    found = _guest_of(call)
    if found is None or call.record['EnabledState'] != 2:
        return jobs.INVALID_STATE
    vm, guest = found
    behaviour = guest.behaviour
    if not behaviour.has_services:
        return call.host.quirks.shutdown_without_services_code
    if guest.state == guests.SHUTTING_DOWN:
        return IN_PROGRESS
    if guest.state != guests.RUNNING or vm.state != vms.RUNNING:
        return NOT_READY
    if behaviour.locked and not call.args['Force']:
        return LOCKED
    if behaviour.obeys_shutdown:
        if not reboot:
            vm.set_state(vms.SHUTTING_DOWN)
        guest.shut_down(reboot=reboot)
    return 0


@engine.method(V2, 'Msvm_ShutdownComponent', 'InitiateShutdown')
def initiate_shutdown(call: engine.Call) -> int:
    """Soft shutdown: answers at once, the VM is off later."""
    return _initiate(call, reboot=False)


@engine.method(V2, 'Msvm_ShutdownComponent', 'InitiateReboot')
def initiate_reboot(call: engine.Call) -> int:
    """Soft reboot."""
    return _initiate(call, reboot=True)


@engine.method(V2, vms.SYSTEM, 'InjectNonMaskableInterrupt')
def interrupt(call: engine.Call) -> dict[str, typing.Any] | int:
    """A non-maskable interrupt for the guest.

    Source: "InjectNonMaskableInterrupt method of the Msvm_ComputerSystem
    class", Windows Server 2012 R2 and later: 0 or 4096. What a VM that does
    not run answers is published nowhere.
    """
    vm = call.host.vms.of(call.record)
    if vm is None:
        return jobs.NOT_SUPPORTED           # the host system itself
    worker = vm.worker
    guest = worker.guest if worker is not None else None
    if guest is None or vm.state != vms.RUNNING:
        return call.host.quirks.interrupt_not_running_code
    if not call.host.quirks.interrupt_is_job:
        guest.interrupt()
        return 0
    return call.host.jobs.start(jobs.Task(
        work=guest.interrupt, job_type=jobs.MODIFY, affected=(vm.system,),
        name='Sending a Non-Maskable Interrupt'))


@engine.computed(V2, 'Msvm_HeartbeatComponent', 'OperationalStatus',
                 'StatusDescriptions')
def heartbeat(host: Host, record: engine.Record) -> dict[str, typing.Any]:
    """Contact with the guest: 2 OK, 12 none yet, 15 paused."""
    vm = host.vms.by_guid(record['SystemName'])
    worker = vm.worker if vm is not None else None
    if worker is None or worker.guest is None:
        return {}
    status = worker.guest.heartbeat
    if status == guests.HEARTBEAT_OK:
        return {'OperationalStatus': (status, 2),
                'StatusDescriptions': ('OK', 'OK')}
    return {'OperationalStatus': (status,), 'StatusDescriptions': (
        'Paused' if status == guests.HEARTBEAT_PAUSED else 'No Contact',)}


def _items(host: Host, pairs: dict[str, str], source: int
           ) -> tuple[str, ...]:
    return tuple(host.v2.embedded(
        'Msvm_KvpExchangeDataItem', Name=name, Data=data,
        Source=source).text() for name, data in pairs.items())


@engine.computed(V2, 'Msvm_KvpExchangeComponent', 'GuestExchangeItems',
                 'GuestIntrinsicExchangeItems')
def key_values(host: Host, record: engine.Record) -> dict[str, typing.Any]:
    """Key-value pairs of the guest, each as serialized text."""
    vm = host.vms.by_guid(record['SystemName'])
    worker = vm.worker if vm is not None else None
    if worker is None or worker.guest is None:
        return {}
    return {'GuestExchangeItems': (),
            'GuestIntrinsicExchangeItems': _items(
                host, worker.guest.facts(), 2)}


@engine.method(V2, SERVICE, 'AddKvpItems')
def add_kvp_items(call: engine.Call) -> dict[str, typing.Any] | int:
    """Give the guest key-value pairs of the host."""
    return _change_kvp(call, wants=False)


@engine.method(V2, SERVICE, 'ModifyKvpItems')
def modify_kvp_items(call: engine.Call) -> dict[str, typing.Any] | int:
    """Change key-value pairs that the host gave."""
    return _change_kvp(call, wants=True)


@engine.method(V2, SERVICE, 'RemoveKvpItems')
def remove_kvp_items(call: engine.Call) -> dict[str, typing.Any] | int:
    """Take key-value pairs back."""
    return _change_kvp(call, wants=None)


def _change_kvp(call: engine.Call, *, wants: bool | None
                ) -> dict[str, typing.Any] | int:
    """Add (wants False), modify (True) or remove (None) host pairs."""
    vm = call.host.vms.of(call.args['TargetSystem'])
    if vm is None:
        return jobs.INVALID_PARAMETER
    settings = vm.resources('Msvm_KvpExchangeComponentSettingData')[0]
    pairs = {}
    for text in settings.get('HostExchangeItems') or ():
        item = call.store.parse_text(text)
        pairs[item['Name']] = item['Data']
    for text in call.args['DataItems'] or ():
        item = call.store.parse_text(text)
        if wants is not None and (item['Name'] in pairs) != wants:
            return jobs.INVALID_PARAMETER
        if wants is None:
            if pairs.pop(item['Name'], None) is None:
                return jobs.INVALID_PARAMETER
        else:
            pairs[item['Name']] = item.get('Data') or ''
    call.store.update(settings, HostExchangeItems=_items(
        call.host, pairs, 0))
    return call.host.jobs.start(jobs.Task(
        work=lambda: None, job_type=jobs.MODIFY, affected=(vm.system,),
        name='Changing Key-Value Pairs'))
