# SPDX-License-Identifier: Apache-2.0
"""How a VM moves (hyperv-semantics.md section 11).

The steps of the job on the source, by percentage: a planned VM at the
destination, the disks, the memory, and in the end the switch, where the VM
stops being here and is there. Everything up to the switch can break, and
then nothing is left at the destination and the source goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import functools
import typing

from .. import devices
from .. import jobs
from .. import movedisks
from .. import vm as vms
from . import engine
from . import virtualization_definition as definitions
from . import virtualization_movable as movable
from . import virtualization_power as power
from . import virtualization_storage as storage
from . import virtualization_system as system
from ..vm import Vm
from ..winerror import WinError

if typing.TYPE_CHECKING:
    from ..host import Host

_MIGRATING = 32774              #: second OperationalStatus (section 2)
_SHAKE_HANDS_S = 0.5
#: Percentages at which disks begin and the memory begins and ends.
_DISKS, _MEMORY, _LAST = 5.0, 70.0, 95.0
_ROUNDS = 3                     #: of copying memory


def steps_of(request: movable.Request) -> 'Move | StorageMove | Staging':
    """The work that belongs to a request's MigrationType."""
    kinds: dict[int, type[Move | StorageMove | Staging]] = {
        movable.VM: Move, movable.VM_AND_STORAGE: Move,
        movable.STAGED: Staging, movable.STORAGE: StorageMove}
    return kinds[request.kind](request)


class Step:
    """What all kinds of moves have in common."""

    job_type = jobs.MOVE
    name = 'Moving Virtual Machine'

    def __init__(self, request: movable.Request) -> None:
        self.request = request
        self.vm = request.vm
        self.state = request.vm.state

    def mark(self) -> None:
        """The VM says that it is being moved."""
        self.vm.host.v2.update(self.vm.system,
                               OperationalStatus=(2, _MIGRATING))

    def unmark(self) -> None:
        """It says so no longer."""
        if self.vm.exists:
            self.vm.host.v2.update(self.vm.system, OperationalStatus=(2,))

    def check_state(self) -> None:
        """The VM is as it was when the job began."""
        if self.vm.state != self.state:
            raise self.request.failure(
                'the state of the virtual machine changed to %s.' %
                vms.state_name(self.vm.state), jobs.INVALID_STATE)

    def steps(self) -> Iterator[tuple[float, Callable[[], object]]]:
        """Percentages, and what is done there."""
        return iter(())

    def duration_s(self) -> float:
        """How long it takes on a fast real host."""
        return _SHAKE_HANDS_S

    def finish(self) -> None:
        """What is done at 100 %."""

    def undo(self) -> None:
        """It failed or was cancelled."""
        self.unmark()

    def power_cut(self) -> None:
        """The host that runs the job lost its power."""


class Staging(Step):
    """Type 32770: a planned VM at the destination, nothing else."""

    job_type = jobs.CREATE_REMOTE
    name = 'Creating Remote Virtual Machine'

    def finish(self) -> None:
        target = movable.target_of(self.request)
        movable.check_hosts(self.request, target)
        movable.check_machine(self.request, target)
        movable.check_identity(self.request, target)
        stage(self.vm, target)
        self.unmark()


def stage(vm: Vm, target: Host) -> Vm:
    """Make the planned VM at the destination.

    :raises WinError: its files cannot be made; nothing is left
    """
    planned = definitions.load(
        target, definitions.take(vm, definitions.snapshots_of(vm)),
        planned=True)
    try:
        target.vms.files.create(planned)
    except WinError:
        system.destroy(planned)
        raise
    return planned


