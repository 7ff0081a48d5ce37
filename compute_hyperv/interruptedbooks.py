# SPDX-License-Identifier: Apache-2.0
"""What Nova had booked for resizes and cold migrations that were cut off.

Nova claims the resources of the target before it asks the source to give the
instance away, and keeps those of the source under the migration's name. When
nova-compute ends in the middle it undoes neither.

==========================  ============================================
nova-compute was killed     What is done
==========================  ============================================
at the target, while it     the instance is as it was before: no task, its
claimed or was about to;    old allocations; the migration has failed
at the source, before it
began
at the source, which gave   the same, after the files are back
the instance away
while it built what was     what there is of it is removed, but for disks on
evacuated                   shared storage; ERROR, to be evacuated again
==========================  ============================================
"""

from collections.abc import Collection
from typing import Any

from nova.compute import task_states
from nova.compute import vm_states
from nova import exception
from nova import objects
from nova.virt import driver as nova_driver
from oslo_log import log as logging

from compute_hyperv import paths

LOG = logging.getLogger(__name__)

#: The target was asked or has claimed, and the source has not begun.
_CLAIMED = 'pre-migrating'
#: The source is about to note that in the instance, too.
_BEGUN = 'migrating'
_TYPES = ('resize', 'migration')
#: As Nova names what users ask for, and what nova-compute does for it.
_MOVES = ('resize', 'migrate')
_CLAIMING = ('compute_prep_resize', 'compute_resize_instance')
#: So many of the last actions are looked at.
_ACTIONS = 20
_REBUILDING = (task_states.REBUILDING,
               task_states.REBUILD_BLOCK_DEVICE_MAPPING,
               task_states.REBUILD_SPAWNING)


class InterruptedBooks:
    """Closes Nova's books on moves that go nowhere.

    :param placement: makes Nova's client of placement.
    """

    def __init__(self, *, paths: paths.Paths, vms: Any,
                 placement: Any) -> None:
        self._paths = paths
        self._vms = vms
        self._placement = placement

    def end_claims(self, context: Any, host: str) -> None:
        """Let instances be whose moves ended before they had begun.

        Nova notes the target of a move when it has claimed. Which host was
        at work before, or that it still is, the events of the request tell.

        :param host: Nova's name of this host.
        """
        for migration in objects.MigrationList.get_by_filters(
                context, {'status': [_CLAIMED, _BEGUN]}):
            could_be = migration.migration_type in _TYPES and (
                migration.status == _CLAIMED
                or migration.source_compute == host)
            if could_be and was_at_work(context, host,
                                        migration.instance_uuid, _CLAIMING,
                                        _MOVES):
                self._end_claim(context, migration)

    def _end_claim(self, context: Any, migration: Any) -> None:
        try:
            instance = objects.Instance.get_by_uuid(
                context, migration.instance_uuid)
        except exception.InstanceNotFound:
            return
        # Nova itself clears that state when the source starts.
        task = instance.task_state
        if (task in (None, task_states.RESIZE_PREP)
                and instance.host == migration.source_compute):
            LOG.warning("Its move was interrupted before it began; it stays "
                        "on %s.", instance.host, instance=instance)
            self.close(context, instance, migration)
            instance.task_state = None
            instance.save(expected_task_state=[task])

    def end_evacuations(self, context: Any, host: str) -> None:
        """Remove what was being built here of other hosts' instances.

        Nova takes them for this host's when they are built wholly.
        """
        for migration in objects.MigrationList.get_by_filters(
                context, {'host': host, 'status': [_CLAIMED],
                          'migration_type': 'evacuation'}):
            instance = whole_instance(context, migration.instance_uuid)
            if (migration.dest_compute == host and instance.host != host
                    and instance.task_state in _REBUILDING):
                LOG.warning("Its evacuation to this host was interrupted; "
                            "what there is of it is removed. Evacuate it "
                            "again.", instance=instance)
                self._end_evacuation(context, instance, migration)

    def _end_evacuation(self, context: Any, instance: Any,
                        migration: Any) -> None:
        task = instance.task_state
        self._vms.destroy(
            context, instance, instance.get_network_info(),
            devices(context, instance),
            not paths.is_shared(self._paths.instances_dir))
        node = objects.ComputeNode.get_by_host_and_nodename(
            context, migration.dest_compute, migration.dest_node)
        self._placement().remove_provider_tree_from_instance_allocation(
            context, instance.uuid, node.uuid)
        migration.status = 'failed'
        migration.save()
        instance.drop_migration_context()
        instance.vm_state = vm_states.ERROR
        instance.task_state = None
        instance.save(expected_task_state=[task])

    def close(self, context: Any, instance: Any, migration: Any) -> None:
        """An instance stays, or is back, at the source of a migration."""
        placement = self._placement()
        if placement.get_allocations_for_consumer(context, migration.uuid):
            placement.move_allocations(context, migration.uuid,
                                       instance.uuid)
        migration.status = 'error'
        migration.save()
        instance.drop_migration_context()

    def settle(self, context: Any, instance: Any, migration: Any) -> None:
        """An instance has come to stay at the target of a migration."""
        self._placement().delete_allocation_for_instance(
            context, migration.uuid, consumer_type='migration')
        instance.drop_migration_context()


def was_at_work(context: Any, host: str, uuid: str,
                events: Collection[str] | None = None,
                actions: Collection[str] | None = None) -> bool:
    """Whether a host had begun what was asked for last, and not ended it.

    :param host: Nova's name of it.
    :param uuid: of the instance.
    :param events: names of what it did; None: anything.
    :param actions: the last one of these names counts; None: of any.
    """
    last = next((action for action in last_actions(context, uuid)
                 if actions is None or action.action in actions), None)
    return last is not None and any(
        events is None or event.event in events
        for event in unfinished(context, host, last))


def last_actions(context: Any, uuid: str) -> Any:
    """What was asked for of an instance, the last one first."""
    return objects.InstanceActionList.get_by_instance_uuid(
        context, uuid, limit=_ACTIONS)


def unfinished(context: Any, host: str, action: Any) -> list[Any]:
    """Events of an action that a host has begun, and not ended.

    :param host: Nova's name of it.
    """
    return [event for event in
            objects.InstanceActionEventList.get_by_action(context, action.id)
            if event.host == host and event.finish_time is None]


def whole_instance(context: Any, uuid: str) -> Any:
    """Nova's record of an instance, with what the driver looks at.

    :raises InstanceNotFound: there is none of it.
    """
    return objects.Instance.get_by_uuid(context, uuid, expected_attrs=[
        'info_cache', 'metadata', 'system_metadata', 'flavor'])


def devices(context: Any, instance: Any) -> Any:
    """Nova's dict of an instance's devices; volumes that are connected."""
    found = nova_driver.get_block_device_info(
        instance, objects.BlockDeviceMappingList.get_by_instance_uuid(
            context, instance.uuid))
    found['block_device_mapping'] = [
        volume for volume in found['block_device_mapping']
        if volume.get('connection_info')]
    return found
