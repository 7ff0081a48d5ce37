# SPDX-License-Identifier: Apache-2.0
r"""Resize and cold migration.

The source puts the instance aside: its files move one by one into
``<instances_path>\<name>_revert``, where Hyper-V exports the definition of
its VM to, and the VM is removed. The target copies them from there, brings
the definition in and plugs everything into the slots that it had; what it
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

With ``[hyperv] move_disks_on_cold_migration`` off, files on storage that the
hosts share stay in their place and the target uses them there. A return finds
them as the guest has left them.
"""

import dataclasses
import ntpath
from typing import Any

from nova import exception
from nova import objects
from oslo_log import log as logging

from compute_hyperv import arrivals
from compute_hyperv import errors
from compute_hyperv import hostnotes
from compute_hyperv import leftdisks
from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths
from compute_hyperv.plan import moves
from compute_hyperv import vmdefinition
from compute_hyperv import vmdrives

LOG = logging.getLogger(__name__)

#: In the instance's system metadata: where its source keeps it.
BACKUP_KEY = 'hyperv_revert_dir'
#: There, too: where the target keeps it, if its files could have stayed.
HOME_KEY = arrivals.HOME_KEY
#: In that directory: the record of what was where.
_RECORD = 'move.json'
_DISK_EXTENSIONS = ('.vhd', '.vhdx')