class Move(Step):
    """Types 32768 and 32771: the VM, with or without its disks."""

    def __init__(self, request: movable.Request) -> None:
        super().__init__(request)
        if request.kind == movable.VM_AND_STORAGE:
            self.job_type = jobs.MOVE_ALL
            self.name = 'Moving Virtual Machine and Storage'
        self.target: Host | None = None
        self.planned: Vm | None = None
        self.disks: movedisks.Disks | None = None

    def duration_s(self) -> float:
        mib = 0.0
        if self.state in (vms.RUNNING, vms.SAVED):
            mib += self.vm.memory['VirtualQuantity']
        if self.request.kind == movable.VM_AND_STORAGE:
            mib += sum(_size_mib(self.vm.host, one['HostResource'][0])
                       for one in self.vm.media())
        return _SHAKE_HANDS_S + mib / self.vm.host.quirks.migration_mib_per_s

    # -- on the way
    def steps(self) -> Iterator[tuple[float, Callable[[], object]]]:
        yield 0.0, self._begin
        files = self.vm.media() if (
            self.request.kind == movable.VM_AND_STORAGE) else []
        share = (_MEMORY - _DISKS) / max(1, len(files))
        for number in range(len(files)):
            # The last of them takes along what belongs to checkpoints.
            yield _DISKS + share * number, functools.partial(
                self._copy, number, number + 1 == len(files))
        for number in range(_ROUNDS):
            yield (_MEMORY + (_LAST - _MEMORY) * number / (_ROUNDS - 1),
                   self._need_link)

    def _begin(self) -> None:
        """Check everything and stage the VM."""
        request = self.request
        self.target = target = movable.target_of(request)
        if request.planned_guid == self.vm.guid:
            self.planned = target.vms.by_guid(self.vm.guid)
        movable.check_hosts(request, target)
        movable.check_machine(request, target)
        movable.check_identity(request, target)
        if self.planned is None:
            self.planned = stage(self.vm, target)
        movable.check_planned(request, self.planned)
        self.disks = self._plan_disks(target)

    def _plan_disks(self, target: Host) -> movedisks.Disks:
        request = self.request
        new_paths = None
        if request.kind == movable.VM_AND_STORAGE:
            new_paths = request.new_paths
            if new_paths is None:
                new_paths = {
                    one['InstanceID'].lower(): one['HostResource'][0]
                    for one in self.vm.media()}
        return movedisks.Disks(
            self.vm, target, new_paths,
            unmanaged=request.settings['UnmanagedVhds'] or (),
            overwrite=request.flag('AllowOverwriteExistingFile'))

    def _need_link(self) -> tuple[Host, movedisks.Disks]:
        """The destination still answers and knows of the move.

        :raises JobFailure: the connection broke
        """
        target, planned, disks = self.target, self.planned, self.disks
        source = self.vm.host
        if target is None or disks is None or planned is None or not (
                target.powered and source.fabric.connected(source, target)
                and planned.exists and planned.is_planned):
            raise self.request.failure(
                "the connection with host '%s' was lost: An existing "
                'connection was forcibly closed by the remote host. '
                '(0x80072746).' % self.request.destination)
        self.check_state()
        return target, disks

    def _copy(self, number: int, rest: bool) -> None:
        _target, disks = self._need_link()
        moves = disks.moves[number:] if rest else (
            disks.moves[number:number + 1])
        for move in moves:
            disks.copy(move)

    # -- the switch
    def finish(self) -> None:
        target, disks = self._need_link()
        disks.settle()
        vm = self.vm
        definition = definitions.take(
            vm, definitions.snapshots_of(vm),
            metrics=vm.host.quirks.metrics_move)
        if self.planned is not None:
            self._plug(definition, self.planned)
            system.destroy(self.planned)
        _rename_disks(definition, disks.new_paths)
        for medium in vm.media():
            storage.close_medium(vm, medium)
        try:
            new = self._arrive(target, definition)
        except Exception:
            for medium in vm.media():
                storage.open_medium(vm, medium)
            raise
        self._leave(new, disks)

    def _plug(self, definition: definitions.Json, planned: Vm) -> None:
        """What the planned VM is plugged into is what counts."""
        plugs = {record['InstanceID'].lower(): record
                 for cls in (devices.PORT, devices.RASD, devices.SASD)
                 for record in planned.resources(cls)}
        for _cls, props in definition['records']:
            record = plugs.get(str(props.get('InstanceID', '')).lower())
            if record is None or record['HostResource'] is None:
                continue
            props['HostResource'] = list(record['HostResource'])
            if record.cls.name == devices.PORT:
                props['LastKnownSwitchName'] = record['LastKnownSwitchName']

    def _arrive(self, target: Host, definition: definitions.Json) -> Vm:
        """The VM comes to life at the destination, or is not there."""
        old = self.vm.worker
        definition['system']['ProcessID'] = None
        new = definitions.load(target, definition, planned=False,
                               state=self.state)
        files = self.vm.host.vms.files
        shared = files.give_up(self.vm, new)
        try:
            target.vms.files.create(new)
            if old is not None:
                power.power_on(new)
        except Exception:
            system.destroy(new)
            if shared:
                files.create(self.vm)
            raise
        worker = new.worker
        if worker is not None and old is not None:
            worker.started_s = old.started_s
            target.v2.update(new.system, ProcessID=worker.pid)
            if worker.guest is not None and old.guest is not None:
                worker.guest.adopt(old.guest)
        table, theirs = self.vm.host.vms, target.vms
        theirs.earlier_runs_s[new.guid] = table.earlier_runs_s.get(
            new.guid, 0.0)
        return new

    def _leave(self, new: Vm, disks: movedisks.Disks) -> None:
        """The VM is at the destination: the source forgets it."""
        vm = self.vm
        power.power_off(vm)
        system.destroy(vm)
        disks.leave_sources(self.request.flag)

    # -- failure
    def undo(self) -> None:
        self.unmark()
        self.power_cut()

    def power_cut(self) -> None:
        """The destination throws away what it has got so far."""
        target = self.target
        if target is None or not target.powered:
            return                      # a reboot clears it away
        planned = self.planned
        if planned is not None and planned.exists and planned.is_planned:
            system.destroy(planned)
        if self.disks is not None:
            self.disks.files.undo()


