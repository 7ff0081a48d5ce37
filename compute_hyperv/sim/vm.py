# SPDX-License-Identifier: Apache-2.0
"""Virtual machines: a view over their records, and what runs behind them.

The records of the WMI repository are the truth about a VM's settings and
state. What WMI cannot hold (open files, pipes, reserved memory, the guest)
is a :class:`Worker`, the counterpart of Hyper-V's worker process; it exists
from power-on to power-off.
"""

from __future__ import annotations

from collections.abc import Iterator
import typing

from . import devices
from . import guest as guests
from . import jobs
from . import profiles
from . import vmcheck
from . import vmfiles
from . import worker as workers
from .wmi import engine
from .wmi import values

if typing.TYPE_CHECKING:
    from .host import Host

#: EnabledState (hyperv-semantics.md section 2).
RUNNING, OFF, SHUTTING_DOWN, SAVED, PAUSED, STARTING = 2, 3, 4, 6, 9, 10
SAVING, PAUSING, RESUMING = 32773, 32776, 32777

#: Settled states, and their variants when storage is lost.
CRITICAL = {RUNNING: 32781, OFF: 32782, SAVED: 32784, PAUSED: 32785}
UNCRITICAL = {critical: state for state, critical in CRITICAL.items()}
_HEALTHY, _CRITICALLY_ILL = 5, 25       #: HealthState

SYSTEM = 'Msvm_ComputerSystem'
PLANNED_SYSTEM = 'Msvm_PlannedComputerSystem'
SETTINGS = 'Msvm_VirtualSystemSettingData'

_STATE_NAMES = {RUNNING: 'running', OFF: 'off', SAVED: 'saved',
                PAUSED: 'paused', STARTING: 'starting', SAVING: 'saving',
                SHUTTING_DOWN: 'shutting down', PAUSING: 'pausing',
                RESUMING: 'resuming'}


def state_name(state: int) -> str:
    """An EnabledState for people."""
    if state in UNCRITICAL:
        return '%s, storage lost' % _STATE_NAMES[UNCRITICAL[state]]
    return _STATE_NAMES.get(state, 'state %d' % state)


def guid_of(instance_id: str) -> str:
    r"""'Microsoft:<GUID>\...' -> '<GUID>' in upper case."""
    return instance_id[len('Microsoft:'):].split('\\')[0].upper()


