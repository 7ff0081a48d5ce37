# SPDX-License-Identifier: Apache-2.0
"""Images made of instances.

========== ========================================================
VM         How its disk is read
========== ========================================================
off, saved as it is: nothing writes to it while the lock is held
running,   a checkpoint freezes it; the guest goes on in a new file,
paused     which Hyper-V merges when the copy is made
========== ========================================================

Windows reads the root disk with its parents and writes one new disk into
the export directory. The instance's own chain is only ever read.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import ntpath
from typing import Any

from nova.compute import task_states
from nova import exception
from oslo_log import log as logging

from compute_hyperv import checkpoints
from compute_hyperv import diskops
from compute_hyperv import errors
from compute_hyperv import hostnotes
from compute_hyperv import locks
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module

LOG = logging.getLogger(__name__)

_FROZEN_ITSELF = (oswin.VMState.OFF, oswin.VMState.SAVED)


class SnapshotOps:
    """Uploads the root disks of instances.

    :param glance: Nova's ``nova.image.glance.API``.
    :param copy_timeout_s: how long the copy of a disk may take.
    """

    def __init__(self, *, win: oswin.Win, paths: paths_module.Paths,
                 disks: diskops.DiskOps, locks: locks.Locks,
                 checkpoints: checkpoints.Checkpoints, glance: Any,
                 copy_timeout_s: int) -> None:
        self._win = win
        self._paths = paths
        self._disks = disks
        self._locks = locks
        self._checkpoints = checkpoints
        self._glance = glance
        self._copy_timeout_s = copy_timeout_s

    def snapshot(self, context: Any, instance: Any, image_id: str,
                 update_task_state: Callable[..., None]) -> None:
        """Fill the image *image_id* with the instance's root disk.

        The VM keeps its state. A deletion of the instance waits until this
        is over, however it ends; nothing of it stays on the host.

        :param update_task_state: Nova's, to be called twice in its order.
        :raises InstanceNotRunning: the instance has no VM here.
        :raises InstanceQuiesceNotSupported: the image demands a quiesced
            snapshot (``os_require_quiesce``) and the VM cannot.
        """
        progress = operation.Progress(f'Snapshot of {instance.name}')
        with self._locks.held(locks.instance(instance.uuid)):
            if self._win.find_owner(instance.name) != instance.uuid:
                raise exception.InstanceNotRunning(instance_id=instance.uuid)
            update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
            with self._export_dir(instance) as directory:
                progress.step('copy')
                path = self._copy_root(instance, image_id, directory,
                                       progress)
                LOG.info("Snapshot: the disk is copied after %.1f seconds, "
                         "%d bytes go to image %s.", progress.elapsed_s,
                         self._paths.size_bytes(path), image_id,
                         instance=instance)
                update_task_state(
                    task_state=task_states.IMAGE_UPLOADING,
                    expected_state=task_states.IMAGE_PENDING_UPLOAD)
                progress.step('upload')
                self._upload(context, image_id, path, progress)
        LOG.info("Snapshot uploaded in %.1f seconds.", progress.elapsed_s,
                 instance=instance)

    @contextlib.contextmanager
    def _export_dir(self, instance: Any) -> Iterator[str]:
        """A new directory that is deleted when the block is left."""
        directory = self._paths.export_dir(instance.name)
        # Of a process that was killed.
        self._paths.delete_tree(directory)
        try:
            self._paths.make_dir(directory)
            yield directory
        finally:
            try:
                operation.retry(self._paths.delete_tree, directory,
                                on=(OSError,), attempts=3)
            except OSError as exc:  # the caller sees the first error
                LOG.warning("%s cannot be deleted now; the next snapshot or "
                            "the deletion of the instance tries again: %s",
                            directory, exc, instance=instance)

    def _copy_root(self, instance: Any, image_id: str, directory: str,
                   progress: operation.Progress) -> str:
        """Make one disk of the root disk and its parents; its path."""
        # Before the checkpoint: after it this is the file that stays still.
        root = self._root_of(instance.name)
        # Checkpoints' files are called avhd and avhdx.
        fmt = ('vhdx' if ntpath.splitext(root)[1].lower().endswith('x')
               else 'vhd')
        target = ntpath.join(directory, f'root.{fmt}')
        size_bytes = self._disks.info(root).virtual_size_bytes
        with (self._still(instance, image_id), progress.watching(
                lambda: self._paths.written_bytes(target), size_bytes)):
            operation.bounded(
                self._win.vhd.convert_vhd, root, target,
                what=f'copy of {root}', timeout_s=self._copy_timeout_s)
        return target

    @contextlib.contextmanager
    def _still(self, instance: Any, image_id: str) -> Iterator[None]:
        """Nothing changes the VM's disk files inside the block."""
        name = instance.name
        quiesce = bool(instance.image_meta.properties.get(
            'os_require_quiesce'))
        state = self._win.state(name)
        if state in _FROZEN_ITSELF:
            yield
            return
        if quiesce and state is not oswin.VMState.RUNNING:
            raise exception.InstanceQuiesceNotSupported(
                instance_id=instance.uuid)
        if (not self._win.caps.production_checkpoints and
                self._win.vm.get_vm_storage_paths(name)[1]):
            raise errors.HyperVError(
                reason=f'{name} has physical disks (volumes), with which '
                       f'this version of Windows makes no checkpoint: stop '
                       f'the server or detach them first')
        note = ntpath.join(self._paths.export_dir(name), checkpoints.NOTE)
        hostnotes.write_whole(
            self._paths, note,
            self._checkpoints.note(name, quiesce).encode())
        with self._checkpoints.frozen(name, f'snapshot {image_id}', quiesce):
            yield

    def _root_of(self, vm_name: str) -> str:
        """The file at the end of the root disk's chain."""
        wanted = self._paths.find_root(vm_name)
        files, _volumes = self._win.vm.get_vm_storage_paths(vm_name)
        for path in files:
            link: str | None = path
            while wanted and link is not None:
                if paths_module.same(link, wanted):
                    return str(path)
                link = self._disks.info(link).parent_path
        raise errors.HyperVError(
            reason=f'{vm_name} has no root disk of its own')

    def _upload(self, context: Any, image_id: str, path: str,
                progress: operation.Progress) -> None:
        metadata = {'disk_format': ntpath.splitext(path)[1][1:],
                    'container_format': 'bare'}
        with (self._paths.open(path, 'rb') as stream, progress.watching(
                stream.tell, self._paths.size_bytes(path))):
            self._glance.update(context, image_id, metadata, stream,
                                purge_props=False)
