# SPDX-License-Identifier: Apache-2.0
r"""Live migration by Hyper-V itself.

Shared nothing: Hyper-V moves memory, settings and disks. The cached image
that a disk refers to, and mounted ISO images, it does not move: the target
fetches them before. With the instances path on storage that both hosts
share, only memory and settings move and no file is touched.

No lock of the instance is held meanwhile: who deletes it does not wait for
a migration, but ends it. Nova lets nothing else happen to it.
"""

from collections.abc import Callable
import ntpath
import time
from typing import Any

from nova import objects
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import hostnotes
from compute_hyperv import jobwaits
from compute_hyperv import livechecks
from compute_hyperv import livehost
from compute_hyperv import livewatch
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths

LOG = logging.getLogger(__name__)

#: Further tries of what has to be known, or done, in the end.
_ATTEMPTS = 4
_DELAY_S = 1.0
#: What the older of the two files of a console log may have.
_LOG_BYTES = 512 << 10


class LiveMigrationOps:
    """Both ends of live migrations.

    :param checks: what is looked at before; its methods are Nova's checks.
    :param share: ``[hyperv] instances_path_share``.
    :param use_cow: root disks refer to cached images.
    :param timeout_s: a migration that takes longer is cancelled; 0: none.
    :param end_timeout_s: how long one that failed may take to end if it
        cannot be cancelled any more; ``[hyperv] vm_operation_timeout``.
    """

    def __init__(self, *, win: oswin.Win, host: livehost.LiveHost,
                 checks: livechecks.LiveChecks, paths: paths.Paths,
                 image_cache: Any, vms: Any, volumes: Any, vifs: Any,
                 metrics: Any, console: Any, share: str, use_cow: bool,
                 timeout_s: int, end_timeout_s: int,
                 clock: operation.Clock = time) -> None:
        self._win = win
        self._host = host
        self.checks = checks
        self._paths = paths
        self._image_cache = image_cache
        self._vms = vms
        self._volumes = volumes
        self._vifs = vifs
        self._metrics = metrics
        self._console = console
        self._share = share
        self._use_cow = use_cow
        self._timeout_s = timeout_s
        self._end_timeout_s = end_timeout_s
        self._clock = clock
        #: Migrations from this host, by the uuid of the instance.
        self._watches: dict[str, livewatch.LiveWatch] = {}
        #: What was connected here for those that come, by the uuid: Nova
        #: forgets it when Neutron lets the source wait in vain.
        self._expected: dict[str, Any] = {}

    # -- target, before ---------------------------------------------------

    def prepare(self, context: Any, instance: Any, block_device_info: Any,
                data: Any) -> Any:
        """Get the target ready; what a failure leaves is removed.

        :returns: *data*.
        """
        with operation.Rollback(f'arrival of {instance.name}') as undo:
            self._drop_planned(instance)
            if not data.is_shared_instance_path:
                home = self._paths.instance_dir(instance.name)
                if self._paths.make_dir(home):
                    undo.on_failure(self._paths.delete_tree, home)
                self._fetch_parents(context, instance)
                self._copy_iso_images(instance)
            undo.on_failure(self._volumes.disconnect_all, block_device_info,
                            force=True)
            disks = self._volumes.host_disks(block_device_info)
            if disks:
                # They have other numbers here: they are told by their tags.
                undo.on_failure(self._drop_planned, instance)
                self._win.live.create_planned_vm(instance.name,
                                                 instance.node, disks)
        self._expected[instance.uuid] = block_device_info
        return data

    def _fetch_parents(self, context: Any, instance: Any) -> None:
        """Bring the cached files that the root disk may refer to."""
        if not (self._use_cow and instance.image_ref):
            return
        source = self.checks.cache_of(instance.node)
        if self._image_cache.take_over(str(instance.image_ref), source):
            return
        LOG.info("%s cannot be read; the image comes from Glance.", source,
                 instance=instance)
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

    def _drop_planned(self, instance: Any) -> None:
        if self._win.planned_uuids().get(instance.name) == instance.uuid:
            self._win.live.destroy_existing_planned_vm(instance.name)

    def clean_target(self, instance: Any, block_device_info: Any,
                     destroy_disks: bool) -> None:
        """Remove what a failed migration left here.

        A VM that did arrive, and its files, stay.
        """
        self._at_last(instance, self._drop_planned, instance)
        self._volumes.disconnect_all(block_device_info, force=True)
        self._at_last(instance, self._release_expected, instance)
        if destroy_disks:
            self._at_last(instance, self._delete_files, instance)

    def _release_expected(self, instance: Any) -> None:
        if self._win.find_owner(instance.name) is None:
            self._volumes.disconnect_all(
                self._expected.pop(instance.uuid, None), force=True)

    def _delete_files(self, instance: Any) -> None:
        if self._win.find_owner(instance.name) is None:
            self._paths.delete_tree(self._paths.instance_dir(instance.name))

    # -- source -----------------------------------------------------------

    def migrate(self, context: Any, instance: Any, target: str,
                post: Any, recover: Any, block_migration: Any,
                data: Any) -> None:
        """Move a VM; calls either *post* or *recover*, as Nova wants.

        :param target: Nova's name of the other service, for these two; its
            host is the node of the migration record.
        :raises HyperVError: nobody knows where it is, or will be. Neither
            host must let go of its volumes then: Nova puts the instance in
            ERROR.
        """
        node = data.migration.dest_node
        watch = self._watches[instance.uuid] = self._watch(instance, data)
        try:
            with watch:
                if watch.is_cancelled:
                    raise errors.Aborted(what='live migration', step='start')
                self._host.migrate(
                    instance.name, node,
                    with_disks=not data.is_shared_instance_path)
        except Exception as exc:
            # The job may go on although nobody could follow it.
            jobwaits.end(self._win, instance.name,
                         timeout_s=self._end_timeout_s,
                         option='[hyperv] vm_operation_timeout',
                         clock=self._clock)
            if not self._has_left(instance, node):
                self._stay(instance, node, exc)
                recover(context, instance, target, migrate_data=data,
                        migration_status=('cancelled' if watch.is_cancelled
                                          else 'failed'))
                return
            LOG.warning("The VM has moved to %s, but: %s", node,
                        errors.text_of(exc), instance=instance)
        finally:
            self._watches.pop(instance.uuid, None)
        watch.finish()
        self._at_last(instance, self._console.stop, instance.name)
        if not data.is_shared_instance_path:
            self._at_last(instance, self._copy_log, instance, node)
        post(context, instance, target, block_migration, data)

    def _watch(self, instance: Any, data: Any) -> livewatch.LiveWatch:
        disk_bytes = (0 if data.is_shared_instance_path else
                      self._at_last(instance, self.checks.moved_bytes,
                                    instance.name))
        memory_bytes = self._at_last(instance, self._host.memory_bytes,
                                     instance.name)
        return livewatch.LiveWatch(
            win=self._win, host=self._host, instance=instance,
            record=data.migration, timeout_s=self._timeout_s,
            disk_bytes=disk_bytes or 0, memory_bytes=memory_bytes or 0)

    def _has_left(self, instance: Any, target: str) -> bool:
        """Whether the VM is on the target, and not here."""
        if self._insist(self._win.find_owner, instance.name) is not None:
            return False
        return bool(self._insist(self._host.has_arrived, instance.name,
                                 target))

    def _stay(self, instance: Any, target: str, exc: Exception) -> None:
        LOG.warning("The live migration to %s failed, the VM stays on this "
                    "host: %s", target, errors.text_of(exc),
                    instance=instance)
        self._at_last(instance, self._console.start, instance.name,
                      instance.uuid)

    def _copy_log(self, instance: Any, target: str) -> None:
        """Send what the console said after the VM; the target goes on."""
        path = self._paths.console_path(instance.name)
        text = b''.join(map(self._paths.read_bytes, (f'{path}.1', path)))
        there = self._paths.unc(f'{path}.1', target, self._share)
        hostnotes.write_whole(self._paths, there, text[-_LOG_BYTES:])

    def abort(self, instance: Any) -> None:
        """Cancel a migration from this host.

        :raises WaitTimeout: it does not end; it may be too late.
        :raises HyperVError: there is none.
        """
        watch = self._watches.get(instance.uuid)
        if watch is None and self._host.progress(instance.name) is None:
            raise errors.HyperVError(
                reason=f'no migration of {instance.name} is under way')
        ended = (watch.cancel() if watch is not None else
                 self._win.stop_jobs(instance.name,
                                     jobwaits.CANCEL_TIMEOUT_S))
        if not ended:
            raise errors.WaitTimeout(
                what=f'the end of the migration of {instance.name}',
                timeout_s=jobwaits.CANCEL_TIMEOUT_S)

    # -- source, after ----------------------------------------------------

    def release_volumes(self, block_device_info: Any) -> None:
        """Let go of the volumes of a VM that has left."""
        self._volumes.disconnect_all(block_device_info, force=True)

    def release_ports(self, instance: Any, network_info: Any) -> None:
        """Remove what the ports of a VM that has left hold here."""
        self._at_last(instance, self._vifs.release_all, network_info)

    def clean_source(self, instance: Any, destroy_disks: bool) -> None:
        """Remove the files of a VM that has left."""
        self._at_last(instance, self._console.stop, instance.name)
        if destroy_disks:
            self._at_last(instance, self._delete_left_files, instance)

    def _delete_left_files(self, instance: Any) -> None:
        if self._win.find_owner(instance.name) is None:
            self._vms.files.delete(instance)

    # -- target, after ----------------------------------------------------

    def settle(self, instance: Any, network_info: Any) -> None:
        """Serve a VM that has arrived.

        :raises VirtualInterfacePlugException: it has no network.
        """
        self._expected.pop(instance.uuid, None)
        self._at_last(instance, self._vms.files.recognize, instance)
        self._at_last(instance, self._vms.files.forget_release, instance)
        self._insist(self._vifs.plug_all, instance, network_info)
        self._metrics.enable_vm(instance.name)
        self._metrics.enable_nics(vif['id'] for vif in network_info or ())
        self._at_last(instance, self._console.start, instance.name,
                      instance.uuid)

    # -- patience ---------------------------------------------------------

    def _insist(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call a few times; the host's trouble may pass."""
        return operation.retry(
            call, *args, on=(Exception,), only_if=errors.is_expected,
            attempts=_ATTEMPTS, delay_s=_DELAY_S, clock=self._clock)

    def _at_last(self, instance: Any, call: Callable[..., Any],
                 *args: Any) -> Any:
        """As :meth:`_insist`; what is in vain is worth a warning only.

        The VM runs, here or there: Nova would take a failure now for that
        of the VM.
        """
        try:
            return self._insist(call, *args)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            LOG.warning("Live migration, %s: %s",
                        getattr(call, '__name__', call), errors.text_of(exc),
                        instance=instance)
            return None