class Vm:
    """One virtual machine or planned virtual machine of a host."""

    __slots__ = ('host', 'guid')

    def __init__(self, host: Host, guid: str) -> None:
        self.host = host
        self.guid = guid.upper()

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Vm) and other.guid == self.guid and
                other.host is self.host)

    def __hash__(self) -> int:
        return hash(self.guid)

    @property
    def instance_id(self) -> str:
        """InstanceID of its current settings; prefix of its resources."""
        return 'Microsoft:' + self.guid

    @property
    def find_system(self) -> engine.Record | None:
        """The Msvm_(Planned)ComputerSystem, or None once destroyed."""
        store = self.host.v2
        return store.get(SYSTEM, CreationClassName=SYSTEM,
                         Name=self.guid) or store.get(
            PLANNED_SYSTEM, CreationClassName=PLANNED_SYSTEM,
            Name=self.guid)

    @property
    def system(self) -> engine.Record:
        """The Msvm_ComputerSystem or Msvm_PlannedComputerSystem."""
        record = self.find_system
        if record is None:
            raise jobs.Gone('VM %s is gone' % self.guid)
        return record

    @property
    def settings(self) -> engine.Record:
        """The current Msvm_VirtualSystemSettingData."""
        record = self.host.v2.get(SETTINGS, InstanceID=self.instance_id)
        if record is None:
            raise jobs.Gone('VM %s has no settings' % self.guid)
        return record

    @property
    def exists(self) -> bool:
        """Whether the VM is still registered."""
        return self.find_system is not None

    @property
    def is_planned(self) -> bool:
        """Whether it is a planned system (never runs)."""
        return bool(self.system.cls.name == PLANNED_SYSTEM)

    @property
    def name(self) -> str:
        """Display name; not unique on a host."""
        return str(self.system['ElementName'])

    @property
    def state(self) -> int:
        """EnabledState; a planned system counts as off."""
        return OFF if self.is_planned else int(self.system['EnabledState'])

    @property
    def is_off(self) -> bool:
        """Whether off-only settings may change; saved is not off."""
        return self.state == OFF

    @property
    def generation(self) -> int:
        """1 or 2, fixed for life."""
        return devices.GENERATION[self.settings['VirtualSystemSubType']]

    @property
    def version(self) -> str:
        """Configuration version, such as '10.0'."""
        return str(self.settings['Version'])

    @property
    def worker(self) -> workers.Worker | None:
        """The worker while it is running, paused or starting."""
        return self.host.vms.workers.get(self.guid)

    @property
    def memory(self) -> engine.Record:
        """Its Msvm_MemorySettingData."""
        return self.resources('Msvm_MemorySettingData')[0]

    @property
    def processor(self) -> engine.Record:
        """Its Msvm_ProcessorSettingData."""
        return self.resources('Msvm_ProcessorSettingData')[0]

    def allows(self, feature: str) -> bool:
        """Whether its configuration version has *feature*."""
        return profiles.allows(self.version, feature)

    def records(self) -> list[engine.Record]:
        """Every record whose InstanceID is the VM's or below it."""
        return self.host.v2.under(self.instance_id)

    def resources(self, cls: str, subtype: str | None = None
                  ) -> list[engine.Record]:
        """Its resources of a class (and subtype), in creation order."""
        if self.host.v2.classes.find(cls) is None:
            return []               # this version of Windows lacks it
        return [record for record in self.host.v2.under(
            self.instance_id, cls)
            if subtype is None or record['ResourceSubType'] == subtype]

    def children(self, parent: engine.Record) -> list[engine.Record]:
        """Resources that are plugged into *parent*."""
        return self.host.v2.find('CIM_ResourceAllocationSettingData',
                                 Parent=parent.path)

    def media(self) -> list[engine.Record]:
        """Its Msvm_StorageAllocationSettingData with a file."""
        return [record for record in self.resources(devices.SASD)
                if record['HostResource'] and record['HostResource'][0]]

    def set_state(self, state: int, **changes: typing.Any) -> None:
        """Change EnabledState; emits the modification event."""
        self.host.v2.update(
            self.system, EnabledState=state,
            HealthState=(_CRITICALLY_ILL if state in UNCRITICAL
                         else _HEALTHY),
            TimeOfLastStateChange=values.cim_datetime(
                self.host.clock.time()), **changes)

    def touch(self) -> None:
        """Note a change of the configuration."""
        if self.is_planned:
            return
        self.host.v2.update(
            self.system, TimeOfLastConfigurationChange=values.cim_datetime(
                self.host.clock.time()))

    def describe(self) -> str:
        """How Hyper-V names a VM in an error text."""
        return "'%s' (Virtual machine ID %s)" % (self.name, self.guid)


def isa(record: engine.Record, cls: str) -> bool:
    """Whether *record* is of *cls* or of a class derived from it."""
    return record.cls.is_a(cls)


