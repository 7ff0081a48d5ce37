# SPDX-License-Identifier: Apache-2.0
"""B10: a resize to another cell that is reverted, at the source.

Nova's own test cloud has one cell: its manager of the source does what the
conductors of both cells would ask it for.
"""

from nova.compute import task_states
from nova.compute import vm_states
from nova import context as nova_context
from nova import objects

from tests.functional import test_b_resize
from tests.functional import volumecase


class RevertTest(volumecase.VolumeTestCase, test_b_resize.MoveTest):

    HOSTS = ('HV1',)

    def setUp(self):
        super().setUp()
        self.context = nova_context.get_admin_context()

    def instance(self, server, **changes):
        instance = objects.Instance.get_by_uuid(
            self.context, server['id'], expected_attrs=[
                'flavor', 'info_cache', 'metadata', 'system_metadata',
                'migration_context'])
        for name, value in changes.items():
            setattr(instance, name, value)
        instance.save()
        return instance

    def migration(self, instance):
        migration = objects.Migration(
            self.context, instance_uuid=instance.uuid, source_compute='HV1',
            source_node='HV1', dest_compute='there', dest_node='there',
            dest_compute_id=instance.compute_id + 1,
            old_instance_type_id=instance.flavor.id,
            new_instance_type_id=instance.flavor.id,
            status='pre-migrating', migration_type='resize',
            cross_cell_move=True)
        migration.create()
        return migration

    def test_source_takes_the_server_back(self):
        """Its disks stayed, and nothing else."""
        volume = self.cinder.add_volume()
        server = self.boot(networks='auto', config_drive=True)
        self.attach(server, volume)
        self.write_as_guest(server)
        drives = self.vm(server).drives
        manager = self.computes['HV1'].manager
        instance = self.instance(server,
                                 task_state=task_states.RESIZE_MIGRATING)
        migration = self.migration(instance)

        manager.prep_snapshot_based_resize_at_source(
            self.context, instance, migration)

        self.assertEqual([], self.view().vm_names)
        self.assertEqual([], self.host.initiator.sessions)
        migration.status = 'reverting'
        migration.save()
        instance = self.instance(
            server, vm_state=vm_states.RESIZED, old_flavor=instance.flavor,
            task_state=task_states.RESIZE_REVERTING)
        manager.finish_revert_snapshot_based_resize_at_source(
            self.context, instance, migration)

        self.assertEqual('running', self.vm(server).state)
        self.assertEqual(drives, self.vm(server).drives)
        self.assertEqual(1, len(self.vm(server).nics))
        self.assert_written(server)
        self.assert_same_bytes(server, volume, b'here again')
        self._delete_server(server)
        self.fabric.assert_clean()
