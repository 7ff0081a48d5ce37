# SPDX-License-Identifier: Apache-2.0
"""Operations on servers that a kill cut off and Nova does not take up.

Nova keeps the task of such a server for ever, and refuses every request
while there is one.

=====================  =================================================
Task                   What is done
=====================  =================================================
rescuing, unrescuing   its own drives are put back and it is started:
                       ACTIVE, or ERROR if that fails
shelving               it runs on if it ran; its disk is only copied
offloading             Nova is asked to do it again
reverting a resize     the same, on the host that has it by then
pausing, suspending,   the state is that of the VM, when Hyper-V has done
resuming               with it
arriving by a resize,  Nova is asked to do it again
before it has begun
=====================  =================================================

A confirmation of a resize leaves no task, but Nova lets nobody ask for it
again: that is done here, for its old files may be gone already.
"""

from collections.abc import Callable
from typing import Any

from nova.compute import task_states
from nova.compute import vm_states
from nova import exception
from nova import objects
from nova import utils
from oslo_log import log as logging

from compute_hyperv import again
from compute_hyperv import errors
from compute_hyperv import interruptedbooks
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

_CONFIRMING = 'confirming'
_RESCUE = (task_states.RESCUING, task_states.UNRESCUING)
_SHELVING = (task_states.SHELVING, task_states.SHELVING_IMAGE_PENDING_UPLOAD,
             task_states.SHELVING_IMAGE_UPLOADING)
_POWER = (task_states.PAUSING, task_states.UNPAUSING, task_states.SUSPENDING,
          task_states.RESUMING)
_TAKEN_UP = (*_RESCUE, *_SHELVING, *_POWER, task_states.SHELVING_OFFLOADING,
             task_states.RESIZE_REVERTING, task_states.RESIZE_MIGRATED)
#: What nova-compute, as Nova names it, had begun with then.
_ARRIVING = ('compute_finish_resize',)
#: Of oslo.db, where no database is configured.
_NO_DATABASE = 'CantStartEngineError'
_STATE = {oswin.VMState.RUNNING: vm_states.ACTIVE,
          oswin.VMState.PAUSED: vm_states.PAUSED,
          oswin.VMState.SAVED: vm_states.SUSPENDED,
          oswin.VMState.OFF: vm_states.STOPPED}