class MigrationOps:
    """Gives instances away, takes them back; ``Arrivals`` receives them.

    :param share: ``[hyperv] instances_path_share``.
    :param move_disks: ``[hyperv] move_disks_on_cold_migration``.
    """

    def __init__(self, *, win: oswin.Win, paths: paths.Paths, disks: Any,
                 vms: Any, volumes: Any, vifs: Any, power: Any,
                 arrivals: arrivals.Arrivals, locks: locks.Locks,
                 share: str, move_disks: bool) -> None:
        self._win = win
        self._paths = paths
        self._disks = disks
        self._vms = vms
        self._arrivals = arrivals
        self._volumes = volumes
        self._vifs = vifs
        self._power = power
        self._locks = locks
        self._share = share
        self._move_disks = move_disks
        self._drives = vmdrives.VmDrives(win)
        self._definitions = vmdefinition.VmDefinitions(win, paths)

    # -- source -----------------------------------------------------------

    def give_away(self, context: Any, instance: Any, flavor: Any,
                  network_info: Any, block_device_info: Any,
                  timeout_s: float, retry_interval_s: float) -> str:
        """Stop an instance and put it aside for another host.

        :returns: a ``MoveRecord`` as JSON.
        :raises InstanceFaultRollback: refused, or it failed and everything
            is as it was before.
        :raises HyperVError: that failed, too; :meth:`take_back` goes on.
        """
        with self._locks.held(locks.instance(instance.uuid)):
            try:
                record = self._describe(instance, flavor)
                moves.refuse_shrinking(record.disks, instance.flavor, flavor)
                ran = self._win.state(instance.name) is not oswin.VMState.OFF
                # Left by a confirmation that failed: all disks are here.
                self._paths.delete_tree(record.directory)
            except Exception as exc:
                raise _unchanged(exc) from exc
            try:
                self._power.power_off(instance, timeout_s, retry_interval_s)
                record = self._with_files(instance, record)
                record = self._with_definition(instance, record)
                self._put_aside(instance, record)
                self._vifs.release_all(network_info)
                self._volumes.disconnect_all(block_device_info)
            except Exception as exc:
                LOG.exception("The instance could not be put aside and "
                              "stays on this host.", instance=instance)
                # If that fails, too, a hard reboot takes it back.
                instance.system_metadata[BACKUP_KEY] = record.directory
                self._put_back(context, instance, record, network_info,
                               block_device_info, ran)
                self.forget(instance)
                raise _unchanged(exc) from exc
        instance.system_metadata[BACKUP_KEY] = record.directory
        return record.to_json()

    def confirm(self, instance: Any, host: str | None = None) -> None:
        """Delete what the source kept of an instance that is elsewhere.

        :param host: name of the source; None for this host.
        """
        directory = self._kept_at(instance, host or self._win.name)
        with self._locks.held(locks.instance(instance.uuid)):
            self._delete_left_home(instance, directory)
            self._paths.delete_tree(directory)
        self.forget(instance)

    def _delete_left_home(self, instance: Any, directory: str) -> None:
        """Delete the files that stayed, if the target has its own now."""
        used = instance.system_metadata.get(HOME_KEY)
        text = self._paths.read_bytes(ntpath.join(directory, _RECORD))
        if used and text:
            home = model.MoveRecord.from_json(text.decode()).home
            if home and not paths.same(home, used):
                self._paths.delete_tree(home)

    def is_kept(self, instance: Any) -> bool:
        """Whether a source may still keep what it gave away."""
        return BACKUP_KEY in instance.system_metadata

    def forget(self, instance: Any) -> None:
        """Note that no source has anything that is of use."""
        for key in (BACKUP_KEY, HOME_KEY):
            instance.system_metadata.pop(key, None)

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
        self.forget(instance)

    def record_at(self, instance: Any, host: str) -> str:
        """What :meth:`give_away` returned, as its host has it on disk.

        :param host: name of the source; may be this host.
        :raises DiskOperationFailed: it cannot be read.
        """
        path = ntpath.join(self._kept_at(instance, host), _RECORD)
        text = self._paths.read_bytes(path)
        if not text:
            raise errors.DiskOperationFailed(reason=f'{path} is not there')
        return text.decode()

    def _kept_at(self, instance: Any, host: str) -> str:
        directory = self._backup_dir(instance)
        if host.lower() == self._win.name.lower():
            return directory
        if self._share and not paths.is_shared(directory):
            # It is of the instances path, whatever that is over there.
            return rf'\\{host}\{self._share}\{ntpath.basename(directory)}'
        return self._paths.unc(directory, host, self._share)

    def _backup_dir(self, instance: Any) -> str:
        """The recorded directory: options may have changed since."""
        usual = self._paths.revert_dir(instance.name)
        recorded = instance.system_metadata.get(BACKUP_KEY) or usual
        if ntpath.basename(recorded) != ntpath.basename(usual):
            raise errors.HyperVError(
                reason=f'{recorded} is not where {instance.name} is kept')
        return str(recorded)

    def _describe(self, instance: Any, flavor: Any) -> model.MoveRecord:
        home = self._paths.instance_dir(instance.name)
        disks, volumes = [], {}
        drives = self._drives.all_of(instance.name)
        files = self._drives.files_of(drives)
        for drive in drives:
            path = files.get(drive.slot)
            if path and paths.is_below(path, home):
                disks.append(self._describe_disk(path, drive.slot))
            elif path or drive.is_physical:
                # The target connects the file that Cinder knows.
                leftdisks.refuse_checkpoint(path or '', drive.tag)
                volumes[drive.tag] = drive.slot
        directory = self._paths.revert_dir(instance.name)
        return model.MoveRecord(
            host=self._win.name, directory=directory,
            unc=self._unc(directory), disks=tuple(disks),
            volumes=volumes, home=self._staying(instance, flavor, home))

    def _staying(self, instance: Any, flavor: Any, home: str) -> str | None:
        """The directory of the files if they can stay there."""
        if self._move_disks:
            return None
        if not paths.is_shared(home):
            LOG.warning("The files are copied although [hyperv] move_disks_on"
                        "_cold_migration is off: other hosts do not see %s "
                        "by that path.", home, instance=instance)
            return None
        if not moves.keeps_disks(instance.flavor, flavor):
            LOG.info("The files are copied: the flavor changes disks.",
                     instance=instance)
            return None
        return home

    def _with_files(self, instance: Any,
                    record: model.MoveRecord) -> model.MoveRecord:
        """The record once nothing writes logs any more.

        :raises DiskNotFound: a disk is not among the files: what is not
            put aside would be deleted.
        """
        home = self._paths.instance_dir(instance.name)
        names = tuple(name for name in self._paths.list_dir(home)
                      if name.lower() not in vmdefinition.FOLDERS and
                      not self._paths.is_dir(ntpath.join(home, name)))
        there = {name.lower() for name in names}
        for disk in record.disks:
            if disk.file_name.lower() not in there:
                raise exception.DiskNotFound(
                    location=ntpath.join(home, disk.file_name))
        return dataclasses.replace(record, file_names=names)

    def _with_definition(self, instance: Any,
                         record: model.MoveRecord) -> model.MoveRecord:
        """The record once Hyper-V has exported the VM into its directory."""
        self._paths.make_dir(record.directory)
        return dataclasses.replace(record, definition=(
            self._definitions.export(instance.name, record.directory)))

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
        hostnotes.write_whole(
            self._paths, ntpath.join(record.directory, _RECORD),
            record.to_json().encode(), is_new=True)
        if record.home is None:
            for name in record.file_names:
                self._paths.rename(ntpath.join(home, name),
                                   ntpath.join(record.directory, name))
        self._vms.remove_vm(instance.name, instance.uuid)
        if record.home is None:
            self._paths.delete_tree(home)

    def _put_back(self, context: Any, instance: Any,
                  record: model.MoveRecord, network_info: Any,
                  block_device_info: Any, power_on: bool) -> None:
        # Without the record, no file has left its place yet.
        if self._paths.exists(ntpath.join(record.directory, _RECORD)):
            self._return_files(self._paths.instance_dir(instance.name),
                               record)
        if not self._is_whole(instance, record):
            self._vms.remove_vm(instance.name, instance.uuid)
            self._rebuild(context, instance, record, network_info,
                          block_device_info)
        if power_on:
            self._ensure_running(instance, network_info, block_device_info)
        self._paths.delete_tree(record.directory)

    def _is_whole(self, instance: Any, record: model.MoveRecord) -> bool:
        """Whether its VM is there and has its drives (a crash, before)."""
        if self._win.find_owner(instance.name) is None:
            return False
        there = {drive.slot for drive in self._drives.all_of(instance.name)}
        return there.issuperset((*(disk.slot for disk in record.disks),
                                 *record.volumes.values()))

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
        plan = self._arrivals.plan(
            instance, image_meta, record, instance.flavor, network_info,
            block_device_info).plan
        brought = record.definition and (record.directory, record.definition)
        progress = operation.Progress(f'Return of {instance.name}')
        with operation.Rollback(f'return of {instance.name}') as undo:
            self._vms.build(context, instance, plan, network_info,
                            block_device_info, False, progress, undo,
                            brought)

    def _ensure_running(self, instance: Any, network_info: Any,
                        block_device_info: Any) -> None:
        if self._win.state(instance.name) is not oswin.VMState.RUNNING:
            self._power.power_on(instance, network_info, block_device_info)


def _unchanged(exc: Exception) -> Exception:
    """Tell Nova that the instance is as it was; a defect stays one."""
    if not errors.is_expected(exc):
        return exc
    inner = exc
    if not isinstance(exc, exception.NovaException):
        inner = errors.to_nova(exc)
    return exception.InstanceFaultRollback(inner_exception=inner)
