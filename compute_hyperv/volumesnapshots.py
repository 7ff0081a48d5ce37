# SPDX-License-Identifier: Apache-2.0
"""Cinder's snapshots of SMB volumes that servers are using.

A snapshot freezes the file that the volume has and puts a differencing disk
on top, which the guest writes to from then on. Deleting one merges its file
into the one below. Cinder keeps the books and deletes files; only the host
of the VM can change a chain that is in use, so Cinder asks Nova to::

    volume-1.vhdx <- volume-1.<snapshot A>.vhdx <- volume-1.<snapshot B>.vhdx
    content at A     content at B                  what the guest uses

Deleting B merges the right file into the middle one. Deleting A merges the
middle one into the left, and the right one becomes its child.

========== ============ ================================================
VM         Controller   How it lets go of the files meanwhile
========== ============ ================================================
running,   SCSI         paused; the disk leaves its drive and comes back
paused     IDE          saved; the disk's path is changed
off, saved any          the disk's path is changed
========== ============ ================================================
"""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import ntpath
import time
from typing import Any

from nova import exception
from nova import objects
from oslo_log import log as logging
from oslo_serialization import jsonutils

from compute_hyperv import diskops
from compute_hyperv import errors
from compute_hyperv import heldvolumes
from compute_hyperv import hostnotes
from compute_hyperv import leftdisks
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module

LOG = logging.getLogger(__name__)

_ATTEMPTS = 3
#: Cinder's status while it waits -> what it hears of a failure.
_FAILED = {'creating': 'error', 'deleting': 'error_deleting'}
#: More links than any chain has: one that is longer goes round in a circle.
_LONGEST_CHAIN = 1024


