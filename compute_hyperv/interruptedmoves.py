# SPDX-License-Identifier: Apache-2.0
"""The arrival of an instance that was interrupted at the target of a resize.

Nova does not take it up again: the instance would stay in ``resize_finish``
for ever. Its source still has all files, and the record of them, so that it
can arrive once more.
"""

import threading
from typing import Any

from nova.compute import vm_states
from nova import exception
from nova import objects
from oslo_log import log as logging
from oslo_serialization import jsonutils
from oslo_utils import timeutils

from compute_hyperv import errors
from compute_hyperv import interruptedbooks
from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv import oswin
from compute_hyperv import paths
from compute_hyperv import vmnames

LOG = logging.getLogger(__name__)


class InterruptedArrivals:
    """Lets instances arrive that had begun to.

    :param arrivals: receives them anew.
    :param moves: knows where the source keeps them.
    :param host_ports: what Cinder has to know of this host.
    :param cinder: Nova's ``nova.volume.cinder.API``.
    """

    def __init__(self, *, win: oswin.Win, paths: Any, vms: Any,
                 volumes: Any, arrivals: Any, moves: Any, host_ports: Any,
                 books: interruptedbooks.InterruptedBooks,
                 locks: locks.Locks, cinder: Any) -> None:
        self._win = win
        self._books = books
        self._paths = paths
        self._vms = vms
        self._volumes = volumes
        self._arrivals = arrivals
        self._moves = moves
        self._host_ports = host_ports
        self._locks = locks
        self._cinder = cinder
        self._names = vmnames.VmNames(win)

    def take_up(self, context: Any, instance: Any) -> None:
        """Finish an arrival, in the background: disks take their time."""
        LOG.warning("Its arrival was interrupted and begins anew.",
                    instance=instance)
        threading.Thread(target=self._finish, args=(context, instance),
                         daemon=True,
                         name=f'arrival-{instance.name}').start()

    def repair(self, context: Any, instance: Any) -> bool:
        """Let an instance arrive or return that failed to, by a hard reboot.

        Nova left it on this host, in ERROR, with its old flavor, and has
        forgotten what the source keeps. At the source, what a return has
        brought home already is the only copy: the return goes on.

        :returns: whether that was the case; else nothing is done.
        """
        if (not self._moves.is_kept(instance)
                or instance.migration_context is None
                or self._names.owner(instance.name,
                                     instance.uuid) is not None):
            return False
        migration = self._migration(context, instance)
        if migration.source_compute == instance.host:
            self._return(context, instance)
            self._books.close(context, instance, migration)
            return True
        LOG.warning("It failed to arrive from %s and does so again.",
                    migration.source_compute, instance=instance)
        self._arrive(context, instance, migration, power_on=True)
        try:
            self._moves.confirm(instance, migration.source_node)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            LOG.warning("It has arrived, but its old files on %s stay: %s",
                        migration.source_compute, errors.text_of(exc),
                        instance=instance)
            self._moves.forget(instance)
        self._books.settle(context, instance, migration)
        return True

    def _return(self, context: Any, instance: Any) -> None:
        LOG.warning("It failed to return to this host and does so again.",
                    instance=instance)
        connected = self._connections(context, instance)
        self._moves.take_back(
            context, instance, instance.get_network_info(),
            interruptedbooks.devices(context, instance), power_on=True)
        self._complete(context, connected)

    def _migration(self, context: Any, instance: Any) -> Any:
        return objects.Migration.get_by_id_and_instance(
            context, instance.migration_context.migration_id, instance.uuid)

    def _finish(self, context: Any, instance: Any) -> None:
        power_on = (instance.system_metadata.get('old_vm_state')
                    != vm_states.STOPPED)
        migration = None
        try:
            migration = self._migration(context, instance)
            self._arrive(context, instance, migration, power_on)
            status, state = 'finished', vm_states.RESIZED
            instance.launched_at = timeutils.utcnow()
        except Exception as exc:        # the last frame of its thread
            LOG.error("It could not arrive; its files are untouched at its "
                      "source: %s", errors.text_of(exc), instance=instance,
                      exc_info=not errors.is_expected(exc))
            status, state = 'error', vm_states.ERROR
        if migration is not None:
            migration.status = status
            migration.save()
        instance.vm_state = state
        instance.task_state = None
        instance.save()

    def _arrive(self, context: Any, instance: Any, migration: Any,
                power_on: bool) -> None:
        connected = self._connections(context, instance)
        if not self.runs(instance):
            record = self._moves.record_at(instance, migration.source_node)
            info = interruptedbooks.devices(context, instance)
            self._clear(instance, info, record)
            with instance.mutated_migration_context():
                self._arrivals.receive(
                    context, instance, record, instance.get_network_info(),
                    objects.ImageMeta.from_instance(instance), info,
                    power_on)
        self._complete(context, connected)

    def _complete(self, context: Any, connected: list[Any]) -> None:
        for mapping in connected:
            self._cinder.attachment_complete(context, mapping.attachment_id)

    def runs(self, instance: Any) -> bool:
        """Whether its VM is made wholly: it is started last of all."""
        try:
            return self._win.state(instance.name) is oswin.VMState.RUNNING
        except exception.InstanceNotFound:
            return False

    def _clear(self, instance: Any, block_device_info: Any,
               record: str) -> None:
        """Remove what came, not what the source keeps, where it stays."""
        kept = model.MoveRecord.from_json(record).home
        with self._locks.held(locks.instance(instance.uuid)):
            if self._vms.remove_vm(instance.name, instance.uuid):
                self._volumes.disconnect_all(block_device_info, force=True)
                home = self._paths.instance_dir(instance.name)
                if kept is None or not paths.same(kept, home):
                    # Not what it was refused for, which is another's.
                    self._vms.files.delete_home(instance)

    def _connections(self, context: Any, instance: Any) -> list[Any]:
        """Have Cinder let this host in; the volumes' mappings."""
        found = [mapping for mapping in
                 objects.BlockDeviceMappingList.get_by_instance_uuid(
                     context, instance.uuid) if mapping.is_volume]
        for mapping in found:
            info = self._cinder.attachment_get(
                context, mapping.attachment_id).get('connection_info') or {}
            if not info.get('driver_volume_type'):
                info = self._cinder.attachment_update(
                    context, mapping.attachment_id,
                    self._host_ports.properties(),
                    mapping.device_name)['connection_info']
            old = jsonutils.loads(mapping.connection_info or '{}')
            mapping.connection_info = jsonutils.dumps(info | {
                'serial': mapping.volume_id,
                'multiattach': old.get('multiattach', False)})
            mapping.save()
        return found