class InterruptedLife:
    """Ends what was begun with servers, or has Nova do it again.

    :param computes: Nova's ``nova.compute.rpcapi.ComputeAPI``.
    :param moves: knows what sources of resizes keep.
    """

    def __init__(self, *, win: oswin.Win, power: Any, rescue: Any,
                 moves: Any, computes: Any, again: again.Again) -> None:
        self._win = win
        self._power = power
        self._rescue = rescue
        self._moves = moves
        self._computes = computes
        self._again = again

    def take_up(self, context: Any, host: str, instance: Any) -> None:
        """Go on with an instance that was in the middle of one of these.

        :param host: Nova's name of this host, which has the instance.
        """
        task = instance.task_state
        if task not in _TAKEN_UP:
            return
        # Else the request waits for the service, and must find the task.
        if not interruptedbooks.was_at_work(
                context, host, instance.uuid,
                _ARRIVING if task == task_states.RESIZE_MIGRATED else None):
            LOG.info("Nova will send a request, of which it has the task %s.",
                     task, instance=instance)
        elif task in _RESCUE:
            self._end_rescue(context, instance)
        elif task in _SHELVING:
            self._end_shelve(context, instance)
        elif task in _POWER:
            self._end_power(context, instance)
        elif task == task_states.SHELVING_OFFLOADING:
            self._ask_again(
                'offloading', context, host, instance,
                lambda found: self._computes.shelve_offload_instance(
                    context, found, clean_shutdown=False))
        elif task == task_states.RESIZE_MIGRATED:
            self._arrive(context, host, instance)
        else:
            self._revert(context, host, instance)

    def confirm(self, context: Any, host: str) -> None:
        """Have resizes from this host confirmed whose end was cut off."""
        for migration in objects.MigrationList.get_by_filters(
                context, {'source_compute': host, 'status': [_CONFIRMING]}):
            if migration.status == _CONFIRMING:
                self._again.start(
                    f'confirmation of {migration.instance_uuid}',
                    self._confirm, context, migration.id, host)

    def _confirm(self, context: Any, migration_id: int, host: str) -> None:
        migration = objects.Migration.get_by_id(context, migration_id)
        if migration.status == _CONFIRMING:
            self._wait_for_service(context, host)
            self._computes.confirm_resize(
                context, objects.Instance.get_by_uuid(
                    context, migration.instance_uuid), migration, host)

    def _wait_for_service(self, context: Any, host: str) -> None:
        """What is sent to this service before it listens could be lost."""
        self._computes.get_host_uptime(context, host)

    def _end_rescue(self, context: Any, instance: Any) -> None:
        LOG.warning("Its %s was interrupted; its own drives are put back.",
                    instance.task_state, instance=instance)
        try:
            self._rescue.unrescue(
                instance, instance.get_network_info(),
                interruptedbooks.devices(context, instance))
            state = vm_states.ACTIVE
        except Exception as exc:        # the user has to be able to go on
            LOG.error("They could not be: %s", errors.text_of(exc),
                      instance=instance,
                      exc_info=not errors.is_expected(exc))
            state = vm_states.ERROR
        self._end(instance, state)

    def _end_shelve(self, context: Any, instance: Any) -> None:
        LOG.warning("It was being shelved; it stays as it was.",
                    instance=instance)
        if (instance.vm_state == vm_states.ACTIVE and self._win.state(
                instance.name) is not oswin.VMState.RUNNING):
            self._power.power_on(
                instance, instance.get_network_info(),
                interruptedbooks.devices(context, instance))
        self._end(instance, instance.vm_state)

    def _end_power(self, context: Any, instance: Any) -> None:
        """Wait for Hyper-V, in the background: it may write much memory."""
        if not self._win.jobs(instance.name):
            self._end(instance, _STATE[self._win.state(instance.name)])
            return
        uuid, task = instance.uuid, instance.task_state

        def end() -> None:
            try:
                found = objects.Instance.get_by_uuid(context, uuid)
            except exception.InstanceNotFound:
                return
            if found.task_state == task:
                if jobs := self._win.jobs(found.name):
                    raise errors.HyperVError(reason='; '.join(jobs))
                self._end(found, _STATE[self._win.state(found.name)])

        self._again.start(f'{task} of {uuid}', end)

    def _end(self, instance: Any, vm_state: str) -> None:
        task = instance.task_state
        instance.vm_state = vm_state
        instance.task_state = None
        instance.save(expected_task_state=[task])

    def _arrive(self, context: Any, host: str, instance: Any) -> None:
        """Let an arrival begin of which Nova has noted nothing yet."""
        migration = objects.Migration.get_by_id_and_instance(
            context, instance.migration_context.migration_id, instance.uuid)

        def arrive(found: Any) -> None:
            # Nova may have saved the new flavor already, but not the task.
            found.flavor = found.old_flavor or found.flavor
            self._computes.finish_resize(
                context, found, migration,
                utils.get_image_from_system_metadata(found.system_metadata),
                self._moves.record_at(found, migration.source_node), host,
                _request_spec(context, found.uuid))

        self._ask_again('arrival', context, host, instance, arrive)

    def _revert(self, context: Any, host: str, instance: Any) -> None:
        """Let the host go on that has the instance in Nova's books."""
        migration = objects.Migration.get_by_id_and_instance(
            context, instance.migration_context.migration_id, instance.uuid)
        call = (self._computes.finish_revert_resize
                if migration.source_compute == host
                else self._computes.revert_resize)

        def revert(found: Any) -> None:
            call(context, found, migration, host,
                 _request_spec(context, found.uuid))

        self._ask_again('return', context, host, instance, revert)

    def _ask_again(self, what: str, context: Any, host: str, instance: Any,
                   ask: Callable[[Any], None]) -> None:
        """Send Nova's request once more, when this service takes it."""
        LOG.warning("Its %s was interrupted; it goes on.", what,
                    instance=instance)
        uuid, task = instance.uuid, instance.task_state

        def call() -> None:
            instance = interruptedbooks.whole_instance(context, uuid)
            if instance.task_state == task:
                self._wait_for_service(context, host)
                ask(instance)

        self._again.start(f'{what} of {uuid}', call)


def _request_spec(context: Any, uuid: str) -> Any:
    """What Nova's API noted of an instance; None if it is out of reach.

    The conductors of a cell need not have the API's database. Nova misses it
    for ports with guaranteed bandwidth only, and tells so.
    """
    try:
        return objects.RequestSpec.get_by_instance_uuid(context, uuid)
    except Exception as exc:
        # From a conductor it comes as oslo.messaging's RemoteError.
        if getattr(exc, 'exc_type', type(exc).__name__) != _NO_DATABASE:
            raise
        LOG.info("Its request is not known in this cell: %s", exc)
        return None