class VolumeSnapshots:
    """Makes and removes the files of snapshots under running servers.

    :param held: lets VMs release volumes for a while.
    :param volume_api: Nova's ``nova.volume.cinder.API``.
    :param retry_interval_s: pause between two attempts at what must not
        fail, seconds.
    """

    def __init__(self, *, win: oswin.Win, paths: paths_module.Paths,
                 disks: diskops.DiskOps, held: heldvolumes.HeldVolumes,
                 notes: hostnotes.HostNotes, volume_api: Any,
                 retry_interval_s: float,
                 clock: operation.Clock = time) -> None:
        self._win = win
        self._paths = paths
        self._disks = disks
        self._held = held
        self._notes = notes
        self._volume_api = volume_api
        self._retry_interval_s = retry_interval_s
        self._clock = clock

    def create(self, context: Any, instance: Any, volume_id: str,
               info: Mapping[str, Any]) -> None:
        """Put a new file on top of a volume; Cinder hears how it went.

        :param info: of Cinder: ``snapshot_id``, and ``new_file``, the name
            of the file to be made beside the others.
        :raises HyperVError: nothing has changed then.
        """
        snapshot_id = info['snapshot_id']
        with self._one(context, instance, volume_id, snapshot_id, info,
                       _FAILED['creating']):
            self._create(context, instance, volume_id, snapshot_id,
                         info['new_file'])

    def delete(self, context: Any, instance: Any, volume_id: str,
               snapshot_id: str, info: Mapping[str, Any]) -> None:
        """Merge a file into the one below; Cinder hears how it went.

        The merged file stays: Cinder reads it once more and deletes it. To
        be repeated until it succeeds.

        :param info: of Cinder: ``file_to_merge``, and perhaps
            ``merge_target_file``, names of files.
        :raises HyperVError: the guest has all its data all the same.
        """
        with self._one(context, instance, volume_id, snapshot_id, info,
                       _FAILED['deleting']):
            try:
                self._delete(instance, volume_id, info)
            finally:
                self._record(context, instance, volume_id)
            self._tell(context, snapshot_id, 'deleting')

    # -- one at a time, and Cinder knows ----------------------------------

    @contextlib.contextmanager
    def _one(self, context: Any, instance: Any, volume_id: str,
             snapshot_id: str, info: Mapping[str, Any],
             failed: str) -> Iterator[None]:
        """Let the block be the only one; Cinder hears *failed* if it does.

        What it is about is noted until then, for :meth:`take_up`.
        """
        note = dict(info) | {'volume': volume_id, 'snapshot': snapshot_id}
        is_told = False
        try:
            _check_name(info.get('new_file') or info.get('file_to_merge'))
            with (self._held.alone(instance, volume_id),
                  self._noted(instance.name, note)):
                try:
                    yield
                except Exception:
                    is_told = True
                    self._tell_failure(context, snapshot_id, failed)
                    raise
        except Exception:
            if not is_told:
                self._tell_failure(context, snapshot_id, failed)
            raise

    @contextlib.contextmanager
    def _noted(self, vm_name: str, note: Mapping[str, Any]
               ) -> Iterator[None]:
        self._notes.write(vm_name, hostnotes.SNAPSHOT, note)
        try:
            yield
        finally:
            self._notes.remove(vm_name, hostnotes.SNAPSHOT)

    def _tell_failure(self, context: Any, snapshot_id: str,
                      status: str) -> None:
        try:
            self._tell(context, snapshot_id, status)
        except Exception:       # the caller sees the first error
            LOG.exception("Cinder does not hear of the failure of snapshot "
                          "%s", snapshot_id)

    def _tell(self, context: Any, snapshot_id: str, status: str) -> None:
        # Whatever Cinder's client raises, the outcome matters to Cinder.
        operation.retry(
            self._volume_api.update_snapshot_status, context, snapshot_id,
            status, on=(Exception,), attempts=_ATTEMPTS,
            delay_s=self._retry_interval_s, clock=self._clock)

    def _record(self, context: Any, instance: Any, volume_id: str) -> None:
        """Note in Nova's database which file the VM really has."""
        path = self._held.path(instance.name, volume_id)
        if leftdisks.is_on_top(path):
            return      # it goes with its checkpoint
        bdm = objects.BlockDeviceMapping.get_by_volume_and_instance(
            context, volume_id, instance.uuid)
        connection = jsonutils.loads(bdm.connection_info)
        name = ntpath.basename(path)
        if connection['data'].get('name', '').lower() != name.lower():
            connection['data']['name'] = name
            bdm.connection_info = jsonutils.dumps(connection)
            bdm.save()

    # -- creation ---------------------------------------------------------

    def _create(self, context: Any, instance: Any, volume_id: str,
                snapshot_id: str, new_file: str) -> None:
        path = self._held.path(instance.name, volume_id)
        leftdisks.refuse_checkpoint(path, volume_id)
        new_path = _beside(path, new_file)
        is_there = self._paths.exists(new_path)
        if is_there and not self._is_child(new_path, path):
            raise errors.DiskOperationFailed(
                reason=f'{new_path} exists and is no child of {path}')
        with operation.Rollback(f'snapshot of volume {volume_id}') as undo:
            undo.on_failure(self._record, context, instance, volume_id)
            with self._held.released(instance, volume_id) as held:
                if not is_there:
                    undo.on_failure(self._remove_unused, instance,
                                    volume_id, new_path)
                    self._win.vhd.create_differencing_vhd(new_path, path)
                held.paths = [new_path, path]
            undo.on_failure(self._take_back, instance, volume_id, new_path,
                            path)
            self._record(context, instance, volume_id)
            self._tell(context, snapshot_id, 'creating')
        LOG.info("Volume %s: the server writes to %s now.", volume_id,
                 new_path, instance=instance)

    def _is_child(self, path: str, parent_path: str) -> bool:
        found = self._disks.info(path).parent_path
        return found is not None and paths_module.same(found, parent_path)

    def _take_back(self, instance: Any, volume_id: str, new_path: str,
                   path: str) -> None:
        """The guest may have written to the new file already."""
        with self._held.released(instance, volume_id,
                                 (new_path, path)) as held:
            self._merge(new_path, path)
            held.paths = [path, new_path]

    def _remove_unused(self, instance: Any, volume_id: str,
                       path: str) -> None:
        used = self._held.path(instance.name, volume_id)
        if not paths_module.same(used, path):
            self._paths.remove(path)

    # -- deletion ---------------------------------------------------------

    def _delete(self, instance: Any, volume_id: str,
                info: Mapping[str, Any]) -> None:
        path = self._held.path(instance.name, volume_id)
        leftdisks.refuse_checkpoint(path, volume_id)
        merged = _beside(path, info.get('file_to_merge'))
        chain = self._chain(path)
        place = next((number for number, link in enumerate(chain)
                      if paths_module.same(link, merged)), None)
        if place is None and self._was_merged(merged, chain):
            LOG.info("%s was merged before.", merged, instance=instance)
            return
        if place is None or place == len(chain) - 1:
            raise errors.DiskOperationFailed(
                reason=f'{merged} is no snapshot below {path}')
        parent = chain[place + 1]
        target = info.get('merge_target_file')
        if target and not paths_module.same(_beside(path, target), parent):
            raise errors.DiskOperationFailed(
                reason=f'{merged} is not on top of {target}')
        with self._held.released(instance, volume_id,
                                 (merged, parent)) as held:
            self._merge(merged, parent)
            if place == 0:
                # The merged file over what it was merged into reads alike.
                held.paths = [parent, merged]
            else:
                self._set_parent(chain[place - 1], parent)
        LOG.info("Volume %s: %s is merged into %s.", volume_id, merged,
                 parent, instance=instance)

    def _chain(self, path: str) -> list[str]:
        """A disk, its parent, and so on."""
        found = [path]
        while len(found) < _LONGEST_CHAIN:
            parent = self._disks.info(found[-1]).parent_path
            if parent is None:
                return found
            found.append(parent)
        raise errors.DiskOperationFailed(
            reason=f'{path} is the end of a chain without a beginning')

    def _was_merged(self, merged: str, chain: list[str]) -> bool:
        """Whether an earlier request did it, of which Cinder did not hear."""
        return self._paths.exists(merged) and any(
            self._is_child(merged, link) for link in chain)

    def _merge(self, merged: str, parent: str) -> None:
        """Merge a disk into its parent; it stays usable over it.

        There is no limit to the time: the disk is nobody's before Windows
        is done, and Windows gives up by itself when the share is gone.
        """
        try:
            self._win.vhd.merge_vhd(merged, delete_merged_image=False)
        finally:
            # Windows knows parents by an identity, which writing changes.
            self._set_parent(merged, parent)

    def _set_parent(self, path: str, parent: str) -> None:
        operation.retry(
            self._win.set_disk_parent, path, parent, on=(Exception,),
            only_if=errors.is_foreign_or_ours, attempts=_ATTEMPTS,
            delay_s=self._retry_interval_s, clock=self._clock)

    # -- after a kill -----------------------------------------------------

    def take_up(self, context: Any, instance: Any,
                timeout_s: float | None = None) -> None:
        """Bring to an end what a service that was killed had begun.

        The VM has its disk already (``heldvolumes``). What is done, Cinder
        hears of; what is not, it hears has failed.

        :param timeout_s: how long it may wait for others to end first.
        :raises NovaException: to be repeated.
        """
        note = self._notes.read(instance.name, hostnotes.SNAPSHOT)
        if note is None:
            return
        LOG.warning("nova-compute ended in the middle of snapshot %s of "
                    "volume %s.", note['snapshot'], note['volume'],
                    instance=instance)
        with self._held.locked(instance, note['volume'], timeout_s):
            if not self._is_noted(instance, note):
                return
            is_over = self._end(context, instance, note)
            if is_over:
                self._notes.remove(instance.name, hostnotes.SNAPSHOT)
        if not is_over:
            self._give_up(context, instance, note)

    def _is_noted(self, instance: Any, note: Mapping[str, Any]) -> bool:
        """Whether no other operation has come in between; it has a note."""
        return self._notes.read(instance.name, hostnotes.SNAPSHOT) == note

    def _end(self, context: Any, instance: Any,
             note: Mapping[str, Any]) -> bool:
        """Whether files, Nova and Cinder agree by now."""
        status = self._status(context, note['snapshot'])
        if not self._held.has(instance.name, note['volume']):
            LOG.warning("Volume %s was detached meanwhile.", note['volume'],
                        instance=instance)
            if status in _FAILED:
                self._tell(context, note['snapshot'], _FAILED[status])
            return True
        path = self._held.path(instance.name, note['volume'])
        self._record(context, instance, note['volume'])
        end = (self._end_creation if note.get('new_file')
               else self._end_deletion)
        return end(context, note, path, status)

    def _status(self, context: Any, snapshot_id: str) -> str:
        try:
            return str(self._volume_api.get_snapshot(
                context, snapshot_id)['status'])
        except exception.SnapshotNotFound:
            return 'deleted'

    def _end_creation(self, context: Any, note: Mapping[str, Any],
                      path: str, status: str) -> bool:
        """Whether the VM has the file that Cinder takes for its."""
        snapshot_id = note['snapshot']
        new_path = _beside(path, note['new_file'])
        if paths_module.same(path, new_path):
            if status == 'creating':
                self._tell(context, snapshot_id, status)
            return status in ('creating', 'available')
        if status != 'available' and not any(
                paths_module.same(link, new_path)
                for link in self._chain(path)):
            self._paths.remove(new_path)
        if status == 'creating':
            self._tell(context, snapshot_id, _FAILED[status])
        return True

    def _give_up(self, context: Any, instance: Any,
                 note: Mapping[str, Any]) -> None:
        """Undo what works, for Cinder does not wait for it any more."""
        volume_id = note['volume']
        with self._held.alone(instance, volume_id):
            if not self._is_noted(instance, note):
                return
            new_path = self._held.path(instance.name, volume_id)
            below = self._chain(new_path)[1:]
            # Without a file below, it is no snapshot's; nor is another one.
            if below and paths_module.same(
                    new_path, _beside(new_path, note['new_file'])):
                self._take_back(instance, volume_id, new_path, below[0])
                self._record(context, instance, volume_id)
                self._remove_unused(instance, volume_id, new_path)
            self._notes.remove(instance.name, hostnotes.SNAPSHOT)

    def _end_deletion(self, context: Any, note: Mapping[str, Any],
                      path: str, status: str) -> bool:
        if status == 'deleting':
            chain = self._chain(path)
            merged = _beside(path, note.get('file_to_merge'))
            is_done = (not any(paths_module.same(link, merged)
                               for link in chain)
                       and self._was_merged(merged, chain))
            self._tell(context, note['snapshot'],
                       status if is_done else _FAILED[status])
        return True


def _beside(path: str, name: str | None) -> str:
    """Path of another file in the same folder; see :func:`_check_name`."""
    return ntpath.join(ntpath.dirname(path), _check_name(name))


def _check_name(name: str | None) -> str:
    """Let only what lies in the same folder pass.

    :raises InvalidInput: *name* is no plain name of a file.
    """
    if (not name or ntpath.basename(name) != name or ':' in name
            or not name.strip('.')):
        raise exception.InvalidInput(
            reason=f'{name!r} is not the name of a file')
    return name