class VMs:
    """The virtual machines of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.workers: dict[str, workers.Worker] = {}
        self.lingering = workers.Lingering(host)
        self.files = vmfiles.ConfigFiles()
        self.behaviours = guests.Behaviours()
        #: VMs that ran when the host went down; they may start again.
        self.were_active: set[str] = set()
        #: Names of VMs that found nothing to boot from, for tests.
        self.found_no_system: list[str] = []
        #: Saved VMs that had found nothing to boot from.
        self.saved_without_system: set[str] = set()
        #: Device id -> DEVPKEY name -> value; Win32_PnPEntity has no
        #: property for them.
        self.pnp_properties: dict[str, dict[str, typing.Any]] = {}
        #: Metric value's InstanceID -> run time at which it began (s).
        self.meters: dict[str, float] = {}
        #: Seconds that a VM ran before its present power-on.
        self.earlier_runs_s: dict[str, float] = {}
        #: Timers of VMs that lost storage has paused, by GUID.
        self.paused_by_loss: dict[str, typing.Any] = {}
        #: COM ports of VMs that are off, served only where field
        #: knowledge is switched off: InstanceID -> pipe.
        self.idle_pipes: dict[str, workers.Closable] = {}
        self._next_pid = 4000

    def __iter__(self) -> Iterator[Vm]:
        for record in self._host.v2.find(SYSTEM):
            if record['Name'] != self._host.name:
                yield Vm(self._host, record['Name'])

    def planned(self) -> list[Vm]:
        """The planned systems."""
        return [Vm(self._host, record['Name'])
                for record in self._host.v2.find(PLANNED_SYSTEM)]

    def running(self) -> list[Vm]:
        """The VMs that have a worker."""
        return [Vm(self._host, guid) for guid in self.workers
                if Vm(self._host, guid).exists]

    def by_guid(self, guid: str) -> Vm | None:
        """The VM or planned VM with that GUID; the host is none."""
        if guid.upper() == self._host.name.upper():
            return None
        vm = Vm(self._host, guid)
        return vm if vm.exists else None

    def named(self, name: str) -> Vm:
        """The only VM of that display name.

        :raises LookupError: none or several
        """
        found = [record for record in self._host.v2.find(
            SYSTEM, ElementName=name)
            if record['Name'] != self._host.name]
        if len(found) != 1:
            raise LookupError('%d VMs are named %s' % (len(found), name))
        return Vm(self._host, found[0]['Name'])

    def of(self, record: engine.Record | None) -> Vm | None:
        """The VM that a system, settings or resource record belongs to.

        A snapshot's settings belong to the VM that it was taken of; a
        reference that was not given (None) belongs to none.
        """
        if record is None:
            return None
        if isa(record, 'CIM_ComputerSystem'):
            return self.by_guid(record['Name'])
        if isa(record, SETTINGS):
            return self.by_guid(record['VirtualSystemIdentifier'] or '')
        return self.by_guid(guid_of(record['InstanceID']))

    def of_system(self, record: engine.Record | None) -> Vm | None:
        """The VM whose system *record* is; settings are no system."""
        if record is None or not isa(record, 'CIM_ComputerSystem'):
            return None
        return self.of(record)

    def new_worker(self, memory_mib: dict[int, int]) -> workers.Worker:
        """A worker process for a VM that is about to start."""
        self._next_pid += 4
        return workers.Worker(
            self._next_pid, self._host.clock.monotonic(), memory_mib)

    def new_mac(self) -> str:
        """The next dynamic MAC address of this host's pool.

        Pool: 00155D, two digits of the host, two of the adapter, as the
        MinimumMacAddress/MaximumMacAddress of a real host (section 16).
        """
        serial = sum(self._host.name.encode()) & 0xFF
        taken = {record['Address'] for cls in (devices.NIC,
                                               devices.LEGACY_NIC)
                 for record in self._host.v2.find(cls)}
        return next(address for address in (
            '%s%02X%04X' % (self._host.quirks.mac_prefix, serial, number)
            for number in range(1, 0x10000)) if address not in taken)

    def forget_loss(self, guid: str) -> None:
        """A VM does not wait for its storage any more."""
        timer = self.paused_by_loss.pop(guid, None)
        if timer is not None:
            timer.cancel()

    def forget(self, guid: str) -> None:
        """A VM was destroyed: nothing of it stays in memory."""
        self.forget_loss(guid)
        self.earlier_runs_s.pop(guid, None)
        self.were_active.discard(guid)
        self.saved_without_system.discard(guid)
        for name in [name for name in self.meters if guid_of(name) == guid]:
            del self.meters[name]

    def power_cut(self) -> None:
        """The host lost its power: open files and pipes are gone."""
        for guid in list(self.paused_by_loss):
            self.forget_loss(guid)
        for worker in self.workers.values():
            if worker.guest is not None:
                worker.guest.stop()
            for held in worker.release():
                held.close()
        self.workers.clear()
        self.lingering.close_all()
        for pipe in self.idle_pipes.values():
            pipe.close()
        self.idle_pipes.clear()
        self.files.close_all()
        self._host.jobs.power_cut()

    def run_time_s(self, guid: str) -> float:
        """Seconds that a VM has run, over all its power-ons."""
        return self.earlier_runs_s.get(guid, 0.0) + self.uptime_s(guid)

    def uptime_s(self, guid: str) -> float:
        """Seconds since power-on; 0 when off."""
        worker = self.workers.get(guid)
        if worker is None:
            return 0.0
        return float(self._host.clock.monotonic() - worker.started_s)

    def used_memory_mib(self, node: int | None = None) -> int:
        """Memory that running VMs have reserved, of one NUMA node or all."""
        overhead_mib = self._host.quirks.vm_overhead_mib
        return sum(mib + overhead_mib
                   for worker in self.workers.values()
                   for number, mib in worker.memory_mib.items()
                   if node is None or number == node)

    def problems(self) -> list[str]:
        """VMs, planned VMs and workers that a clean host does not have."""
        return vmcheck.problems(self._host, state_name, guid_of)
