# SPDX-License-Identifier: Apache-2.0
r"""Disks of a VM that is gone, with files of checkpoints on top of them.

A host that dies while a snapshot is made of a server leaves, beside each of
its disks and beside its volumes on SMB shares::

    root.vhdx  <-  root_<GUID>.avhdx     what the guest wrote last

Nobody goes back to a checkpoint of a VM that is not any more. Whoever builds
the server anew merges such files, and deletes them before it starts.

=========  ================================================================
Step       What there is when the step is cut off
=========  ================================================================
note       nothing has changed
merge      the file has all its data, but Windows does not take it for a
           child of its parent any more, whose identity each write changes.
           The note beside it (``.merging``) tells that this merge, of these
           two disks, did that: the file is made its child again
reconnect  the same
build      both read alike: the old host could go on as well
drop       nobody needs the file; the guest has not written yet
=========  ================================================================
"""

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import dataclasses
import json
import ntpath
import re
import time
from typing import Any

from nova.compute import task_states
from nova.compute import vm_states
from nova import objects
from oslo_log import log as logging

from compute_hyperv import diskops
from compute_hyperv import errors
from compute_hyperv import hostnotes
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module
from compute_hyperv.vhd import identity
from compute_hyperv.vhd import structures

LOG = logging.getLogger(__name__)

#: Extensions of what checkpoints put on top of disks.
_ON_TOP = ('.avhd', '.avhdx')
#: How Hyper-V calls it, after the name of the disk.
_NAME = re.compile(r'_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.avhdx?',
                   re.IGNORECASE)
