# SPDX-License-Identifier: Apache-2.0
r"""Resize and cold migration.

The source puts the instance aside: its files move one by one into
``<instances_path>\<name>_revert``, its VM is removed. The target copies them
from there and builds the VM anew, in the slots that everything had; what it
copies from is not changed. Until the resize is confirmed, the source has all
that it needs to take the instance back. Each step of that can be repeated:

=====================  =====================  ==========================
files                  VM at the source       left by
=====================  =====================  ==========================
in their place         there                  nothing, or put_back
some in ``_revert``    there                  a crash in give_away
all in ``_revert``     removed                give_away
some in ``_revert``    removed                a crash in put_back
=====================  =====================  ==========================
"""

import dataclasses
import ntpath
from typing import Any

from nova import exception
from nova import objects
from nova.virt import configdrive as nova_configdrive
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths
from compute_hyperv.plan import moves
from compute_hyperv import vmdrives

LOG = logging.getLogger(__name__)

#: In the instance's system metadata: where its source keeps it.
BACKUP_KEY = 'hyperv_revert_dir'
#: In that directory: the record of what was where.
_RECORD = 'move.json'
_DISK_EXTENSIONS = ('.vhd', '.vhdx')


class MigrationOps:
    """Gives instances away, receives them, takes them back.

    :param share: ``[hyperv] instances_path_share``.
    """

    def __init__(self, *, win: oswin.Win, planner: Any, paths: paths.Paths,
                 disks: Any, image_cache: Any, vms: Any, volumes: Any,
                 vifs: Any, power: Any, locks: locks.Locks,
                 share: str) -> None:
        self._win = win
        self._planner = planner
        self._paths = paths
        self._disks = disks
        self._image_cache = image_cache
        self._vms = vms
        self._volumes = volumes
        self._vifs = vifs
        self._power = power
        self._locks = locks
        self._share = share
        self._drives = vmdrives.VmDrives(win)

    # -- source -----------------------------------------------------------

    def give_away(self, context: Any, instance: Any, flavor: Any,
                  network_info: Any, block_device_info: Any,
                  timeout_s: float, retry_interval_s: float) -> str:
        """Stop an instance and put it aside for another host.

        :returns: a ``MoveRecord`` as JSON.
        :raises InstanceFaultRollback: refused, or it failed and everything
            is as it was before.
        """
        with self._locks.held(locks.instance(instance.uuid)):
            try:
                record = self._describe(instance, block_device_info)
                moves.refuse_shrinking(record.disks, instance.flavor, flavor)
                ran = self._win.state(instance.name) is not oswin.VMState.OFF
                # Left by a confirmation that failed: all disks are here.
                self._paths.delete_tree(record.directory)
            except Exception as exc:
                raise _unchanged(exc) from exc
            try:
                self._power.power_off(instance, timeout_s, retry_interval_s)
                record = self._with_files(instance, record)
                self._put_aside(instance, record)
                self._vifs.release_all(network_info)
                self._volumes.disconnect_all(block_device_info)
            except Exception as exc:
                LOG.exception("The instance could not be put aside and "
                              "stays on this host.", instance=instance)
                self._put_back(context, instance, record, network_info,
                               block_device_info, ran)
                raise _unchanged(exc) from exc
        instance.system_metadata[BACKUP_KEY] = record.directory
        return record.to_json()

    def confirm(self, instance: Any) -> None:
        """Delete what the source kept of an instance that is elsewhere."""
        directory = self._backup_dir(instance)
        with self._locks.held(locks.instance(instance.uuid)):
            self._paths.delete_tree(directory)
        instance.system_metadata.pop(BACKUP_KEY, None)

    def take_back(self, context: Any, instance: Any, network_info: Any,
                  block_device_info: Any, power_on: bool) -> None:
        """Restore an instance that was given away, wholly or half.

        :raises InstanceNotFound: there is neither a VM nor what it could be
            made of.
        """
        directory = self._backup_dir(instance)
        with self._locks.held(locks.instance(instance.uuid)):
            text = self._paths.read_bytes(ntpath.join(directory, _RECORD))
            if text:
                record = model.MoveRecord.from_json(text.decode())
                self._put_back(context, instance, record, network_info,
                               block_device_info, power_on)
            elif self._win.find_owner(instance.name) != instance.uuid:
                raise exception.InstanceNotFound(instance_id=instance.uuid)
            else:
                if power_on:
                    self._ensure_running(instance, network_info,
                                         block_device_info)
                # Without the record nothing of value is in there.
                self._paths.delete_tree(directory)
        instance.system_metadata.pop(BACKUP_KEY, None)

    def _backup_dir(self, instance: Any) -> str:
        """The recorded directory: options may have changed since."""
        usual = self._paths.revert_dir(instance.name)
        recorded = instance.system_metadata.get(BACKUP_KEY) or usual
        if ntpath.basename(recorded) != ntpath.basename(usual):
            raise errors.HyperVError(
                reason=f'{recorded} is not where {instance.name} is kept')
        return str(recorded)

    def _describe(self, instance: Any,
                  block_device_info: Any) -> model.MoveRecord:
        home = self._paths.instance_dir(instance.name)
        disks, volumes = [], {}
        for drive in self._drives.all_of(instance.name):
            path = (None if drive.is_physical
                    else self._drives.file_of(instance.name, drive))
            if path and paths.is_below(path, home):
                disks.append(self._describe_disk(path, drive.slot))
            elif path or drive.is_physical:
                volumes[drive.tag] = drive.slot
        directory = self._paths.revert_dir(instance.name)
        return model.MoveRecord(
            host=self._win.name, directory=directory,
            unc=self._unc(directory), disks=tuple(disks),
            volumes=volumes)

    def _with_files(self, instance: Any,
                    record: model.MoveRecord) -> model.MoveRecord:
        """The record once nothing writes logs any more.

        :raises DiskNotFound: a disk is not among the files: what is not
            put aside would be deleted.
        """
        home = self._paths.instance_dir(instance.name)
        names = tuple(name for name in self._paths.list_dir(home)
                      if not self._paths.is_dir(ntpath.join(home, name)))
        there = {name.lower() for name in names}
        for disk in record.disks:
            if disk.file_name.lower() not in there:
                raise exception.DiskNotFound(
                    location=ntpath.join(home, disk.file_name))
        return dataclasses.replace(record, file_names=names)

    def _describe_disk(self, path: str, slot: model.Slot) -> model.MovedDisk:
        if not self._paths.exists(path):
            raise exception.DiskNotFound(location=path)
        parent = None
        if path.lower().endswith(_DISK_EXTENSIONS):
            parent = self._disks.info(path).parent_path
        return model.MovedDisk(
            file_name=ntpath.basename(path), slot=slot, parent_path=parent,
            parent_unc=self._unc(parent) if parent else None)

    def _unc(self, path: str) -> str:
        return self._paths.unc(path, self._win.name, self._share)

    def _put_aside(self, instance: Any, record: model.MoveRecord) -> None:
        home = self._paths.instance_dir(instance.name)
        self._paths.make_dir(record.directory)
        record_path = ntpath.join(record.directory, _RECORD)
        with self._paths.open(f'{record_path}.part', 'wb') as stream:
            stream.write(record.to_json().encode())
        self._paths.rename(f'{record_path}.part', record_path)
        for name in record.file_names:
            self._paths.rename(ntpath.join(home, name),
                               ntpath.join(record.directory, name))
        self._vms.remove_vm(instance.name, instance.uuid)
        self._paths.delete_tree(home)

    def _put_back(self, context: Any, instance: Any,
                  record: model.MoveRecord, network_info: Any,
                  block_device_info: Any, power_on: bool) -> None:
        # Without the record, no file has left its place yet.
        if self._paths.exists(ntpath.join(record.directory, _RECORD)):
            self._return_files(self._paths.instance_dir(instance.name),
                               record)
        if self._win.find_owner(instance.name) is None:
            self._rebuild(context, instance, record, network_info,
                          block_device_info)
        if power_on:
            self._ensure_running(instance, network_info, block_device_info)
        self._paths.delete_tree(record.directory)

    def _return_files(self, home: str, record: model.MoveRecord) -> None:
        """Put the files of a record back; some may be there already."""
        self._paths.make_dir(home)
        # What the target made on storage that both hosts use.
        for name in self._paths.list_dir(home):
            path = ntpath.join(home, name)
            if (name not in record.file_names
                    and not self._paths.is_dir(path)):
                self._paths.remove(path)
        for name in record.file_names:
            kept = ntpath.join(record.directory, name)
            if self._paths.exists(kept):
                self._paths.replace(kept, ntpath.join(home, name))

    def _rebuild(self, context: Any, instance: Any,
                 record: model.MoveRecord, network_info: Any,
                 block_device_info: Any) -> None:
        image_meta = objects.ImageMeta.from_instance(instance)
        plan = self._plan(instance, image_meta, record, instance.flavor,
                          network_info, block_device_info).plan
        progress = operation.Progress(f'Return of {instance.name}')
        with operation.Rollback(f'return of {instance.name}') as undo:
            self._vms.build(context, instance, plan, network_info,
                            block_device_info, False, progress, undo)

    def _ensure_running(self, instance: Any, network_info: Any,
                        block_device_info: Any) -> None:
        if self._win.state(instance.name) is not oswin.VMState.RUNNING:
            self._power.power_on(instance, network_info, block_device_info)

    # -- target -----------------------------------------------------------

    def receive(self, context: Any, instance: Any, disk_info: str,
                network_info: Any, image_meta: Any, block_device_info: Any,
                power_on: bool) -> None:
        """Build an instance that its source has put aside.

        :param disk_info: what :meth:`give_away` returned there.
        :raises InstanceExists: there is a VM or disk of that name here.
        :raises DiskOperationFailed: the source's files are out of reach.
        """
        progress = operation.Progress(f'Arrival of {instance.name}')
        record = model.MoveRecord.from_json(disk_info)
        old_flavor = instance.old_flavor or instance.flavor
        self._vms.refuse_existing(instance)
        move = self._plan(instance, image_meta, record, old_flavor,
                          network_info, block_device_info)
        home = self._paths.instance_dir(instance.name)
        with (self._locks.held(locks.instance(instance.uuid)),
              operation.Rollback(f'arrival of {instance.name}') as undo):
            if self._paths.make_dir(home):
                undo.on_failure(self._paths.delete_tree, home)
            progress.step('files')
            self._copy(self._source_dir(record), home, record, move, undo)
            progress.step('disks')
            self._settle(context, instance, image_meta, old_flavor, record,
                         move)
            self._disks.create(move.created, undo)
            self._vms.build(context, instance, move.plan, network_info,
                            block_device_info, power_on, progress, undo)
        LOG.info("Arrived from %s in %.1f seconds.", record.host,
                 progress.elapsed_s, instance=instance)

    def _plan(self, instance: Any, image_meta: Any,
              record: model.MoveRecord, old_flavor: Any, network_info: Any,
              block_device_info: Any) -> moves.MovePlan:
        layout = self._paths.layout(instance.name)
        plan = self._planner.instance(
            instance, image_meta, block_device_info, network_info, layout,
            config_drive=nova_configdrive.required_by(instance))
        found: moves.MovePlan = self._planner.moved(
            plan, instance, image_meta, record, old_flavor, layout)
        return found

    def _is_here(self, record: model.MoveRecord) -> bool:
        return record.host.lower() == self._win.name.lower()

    def _source_dir(self, record: model.MoveRecord) -> str:
        directory = record.directory if self._is_here(record) else record.unc
        if not self._paths.is_dir(directory):
            raise errors.DiskOperationFailed(
                reason=f'{directory} cannot be read. The account that runs '
                       'nova-compute needs the right to do so on both hosts; '
                       'LocalSystem has none on other hosts')
        return directory

    def _copy(self, source: str, home: str, record: model.MoveRecord,
              move: moves.MovePlan, undo: operation.Rollback) -> None:
        dropped = ({disk.file_name for disk in record.disks}
                   - move.kept_names)
        for name in record.file_names:
            if name not in dropped:
                target = ntpath.join(home, name)
                undo.on_failure(self._paths.remove, target)
                self._paths.copy(ntpath.join(source, name), target)

    def _settle(self, context: Any, instance: Any, image_meta: Any,
                old_flavor: Any, record: model.MoveRecord,
                move: moves.MovePlan) -> None:
        """Give the copied disks their parents and their sizes."""
        home = self._paths.instance_dir(instance.name)
        for disk in move.kept:
            path = ntpath.join(home, disk.file_name)
            if disk.parent_path:
                parent = self._parent(context, instance, image_meta,
                                      old_flavor, record, disk)
                if not paths.same(parent, disk.parent_path):
                    self._disks.set_parent(path, parent)
            size_gib = move.grown_gib.get(path)
            if size_gib and disk.role is model.DiskRole.ROOT:
                self._disks.grow_to_flavor(path, size_gib)
            elif size_gib:
                self._disks.resize(path, size_gib * model.GIB)

    def _parent(self, context: Any, instance: Any, image_meta: Any,
                old_flavor: Any, record: model.MoveRecord,
                disk: model.MovedDisk) -> str:
        """The parent of a differencing disk, as this host has it.

        Of the size that the old flavor has; from the source's cache if the
        image is not to be had any more.
        """
        assert disk.parent_path and disk.parent_unc
        if self._is_here(record) or paths.is_shared(disk.parent_path):
            return disk.parent_path
        name = ntpath.basename(disk.parent_path)
        here = ntpath.join(self._paths.base_dir, name)
        try:
            image = self._image_cache.get(
                context, instance, image_meta,
                root_size_bytes=old_flavor.root_gb * model.GIB)
            if paths.same(image.path, here):
                return here
        except exception.ImageNotFound:
            LOG.info("The image is gone; its file comes from %s.",
                     record.host, instance=instance)
        image_id = name.partition('.')[0].partition('_')[0]
        with self._locks.held(locks.image(image_id)):
            if not self._paths.exists(here):
                self._paths.make_dir(self._paths.base_dir)
                self._paths.copy(disk.parent_unc, here)
        return here


def _unchanged(exc: Exception) -> Exception:
    """Tell Nova that the instance is as it was; a defect stays one."""
    if not errors.is_expected(exc):
        return exc
    inner = exc
    if not isinstance(exc, exception.NovaException):
        inner = errors.to_nova(exc)
    return exception.InstanceFaultRollback(inner_exception=inner)
