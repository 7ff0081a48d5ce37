# SPDX-License-Identifier: Apache-2.0
"""What a nova-compute that was killed had begun, by Nova's own records.

Runs when the service starts, before Nova looks at its instances. What Nova
itself takes up again (deletions, the source of a resize, changes of power)
is left to it.

==========================  ============================================
Instance                    What is done
==========================  ============================================
being built, unshelved      what there is of it is removed; Nova puts it
                            in ERROR
unshelved, and runs         it stays, for Nova may have deleted its image
                            already; Nova puts it in ERROR
attaching a volume          it is detached, and available again
a snapshot of a volume      its disk and its power are given back; Cinder
                            hears how it went
a volume moved to another   it has moved or not, and Cinder hears which
backend
expected by a resize        it stays where it is
arriving by a resize        what there is of it is removed and it arrives
                            anew, in the background: VERIFY_RESIZE, or
                            ERROR with the source's files untouched
leaving by a live           Hyper-V's job is ended and the target cleaned;
migration, still here       Nova makes it ACTIVE
leaving by a live           its arrival is completed: ACTIVE on the target
migration, on the target
leaving, and nobody can     its task stays; that is tried again
tell where it is
==========================  ============================================
"""

from collections.abc import Callable
from collections.abc import Iterable
import functools
from typing import Any

from nova.compute import task_states
from nova.compute import vm_states
from nova import exception
from nova import objects
from oslo_log import log as logging

from compute_hyperv import again
from compute_hyperv import errors
from compute_hyperv import heldvolumes
from compute_hyperv import interruptedbooks
from compute_hyperv import interruptedlife
from compute_hyperv import interruptedlive
from compute_hyperv import interruptedmoves
from compute_hyperv import interruptedswap
from compute_hyperv import migrationops
from compute_hyperv import oswin
from compute_hyperv import volumesnapshots

LOG = logging.getLogger(__name__)

#: In these Nova takes an instance for one that was never finished.
_BUILDING = (task_states.SCHEDULING, task_states.BLOCK_DEVICE_MAPPING,
             task_states.NETWORKING, task_states.SPAWNING)
#: States in which Nova leaves an instance alone when it starts.
_LEFT_ALONE = (vm_states.ERROR, vm_states.SOFT_DELETED, vm_states.DELETED)
#: How long the service waits for the lock of an instance when it starts: a
#: merge of checkpoints may hold it for hours.
_LOCK_TIMEOUT_S = 1.0


