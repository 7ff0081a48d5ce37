# SPDX-License-Identifier: Apache-2.0
"""The part of Nova's driver interface that is about volumes."""

from nova.virt import driver

from compute_hyperv import errors
from compute_hyperv import wiring


@errors.boundary
class VolumeMethods(driver.ComputeDriver):
    """Delegates like the driver, which is made of it."""

    _ops: wiring.Ops

    def get_volume_connector(self, instance):
        return self._ops.host_ports.properties()

    def attach_volume(self, context, connection_info, instance, mountpoint,
                      disk_bus=None, device_type=None, encryption=None):
        self._ops.hotplug.attach_volume(
            context, connection_info, instance,
            {'mount_device': mountpoint, 'disk_bus': disk_bus,
             'device_type': device_type}, encryption)

    def detach_volume(self, context, connection_info, instance, mountpoint,
                      encryption=None):
        self._ops.hotplug.detach_volume(context, connection_info, instance)

    def extend_volume(self, context, connection_info, instance,
                      requested_size):
        self._ops.volumes.extend(connection_info, requested_size)

    def get_all_volume_usage(self, context, compute_host_bdms):
        return self._ops.volume_usage.all_of(compute_host_bdms)

    def block_stats(self, instance, disk_id):
        return self._ops.volume_usage.of_device(instance, disk_id)

    def swap_volume(self, context, old_connection_info, new_connection_info,
                    instance, mountpoint, resize_to):
        self._ops.volume_swap.swap(context, instance, old_connection_info,
                                   new_connection_info, resize_to)

    def volume_snapshot_create(self, context, instance, volume_id,
                               create_info):
        self._ops.volume_snapshots.create(context, instance, volume_id,
                                          create_info)

    def volume_snapshot_delete(self, context, instance, volume_id,
                               snapshot_id, delete_info):
        self._ops.volume_snapshots.delete(context, instance, volume_id,
                                          snapshot_id, delete_info)
