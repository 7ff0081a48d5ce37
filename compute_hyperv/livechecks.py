# SPDX-License-Identifier: Apache-2.0
"""What is checked before a live migration; nothing is changed by it.

Nova asks the target, then the source, then the target again. What the
source has to know of the target, and the target of the source, travels in
a migration record that is stored nowhere; Nova puts the real one in its
place when the migration begins.
"""

from collections.abc import Callable
import ntpath
from typing import Any

from nova import exception
from nova import objects
from nova.objects import migrate_data as migrate_data_obj
from oslo_serialization import jsonutils

from compute_hyperv import errors
from compute_hyperv import livehost
from compute_hyperv import model
from compute_hyperv import oswin
from compute_hyperv import paths
from compute_hyperv import volumeops

_MOVABLE = (oswin.VMState.RUNNING, oswin.VMState.SAVED, oswin.VMState.OFF)
_MOVED_EXTENSIONS = ('.vhd', '.vhdx', '.avhd', '.avhdx', '.iso')


class LiveChecks:
    """The checks of both ends.

    Every refusal is a ``MigrationPreCheckError`` (or Nova's ``Invalid``):
    Nova tries another host, or leaves the instance as it is.

    :param vswitch: ``[hyperv] vswitch_name`` or None.
    :param share: ``[hyperv] instances_path_share``.
    :param use_cow: root disks refer to cached images.
    """

    def __init__(self, *, win: oswin.Win, host: livehost.LiveHost,
                 paths: paths.Paths, image_cache: Any, vms: Any,
                 vswitch: str | None, share: str, use_cow: bool) -> None:
        self._win = win
        self._host = host
        self._paths = paths
        self._image_cache = image_cache
        self._vms = vms
        self._vswitch = vswitch
        self._share = share
        self._use_cow = use_cow

    # -- target -----------------------------------------------------------

    def check_target(self, context: Any, instance: Any, source_info: Any,
                     target_info: Any, block_migration: bool | None,
                     disk_over_commit: bool | None) -> Any:
        """Check this host as the target.

        :param source_info: compute nodes of both hosts, as dicts.
        :param block_migration: whether disks shall move; None: as needed.
        :param disk_over_commit: False: the full size of the disks has to
            fit, not only what they take now.
        :returns: Nova's ``HyperVLiveMigrateData``.
        """
        self._checked(self._win.live.check_live_migration_config)
        shared = paths.is_shared(self._paths.instances_dir)
        self._refuse_wrong_kind(instance, shared, block_migration)
        self._checked(self._refuse_existing, instance, shared)
        if self._vswitch:
            self._checked(self._win.net.get_vswitch_id, self._vswitch)
        self._refuse_other_vendor(source_info, target_info)
        if not shared:
            image_bytes = self._checked(self._image_bytes, context, instance)
            if disk_over_commit is False:
                self._checked(self._require_space,
                              _full_bytes(instance) + image_bytes)
        return migrate_data_obj.HyperVLiveMigrateData(
            is_shared_instance_path=shared,
            migration=objects.Migration(
                dest_node=self._win.name,
                # Read by check_source() of the other host only.
                dest_host=self._paths.instances_dir))

    def _refuse_wrong_kind(self, instance: Any, shared: bool,
                           block_migration: bool | None) -> None:
        if shared and block_migration:
            raise exception.InvalidLocalStorage(
                path=self._paths.instances_dir,
                reason='block migration is for disks that lie on one host')
        if (not shared and block_migration is False
                and _full_bytes(instance)):
            raise exception.InvalidSharedStorage(
                path=self._paths.instances_dir,
                reason='without block migration, both hosts have to share '
                       'the instances path')

    def _refuse_existing(self, instance: Any, shared: bool) -> None:
        if shared:
            if self._win.find_owner(instance.name) is not None:
                raise exception.InstanceExists(name=instance.name)
        else:
            self._vms.files.refuse_existing(instance)

    def _refuse_other_vendor(self, source_info: Any,
                             target_info: Any) -> None:
        source, target = (jsonutils.loads(info['cpu_info'])['vendor']
                          for info in (source_info, target_info))
        if source != target:
            raise exception.MigrationPreCheckError(
                reason=f'processors of {source} and {target} are too '
                       'different')

    def _image_bytes(self, context: Any, instance: Any) -> int:
        """What the image of the root disk takes that is to come here.

        :raises ImageNotFound: it cannot.
        """
        if not (self._use_cow and instance.image_ref):
            return 0
        return int(self._image_cache.missing_bytes(
            context, str(instance.image_ref), self.cache_of(instance.node)))

    def cache_of(self, host: str) -> str:
        """The image cache of another host, as this one reaches it."""
        return self._paths.unc(self._paths.base_dir, host, self._share)

    def check_arrival(self, context: Any, instance: Any, data: Any) -> Any:
        """Check on the target what the source found out.

        :param data: what :meth:`check_source` returned.
        """
        if data.is_shared_instance_path:
            self._checked(self._require_files, instance)
        else:
            image_bytes = self._checked(self._image_bytes, context, instance)
            self._checked(self._require_space,
                          data.migration.disk_total + image_bytes)
        self._checked(self._require_memory, data.migration.memory_total)
        return data

    def _require_files(self, instance: Any) -> None:
        directory = self._paths.instance_dir(instance.name)
        if not self._paths.can_read(directory):
            raise errors.DiskOperationFailed(
                reason=f'{directory} is out of reach')

    def _require_space(self, size_bytes: int) -> None:
        directory = self._paths.instances_dir
        free_bytes = self._paths.disk_usage(directory)[1]
        if size_bytes > free_bytes:
            raise errors.DiskOperationFailed(
                reason=f'{directory} has {_mib(free_bytes)} MiB free, the '
                       f'disks take {_mib(size_bytes)} MiB')

    def _require_memory(self, size_bytes: int) -> None:
        _total_kib, free_kib = self._win.host.get_memory_info()
        if size_bytes > free_kib << 10:
            raise errors.HyperVError(
                reason=f'{free_kib >> 10} MiB of memory are free, the VM '
                       f'has {_mib(size_bytes)} MiB')

    # -- source -----------------------------------------------------------

    def check_source(self, instance: Any, data: Any,
                     block_device_info: Any) -> Any:
        """Check this host as the source, and Hyper-V on both.

        :param data: what :meth:`check_target` gave.
        """
        name, shared = instance.name, data.is_shared_instance_path
        self._checked(self._win.live.check_live_migration_config)
        self._refuse_state(self._checked(self._win.state, name))
        self._refuse_other_path(data.migration)
        self._checked(self._refuse_devices, name,
                      volumeops.ids_of(block_device_info))
        self._checked(self._refuse_switches, name, data.migration.dest_node)
        self._checked(self._refuse_other_users, name,
                      data.migration.dest_node)
        self._checked(self._host.check, name, data.migration.dest_node)
        data.migration.memory_total = self._checked(
            self._host.memory_bytes, name)
        data.migration.disk_total = 0 if shared else self._checked(
            self.moved_bytes, name)
        return data

    def _refuse_state(self, state: oswin.VMState) -> None:
        if state not in _MOVABLE:
            raise exception.MigrationPreCheckError(
                reason=f'Hyper-V does not move a VM that is {state.name}')

    def _refuse_other_path(self, target: Any) -> None:
        """Disks and parents keep their paths when Hyper-V moves a VM."""
        ours, theirs = self._paths.instances_dir, target.dest_host
        if not paths.same(ours, theirs):
            raise exception.MigrationPreCheckError(
                reason='[DEFAULT] instances_path has to be the same on both '
                       f'hosts: it is {ours} on {self._win.name} and '
                       f'{theirs} on {target.dest_node}. A cold migration '
                       'needs no such thing')

    def _refuse_devices(self, vm_name: str,
                        volume_ids: frozenset[str]) -> None:
        if self._host.has_pci_devices(vm_name):
            raise errors.HyperVError(
                reason='a PCI device of this host is assigned to the VM')
        for tag in self._host.physical_tags(vm_name):
            if tag not in volume_ids:
                raise errors.HyperVError(
                    reason=f'the VM has a disk of this host, tagged '
                           f'{tag or "(none)"}, that is no volume of the '
                           'instance')
        home = self._paths.instance_dir(vm_name)
        for path in self._host.files(vm_name):
            if not (paths.is_below(path, home) or paths.is_shared(path)):
                raise errors.HyperVError(
                    reason=f'{path} is on this host only, outside of '
                           f'{home}: a volume on a share of this very host, '
                           'or a disk or ISO image that was added outside '
                           'OpenStack')

    def _refuse_switches(self, vm_name: str, target: str) -> None:
        missing = self._host.missing_switches(vm_name, target)
        if missing:
            raise errors.HyperVError(
                reason=f'{target} has no virtual switch '
                       + ', '.join(missing))

    def _refuse_other_users(self, vm_name: str, target: str) -> None:
        """A disk is passed through to one VM of a host."""
        for tag in self._host.physical_tags(vm_name):
            if users := self._host.users_of(tag, target):
                raise errors.HyperVError(
                    reason=f"volume {tag} is in use on {target} by "
                           f"{', '.join(users)}")

    def moved_bytes(self, vm_name: str) -> int:
        """What the files take that move with a VM."""
        home = self._paths.instance_dir(vm_name)
        return sum(self._paths.size_bytes(ntpath.join(home, name))
                   for name in self._paths.list_dir(home)
                   if name.lower().endswith(_MOVED_EXTENSIONS))

    # -- both -------------------------------------------------------------

    def _checked(self, check: Callable[..., Any], *args: Any) -> Any:
        try:
            return check(*args)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            raise exception.MigrationPreCheckError(
                reason=f'{self._win.name}: {errors.text_of(exc)}') from exc


def _full_bytes(instance: Any) -> int:
    """The local disks of an instance once they are full."""
    flavor = instance.flavor
    root_gib = flavor.root_gb if instance.image_ref else 0
    return int((root_gib + flavor.ephemeral_gb) * model.GIB
               + flavor.swap * model.MIB)


def _mib(size_bytes: int) -> int:
    return size_bytes >> 20
