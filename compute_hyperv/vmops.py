# SPDX-License-Identifier: Apache-2.0
"""Making and removing virtual machines."""

from collections.abc import Iterator
import contextlib
import ntpath
from typing import Any

from nova.compute import task_states
from nova.compute import vm_states
from nova import exception
from nova.virt import configdrive as nova_configdrive
from nova.virt import hardware
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import guestmetadata
from compute_hyperv import instancefiles
from compute_hyperv import leftdisks
from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module
from compute_hyperv import vmdefinition
from compute_hyperv import vmnames

LOG = logging.getLogger(__name__)

#: By this cloud-init and cloudbase-init know that a metadata service or a
#: config drive is worth looking for.
CHASSIS_ASSET_TAG = 'OpenStack Nova'

_DRIVE_KINDS = {model.DriveType.DISK: oswin.DriveKind.DISK,
                model.DriveType.DVD: oswin.DriveKind.DVD}

#: Directory of an exported VM, and what is in it.
Brought = tuple[str, model.MovedDefinition]

#: Name of the file that the image of an unshelved instance comes to.
SHELVED_STEM = 'shelved-image'


class VMOps:
    """Spawns, destroys, lists.

    States of an instance's VM that the methods meet: missing, planned (left
    by an interrupted migration), half-built, off, running, paused, saved.
    ``destroy`` ends in *missing* from each of them.
    """

    def __init__(self, *, win: oswin.Win, planner: Any, paths: Any,
                 image_cache: Any, disks: Any, config_drive: Any,
                 volumes: Any, vifs: Any, power: Any, console: Any,
                 left: Any, locks: locks.Locks,
                 force_destroy: bool) -> None:
        self._win = win
        self._planner = planner
        self._paths = paths
        self._image_cache = image_cache
        self._disks = disks
        self._config_drive = config_drive
        self._volumes = volumes
        self._vifs = vifs
        self._power = power
        self._console = console
        self._left = left
        self._locks = locks
        self._force_destroy = force_destroy
        self._definitions = vmdefinition.VmDefinitions(win, paths)
        self._names = vmnames.VmNames(win)
        self.files = instancefiles.InstanceFiles(win, paths)

    # -- what is there ----------------------------------------------------

    def uuids(self) -> list[str]:
        """Nova's uuids of the VMs of this host; one query."""
        return sorted(self._win.uuids().values())

    def names(self) -> list[str]:
        """Names of the VMs of this host that are Nova's; one query."""
        return sorted(self._win.uuids())

    def exists(self, instance: Any) -> bool:
        """Whether this host has a (realized) VM for the instance."""
        return bool(self._win.vm.vm_exists(instance.name))

    def info(self, instance: Any) -> hardware.InstanceInfo:
        """State of an instance, as Nova wants it.

        :raises InstanceNotFound: it has no VM here.
        """
        try:
            return hardware.InstanceInfo(
                state=self._power.state(instance.name))
        except exception.InstanceNotFound:
            raise exception.InstanceNotFound(instance_id=instance.uuid)

    # -- spawn ------------------------------------------------------------

    def spawn(self, context: Any, instance: Any, image_meta: Any,
              injected_files: Any, admin_password: Any, network_info: Any,
              block_device_info: Any, power_on: bool = True) -> None:
        """Make the VM of an instance and start it.

        Refusals come first, before the host is touched; after that, whatever
        fails is undone. An instance that is evacuated to a host that sees its
        disks keeps them. One that is unshelved gets a full copy of its image,
        which Nova deletes afterwards.

        :param network_info: may block and raise when it is iterated.
        :param block_device_info: Nova's dict, new style.
        :raises InstanceExists: a VM or disk of that name is there; it is
            left alone.
        """
        progress = operation.Progress(f'Spawn of {instance.name}')
        self._win.check_access()
        kept = self._kept_root(instance)
        self.files.claim(instance, but=kept)
        self._paths.choose_volume(instance.name)
        layout = self._paths.layout(instance.name)
        plan = self._planner.instance(
            instance, image_meta, block_device_info, network_info, layout,
            config_drive=nova_configdrive.required_by(instance))
        LOG.debug("Plan: %s", plan, instance=instance)
        with (self._locks.held(locks.instance(instance.uuid)),
              operation.Rollback(f'spawn of {instance.name}') as undo):
            # Its host may have died in the middle of a snapshot.
            left = self._left.merge(context, instance, layout.instance_dir,
                                    block_device_info, undo)
            progress.step('image')
            plan = self._with_image(context, instance, image_meta, plan,
                                    layout, kept, undo)
            progress.step('disks')
            self.files.make(layout.instance_dir, undo)
            # The config drive tells of the devices, too.
            guestmetadata.describe(context, instance, plan)
            self._make_disks(instance, plan, network_info, injected_files,
                             admin_password, undo)
            self.build(context, instance, plan, network_info,
                       block_device_info, power_on and not left, progress,
                       undo)
            if left:
                self._left.drop(left)
                if power_on:
                    self._power.start(instance, undo)
            if plan.config_drive is not None:
                self._config_drive.drop_others(plan.config_drive)
        LOG.info("Spawned in %.1f seconds.", progress.elapsed_s,
                 instance=instance)

    def build(self, context: Any, instance: Any, plan: model.InstancePlan,
              network_info: Any, block_device_info: Any, power_on: bool,
              progress: operation.Progress, undo: operation.Rollback,
              brought: Brought | None = None) -> None:
        """Make the VM of a plan over disks that are there.

        The caller holds the lock of the instance.

        :param brought: the VM is not made anew but of this.
        :param undo: removes the VM when the operation fails; the files of
            its disks stay.
        """
        # Undone after the VM, which holds their disks, is removed.
        undo.on_failure(self._volumes.disconnect_all, block_device_info)
        progress.step('machine')
        self._define(instance, plan, self._paths.layout(instance.name), undo,
                     brought)
        progress.step('volumes')
        attached = self._volumes.attach_all(plan.vm_name, plan.volumes)
        progress.step('ports')
        with self._vifs.plugged(instance, network_info, plan.nics, undo):
            self._set_boot_order(plan, attached)
        guestmetadata.store(context, instance, plan)
        if power_on:
            progress.step('power on')
            self._power.start(instance, undo)
        self.files.forget_release(instance)

    def _kept_root(self, instance: Any) -> str | None:
        """The system disk that an evacuated instance has here.

        A rebuild on the same host comes here after it deleted the disks. One
        that comes back from another cell has left all of them here.
        """
        if instance.task_state not in leftdisks.OVER_DISKS:
            return None
        found: str | None = self._paths.find_root(instance.name)
        return found

    def _with_image(self, context: Any, instance: Any, image_meta: Any,
                    plan: model.InstancePlan, layout: model.InstanceLayout,
                    kept: str | None, undo: operation.Rollback
                    ) -> model.InstancePlan:
        if kept is not None:
            return plan.keeping(kept)
        if plan.root is None:
            return plan
        self._planner.check_image(plan, image_meta)
        size_bytes = plan.root.size_bytes
        if instance.vm_state == vm_states.SHELVED_OFFLOADED:
            plan = plan.with_root(source=model.DiskSource.IMAGE_COPY)
            self.files.make(layout.instance_dir, undo)
            stem = ntpath.join(layout.instance_dir, SHELVED_STEM)
            image = self._image_cache.fetch_apart(
                context, instance, image_meta, stem,
                root_size_bytes=size_bytes)
            undo.on_failure(self._paths.remove, image.path)
        else:
            image = self._image_cache.get(
                context, instance, image_meta, root_size_bytes=size_bytes)
        fitted: model.InstancePlan = self._planner.with_image(plan, image,
                                                              layout)
        return fitted

    def _make_disks(self, instance: Any, plan: model.InstancePlan,
                    network_info: Any, injected_files: Any,
                    admin_password: Any, undo: operation.Rollback) -> None:
        self._disks.create([disk for disk in plan.disks
                            if not self._paths.exists(disk.path)], undo)
        self._drop_shelved(plan)
        if plan.config_drive is not None:
            # There is one where the instance is evacuated from.
            if (instance.task_state == task_states.RESIZE_REVERTING
                    and self._paths.exists(plan.config_drive.path)):
                return
            metadata_files = self._config_drive.metadata(
                instance, network_info, injected_files, admin_password)
            self._config_drive.create(plan.config_drive, metadata_files,
                                      undo)

    def _drop_shelved(self, plan: model.InstancePlan) -> None:
        """Remove the image of an unshelved instance; its copy is made."""
        source = plan.root and plan.root.parent_path
        if source and ntpath.splitext(
                ntpath.basename(source))[0] == SHELVED_STEM:
            self._paths.remove(source)

    def _define(self, instance: Any, plan: model.InstancePlan,
                layout: model.InstanceLayout, undo: operation.Rollback,
                brought: Brought | None = None) -> None:
        # Registered first: the job may fail after the VM exists. The name is
        # this operation's own since files.claim().
        undo.on_failure(self.remove_vm, plan.vm_name, plan.uuid)
        if brought is None:
            self._make(instance, plan, layout)
        else:
            self._bring_in(plan, *brought, layout.instance_dir)
        for disk in plan.disks:
            self._win.attach_drive(plan.vm_name, disk.path, disk.slot,
                                   _DRIVE_KINDS[disk.format.drive_type])
            if disk.qos is not None:
                self._win.vm.set_disk_qos_specs(disk.path, disk.qos.max_iops)
        self._console.set_up_ports(plan.vm_name, plan.uuid,
                                   plan.machine.serial_ports)

    def _make(self, instance: Any, plan: model.InstancePlan,
              layout: model.InstanceLayout) -> None:
        machine = plan.machine
        # Programs read the first note, administrators the second.
        self._win.vm.create_vm(
            plan.vm_name, machine.numa is not None, int(machine.generation),
            layout.instance_dir,
            notes=[plan.uuid, instance.display_name or ''])
        self.configure(plan.vm_name, machine)
        self._win.vm.create_scsi_controller(plan.vm_name)

    def _bring_in(self, plan: model.InstancePlan, directory: str,
                  definition: model.MovedDefinition, home: str) -> None:
        self._definitions.bring_in(plan, directory, definition, home)
        self.configure(plan.vm_name, plan.machine)
        self._definitions.realize(plan.vm_name)
        # A copy that was made for this; what the source keeps stays.
        if paths_module.is_below(directory, home):
            self._paths.delete_tree(directory)
        if self._win.vm.get_vm_scsi_controller(plan.vm_name) is None:
            self._win.vm.create_scsi_controller(plan.vm_name)

    def configure(self, vm_name: str, machine: model.MachineSpec) -> None:
        """Give a VM that is off its CPUs, memory, NUMA and firmware."""
        numa = machine.numa
        self._win.vm.update_vm(
            vm_name, machine.memory.maximum_mib,
            numa.memory_mib_per_node if numa else 0, machine.cpu.count,
            numa.vcpus_per_node if numa else 0, machine.cpu.limit_features,
            machine.memory.ratio,
            host_shutdown_action=(int(machine.shutdown_action)
                                  if machine.shutdown_action else None),
            vnuma_enabled=numa is not None,
            chassis_asset_tag=CHASSIS_ASSET_TAG)
        if machine.cpu.is_tuned:
            self._win.set_processor(
                vm_name, limit=machine.cpu.limit, weight=machine.cpu.weight,
                threads_per_core=machine.cpu.threads_per_core)
        if machine.nested:
            self._win.vm.set_nested_virtualization(vm_name, state=True)
        if machine.security.secure_boot:
            self._win.vm.enable_secure_boot(
                vm_name, machine.security.needs_microsoft_uefi_ca)

    def _set_boot_order(self, plan: model.InstancePlan,
                        attached: dict[str, str]) -> None:
        """Tell the firmware what to boot from.

        :param attached: volume id -> what its drive stands for.
        """
        if plan.machine.generation is model.Generation.TWO:
            order: list[Any] = [
                drive.path if isinstance(drive, model.DiskSpec)
                else attached[drive.volume_id]
                for drive in plan.boot_drives]
        else:
            order = [int(device) for device in plan.boot_devices]
        self._win.vm.set_boot_order(plan.vm_name, order)

    # -- destroy ----------------------------------------------------------

    def destroy(self, context: Any, instance: Any, network_info: Any,
                block_device_info: Any = None,
                destroy_disks: bool = True) -> None:
        """Remove an instance from this host, whatever is left of it.

        Idempotent. Waits for a snapshot that is being made of the instance
        unless ``[hyperv] force_destroy_instances`` is set.

        :raises InstancePowerOffFailure: the VM cannot be removed, and may
            go on.
        """
        progress = operation.Progress(f'Destroy of {instance.name}')
        wanted = ([] if self._force_destroy
                  else [locks.instance(instance.uuid)])
        with contextlib.ExitStack() as stack:
            with _keeping_its_networks():
                stack.enter_context(self._locks.held(*wanted))
                progress.step('machine')
                self.files.recognize(instance)
                removed = self.remove_vm(instance.name, instance.uuid)
            progress.step('volumes')
            self._volumes.disconnect_all(block_device_info, force=True)
            if destroy_disks and removed:
                progress.step('files')
                self.files.delete_after_destroy(instance)
            # Last: it may need a program that does not work just now.
            progress.step('ports')
            self._vifs.release_all(network_info)
        LOG.info("Destroyed in %.1f seconds.", progress.elapsed_s,
                 instance=instance)

    def cleanup(self, instance: Any, network_info: Any,
                block_device_info: Any, destroy_disks: bool,
                destroy_vifs: bool) -> None:
        """Remove what an instance that is no longer here left behind.

        Powers off nothing; a VM that is absent is what it expects.
        """
        self._console.stop(instance.name)
        self._volumes.disconnect_all(block_device_info, force=True)
        if destroy_disks and self._win.find_owner(instance.name) is None:
            self.files.delete(instance)
        # Last: it may need a program that does not work just now.
        if destroy_vifs:
            self._vifs.unplug_all(instance, network_info)

    def remove_vm(self, vm_name: str, uuid: str) -> bool:
        """Remove a VM of that name, in whatever state, if it is *uuid*'s.

        :returns: whether there is none any more. A VM of somebody else with
            the same name keeps its disks, which lie where ours would.
        """
        if self._win.planned_uuids().get(vm_name) == uuid:
            self._win.migration.destroy_existing_planned_vm(vm_name)
        owner = self._names.owner(vm_name, uuid)
        if owner is not None and owner != uuid:
            LOG.warning("VM %s is not that of instance %s and stays as it "
                        "is.", vm_name, uuid)
            return False
        self._console.stop(vm_name)
        if owner == uuid:
            self._power.stop_jobs(vm_name)
            self._power.turn_off(vm_name)
            self._power.destroy(vm_name)
        return True


@contextlib.contextmanager
def _keeping_its_networks() -> Iterator[None]:
    """Let Nova keep the networks of an instance whose VM stays.

    It would give the address of a VM that runs to the next one; only for this
    class of errors it does not.
    """
    try:
        yield
    except exception.InstancePowerOffFailure:
        raise
    except Exception as exc:
        raise exception.InstancePowerOffFailure(
            reason=errors.text_of(exc)) from exc