class Interrupted:
    """Ends or finishes what was begun.

    :param moves: takes instances back.
    :param cinder: Nova's ``nova.volume.cinder.API``.
    """

    def __init__(self, *, win: oswin.Win, vms: Any, volumes: Any,
                 moves: migrationops.MigrationOps,
                 arrivals: interruptedmoves.InterruptedArrivals,
                 live: interruptedlive.InterruptedLive,
                 books: interruptedbooks.InterruptedBooks,
                 life: interruptedlife.InterruptedLife, again: again.Again,
                 held: heldvolumes.HeldVolumes,
                 snapshots: volumesnapshots.VolumeSnapshots,
                 swaps: interruptedswap.InterruptedSwaps,
                 cinder: Any) -> None:
        self._win = win
        self._moves = moves
        self._arrivals = arrivals
        self._live = live
        self._vms = vms
        self._volumes = volumes
        self._books = books
        self._held = held
        self._snapshots = snapshots
        self._swaps = swaps
        self._cinder = cinder
        self._life = life
        self._again = again

    def repair(self, context: Any, instance: Any) -> bool:
        """See :meth:`interruptedmoves.InterruptedArrivals.repair`."""
        return self._arrivals.repair(context, instance)

    def take_back(self, context: Any, instance: Any, network_info: Any,
                  block_device_info: Any, power_on: bool,
                  migration: Any) -> None:
        """Undo the departure of an instance, by a revert or after a kill.

        In the latter case Nova goes on with the instance, but does not close
        its books on the migration.
        """
        self._moves.take_back(context, instance, network_info,
                              block_device_info, power_on)
        if instance.task_state == task_states.RESIZE_MIGRATING:
            _try(functools.partial(self._books.close, migration=migration),
                 context, instance)

    def process(self, context: Any, host: str,
                instances: Iterable[Any]) -> list[Any]:
        """Look after the instances of this host, each for itself.

        :param host: Nova's name of this host.
        :returns: those that Nova can look at now.
        """
        _try(self._remove_planned, context, host)
        _try(self._books.end_claims, context, host)
        _try(self._books.end_evacuations, context, host)
        _try(self._life.confirm, context, host)
        leaving: set[str] = set()
        _try(functools.partial(self._end_live, leaving), context, host)
        found = [instance for instance in instances
                 if instance.uuid not in leaving]
        for instance in found:
            _try(functools.partial(self._look_after, host), context,
                 instance)
        return found

    def stop(self) -> None:
        """End with the service; idempotent."""
        self._again.stop()

    def _end_live(self, leaving: set[str], context: Any, host: str) -> None:
        for migration in interruptedlive.under_way(context, host):
            if migration.source_compute == host:
                error = _try(self._live.end, context, migration)
                if error and not isinstance(error,
                                            exception.InstanceNotFound):
                    leaving.add(migration.instance_uuid)
                    self._again.start(
                        f'migration of {migration.instance_uuid}',
                        self._live.end_later, context, migration)

    def _take_up_volumes(self, host: str, context: Any, instance: Any,
                         timeout_s: float | None = _LOCK_TIMEOUT_S) -> None:
        """Nova clears the state that is Cinder's lock on the instance."""
        self._held.take_up(instance, timeout_s)
        self._snapshots.take_up(context, instance, timeout_s)
        self._swaps.take_up(context, host, instance, timeout_s)

    def _take_up_again(self, context: Any, host: str, uuid: str) -> None:
        try:
            instance = objects.Instance.get_by_uuid(context, uuid)
        except exception.InstanceNotFound:
            return
        if instance.host == host:
            self._take_up_volumes(host, context, instance, timeout_s=None)

    def _remove_planned(self, context: Any, host: str) -> None:
        """Remove planned VMs, which block the next migration.

        That of a migration which still runs is on its way to become a VM.
        """
        expected = {migration.instance_uuid for migration
                    in interruptedlive.under_way(context, host)
                    if migration.dest_compute == host}
        for vm_name, uuid in self._win.planned_uuids().items():
            if uuid not in expected:
                LOG.warning("Removing the planned VM %s of instance %s, left "
                            "by an interrupted migration.", vm_name, uuid)
                self._win.migration.destroy_existing_planned_vm(vm_name)

    def _look_after(self, host: str, context: Any, instance: Any) -> None:
        if instance.task_state == task_states.MIGRATING:
            # Its host may have become another one just now.
            instance.refresh()
        if instance.host != host or instance.vm_state in _LEFT_ALONE:
            return
        if _try(functools.partial(self._take_up_volumes, host), context,
                instance):
            self._again.start(f'volumes of {instance.uuid}',
                              self._take_up_again, context, host,
                              instance.uuid)
        if (instance.vm_state == vm_states.BUILDING
                or instance.task_state in _BUILDING):
            if (instance.vm_state == vm_states.SHELVED_OFFLOADED
                    and self._arrivals.runs(instance)):
                LOG.warning("It was unshelved but for Nova's last step, and "
                            "runs: it stays. Reboot it hard.",
                            instance=instance)
                return
            LOG.warning("Its build was interrupted; what there is of it is "
                        "removed.", instance=instance)
            self._vms.destroy(context, instance,
                              instance.get_network_info(),
                              interruptedbooks.devices(context, instance))
        elif instance.task_state == task_states.RESIZE_FINISH:
            self._arrivals.take_up(context, instance)
        elif instance.task_state is None:
            # An attach has no state. In others (a rebuild of a volume) Nova
            # itself has mappings that are not connected.
            self._undo_attaches(context, instance)
        else:
            self._life.take_up(context, host, instance)

    def _undo_attaches(self, context: Any, instance: Any) -> None:
        """Detach volumes of which Nova does not know how they are attached.

        It saves that when the driver has done its part. As after an attach
        that fails, the volume is available again.
        """
        for mapping in objects.BlockDeviceMappingList.get_by_instance_uuid(
                context, instance.uuid):
            if (mapping.is_volume and mapping.attachment_id
                    and not mapping.connection_info):
                LOG.warning("Its volume %s was being attached; it is "
                            "detached.", mapping.volume_id, instance=instance)
                self._undo_attach(context, instance, mapping)

    def _undo_attach(self, context: Any, instance: Any,
                     mapping: Any) -> None:
        attachment = self._cinder.attachment_get(context,
                                                 mapping.attachment_id)
        connection = attachment.get('connection_info') or {}
        if connection.get('driver_volume_type'):
            self._volumes.undo_attach(instance.name, connection | {
                'serial': mapping.volume_id})
        self._cinder.attachment_delete(context, mapping.attachment_id)
        mapping.destroy()


def _try(part: Callable[..., None], context: Any,
         subject: Any) -> Exception | None:
    """Call; the error that it ended with."""
    try:
        part(context, subject)
    except Exception as exc:    # the service has to start
        LOG.warning("%s: what was begun with it is not cleared away: %s",
                    getattr(subject, 'uuid', subject), errors.text_of(exc),
                    exc_info=not errors.is_expected(exc))
        return exc
    return None
