# SPDX-License-Identifier: Apache-2.0
"""Operations of tools/bench that take more than one call of the driver.

Each does with the drivers of two hosts what Nova's compute manager does, in
its order.
"""

from nova import objects
from oslo_utils import uuidutils

from tests import factories


class Moves:
    """Snapshot, resize and live migration of instances of HV1.

    :param bench: the test case that measures.
    """

    def __init__(self, bench):
        self._bench = bench
        self._drivers = {name: bench.driver(name) for name in ('HV1', 'HV2')}
        self._cpus = {
            name: {'cpu_info': driver.get_available_resource(name)[
                'cpu_info']} for name, driver in self._drivers.items()}

    def snapshot(self, instance):
        """Upload the disk of a running instance."""
        image_id = uuidutils.generate_uuid()
        self._bench.glance.create(
            id=image_id, name='snapshot', visibility='private',
            disk_format='vhdx', container_format='bare', min_disk=0)
        self._drivers['HV1'].snapshot(
            self._bench.context, instance, image_id,
            lambda **states: None)

    def resize(self, instance):
        """To a larger flavor on the other host; leaves it to confirm."""
        flavor = factories.flavor(memory_mib=1024, vcpus=2, disk_gib=2)
        network, storage = self._surroundings(instance)
        source, target = self._drivers['HV1'], self._drivers['HV2']
        record = source.migrate_disk_and_power_off(
            self._bench.context, instance, '127.0.0.12', flavor, network,
            storage)
        instance.old_flavor, instance.flavor = instance.flavor, flavor
        instance.host = instance.node = 'HV2'
        migration = objects.Migration(
            source_compute='HV1', source_node='HV1', dest_compute='HV2',
            dest_node='HV2', migration_type='resize')
        target.finish_migration(
            self._bench.context, migration, instance, record, network,
            self._bench.image_meta(instance), True, {}, storage)

    def confirm(self, instance):
        """Delete what the source kept."""
        self._drivers['HV1'].confirm_migration(
            self._bench.context, None, instance,
            self._surroundings(instance)[0])

    def live_migrate(self, instance):
        """To the other host, disks and all."""
        context = self._bench.context
        network, storage = self._surroundings(instance)
        source, target = self._drivers['HV1'], self._drivers['HV2']
        data = target.check_can_live_migrate_destination(
            context, instance, self._cpus['HV1'], self._cpus['HV2'], None)
        data = source.check_can_live_migrate_source(context, instance, data,
                                                    storage)
        target.check_source_migrate_data_at_dest(context, instance, data,
                                                 None, None, None)
        data = target.pre_live_migration(context, instance, storage, network,
                                         None, data)
        data.migration = objects.Migration(
            dest_node='HV2', dest_compute='HV2', source_compute='HV1')
        source.live_migration(context, instance, 'HV2', self._moved,
                              self._stayed, False, data)
        source.post_live_migration(context, instance, storage, data)
        source.post_live_migration_at_source(context, instance, network)
        target.post_live_migration_at_destination(
            context, instance, network, False, storage)
        instance.host = instance.node = 'HV2'

    def destroy(self, instance):
        """Remove what was moved."""
        self._drivers['HV2'].destroy(
            self._bench.context, instance, *self._surroundings(instance))

    def _surroundings(self, instance):
        return (self._bench.network(instance),
                factories.block_device_info())

    @staticmethod
    def _moved(*args, **kwargs):
        """What the compute manager does afterwards is called above."""

    @staticmethod
    def _stayed(context, instance, target, **kwargs):
        raise AssertionError(f'{instance.name} did not move to {target}')
