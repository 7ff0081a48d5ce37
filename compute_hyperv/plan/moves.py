# SPDX-License-Identifier: Apache-2.0
"""What a resize or a cold migration makes of the disks of an instance.

============  ==========================================================
disk          with the new flavor
============  ==========================================================
root          grows; a smaller one is refused
ephemeral     the only one grows, a smaller one is refused; the first one
              is added; all are dropped when the flavor has none; several
              keep their sizes
swap          replaced by an empty one of the new size, added, dropped
config drive  stays as it is, in its format
============  ==========================================================
"""

from __future__ import annotations

import dataclasses
import ntpath

from nova import exception
from nova import objects

from compute_hyperv import model
from compute_hyperv.plan import slots as slot_plan


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MovePlan:
    """The machine, and what happens to its files."""

    plan: model.InstancePlan
    kept: tuple[model.MovedDisk, ...]
    created: tuple[model.DiskSpec, ...]
    #: Those of the kept disks that grow: path -> GiB of the flavor.
    grown_gib: dict[str, int]

    @property
    def kept_names(self) -> frozenset[str]:
        """Names of the files of the kept disks."""
        return frozenset(disk.file_name for disk in self.kept)


def refuse_shrinking(disks: tuple[model.MovedDisk, ...],
                     old: objects.Flavor, new: objects.Flavor) -> None:
    """Refuse what cannot be done, while the instance still runs.

    :param disks: the instance's; without a root disk it has a volume.
    :raises nova.exception.ResizeError: a disk would shrink, or the VM has
        disks that are not the driver's (checkpoints).
    """
    for disk in disks:
        if disk.role is None:
            raise exception.ResizeError(
                reason=f'disk {disk.file_name} belongs to a checkpoint, or '
                       'was added outside OpenStack; remove it first')
    has_root = any(disk.role is model.DiskRole.ROOT for disk in disks)
    if has_root and new.root_gb < old.root_gb:
        raise exception.ResizeError(
            reason=f'the root disk cannot shrink from {old.root_gb} to '
                   f'{new.root_gb} GiB')
    count = sum(disk.role is model.DiskRole.EPHEMERAL for disk in disks)
    if count == 1 and 0 < new.ephemeral_gb < old.ephemeral_gb:
        raise exception.ResizeError(
            reason=f'the ephemeral disk cannot shrink from '
                   f'{old.ephemeral_gb} to {new.ephemeral_gb} GiB')


def keeps_disks(old: objects.Flavor, new: objects.Flavor) -> bool:
    """Whether no disk is to be changed between two flavors."""
    return bool((old.root_gb, old.ephemeral_gb, old.swap) ==
                (new.root_gb, new.ephemeral_gb, new.swap))


