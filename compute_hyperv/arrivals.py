# SPDX-License-Identifier: Apache-2.0
"""The target of a resize or a cold migration.

It copies the files that the source has put aside (see ``migrationops``), lets
the disks refer to parents of this host, grows them and brings the VM in.
What it copies from is not changed.
"""

import ntpath
from typing import Any

from nova import exception
from nova.virt import configdrive as nova_configdrive
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths
from compute_hyperv.plan import moves
from compute_hyperv import vmdefinition
from compute_hyperv import vmops

LOG = logging.getLogger(__name__)

#: In the instance's system metadata: where its files are, if those of the
#: source have stayed in its directory.
HOME_KEY = 'hyperv_home'
#: Where the VM is imported from, below the instance's directory. Not longer
#: than '_revert': the length of instances_path is checked for that.
_IMPORT = 'import'


class Arrivals:
    """Receives instances."""

    def __init__(self, *, win: oswin.Win, planner: Any, paths: paths.Paths,
                 disks: Any, image_cache: Any, vms: Any,
                 locks: locks.Locks) -> None:
        self._win = win
        self._planner = planner
        self._paths = paths
        self._disks = disks
        self._image_cache = image_cache
        self._vms = vms
        self._locks = locks
        self._definitions = vmdefinition.VmDefinitions(win, paths)

    def receive(self, context: Any, instance: Any, disk_info: str,
                network_info: Any, image_meta: Any, block_device_info: Any,
                power_on: bool) -> None:
        """Build an instance that its source has put aside.

        :param disk_info: what ``MigrationOps.give_away`` returned there.
        :raises InstanceExists: there is a VM or disk of that name here.
        :raises DiskOperationFailed: the source's files are out of reach.
        """
        progress = operation.Progress(f'Arrival of {instance.name}')
        record = model.MoveRecord.from_json(disk_info)
        old_flavor = instance.old_flavor or instance.flavor
        self._paths.choose_volume(instance.name)
        home = self._paths.instance_dir(instance.name)
        stays = record.home is not None and paths.same(record.home, home)
        self._vms.files.claim(
            instance, self._paths.find_root(instance.name) if stays else None)
        definition = record.definition
        if definition and not self._definitions.is_welcome(instance.name,
                                                           definition):
            definition = None
        move = self.plan(instance, image_meta, record, old_flavor,
                         network_info, block_device_info)
        with (self._locks.held(locks.instance(instance.uuid)),
              operation.Rollback(f'arrival of {instance.name}') as undo):
            if self._paths.make_dir(home):
                undo.on_failure(self._paths.delete_tree, home)
            progress.step('files')
            source = self._source_dir(record)
            if not stays:
                self._copy(record.home or source, home, record, move, undo)
            brought = definition and self._copy_definition(
                source, home, definition, undo)
            progress.step('disks')
            self._settle(context, instance, image_meta, old_flavor, record,
                         move)
            self._disks.create(move.created, undo)
            self._vms.build(context, instance, move.plan, network_info,
                            block_device_info, power_on, progress, undo,
                            brought)
        if record.home is not None:
            instance.system_metadata[HOME_KEY] = home
        LOG.info("Arrived from %s in %.1f seconds.", record.host,
                 progress.elapsed_s, instance=instance)

    def plan(self, instance: Any, image_meta: Any,
             record: model.MoveRecord, old_flavor: Any, network_info: Any,
             block_device_info: Any) -> moves.MovePlan:
        """The plan of an instance over the disks that it has."""
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
        if not self._paths.can_read(directory):
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

    def _copy_definition(self, source: str, home: str,
                         definition: model.MovedDefinition,
                         undo: operation.Rollback) -> vmops.Brought:
        """Bring the definition here: Hyper-V reads no other host's files.

        The directory that holds it goes with the instance's, if it stays.
        """
        directory = ntpath.join(home, _IMPORT)
        target = ntpath.join(directory, vmdefinition.FOLDER)
        undo.on_failure(self._paths.delete_tree, directory)
        self._paths.make_dir(target)
        for name in definition.file_names:
            self._paths.copy(
                ntpath.join(source, vmdefinition.FOLDER, name),
                ntpath.join(target, name))
        return directory, definition

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
