# SPDX-License-Identifier: Apache-2.0
"""What Nova had booked for resizes and cold migrations that were cut off.

Nova claims the resources of the target before it asks the source to give the
instance away, and keeps those of the source under the migration's name. When
nova-compute ends in the middle it undoes neither.

==========================  ============================================
nova-compute was killed     What is done
==========================  ============================================
at the target, while it     the instance is as it was before: no task, its
claimed                     old allocations; the migration has failed
at the source, which gave   the same, after the files are back
the instance away
==========================  ============================================
"""

from typing import Any

from nova.compute import task_states
from nova import objects
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

#: The target has claimed, and the source has not begun.
_CLAIMED = 'pre-migrating'
_TYPES = ('resize', 'migration')


class InterruptedBooks:
    """Closes Nova's books on moves that go nowhere.

    :param placement: makes Nova's client of placement.
    """

    def __init__(self, placement: Any) -> None:
        self._placement = placement

    def end_claims(self, context: Any, host: str) -> None:
        """Let instances be that had only been expected on this host.

        :param host: Nova's name of this host.
        """
        for migration in objects.MigrationList.get_by_filters(
                context, {'host': host, 'status': [_CLAIMED]}):
            if (migration.dest_compute == host
                    and migration.migration_type in _TYPES):
                instance = objects.Instance.get_by_uuid(
                    context, migration.instance_uuid)
                if instance.task_state == task_states.RESIZE_PREP:
                    LOG.warning("Its move to this host was interrupted; it "
                                "stays on %s.", migration.source_compute,
                                instance=instance)
                    self.close(context, instance, migration)
                    instance.task_state = None
                    instance.save(
                        expected_task_state=[task_states.RESIZE_PREP])

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
