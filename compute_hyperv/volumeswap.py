# SPDX-License-Identifier: Apache-2.0
"""Another volume in the place of one that a server uses, with its data.

Cinder asks for it when it moves a volume in use to another backend (retype,
migrate). Hyper-V copies virtual disks under a running guest, so volumes on
SMB shares can move to SMB shares. Disks that are passed through it cannot
copy: those are refused before anything is changed.
"""

from collections.abc import Mapping
import contextlib
import ntpath
from typing import Any

from nova import exception
from oslo_log import log as logging

from compute_hyperv import diskops
from compute_hyperv import errors
from compute_hyperv import heldvolumes
from compute_hyperv import hostnotes
from compute_hyperv import jobwaits
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module
from compute_hyperv import volumeops

LOG = logging.getLogger(__name__)

_ATTEMPTS = 3
#: Cinder's empty file, out of the way until the data is there.
_ASIDE = '.empty'
#: How long the service waits for jobs when it starts, seconds.
_FIRST_LOOK_S = 10


class VolumeSwap:
    """Moves the data of volumes in files.

    :param notes: what a move was about outlives it there, for Nova still has
        to tell Cinder (``interruptedswap``).
    :param copy_timeout_s: how long a copy may take.
    :param end_timeout_s: how long a copy that failed, or is cancelled, may
        take to end; ``[hyperv] vm_operation_timeout``.
    """

    def __init__(self, *, win: oswin.Win, paths: paths_module.Paths,
                 disks: diskops.DiskOps, volumes: volumeops.VolumeOps,
                 held: heldvolumes.HeldVolumes, notes: hostnotes.HostNotes,
                 copy_timeout_s: int, end_timeout_s: int) -> None:
        self._win = win
        self._paths = paths
        self._disks = disks
        self._volumes = volumes
        self._held = held
        self._notes = notes
        self._copy_timeout_s = copy_timeout_s
        self._end_timeout_s = end_timeout_s

    def swap(self, context: Any, instance: Any, old: Mapping[str, Any],
             new: Mapping[str, Any], size_gib: int) -> None:
        """Let an instance have another volume with the same data.

        The drive keeps its slot, its limits, and the id of the old volume,
        which Cinder gives to the new one in the end.

        :param old: connection of the volume, *new* that of the other.
        :param size_gib: what the guest shall see then; 0 if as before.
        :raises NotSupportedByHost: one of them is no file, or they are too
            different; nothing has changed.
        :raises HyperVError: the instance has the old volume, unchanged.
        :raises JobsStillRunning: nobody knows yet which of both it will
            have; both stay as they are.
        """
        volume_id = str(old['serial'])
        self._refuse_disks(old, new)
        with self._held.alone(instance, volume_id):
            source = self._held.path(instance.name, volume_id)
            with operation.Rollback(f'move of volume {volume_id}') as undo:
                undo.on_failure(self._volumes.release, new)
                target = self._volumes.connect(new).path
                self._refuse_formats(source, target)
                self._notes.write(instance.name, hostnotes.SWAP, {
                    'request': context.request_id, 'old': volume_id,
                    'new': str(new['serial']), 'target': target})
                if size_gib:
                    # First, for what comes last must not fail.
                    self._grow(instance, volume_id, source,
                               size_gib * model.GIB)
                self._move(instance, volume_id, source, target, undo)
        LOG.info("Volume %s has moved from %s to %s.", volume_id, source,
                 target, instance=instance)
        self._try('the old volume', self._volumes.release, old)

    # -- after a kill -----------------------------------------------------

    def has_moved(self, instance: Any, volume_id: str,
                  new: Mapping[str, Any],
                  note: Mapping[str, Any] | None) -> bool:
        """Whether the VM has the new file; Hyper-V's copy is cancelled.

        :param new: connection of the other volume; empty without one.
        :param note: of :meth:`swap`, if it is there.
        :raises JobsStillRunning: nobody can tell yet.
        """
        if not self._win.stop_jobs(instance.name, _FIRST_LOOK_S):
            raise jobwaits.still_running(
                self._win, instance.name, _FIRST_LOOK_S,
                option='when nova-compute starts')
        if note is None and not (new and self._volumes.is_file(new)):
            return False
        try:
            path = self._held.path(instance.name, volume_id)
        except errors.NotSupportedByHost:
            return False        # such a one is not moved
        if note is not None:
            return paths_module.same(path, note['target'])
        name = str(new['data'].get('name'))
        return ntpath.basename(path).lower() == name.lower()

    def undo(self, new: Mapping[str, Any],
             note: Mapping[str, Any] | None) -> None:
        """Let go of a volume to which none has moved; its file is empty."""
        if note is not None:
            target = note['target']
            with contextlib.suppress(exception.DiskNotFound):
                self._volumes.connect(new)
            # What a copy writes to first; killed, it leaves that.
            self._paths.remove(target + paths_module.PARTIAL_SUFFIX)
            self._put_back(target, target + _ASIDE)
        self._volumes.release(new)

    def finish(self, instance: Any, volume_id: str,
               old: Mapping[str, Any]) -> None:
        """Let go of a volume that has moved to another."""
        self._paths.remove(
            self._held.path(instance.name, volume_id) + _ASIDE)
        self._volumes.release(old)

    # -- refusals ---------------------------------------------------------

    def _refuse_disks(self, *connections: Mapping[str, Any]) -> None:
        for connection in connections:
            if not self._volumes.is_file(connection):
                raise errors.NotSupportedByHost(
                    reason=f"volume {connection['serial']} is a disk that "
                           'is passed through, and Hyper-V copies none '
                           'under a guest; detach it first')

    def _refuse_formats(self, source: str, target: str) -> None:
        if self._disks.info(source).parent_path is not None:
            raise errors.NotSupportedByHost(
                reason=f'{source} is on top of snapshots')
        if (self._disks.info(source).format
                is not self._disks.info(target).format):
            raise errors.NotSupportedByHost(
                reason=f'{source} and {target} are of different formats, '
                       'and Hyper-V does not convert under a guest')

    # -- parts ------------------------------------------------------------

    def _grow(self, instance: Any, volume_id: str, path: str,
              size_bytes: int) -> None:
        if size_bytes > self._disks.info(path).virtual_size_bytes:
            with self._held.released(instance, volume_id):
                self._disks.resize(path, size_bytes)

    def _move(self, instance: Any, volume_id: str, source: str, target: str,
              undo: operation.Rollback) -> None:
        aside = target + _ASIDE
        undo.on_failure(self._put_back, target, aside)
        self._paths.rename(target, aside)
        try:
            if self._win.state(instance.name) is oswin.VMState.PAUSED:
                self._copy(instance, volume_id, source, target)
            else:
                with jobwaits.within(self._copy_timeout_s):
                    self._held.move(instance.name, volume_id, target)
        except Exception as exc:
            # The VM tells whether it was done all the same.
            if not errors.is_expected(exc) or not self._has_moved(
                    instance, volume_id, target, undo):
                raise
            LOG.warning("Volume %s has moved, but: %s", volume_id,
                        errors.text_of(exc), instance=instance)
        self._try(aside, self._paths.remove, aside)

    def _copy(self, instance: Any, volume_id: str, source: str,
              target: str) -> None:
        """For a guest that stands still anyway."""
        with self._held.released(instance, volume_id) as held:
            self._paths.copy(source, target)
            held.paths = [target, source]

    def _has_moved(self, instance: Any, volume_id: str, target: str,
                   undo: operation.Rollback) -> bool:
        try:
            jobwaits.end(self._win, instance.name,
                         timeout_s=self._end_timeout_s,
                         option='[hyperv] vm_operation_timeout')
            path = operation.retry(
                self._held.path, instance.name, volume_id, on=(Exception,),
                only_if=errors.is_expected, attempts=_ATTEMPTS)
        except Exception as exc:
            # The guest's data may be in either file, or on its way.
            LOG.error("Whether volume %s is in %s now, nobody can tell; "
                      "nothing is removed: %s", volume_id, target,
                      errors.text_of(exc), instance=instance)
            undo.leave()
            raise
        return paths_module.same(path, target)

    def _put_back(self, target: str, aside: str) -> None:
        """Cinder deletes its file, or uses it another time."""
        if self._paths.exists(aside):
            self._paths.remove(target)
            self._paths.rename(aside, target)

    def _try(self, what: str, call: Any, *args: Any) -> None:
        """What does not change the outcome."""
        try:
            operation.retry(call, *args, on=(Exception,),
                            only_if=errors.is_expected, attempts=_ATTEMPTS)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            LOG.warning("Cannot get rid of %s: %s", what,
                        errors.text_of(exc))
