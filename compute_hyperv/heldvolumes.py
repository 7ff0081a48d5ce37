# SPDX-License-Identifier: Apache-2.0
"""Volumes in files, taken from the VMs that use them for a moment.

Hyper-V holds the files of a running VM's disks. To change them they are
taken from it and given back, in the same place, with the guest standing
still meanwhile. What is noted before (``hostnotes``) lets the next service
give them back, should this one be killed.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import time
from typing import Any

from nova.compute import task_states
from nova import exception
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import hostnotes
from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import powerops
from compute_hyperv import vmdrives

LOG = logging.getLogger(__name__)

#: Nova clears it when it starts, and no others.
_BUSY = task_states.IMAGE_SNAPSHOT_PENDING
_LIVE = (oswin.VMState.RUNNING, oswin.VMState.PAUSED)
_ATTEMPTS = 3


@dataclasses.dataclass(slots=True)
class Held:
    """A volume that its VM has let go of.

    :ivar paths: the file that the VM gets in the end; the others are tried
        in their order if it does not take the first.
    """

    paths: list[str]


class HeldVolumes:
    """Lets VMs release volumes, and gives them back.

    :param retry_interval_s: pause between two attempts to give something
        back, seconds.
    """

    def __init__(self, *, win: oswin.Win, power: powerops.PowerOps,
                 locks: locks.Locks, notes: hostnotes.HostNotes,
                 retry_interval_s: float,
                 clock: operation.Clock = time) -> None:
        self._win = win
        self._power = power
        self._locks = locks
        self._notes = notes
        self._drives = vmdrives.VmDrives(win)
        self._retry_interval_s = retry_interval_s
        self._clock = clock

    @contextlib.contextmanager
    def locked(self, instance: Any, volume_id: str,
               timeout_s: float | None = None) -> Iterator[None]:
        """Nobody else here changes the instance inside the block.

        :param timeout_s: how long it may wait, unless as long as usual.
        :raises InstanceNotRunning: it has no VM here.
        """
        with self._locks.held(locks.instance(instance.uuid),
                              locks.chain(volume_id), timeout_s=timeout_s):
            if self._win.find_owner(instance.name) != instance.uuid:
                raise exception.InstanceNotRunning(instance_id=instance.uuid)
            yield

    @contextlib.contextmanager
    def alone(self, instance: Any, volume_id: str) -> Iterator[None]:
        """Nobody else changes the instance inside the block.

        Nova's task state is for its API, and for its look at the power
        states: it stops servers that are saved without having been asked.
        """
        with self.locked(instance, volume_id):
            instance.task_state = _BUSY
            instance.save(expected_task_state=[None])
            try:
                yield
            finally:
                instance.task_state = None
                self._save(instance)

    def _save(self, instance: Any) -> None:
        try:
            instance.save(expected_task_state=[_BUSY])
        except (exception.UnexpectedTaskStateError,
                exception.InstanceNotFound) as exc:
            LOG.info("The instance is being deleted: %s", exc,
                     instance=instance)

    def has(self, vm_name: str, volume_id: str) -> bool:
        """Whether a VM has a drive for a volume."""
        return self._drives.tagged(vm_name, volume_id) is not None

    def path(self, vm_name: str, volume_id: str) -> str:
        """The file that a VM has for a volume.

        :raises NotSupportedByHost: it is no file, but a disk of the host.
        :raises DiskOperationFailed: the VM has no such volume.
        """
        return self._found(vm_name, volume_id)[1]

    def move(self, vm_name: str, volume_id: str, path: str) -> None:
        """See :meth:`vmdrives.VmDrives.move_file`."""
        drive, _path = self._found(vm_name, volume_id)
        self._drives.move_file(vm_name, drive, path)

    def _found(self, vm_name: str, volume_id: str
               ) -> tuple[vmdrives.Drive, str]:
        drive = self._drives.tagged(vm_name, volume_id)
        if drive is not None and drive.is_physical:
            raise errors.NotSupportedByHost(
                reason=f'volume {volume_id} is a disk that is passed '
                       'through; only the storage can do this to it')
        if drive is not None:
            path = self._drives.file_of(drive)
            if path is not None:
                return drive, path
        raise errors.DiskOperationFailed(
            reason=f'{vm_name} has no file for volume {volume_id}')

    @contextlib.contextmanager
    def released(self, instance: Any, volume_id: str,
                 merge: tuple[str, str] | None = None) -> Iterator[Held]:
        """Nobody uses the files of a volume inside the block.

        When it is left the VM has the file that the block wants, or without
        a wish the one that it had, and the power state that it had.

        :param merge: a file and its parent, if the block merges the one
            into the other.
        :raises HyperVError: also if only that went wrong.
        """
        name = instance.name
        drive, path = self._found(name, volume_id)
        before = self._win.state(name)
        limits = self._drives.limits(name, drive)
        held = Held(paths=[path])
        with contextlib.ExitStack() as stack:
            # All of it runs, the last one first.
            stack.callback(self._notes.remove, name, hostnotes.RELEASED)
            self._notes.write(name, hostnotes.RELEASED, {
                'volume': volume_id, 'path': path, 'state': before.name,
                'limits': dataclasses.asdict(limits), 'merge': merge})
            stack.callback(self._retry, self._restore, instance, before)
            self._stop(instance, drive, before)
            stack.callback(self._give_back, name, drive, held, limits)
            if before in _LIVE and drive.slot.bus is not model.Bus.IDE:
                self._drives.eject(name, drive)
            yield held

    def take_up(self, instance: Any,
                timeout_s: float | None = None) -> None:
        """Give back what a service that was killed had taken from a VM.

        It gets the file that it had, for that has all its data, and its
        power state; what was half merged is a chain again.

        :param timeout_s: as for :meth:`locked`.
        :raises HyperVError: to be repeated.
        """
        note = self._notes.read(instance.name, hostnotes.RELEASED)
        if note is None:
            return
        with self._locks.held(locks.instance(instance.uuid),
                              locks.chain(note['volume']),
                              timeout_s=timeout_s):
            if self._notes.read(instance.name, hostnotes.RELEASED) != note:
                return      # of an operation that ran, and is over
            if self._win.find_owner(instance.name) == instance.uuid:
                LOG.warning("nova-compute ended while volume %s was out of "
                            "its drive; it gets it back.", note['volume'],
                            instance=instance)
                self._put_in_order(instance, note)
            self._notes.remove(instance.name, hostnotes.RELEASED)

    def _put_in_order(self, instance: Any, note: dict[str, Any]) -> None:
        name = instance.name
        drive = self._drives.tagged(name, note['volume'])
        if drive is not None:
            is_empty = self._drives.file_of(drive) is None
            if note['merge'] and (is_empty
                                  or self._win.state(name) not in _LIVE):
                # Else the VM has it open, as it was before or will be.
                self._retry(self._win.set_disk_parent, *note['merge'])
            if is_empty:
                self._retry(self._drives.insert, name, drive, note['path'],
                            vmdrives.Limits(**note['limits']))
        self._retry(self._restore, instance, oswin.VMState[note['state']])

    def _stop(self, instance: Any, drive: vmdrives.Drive,
              state: oswin.VMState) -> None:
        """Let the guest stand still, so that the disk can be taken."""
        if state in _LIVE and drive.slot.bus is model.Bus.IDE:
            # Such a disk can neither leave a running VM nor be changed.
            self._power.suspend(instance)
        elif state is oswin.VMState.RUNNING:
            self._power.pause(instance)

    def _give_back(self, vm_name: str, drive: vmdrives.Drive, held: Held,
                   limits: vmdrives.Limits) -> None:
        failures = []
        for path in held.paths:
            try:
                self._retry(self._drives.insert, vm_name, drive, path,
                            limits)
                break
            except Exception as exc:
                if not errors.is_expected(exc):
                    raise
                LOG.error("%s does not take %s back: %s", vm_name, path,
                          errors.text_of(exc))
                failures.append(exc)
        if failures:
            raise failures[0]

    def _restore(self, instance: Any, before: oswin.VMState) -> None:
        """Give a VM back its power state, unless somebody stopped it."""
        state = self._win.state(instance.name)
        if state in (before, oswin.VMState.OFF):
            return
        if state is not oswin.VMState.RUNNING:
            self._power.start(instance)
        if before is oswin.VMState.PAUSED:
            self._power.pause(instance)

    def _retry(self, call: Callable[..., None], *args: Any) -> None:
        operation.retry(
            call, *args, on=(Exception,), only_if=errors.is_foreign_or_ours,
            attempts=_ATTEMPTS, delay_s=self._retry_interval_s,
            clock=self._clock)