class MovePlanner:
    """Fits the plan of an instance to the disks that it has."""

    def __init__(self, plan: model.InstancePlan, record: model.MoveRecord,
                 old: objects.Flavor, new: objects.Flavor,
                 layout: model.InstanceLayout, caps: model.HostCaps,
                 qos: model.QosSpec | None) -> None:
        self._plan = plan
        self._record = record
        self._old = old
        self._new = new
        self._layout = layout
        self._qos = qos
        self._free = slot_plan.Slots(
            plan.machine.generation, caps,
            [disk.slot for disk in record.disks]
            + list(record.volumes.values()))

    def plan(self) -> MovePlan:
        """See the table of this module.

        :raises nova.exception.DiskNotFound: one that the instance must have
            is not among those that it had.
        """
        kept = [disk for disk in self._record.disks if self._is_kept(disk)]
        self._require(kept)
        created = self._new_ephemeral() + self._new_swap()
        fitted = dataclasses.replace(
            self._plan, disks=(*map(self._moved, kept), *created),
            volumes=tuple(self._placed(volume)
                          for volume in self._plan.volumes))
        return MovePlan(plan=fitted, kept=tuple(kept),
                        created=tuple(created), grown_gib=self._grown(kept))

    def _of(self, role: model.DiskRole) -> list[model.MovedDisk]:
        return [disk for disk in self._record.disks if disk.role is role]

    def _is_kept(self, disk: model.MovedDisk) -> bool:
        if disk.role is model.DiskRole.SWAP:
            return bool(self._old.swap == self._new.swap)
        if disk.role is model.DiskRole.EPHEMERAL:
            return bool(self._new.ephemeral_gb
                        or not self._old.ephemeral_gb)
        return True

    def _require(self, kept: list[model.MovedDisk]) -> None:
        roles = {disk.role for disk in kept}
        wanted = (model.DiskRole.ROOT, model.DiskRole.ISO,
                  model.DiskRole.CONFIG)
        for disk in self._plan.disks:
            if disk.role in wanted and disk.role not in roles:
                raise exception.DiskNotFound(location=disk.path)

    def _new_ephemeral(self) -> list[model.DiskSpec]:
        size_gib = self._new.ephemeral_gb
        if (size_gib == self._old.ephemeral_gb or not size_gib
                or self._of(model.DiskRole.EPHEMERAL)):
            return []
        path = self._layout.ephemeral_path(0, model.DiskFormat.VHDX)
        return [self._blank(model.DiskRole.EPHEMERAL, path,
                            size_gib * model.GIB)]

    def _new_swap(self) -> list[model.DiskSpec]:
        if self._new.swap == self._old.swap or not self._new.swap:
            return []
        path = self._layout.swap_path(model.DiskFormat.VHDX)
        return [self._blank(model.DiskRole.SWAP, path,
                            self._new.swap * model.MIB)]

    def _blank(self, role: model.DiskRole, path: str,
               size_bytes: int) -> model.DiskSpec:
        planned = self._planned(role, path)
        replaced = next(iter(self._of(role)), None)
        slot = (replaced.slot if replaced
                else self._free.take(model.Bus.SCSI, role.value))
        return model.DiskSpec(
            role=role, path=path, format=model.DiskFormat.VHDX,
            source=model.DiskSource.BLANK, size_bytes=size_bytes,
            slot=slot, qos=self._qos,
            device_name=planned.device_name if planned else None)

    def _planned(self, role: model.DiskRole,
                 file_name: str) -> model.DiskSpec | None:
        """What spawning the instance would make in the place of a file."""
        stem = _stem(file_name)
        return next((spec for spec in self._plan.disks
                     if spec.role is role and _stem(spec.path) == stem), None)

    def _moved(self, disk: model.MovedDisk) -> model.DiskSpec:
        assert disk.role is not None    # refuse_shrinking() saw to it
        planned = self._planned(disk.role, disk.file_name)
        is_disk = disk.role in (model.DiskRole.ROOT, model.DiskRole.SWAP,
                                model.DiskRole.EPHEMERAL)
        return model.DiskSpec(
            role=disk.role, format=disk.format, slot=disk.slot,
            path=f'{self._layout.instance_dir}\\{disk.file_name}',
            source=model.DiskSource.MOVED, size_bytes=0,
            boot_index=planned.boot_index if planned else None,
            qos=self._qos if is_disk else None,
            device_name=planned.device_name if planned else None)

    def _placed(self, volume: model.VolumeSpec) -> model.VolumeSpec:
        slot = self._record.volumes.get(volume.volume_id)
        if slot is None:
            slot = self._free.take(volume.slot.bus,
                                   f'volume {volume.volume_id}')
        return dataclasses.replace(volume, slot=slot)

    def _grown(self, kept: list[model.MovedDisk]) -> dict[str, int]:
        grown: dict[str, int] = {}
        directory = self._layout.instance_dir
        if self._new.root_gb > self._old.root_gb:
            grown |= {f'{directory}\\{disk.file_name}': self._new.root_gb
                      for disk in kept if disk.role is model.DiskRole.ROOT}
        only = [disk for disk in kept
                if disk.role is model.DiskRole.EPHEMERAL]
        if len(only) == 1 and self._new.ephemeral_gb > self._old.ephemeral_gb:
            grown[f'{directory}\\{only[0].file_name}'] = (
                self._new.ephemeral_gb)
        return grown


def _stem(path: str) -> str:
    return ntpath.splitext(ntpath.basename(path).lower())[0]
