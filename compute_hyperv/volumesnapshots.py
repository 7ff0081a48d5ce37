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
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module

LOG = logging.getLogger(__name__)

_ATTEMPTS = 3
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
                 volume_api: Any, retry_interval_s: float,
                 clock: operation.Clock = time) -> None:
        self._win = win
        self._paths = paths
        self._disks = disks
        self._held = held
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
        with (self._failure_told(context, snapshot_id, 'error'),
              self._held.alone(instance, volume_id)):
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
        with (self._failure_told(context, snapshot_id, 'error_deleting'),
              self._held.alone(instance, volume_id)):
            try:
                self._delete(instance, volume_id, info)
            finally:
                self._record(context, instance, volume_id)
            self._tell(context, snapshot_id, 'deleting')

    # -- one at a time, and Cinder knows ----------------------------------

    @contextlib.contextmanager
    def _failure_told(self, context: Any, snapshot_id: str,
                      status: str) -> Iterator[None]:
        try:
            yield
        except Exception:
            try:
                self._tell(context, snapshot_id, status)
            except Exception:       # the caller sees the first error
                LOG.exception("Cinder does not hear of the failure of "
                              "snapshot %s", snapshot_id)
            raise

    def _tell(self, context: Any, snapshot_id: str, status: str) -> None:
        # Whatever Cinder's client raises, the outcome matters to Cinder.
        operation.retry(
            self._volume_api.update_snapshot_status, context, snapshot_id,
            status, on=(Exception,), attempts=_ATTEMPTS,
            delay_s=self._retry_interval_s, clock=self._clock)

    def _record(self, context: Any, instance: Any, volume_id: str) -> None:
        """Note in Nova's database which file the VM really has."""
        path = self._held.path(instance.name, volume_id)
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
        with self._held.released(instance, volume_id) as held:
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
        with self._held.released(instance, volume_id) as held:
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


def _beside(path: str, name: str | None) -> str:
    """Path of another file in the same folder.

    :raises InvalidInput: *name* is no plain name of a file.
    """
    if (not name or ntpath.basename(name) != name or ':' in name
            or not name.strip('.')):
        raise exception.InvalidInput(
            reason=f'{name!r} is not the name of a file')
    return ntpath.join(ntpath.dirname(path), name)