#: Ending of the note beside a file that is being merged.
NOTE = '.merging'
#: Meanwhile the disks that are there are used.
OVER_DISKS = (task_states.REBUILD_SPAWNING, task_states.RESIZE_REVERTING)
_LIVE = (oswin.VMState.RUNNING, oswin.VMState.PAUSED)
_ATTEMPTS = 3


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A file of a checkpoint, and the disk below it."""

    path: str
    parent: str


def is_on_top(path: str) -> bool:
    """Whether a file is one that a checkpoint put on top of a disk."""
    return path.lower().endswith(_ON_TOP)


def refuse_checkpoint(path: str, volume_id: str) -> None:
    """Refuse what needs the file that Cinder knows of a volume.

    :param path: the file that the VM has.
    :raises DiskOperationFailed: it is of a checkpoint.
    """
    if is_on_top(path):
        raise errors.DiskOperationFailed(
            reason=f'volume {volume_id} has a checkpoint, {path}; remove the '
                   'checkpoint first')


class LeftDisks:
    """Merges what checkpoints left.

    :param volumes: connects volumes.
    :param retry_interval_s: pause between two attempts, seconds.
    """

    def __init__(self, *, win: oswin.Win, paths: paths_module.Paths,
                 disks: diskops.DiskOps, volumes: Any,
                 retry_interval_s: float,
                 clock: operation.Clock = time) -> None:
        self._win = win
        self._paths = paths
        self._disks = disks
        self._volumes = volumes
        self._retry_interval_s = retry_interval_s
        self._clock = clock

    # -- of a VM that is gone ---------------------------------------------

    def merge(self, context: Any, instance: Any, directory: str,
              block_device_info: Any, undo: operation.Rollback) -> list[str]:
        """Give disks what they got on top of them by checkpoints.

        Of an instance that had a VM, which has gone.

        :param directory: of the instance; it need not exist.
        :param undo: lets go of volumes when the operation fails.
        :returns: files for :meth:`drop`; until then the old VM could use
            them as well.
        :raises DiskOperationFailed: nobody can tell what belongs together,
            or somebody uses it. No file has changed.
        """
        if (instance.task_state not in OVER_DISKS
                and instance.vm_state != vm_states.SHELVED_OFFLOADED):
            return []       # it is new
        links = self._in_directory(directory)
        for volume_id, path in self._files(block_device_info, undo):
            if found := self._on_volume(path):
                _refuse_others(context, instance, volume_id, path)
                links += found
        if links:
            self._refuse_used(links)
        stale = [link for link in links if not self._is_sound(link)]
        for link in reversed(stale):
            self._reconnect(link)
        for link in links:
            LOG.warning("%s, of a checkpoint, is merged into %s.", link.path,
                        link.parent, instance=instance)
            self._merge(link)
        return [link.path for link in links]

    def drop(self, files: Iterable[str]) -> None:
        """Delete what :meth:`merge` merged; before the guest writes."""
        for path in files:
            self._paths.remove(path)

    def _merge(self, link: Link) -> None:
        hostnotes.write_whole(self._paths, link.path + NOTE,
                              json.dumps(self._facts(link)).encode())
        try:
            self._win.vhd.merge_vhd(link.path, delete_merged_image=False)
        finally:
            self._reconnect(link)
            self._paths.remove(link.path + NOTE)

    def _reconnect(self, link: Link) -> None:
        operation.retry(
            self._win.set_disk_parent, link.path, link.parent,
            on=(Exception,), only_if=errors.is_foreign_or_ours,
            attempts=_ATTEMPTS, delay_s=self._retry_interval_s,
            clock=self._clock)

    # -- of a VM that is there --------------------------------------------

    def mend(self, vm_name: str) -> bool:
        """Let a VM use its disks again which another host began to merge.

        An evacuation was cut off, and this host, which had failed, is back.

        :returns: whether there was any such disk.
        :raises DiskOperationFailed: it is not certain what happened.
        """
        mended = []
        if self._win.state(vm_name) in _LIVE:
            return False
        for path in self._win.vm.get_vm_storage_paths(vm_name)[0]:
            # From below: each is looked at with its parents in order.
            for link in reversed(list(self._below(path))):
                if self._paths.exists(link.path + NOTE):
                    if not self._is_sound(link):
                        LOG.warning("%s was being merged when it was cut "
                                    "off; %s uses it again.", link.path,
                                    vm_name)
                        self._reconnect(link)
                        mended.append(link)
                    self._paths.remove(link.path + NOTE)
        return bool(mended)

    def try_to_mend(self, vm_name: str) -> bool:
        """As :meth:`mend`; no trouble with it is worth an error."""
        try:
            return self.mend(vm_name)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            LOG.warning("The disks of %s: %s", vm_name, errors.text_of(exc))
            return False

    def _below(self, path: str) -> Iterator[Link]:
        while is_on_top(path):
            parent = self._parent(path)
            if parent is None:
                return
            yield Link(path=path, parent=parent)
            path = parent

    # -- what belongs together --------------------------------------------

    def _in_directory(self, directory: str) -> list[Link]:
        """All there is in an instance's directory, the last one first."""
        links = self._links(directory, [
            name for name in self._paths.list_dir(directory)
            if is_on_top(name)])
        for link in _bases(links):
            if (not paths_module.same(ntpath.dirname(link.parent), directory)
                    or is_on_top(link.parent)
                    or not self._paths.exists(link.parent)):
                raise errors.DiskOperationFailed(
                    reason=f'{link.path}, of a checkpoint, is on top of '
                           f'{link.parent}, which is no disk of this server')
        return links

    def _on_volume(self, path: str) -> list[Link]:
        """What is on top of a volume's file, the last one first."""
        directory, name = ntpath.split(path)
        stem = ntpath.splitext(name)[0].lower()
        names = [name for name in self._paths.list_dir(directory)
                 if is_on_top(name) and name.lower().startswith(f'{stem}_')]
        links = self._links(directory, names)
        for link in _bases(links):
            if not paths_module.same(link.parent, path):
                raise errors.DiskOperationFailed(
                    reason=f'{link.path} has the name of a checkpoint of '
                           f'{path}, but is on top of {link.parent}')
        for name in names:
            if not _NAME.fullmatch(name[len(stem):]):
                raise errors.DiskOperationFailed(
                    reason=f'{ntpath.join(directory, name)} is on top of '
                           f'{path} and no file of a checkpoint: merge or '
                           'delete it by hand')
        return links

    def _links(self, directory: str, names: list[str]) -> list[Link]:
        found = []
        for name in names:
            path = ntpath.join(directory, name)
            parent = self._parent(path)
            if parent is None:
                raise errors.DiskOperationFailed(
                    reason=f'{path} is called like a file of a checkpoint, '
                           'but is no differencing disk')
            found.append(Link(path=path, parent=parent))
        return _in_order(found, directory)

    def _files(self, block_device_info: Any, undo: operation.Rollback
               ) -> Iterator[tuple[str, str]]:
        """Ids and files of the volumes that are files."""
        for volume in (block_device_info or {}).get(
                'block_device_mapping') or ():
            connection = volume.get('connection_info')
            if connection and self._volumes.is_file(connection):
                undo.on_failure(self._volumes.release, connection)
                disk = operation.retry(
                    self._volumes.connect, connection, on=(Exception,),
                    only_if=errors.is_foreign_or_ours, attempts=_ATTEMPTS,
                    delay_s=self._retry_interval_s, clock=self._clock)
                yield str(connection['serial']), disk.path

    def _refuse_used(self, links: list[Link]) -> None:
        """Let no VM of this host use the files, or have them in it."""
        names = {ntpath.basename(link.path).lower() for link in links}
        for medium in self._win.vm._conn.Msvm_StorageAllocationSettingData(
                ['InstanceID', 'HostResource']):
            for path in medium.HostResource or ():
                if ntpath.basename(path).lower() in names:
                    raise errors.DiskOperationFailed(
                        reason=f'{path}, of a checkpoint, is used by a VM '
                               'of this host')

    # -- who is whose child -----------------------------------------------

    def _is_sound(self, link: Link) -> bool:
        """Whether Windows takes the one for the other's child.

        :raises DiskOperationFailed: it does not, and no merge of this very
            file explains it; or somebody has one of them open.
        """
        child, parent = self._identity(link.path), self._identity(link.parent)
        if parent.content in child.parents:
            return True
        note = self._paths.read_bytes(link.path + NOTE)
        if note and _parsed(note) == _facts(child, parent):
            return False
        raise errors.DiskOperationFailed(
            reason=f'{link.parent} was changed after the checkpoint '
                   f'{link.path} was made of it, and not by merging that: '
                   'nobody can tell which one the server used. Merge it or '
                   'delete it by hand')

    def _facts(self, link: Link) -> dict[str, Any]:
        return _facts(self._identity(link.path), self._identity(link.parent))

    def _parent(self, path: str) -> str | None:
        with _readable(path):
            return self._disks.info(path).parent_path

    def _identity(self, path: str) -> identity.Identity:
        with _readable(path), self._paths.open(path, 'rb') as stream:
            return identity.of(stream)


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except structures.Malformed as exc:
        raise errors.DiskOperationFailed(
            reason=f'{path}: {exc.reason}') from exc
    except Exception as exc:
        if not errors.is_foreign(exc):
            raise
        raise errors.DiskOperationFailed(
            reason=f'{path}, with a checkpoint, cannot be read: does the '
                   f'server still run elsewhere? {errors.text_of(exc)}'
        ) from exc