class StorageMove(Step):
    """Type 32769: the disks of a VM go elsewhere on the same host."""

    job_type = jobs.MOVE_STORAGE
    name = 'Moving Storage'

    def __init__(self, request: movable.Request) -> None:
        super().__init__(request)
        self.disks: movedisks.Disks | None = None

    def duration_s(self) -> float:
        return _SHAKE_HANDS_S + sum(
            _size_mib(self.vm.host, one['HostResource'][0])
            for one in self.vm.media()
        ) / self.vm.host.quirks.migration_mib_per_s

    def steps(self) -> Iterator[tuple[float, Callable[[], object]]]:
        yield 0.0, self._begin
        yield _DISKS, self._copy

    def _begin(self) -> None:
        host, request = self.vm.host, self.request
        limit = movable.settings_of(host)['MaximumActiveStorageMigration']
        if movable.active(host, jobs.MOVE_STORAGE) > limit:
            raise request.failure(
                "'%s' moves as many virtual machines' storage as it may "
                '(%d).' % (host.name, limit), jobs.IN_USE)
        paths = {one['InstanceID'].lower(): one['HostResource'][0]
                 for one in self.vm.media()}
        paths.update(request.new_paths or {})
        self.disks = movedisks.Disks(
            self.vm, host, paths,
            unmanaged=request.settings['UnmanagedVhds'] or (),
            overwrite=request.flag('AllowOverwriteExistingFile'))

    def _copy(self) -> None:
        if self.disks is not None:
            for move in self.disks.moves:
                self.disks.copy(move)

    def finish(self) -> None:
        vm, disks = self.vm, self.disks
        self.check_state()
        if disks is None:
            raise jobs.Gone('The plan is gone')
        disks.settle()
        media = [one for snapshot in (vm.settings, *(
            definitions.snapshots_of(vm)))
            for one in vm.host.v2.under(snapshot['InstanceID'],
                                        devices.SASD)]
        old = {one.path: one['HostResource'] for one in media}
        for medium in vm.media():
            storage.close_medium(vm, medium)
        try:
            self._rename(media, disks)
            for medium in vm.media():
                storage.open_medium(vm, medium)
        except Exception:
            for medium in media:
                vm.host.v2.update(medium, HostResource=old[medium.path])
            raise
        self.unmark()
        disks.leave_sources(self.request.flag)

    def _rename(self, media: list[engine.Record],
                disks: movedisks.Disks) -> None:
        for medium in media:
            given = medium['HostResource'] or ()
            self.vm.host.v2.update(medium, HostResource=tuple(
                disks.new_paths.get(path.lower(), path) for path in given))

    def undo(self) -> None:
        self.unmark()
        for medium in self.vm.media() if self.vm.exists else ():
            worker = self.vm.worker
            if worker is not None and (
                    medium['InstanceID'] not in worker.files):
                storage.open_medium(self.vm, medium)
        if self.disks is not None:
            self.disks.files.undo()


def _rename_disks(definition: definitions.Json,
                  new_paths: dict[str, str]) -> None:
    for _cls, props in definition['records']:
        if props.get('ResourceSubType') == devices.HARD_DISK:
            props['HostResource'] = [
                new_paths.get(path.lower(), path)
                for path in props['HostResource'] or ()]


def _size_mib(host: Host, path: str) -> float:
    try:
        return host.storage.locate(path).need().size_bytes / (1 << 20)
    except WinError:
        return 0.0
