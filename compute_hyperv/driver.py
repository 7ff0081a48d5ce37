# SPDX-License-Identifier: Apache-2.0
"""The compute driver: Nova's interface, delegated to the ops.

What this release cannot do is not overridden: Nova's base class answers
NotImplementedError, as Nova expects.
"""

from typing import Any

from nova import exception
from nova import objects
from nova.virt import driver
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import volumemethods
from compute_hyperv import wiring

LOG = logging.getLogger(__name__)

#: Every flag that Nova 34 reads; what is absent counts as False there, but
#: a test wants each to be decided.
CAPABILITIES = {
    'has_imagecache': True,
    'supports_evacuate': True,
    'supports_migrate_to_same_host': False,
    'supports_attach_interface': True,
    'supports_device_tagging': True,
    'supports_tagged_attach_interface': True,
    'supports_tagged_attach_volume': True,
    'supports_extend_volume': True,
    'supports_multiattach': True,
    'supports_trusted_certs': True,
    'supports_pcpus': False,
    'supports_accelerators': False,
    'supports_bfv_rescue': True,
    'supports_vtpm': False,
    'supports_secure_boot': True,
    'supports_socket_pci_numa_affinity': False,
    'supports_remote_managed_ports': False,
    'supports_address_space_passthrough': False,
    'supports_address_space_emulated': False,
    'supports_stateless_firmware': False,
    'supports_virtio_fs': False,
    'supports_mem_backing_file': False,
    'supports_ephemeral_encryption': False,
    'supports_ephemeral_encryption_luks': False,
    'supports_ephemeral_encryption_plain': False,
    'supports_image_type_aki': False,
    'supports_image_type_ami': False,
    'supports_image_type_ari': False,
    'supports_image_type_iso': True,
    'supports_image_type_ploop': False,
    'supports_image_type_qcow2': True,
    'supports_image_type_raw': True,
    'supports_image_type_vdi': False,
    'supports_image_type_vhd': True,
    'supports_image_type_vhdx': True,
    'supports_image_type_vmdk': True,
}