def _facts(child: identity.Identity,
           parent: identity.Identity) -> dict[str, Any]:
    """What a merge changes nothing of."""
    return {'child': child.disk, 'parents': sorted(child.parents),
            'parent': parent.disk}


def _parsed(note: bytes) -> Any:
    try:
        return json.loads(note)
    except ValueError:
        return None


def _bases(links: list[Link]) -> list[Link]:
    """Those that are on top of no other one."""
    own = {paths_module.normal(link.path) for link in links}
    return [link for link in links
            if paths_module.normal(link.parent) not in own]


def _in_order(links: list[Link], directory: str) -> list[Link]:
    """Each before the one that it is on top of.

    :raises DiskOperationFailed: two are on top of one, or they go round in
        a circle.
    """
    left = {paths_module.normal(link.path): link for link in links}
    parents = {paths_module.normal(link.parent) for link in links}
    if len(parents) < len(links):
        raise errors.DiskOperationFailed(
            reason=f'the disks in {directory} have checkpoints side by '
                   'side; merge the one that the VM used')
    ordered = []
    while left:
        below = {paths_module.normal(link.parent) for link in left.values()}
        last = next((path for path in left if path not in below), None)
        if last is None:
            raise errors.DiskOperationFailed(
                reason=f'the checkpoints in {directory} go round in a '
                       'circle')
        ordered.append(left.pop(last))
    return ordered


def _refuse_others(context: Any, instance: Any, volume_id: str,
                   path: str) -> None:
    """Let no other server have a volume with a checkpoint."""
    users = {mapping.instance_uuid for mapping
             in objects.BlockDeviceMappingList.get_by_volume(
                 context, volume_id)} - {instance.uuid}
    if users:
        raise errors.DiskOperationFailed(
            reason=f'{path} has a checkpoint, and other servers have the '
                   f'volume: {", ".join(sorted(users))}')
