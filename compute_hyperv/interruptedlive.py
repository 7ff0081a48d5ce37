# SPDX-License-Identifier: Apache-2.0
"""Live migrations whose source was killed and started again.

Hyper-V goes on without nova-compute. Where the VM is in the end, it stays:

============================  ==========================================
The VM                        What is done
============================  ==========================================
is here (the job is ended)    the target removes what it has; Nova lets
                              the instance be ACTIVE here
is on the target              what Nova does after a migration is done
                              now: it is ACTIVE there
has arrived, Nova knows it    the record of the migration is closed
cannot be found, for the      the instance keeps its task, and it is tried
target does not answer        again
============================  ==========================================
"""

from typing import Any

from nova.compute import task_states
from nova import exception
from nova import objects
from nova.objects import migrate_data as migrate_data_obj
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import interruptedbooks
from compute_hyperv import livehost
from compute_hyperv import oswin
from compute_hyperv import paths

LOG = logging.getLogger(__name__)

#: Migrations that are not over. Those 'accepted' are still Nova's conductor's,
#: which ends them when a host does not answer.
UNDER_WAY = ('queued', 'preparing', 'running')
_JOBS_TIMEOUT_S = 60


def under_way(context: Any, host: str) -> list[Any]:
    """Records of the live migrations from or to a host that are not over."""
    return list(objects.MigrationList.get_by_filters(
        context, {'host': host, 'migration_type': 'live-migration',
                  'status': list(UNDER_WAY)}))


class InterruptedLive:
    """Ends live migrations of which nobody hears any more.

    :param network: Nova's ``nova.network.neutron.API``.
    :param computes: Nova's ``nova.compute.rpcapi.ComputeAPI``.
    :param placement: makes Nova's client of placement.
    """

    def __init__(self, *, win: oswin.Win, paths: paths.Paths, vms: Any,
                 volumes: Any, network: Any, computes: Any,
                 placement: Any) -> None:
        self._win = win
        self._paths = paths
        self._vms = vms
        self._volumes = volumes
        self._host = livehost.LiveHost(win)
        self._network = network
        self._computes = computes
        self._placement = placement

    def end_later(self, context: Any, migration: Any) -> None:
        """As :meth:`end`, when Nova does not look at the instance any more.

        An instance that is nowhere is left to its owner.
        """
        try:
            self.end(context, migration, is_start=False)
        except exception.InstanceNotFound as exc:
            LOG.warning("%s", exc)
            migration.status = 'error'
            migration.save()

    def end(self, context: Any, migration: Any,
            is_start: bool = True) -> None:
        """Bring one to an end.

        :param migration: Nova's record; this host is its source.
        :param is_start: Nova looks at the instance next.
        :raises InstanceNotFound: it is nowhere.
        """
        instance = interruptedbooks.whole_instance(
            context, migration.instance_uuid)
        if instance.host == migration.dest_compute:
            self._close(context, migration)
        elif (not is_start and instance.task_state != task_states.MIGRATING
              and self._win.find_owner(instance.name) == instance.uuid):
            # Somebody has reset its state, and may be moving it anew.
            migration.status = 'error'
            migration.save()
        elif self._is_here(instance):
            self._stay(context, instance, migration)
            if not is_start:
                instance.task_state = None
                instance.save(expected_task_state=[task_states.MIGRATING])
                migration.status = 'error'
                migration.save()
        elif self._host.has_arrived(instance.name, migration.dest_node):
            self._leave(context, instance, migration)
        else:
            raise exception.InstanceNotFound(instance_id=instance.uuid)

    def _is_here(self, instance: Any) -> bool:
        """Whether the VM is on this host, and stays.

        :raises WaitTimeout: Hyper-V does not let go of it: where it will be
            is not known, and the target must not be cleaned.
        """
        if self._win.find_owner(instance.name) != instance.uuid:
            return False
        ended = True
        try:
            ended = self._win.stop_jobs(instance.name, _JOBS_TIMEOUT_S)
        except Exception as exc:        # gone with its VM, most likely
            LOG.debug("Jobs of %s: %s", instance.name, errors.text_of(exc))
        if self._win.find_owner(instance.name) != instance.uuid:
            return False
        if not ended:
            raise errors.WaitTimeout(
                what=f'the end of the migration of {instance.name}',
                timeout_s=_JOBS_TIMEOUT_S)
        return True

    def _stay(self, context: Any, instance: Any, migration: Any) -> None:
        LOG.warning("Its live migration to %s was interrupted; it stays on "
                    "this host.", migration.dest_compute, instance=instance)
        shared = paths.is_shared(self._paths.instances_dir)
        self._computes.rollback_live_migration_at_destination(
            context, instance, migration.dest_compute, not shared,
            migrate_data_obj.HyperVLiveMigrateData(
                is_shared_instance_path=shared))
        if migration.status != 'running':
            # Nova looks after those that run only.
            migration.status = 'error'
            migration.save()

    def _leave(self, context: Any, instance: Any, migration: Any) -> None:
        LOG.warning("It has moved to %s while nova-compute was away.",
                    migration.dest_compute, instance=instance)
        shared = paths.is_shared(self._paths.instances_dir)
        self._network.migrate_instance_start(context, instance, migration)
        self._volumes.disconnect_all(
            interruptedbooks.devices(context, instance), force=True)
        self._vms.cleanup(instance, instance.get_network_info(), None,
                          destroy_disks=not shared, destroy_vifs=True)
        self._computes.post_live_migration_at_destination(
            context, instance, not shared, migration.dest_compute)
        self._close(context, migration)

    def _close(self, context: Any, migration: Any) -> None:
        migration.status = 'completed'
        migration.save()
        self._placement().delete_allocation_for_instance(
            context, migration.uuid, consumer_type='migration')
