# SPDX-License-Identifier: Apache-2.0
r"""Live migration by Hyper-V itself.

Shared nothing: Hyper-V moves memory, settings and disks. The cached image
that a disk refers to, and mounted ISO images, it does not move: the target
fetches them before. With the instances path on storage that both hosts
share, only memory and settings move and no file is touched.
"""

import ntpath
import threading
from typing import Any

from nova import exception
from nova import objects
from nova.objects import migrate_data as migrate_data_obj
from oslo_log import log as logging
from oslo_serialization import jsonutils

from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv import oswin
from compute_hyperv import paths

LOG = logging.getLogger(__name__)

_MOVABLE = (oswin.VMState.RUNNING, oswin.VMState.SAVED, oswin.VMState.OFF)
#: How often progress is looked at, seconds.
_LOOK_INTERVAL_S = 2.0
#: How long a cancelled migration may take to end, seconds.
_CANCEL_TIMEOUT_S = 60


class LiveMigrationOps:
    """Both ends of live migrations.

    :param vswitch: ``[hyperv] vswitch_name`` or None.
    :param share: ``[hyperv] instances_path_share``.
    :param use_cow: root disks refer to cached images.
    :param limits_features: new VMs hide what other processors may lack.
    :param timeout_s: a migration that takes longer is cancelled; 0: none.
    """

    def __init__(self, *, win: oswin.Win, paths: paths.Paths,
                 image_cache: Any, vms: Any, volumes: Any, vifs: Any,
                 console: Any, vswitch: str | None, share: str,
                 use_cow: bool, limits_features: bool,
                 timeout_s: int) -> None:
        self._win = win
        self._paths = paths
        self._image_cache = image_cache
        self._vms = vms
        self._volumes = volumes
        self._vifs = vifs
        self._console = console
        self._vswitch = vswitch
        self._share = share
        self._use_cow = use_cow
        self._limits_features = limits_features
        self._timeout_s = timeout_s
        self._cancelled: set[str] = set()

    # -- before: refusals -------------------------------------------------

    def check_target(self, instance: Any, source_info: Any,
                     target_info: Any) -> Any:
        """Check this host as the target; changes nothing.

        :param source_info: compute nodes of both hosts, as dicts.
        :returns: Nova's ``HyperVLiveMigrateData``.
        :raises MigrationPreCheckError: another host may do.
        """
        shared = self._checked(self._is_shared, instance)
        self._checked(self._win.live.check_live_migration_config)
        self._checked(self._refuse_existing, instance, shared)
        if self._vswitch:
            self._checked(self._win.net.get_vswitch_id, self._vswitch)
        self._compare_cpus(source_info, target_info)
        return migrate_data_obj.HyperVLiveMigrateData(
            is_shared_instance_path=shared)

    def check_source(self, instance: Any, data: Any) -> Any:
        """Check this host as the source.

        :param data: what the target's check gave.
        :raises MigrationPreCheckError: the VM cannot move from here.
        """
        self._checked(self._win.live.check_live_migration_config)
        state = self._checked(self._win.state, instance.name)
        if state not in _MOVABLE:
            raise exception.MigrationPreCheckError(
                reason=f'Hyper-V does not move a VM that is {state.name}')
        shared = paths.is_shared(self._paths.instances_dir)
        if shared != data.is_shared_instance_path:
            raise exception.MigrationPreCheckError(
                reason='instances_path is on storage that both hosts share '
                       'for only one of them')
        return data

    def _checked(self, check: Any, *args: Any) -> Any:
        try:
            return check(*args)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            raise exception.MigrationPreCheckError(
                reason=f'{self._win.name}: {errors.text_of(exc)}') from exc

    def _is_shared(self, instance: Any) -> bool:
        """Whether both hosts have the instance's files at one path."""
        if not paths.is_shared(self._paths.instances_dir):
            return False
        directory = self._paths.instance_dir(instance.name)
        if not self._paths.is_dir(directory):
            raise errors.DiskOperationFailed(
                reason=f'{directory} is out of reach, or the hosts have '
                       'different instances_path')
        return True

    def _refuse_existing(self, instance: Any, shared: bool) -> None:
        if shared:
            if self._win.find_owner(instance.name) is not None:
                raise exception.InstanceExists(name=instance.name)
        else:
            self._vms.refuse_existing(instance)

    def _compare_cpus(self, source_info: Any, target_info: Any) -> None:
        source, target = (jsonutils.loads(info['cpu_info'])
                          for info in (source_info, target_info))
        if source['vendor'] != target['vendor']:
            raise exception.MigrationPreCheckError(
                reason=f"processors of {source['vendor']} and "
                       f"{target['vendor']} are too different")
        missing = set(source['features']) - set(target['features'])
        if missing and not self._limits_features:
            raise exception.MigrationPreCheckError(
                reason=f'the processors of {self._win.name} lack '
                       f"{', '.join(sorted(missing))}; see [hyperv] "
                       'limit_cpu_features')

    # -- target, before ---------------------------------------------------

    def prepare(self, context: Any, instance: Any, block_device_info: Any,
                data: Any) -> Any:
        """Get the target ready; Nova undoes it by :meth:`clean_target`.

        :returns: *data*.
        """
        disks = self._volumes.host_disks(block_device_info)
        if not data.is_shared_instance_path:
            self._paths.make_dir(self._paths.instance_dir(instance.name))
            self._fetch_parent(context, instance)
            self._copy_iso_images(instance)
        if disks:
            # Disks have other numbers here: they are told apart by tags.
            self._win.live.create_planned_vm(instance.name, instance.node,
                                             disks)
        return data

    def _fetch_parent(self, context: Any, instance: Any) -> None:
        if self._use_cow and instance.image_ref:
            self._image_cache.get(
                context, instance, objects.ImageMeta.from_instance(instance),
                root_size_bytes=instance.flavor.root_gb * model.GIB)

    def _copy_iso_images(self, instance: Any) -> None:
        home = self._paths.instance_dir(instance.name)
        source = self._paths.unc(home, instance.node, self._share)
        for name in self._paths.list_dir(source):
            if name.lower().endswith('.iso'):
                self._paths.copy(ntpath.join(source, name),
                                 ntpath.join(home, name))

    def clean_target(self, instance: Any, block_device_info: Any,
                     destroy_disks: bool) -> None:
        """Remove what a failed migration left here.

        A VM that did arrive, and its files, stay.
        """
        if self._win.planned_uuids().get(instance.name) == instance.uuid:
            self._win.live.destroy_existing_planned_vm(instance.name)
        self._volumes.disconnect_all(block_device_info, force=True)
        if destroy_disks and self._win.find_owner(instance.name) is None:
            self._paths.delete_tree(self._paths.instance_dir(instance.name))

    # -- source -----------------------------------------------------------

    def migrate(self, context: Any, instance: Any, target: str,
                post: Any, recover: Any, block_migration: Any,
                data: Any) -> None:
        """Move a VM; calls either *post* or *recover*, as Nova wants."""
        watch = _Watch(self, instance, self._timeout_s)
        try:
            with watch:
                self._win.live.live_migrate_vm(
                    instance.name, target,
                    migrate_disks=not data.is_shared_instance_path)
        except Exception as exc:
            # The job may go on although nobody could follow it.
            self._stop_jobs(instance)
            if not self._has_left(instance):
                cancelled = instance.name in self._cancelled
                self._cancelled.discard(instance.name)
                LOG.warning("The live migration to %s failed, the VM stays "
                            "on this host: %s", target, errors.text_of(exc),
                            instance=instance)
                self._console.start(instance.name, instance.uuid)
                recover(context, instance, target, migrate_data=data,
                        migration_status=('cancelled' if cancelled
                                          else 'failed'))
                return
            LOG.warning("The VM has moved to %s, but: %s", target,
                        errors.text_of(exc), instance=instance)
        self._cancelled.discard(instance.name)
        self._console.stop(instance.name)
        if not data.is_shared_instance_path:
            self._try_to_copy_log(instance, target)
        post(context, instance, target, block_migration, data)

    def _stop_jobs(self, instance: Any) -> None:
        try:
            self._win.stop_jobs(instance.name, _CANCEL_TIMEOUT_S)
        except Exception as exc:        # gone with its VM, most likely
            LOG.debug("Jobs of %s: %s", instance.name, errors.text_of(exc))

    def _has_left(self, instance: Any) -> bool:
        """Whether the VM is gone; if that cannot be told, it is here."""
        try:
            return self._win.find_owner(instance.name) is None
        except Exception as exc:
            LOG.warning("Nobody knows where the VM is: %s",
                        errors.text_of(exc), instance=instance)
            return False

    def _try_to_copy_log(self, instance: Any, target: str) -> None:
        """Send the console log after the VM, whose target writes its own."""
        path = self._paths.console_path(instance.name)
        try:
            if self._paths.exists(path):
                self._paths.copy(
                    path, self._paths.unc(f'{path}.1', target, self._share))
        except Exception as exc:
            # It is not worth a rollback.
            LOG.warning("The console log stays behind: %s",
                        errors.text_of(exc), instance=instance)

    def abort(self, instance: Any) -> None:
        """Cancel a migration from this host."""
        self._cancelled.add(instance.name)
        self._win.stop_jobs(instance.name, _CANCEL_TIMEOUT_S)

    def release_volumes(self, block_device_info: Any) -> None:
        """Let go of the volumes of a VM that has left."""
        self._volumes.disconnect_all(block_device_info, force=True)

    def release_ports(self, network_info: Any) -> None:
        """Remove what the ports of a VM that has left hold here."""
        self._vifs.release_all(network_info)

    # -- target, after ----------------------------------------------------

    def settle(self, instance: Any, network_info: Any) -> None:
        """Serve a VM that has arrived."""
        self._vifs.plug_all(instance, network_info)
        self._console.start(instance.name, instance.uuid)

    def progress(self, vm_name: str) -> str:
        """What Hyper-V says about its jobs on a VM."""
        return '; '.join(self._win.jobs(vm_name))


class _Watch:
    """Reports how far a migration is; cancels one that takes too long."""

    def __init__(self, ops: LiveMigrationOps, instance: Any,
                 timeout_s: int) -> None:
        self._ops = ops
        self._instance = instance
        self._timeout_s = timeout_s
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._run, daemon=True,
            name=f'live-migration-{instance.name}')

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc_info: Any) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        waited_s = 0.0
        while not self._done.wait(_LOOK_INTERVAL_S):
            waited_s += _LOOK_INTERVAL_S
            try:
                LOG.info("Live migration: %s",
                         self._ops.progress(self._instance.name),
                         instance=self._instance)
                if self._timeout_s and waited_s >= self._timeout_s:
                    LOG.warning("The live migration takes longer than %d "
                                "seconds ([hyperv] live_migration_timeout).",
                                self._timeout_s, instance=self._instance)
                    self._ops.abort(self._instance)
            except Exception as exc:        # the migration goes on
                LOG.debug("Progress is unknown: %s", errors.text_of(exc))