@errors.boundary
class HyperVDriver(volumemethods.VolumeMethods):
    """Nova's driver for one Windows Hyper-V host."""

    capabilities = CAPABILITIES

    def __init__(self, virtapi: Any) -> None:
        super().__init__(virtapi)
        self._ops = wiring.build(virtapi)
        self._win = self._ops.win
        self._service_host = ''     # Nova's name of it

    # -- service ----------------------------------------------------------

    def init_host(self, host):
        self._win.check_access()
        wiring.check_programs()
        self._ops.volumes.check_host()
        self._ops.console.begin()
        self._ops.events.start(self.emit_event)
        self._ops.recovery.run()
        self._service_host = host

    def process_instances_at_startup(self, context, instances):
        self._ops.recovery.end_snapshots(
            {instance.uuid for instance in instances})
        return self._ops.interrupted.process(context, self._service_host,
                                             instances)

    def cleanup_host(self, host):
        self._ops.events.stop()
        self._ops.recovery.stop()
        self._ops.interrupted.stop()
        self._ops.console.stop_all()

    # -- host -------------------------------------------------------------

    def get_available_nodes(self, refresh=False):
        return self._ops.host.get_available_nodes()

    def get_available_resource(self, nodename):
        return self._ops.host.get_available_resource(nodename)

    def update_provider_tree(self, provider_tree, nodename, allocations=None):
        inventory = provider_tree.data(nodename).inventory
        self._ops.host.update_provider_tree(
            provider_tree, nodename, self._get_allocation_ratios(inventory),
            self._get_reserved_host_disk_gb_from_config())

    def get_host_ip_addr(self):
        return self._ops.host.get_host_ip_addr()

    def get_host_uptime(self):
        return self._ops.host.get_host_uptime()

    def host_power_action(self, action):
        return self._ops.host.host_power_action(action)

    # -- instances --------------------------------------------------------

    def list_instance_uuids(self):
        return self._ops.vms.uuids()

    def list_instances(self):
        return self._ops.vms.names()

    def get_num_instances(self):
        return len(self._ops.vms.names())

    def instance_exists(self, instance):
        return self._ops.vms.exists(instance)

    def get_info(self, instance, use_cache=True):
        return self._ops.vms.info(instance)

    def get_instance_diagnostics(self, instance):
        return self._ops.metrics.diagnostics(instance)

    # -- life cycle -------------------------------------------------------

    def spawn(self, context, instance, image_meta, injected_files,
              admin_password, allocations, network_info=None,
              block_device_info=None, power_on=True, accel_info=None):
        self._ops.vms.spawn(context, instance, image_meta, injected_files,
                            admin_password, network_info or (),
                            block_device_info, power_on)

    def destroy(self, context, instance, network_info, block_device_info=None,
                destroy_disks=True, destroy_secrets=True):
        self._ops.vms.destroy(context, instance, network_info,
                              block_device_info, destroy_disks)

    def cleanup(self, context, instance, network_info, block_device_info=None,
                destroy_disks=True, migrate_data=None, destroy_vifs=True,
                destroy_secrets=True):
        if migrate_data is not None:
            self._ops.live.clean_source(instance, destroy_disks)
            return
        self._ops.vms.cleanup(instance, network_info, block_device_info,
                              destroy_disks, destroy_vifs)

    def delete_instance_files(self, instance):
        return self._ops.vms.files.try_to_delete(instance)

    # -- power ------------------------------------------------------------

    def power_on(self, context, instance, network_info,
                 block_device_info=None, accel_info=None, share_info=None):
        self._ops.power.power_on(instance, network_info, block_device_info)

    def power_off(self, instance, timeout=0, retry_interval=0):
        if not hasattr(instance, 'uuid'):
            # CM._cleanup_running_deleted_instances gives (context, instance).
            instance, timeout = timeout, 0
        self._ops.power.power_off(instance, timeout, retry_interval)

    def reboot(self, context, instance, network_info, reboot_type,
               block_device_info=None, bad_volumes_callback=None,
               accel_info=None, share_info=None):
        soft = reboot_type == 'SOFT'
        if soft or not self._ops.interrupted.repair(context, instance):
            self._ops.power.reboot(instance, network_info, block_device_info,
                                   soft=soft)

    def pause(self, instance):
        self._ops.power.pause(instance)

    def unpause(self, instance):
        self._ops.power.unpause(instance)

    def suspend(self, context, instance):
        self._ops.power.suspend(instance)

    def resume(self, context, instance, network_info, block_device_info=None,
               share_info=None):
        self._ops.power.power_on(instance, network_info, block_device_info)

    def trigger_crash_dump(self, instance):
        self._ops.power.interrupt(instance)

    def resume_state_on_host_boot(self, context, instance, network_info,
                                  share_info, block_device_info=None):
        self._ops.power.resume_after_boot(instance, network_info,
                                          block_device_info)

    def poll_rebooting_instances(self, timeout, instances):
        """Nothing to do: reboots here end by themselves, in bounded time."""

    # -- resize, cold migration -------------------------------------------

    def migrate_disk_and_power_off(self, context, instance, dest, flavor,
                                   network_info, block_device_info=None,
                                   timeout=0, retry_interval=0):
        return self._ops.migration.give_away(
            context, instance, flavor, network_info, block_device_info,
            timeout, retry_interval)

    def finish_migration(self, context, migration, instance, disk_info,
                         network_info, image_meta, resize_instance,
                         allocations, block_device_info=None, power_on=True,
                         share_info=None):
        self._ops.arrivals.receive(
            context, instance, disk_info, network_info, image_meta,
            block_device_info, power_on)

    def confirm_migration(self, context, migration, instance, network_info):
        self._ops.migration.confirm(instance)

    def finish_revert_migration(self, context, instance, network_info,
                                migration, block_device_info=None,
                                power_on=True, share_info=None):
        if migration.cross_cell_move:
            # Nova let destroy() leave the disks, and asked for nothing else.
            self._ops.vms.spawn(
                context, instance, objects.ImageMeta.from_instance(instance),
                [], None, network_info, block_device_info, power_on)
            return
        self._ops.interrupted.take_back(context, instance, network_info,
                                        block_device_info, power_on, migration)

    # -- images -----------------------------------------------------------

    def snapshot(self, context, instance, image_id, update_task_state):
        self._ops.snapshots.snapshot(context, instance, image_id,
                                     update_task_state)

    def quiesce(self, context, instance, image_meta):
        # Hyper-V freezes a guest within a checkpoint of its own only, and
        # makes none while it passes disks through.
        raise exception.InstanceQuiesceNotSupported(
            instance_id=instance.uuid)

    def unquiesce(self, context, instance, image_meta):
        raise exception.InstanceQuiesceNotSupported(
            instance_id=instance.uuid)

    # -- live migration ---------------------------------------------------

    def check_can_live_migrate_destination(self, context, instance,
                                           src_compute_info,
                                           dst_compute_info,
                                           block_migration=False,
                                           disk_over_commit=False):
        return self._ops.live.checks.check_target(
            context, instance, src_compute_info, dst_compute_info,
            block_migration, disk_over_commit)

    def cleanup_live_migration_destination_check(self, context,
                                                 dest_check_data):
        """Nothing to do: the checks leave nothing."""

    def check_can_live_migrate_source(self, context, instance,
                                      dest_check_data,
                                      block_device_info=None):
        return self._ops.live.checks.check_source(
            instance, dest_check_data, block_device_info)

    def check_source_migrate_data_at_dest(self, ctxt, instance,
                                          migrate_data, migration, limits,
                                          allocs):
        return self._ops.live.checks.check_arrival(ctxt, instance,
                                                   migrate_data)

    def pre_live_migration(self, context, instance, block_device_info,
                           network_info, disk_info, migrate_data):
        return self._ops.live.prepare(context, instance, block_device_info,
                                      migrate_data)

    def live_migration(self, context, instance, dest, post_method,
                       recover_method, block_migration=False,
                       migrate_data=None):
        self._ops.live.migrate(context, instance, dest, post_method,
                               recover_method, block_migration, migrate_data)

    def live_migration_abort(self, instance):
        self._ops.live.abort(instance)

    def post_live_migration(self, context, instance, block_device_info,
                            migrate_data=None):
        self._ops.live.release_volumes(block_device_info)

    def post_live_migration_at_source(self, context, instance, network_info):
        self._ops.live.release_ports(instance, network_info)

    def post_live_migration_at_destination(self, context, instance,
                                           network_info,
                                           block_migration=False,
                                           block_device_info=None):
        self._ops.live.settle(instance, network_info)

    def rollback_live_migration_at_destination(self, context, instance,
                                               network_info,
                                               block_device_info,
                                               destroy_disks=True,
                                               migrate_data=None):
        self._ops.live.clean_target(instance, block_device_info,
                                    destroy_disks)

    # -- rescue -----------------------------------------------------------

    def rescue(self, context, instance, network_info, image_meta,
               rescue_password, block_device_info, share_info):
        self._ops.rescue.rescue(context, instance, network_info, image_meta,
                                rescue_password, block_device_info)

    def unrescue(self, context, instance):
        # Nova gives neither ports nor volumes here.
        bdms = objects.BlockDeviceMappingList.get_by_instance_uuid(
            context, instance.uuid)
        self._ops.rescue.unrescue(
            instance, instance.get_network_info(),
            driver.get_block_device_info(instance, bdms))

    # -- evacuation -------------------------------------------------------

    def instance_on_disk(self, instance):
        return self._ops.shared_storage.instance_on_disk(instance)

    def check_instance_shared_storage_local(self, context, instance):
        return self._ops.shared_storage.leave_probe(instance)

    def check_instance_shared_storage_remote(self, context, data):
        return self._ops.shared_storage.sees_probe(data)

    def check_instance_shared_storage_cleanup(self, context, data):
        self._ops.shared_storage.remove_probe(data)

    # -- networks ---------------------------------------------------------

    def plug_vifs(self, instance, network_info):
        self._ops.vifs.plug_those_of(instance, network_info)

    def unplug_vifs(self, instance, network_info):
        self._ops.vifs.unplug_all(instance, network_info)

    def attach_interface(self, context, instance, image_meta, vif):
        self._ops.hotplug.attach_interface(context, instance, vif)

    def detach_interface(self, context, instance, vif):
        self._ops.hotplug.detach_interface(context, instance, vif)

    # -- consoles ---------------------------------------------------------

    def get_console_output(self, context, instance):
        return self._ops.console.output(instance)

    def get_serial_console(self, context, instance):
        return self._ops.console.console(instance)

    # -- image cache ------------------------------------------------------

    def manage_image_cache(self, context, all_instances):
        self._ops.image_cache.update(context, all_instances)

    def cache_image(self, context, image_id):
        return self._ops.image_cache.cache_image(context, image_id)
