# SPDX-License-Identifier: Apache-2.0
"""Deciding, apart from acting: one call for each operation.

Everything in this package is pure.  It reads Nova's objects and the
host's capabilities, and gives back frozen values or refuses; it touches
no host, no file, no configuration and no clock.
"""

from __future__ import annotations

import collections.abc
import dataclasses

from nova import exception
from nova import objects

from compute_hyperv import model
from compute_hyperv.plan import disks
from compute_hyperv.plan import machine
from compute_hyperv.plan import moves
from compute_hyperv.plan import nics
from compute_hyperv.plan import request
from compute_hyperv.plan import slots
from compute_hyperv.plan import volumes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PlanOptions:
    """The options of this node that shape its VMs."""

    machine: machine.MachineOptions = machine.MachineOptions()
    disks: disks.DiskOptions = disks.DiskOptions()
    #: Name of the vSwitch of all NICs; None if a layer 2 agent chooses.
    vswitch_name: str | None = None


class Planner:
    """Makes the plans that the operations carry out."""

    def __init__(self, caps: model.HostCaps, options: PlanOptions) -> None:
        self._caps = caps
        self._options = options

    def instance(self, instance: objects.Instance,
                 image_meta: objects.ImageMeta,
                 block_device_info: disks.BlockDeviceInfo | None,
                 network_info: collections.abc.Iterable[nics.Vif],
                 layout: model.InstanceLayout, *,
                 config_drive: bool) -> model.InstancePlan:
        """Everything that spawning an instance will make.

        :param block_device_info: see :meth:`disks.DiskPlanner.plan`.
        :param network_info: Nova's VIF dicts; iterating may wait.
        :param config_drive: whether the instance gets one.
        :raises nova.exception.NovaException: a refusal, see
            :func:`machine.plan_machine`, :meth:`disks.DiskPlanner.plan`
            and :func:`nics.plan_nics`.  Nothing has been touched.
        """
        asked = request.Request(instance, image_meta)
        spec = machine.plan_machine(asked, self._caps, self._options.machine)
        disk_planner = disks.DiskPlanner(
            asked, spec.generation, self._caps, self._options.disks, layout)
        try:
            drives = disk_planner.plan(block_device_info or {}, config_drive)
        except exception.TooManyDiskDevices as exc:
            # Nova would ask other hosts, which have no more slots, and hide
            # the reason from the user.
            raise request.conflict(str(exc)) from exc
        ports = self.nics(network_info)
        if len(ports) > self._caps.nics:
            raise request.host_cannot(
                f'a VM has at most {self._caps.nics} NICs on this host '
                f'({self._caps.windows}), the instance has {len(ports)}')
        return model.InstancePlan(
            vm_name=instance.name, uuid=instance.uuid, machine=spec,
            disks=drives.disks, volumes=drives.volumes, nics=ports)

    def volume(self, volume: disks.BlockDevice,
               generation: model.Generation,
               taken: collections.abc.Iterable[model.Slot]
               ) -> model.VolumeSpec:
        """The place of one more volume; see :func:`volumes.plan_volume`.

        :param taken: slots of the VM that are in use.
        """
        free = slots.Slots(generation, self._caps, taken)
        return volumes.plan_volume(volume, free,
                                   self._options.disks.volumes)

    def free_slot(self, generation: model.Generation,
                  taken: collections.abc.Iterable[model.Slot],
                  bus: model.Bus = model.Bus.SCSI) -> model.Slot:
        """A slot for one more drive.

        :raises nova.exception.TooManyDiskDevices: there is none.
        """
        return slots.Slots(generation, self._caps, taken).take(
            bus, 'the disk')

    def root_volume(self, block_device_info: disks.BlockDeviceInfo | None
                    ) -> disks.BlockDevice | None:
        """The volume that an instance boots from; None without one."""
        return disks.find_root_volume(block_device_info or {})

    def disk_qos(self, instance: objects.Instance) -> model.QosSpec | None:
        """The limit of every local disk of an instance."""
        return disks.plan_qos(request.Request(instance, instance.image_meta))

    def nics(self, network_info: collections.abc.Iterable[nics.Vif]
             ) -> tuple[model.NicSpec, ...]:
        """The NICs of these ports; see :func:`nics.plan_nics`."""
        return nics.plan_nics(network_info, self._options.vswitch_name)

    def check_image(self, plan: model.InstancePlan,
                    image_meta: objects.ImageMeta) -> None:
        """Refuse an image before it is fetched; :func:`disks.check_image`.

        Not part of :meth:`instance`, for images of older clouds were VHDX
        under the name of VHD, and their instances go on.
        """
        if plan.root is not None and image_meta.obj_attr_is_set(
                'disk_format'):
            disks.check_image(plan.root, image_meta.disk_format or '',
                              plan.machine.generation)

    def with_image(self, plan: model.InstancePlan,
                   image: model.CachedImage,
                   layout: model.InstanceLayout) -> model.InstancePlan:
        """The plan once the image is in the cache and its format known.

        :raises nova.exception.NovaException: see :func:`disks.fit_image`.
        """
        fitted = tuple(
            disks.fit_image(disk, image, plan.machine.generation, layout)
            if disk.source.is_image else disk for disk in plan.disks)
        return dataclasses.replace(plan, disks=fitted)

    def moved(self, plan: model.InstancePlan, instance: objects.Instance,
              image_meta: objects.ImageMeta, record: model.MoveRecord,
              old_flavor: objects.Flavor,
              layout: model.InstanceLayout) -> moves.MovePlan:
        """The plan of an instance whose disks exist; see :mod:`moves`.

        :param plan: made by :meth:`instance` of the new flavor.
        """
        asked = request.Request(instance, image_meta)
        planner = moves.MovePlanner(
            plan, record, old_flavor, instance.flavor, layout, self._caps,
            disks.plan_qos(asked))
        return planner.plan()
