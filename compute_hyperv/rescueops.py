# SPDX-License-Identifier: Apache-2.0
"""Rescue: an instance boots another image and has its own disks beside it.

Where the drives go is :mod:`rescuedrives`'s. What Nova expects:

=========== ===============================================
Rescue      Outcome
=========== ===============================================
refused     the VM is as Nova stopped it; nothing was touched
failed      the VM is off, its drives are as before
done        the VM runs from the rescue medium
=========== ===============================================
"""

import dataclasses
from typing import Any

from nova import exception
from nova.virt import configdrive as nova_configdrive
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module
from compute_hyperv import rescuedrives

LOG = logging.getLogger(__name__)

_RETURN_ATTEMPTS = 3
_RETURN_DELAY_S = 0.5
_DISK, _DVD = 'disk', 'cdrom'


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Way:
    """How a rescue is done: with what, and whether the root gives way."""

    generation: model.Generation
    is_dvd: bool
    is_stable: bool

    @property
    def in_front(self) -> bool:
        """Whether the rescue disk takes the root's slot."""
        return not self.is_stable or (
            self.generation is model.Generation.ONE and not self.is_dvd)

    @property
    def formats(self) -> frozenset[model.DiskFormat]:
        """Formats of images that the VM boots this way."""
        if self.is_dvd:
            return frozenset((model.DiskFormat.ISO,))
        if self.generation is model.Generation.ONE:
            return frozenset((model.DiskFormat.VHD, model.DiskFormat.VHDX))
        return frozenset((model.DiskFormat.VHDX,))


class RescueOps:
    """Rescues and unrescues.

    :param use_cow: the rescue disk is a child of the cached image.
    """

    def __init__(self, *, win: oswin.Win, planner: Any, paths: Any,
                 disks: Any, image_cache: Any, config_drive: Any, power: Any,
                 volumes: Any, locks: locks.Locks, use_cow: bool,
                 **_others: Any) -> None:
        self._paths = paths
        self._disks = disks
        self._image_cache = image_cache
        self._config_drive = config_drive
        self._power = power
        self._locks = locks
        self._source = (model.DiskSource.IMAGE_CHILD if use_cow
                        else model.DiskSource.IMAGE_COPY)
        self._drives = rescuedrives.RescueDrives(
            win=win, planner=planner, paths=paths, volumes=volumes)
        self._planner = planner

    # -- rescue -----------------------------------------------------------

    def rescue(self, context: Any, instance: Any, network_info: Any,
               image_meta: Any, password: str,
               block_device_info: Any) -> None:
        """Boot the rescue image; the VM is off when it fails.

        :raises InstanceNotRescuable: no disk that can give way, an image of
            another generation, or one that cannot be booted this way.
            Nothing has been touched.
        :raises FlavorDiskSmallerThanImage: the image is larger than the
            flavor's disk.
        """
        name = instance.name
        progress = operation.Progress(f'Rescue of {name}')
        with (self._locks.held(locks.instance(instance.uuid)),
              operation.Rollback(f'rescue of {name}') as undo):
            way = self._choose_way(instance, image_meta, block_device_info)
            progress.step('image')
            image = self._image(context, instance, image_meta, way)
            progress.step('power off')
            self._power.power_off(instance, 0, 0)
            progress.step('disks')
            if self._drives.own_files(name):
                # Of a return that failed.
                self._drives.put_back(instance, block_device_info)
            undo.on_failure(self._drives.put_back, instance,
                            block_device_info)
            path = self._make_disk(instance, image)
            if way.in_front:
                self._drives.put_in_front(instance, path, block_device_info)
            else:
                self._drives.add(instance, path)
            self._swap_config_drive(instance, network_info, password)
            progress.step('power on')
            undo.on_failure(self._power.power_off, instance, 0, 0)
            self._power.power_on(instance, network_info, block_device_info)
        LOG.info("Rescued in %.1f seconds.", progress.elapsed_s,
                 instance=instance)

    def _choose_way(self, instance: Any, image_meta: Any,
                    block_device_info: Any) -> _Way:
        generation = self._drives.generation(instance.name)
        device = image_meta.properties.get('hw_rescue_device')
        bus = image_meta.properties.get('hw_rescue_bus')
        boot = rescuedrives.boot_slot(generation)
        if device not in (None, _DISK, _DVD):
            raise _refusal(instance, f'image property hw_rescue_device='
                                     f'{device}; allowed: {_DVD}, {_DISK}')
        if bus not in (None, boot.bus.value):
            raise _refusal(
                instance, f'image property hw_rescue_bus={bus}; allowed for '
                f'generation {int(generation)}: {boot.bus.value}')
        way = _Way(generation=generation, is_dvd=device == _DVD,
                   is_stable=bool(device or bus))
        if way.in_front:
            self._require_movable(instance, boot, block_device_info)
        return way

    def _require_movable(self, instance: Any, boot: model.Slot,
                         block_device_info: Any) -> None:
        """The VM boots from a disk that can be put into another slot."""
        if self._planner.root_volume(block_device_info) is not None:
            return
        root = self._drives.own_root(instance.name)
        if (root is None or root.slot != boot) and (
                not self._drives.own_files(instance.name)):
            raise _refusal(instance,
                           'it does not boot from a local system disk')

    def _image(self, context: Any, instance: Any, image_meta: Any,
               way: _Way) -> model.CachedImage:
        """The image as it is: never grown to the flavor."""
        machine = image_meta.properties.get('hw_machine_type')
        number = int(way.generation)
        if machine and not machine.endswith(str(number)):
            raise _refusal(instance, f'the rescue image is for {machine}, '
                                     f'the server is of generation {number}')
        image: model.CachedImage = self._image_cache.get(
            context, instance, image_meta)
        if image.format not in way.formats:
            raise _refusal(
                instance, f'a server of generation {number} does not boot a '
                f'rescue image in the format {image.format.value} from a '
                f'{_DVD if way.is_dvd else _DISK} (hw_rescue_device)')
        flavor_bytes = instance.flavor.root_gb * model.GIB
        if 0 < flavor_bytes < image.virtual_size_bytes:
            raise exception.FlavorDiskSmallerThanImage(
                flavor_size=flavor_bytes,
                image_size=image.virtual_size_bytes)
        return image

    def _make_disk(self, instance: Any, image: model.CachedImage) -> str:
        path = rescuedrives.beside(
            self._paths.layout(instance.name).root_path(image.format))
        source = (model.DiskSource.IMAGE_COPY
                  if image.format is model.DiskFormat.ISO else self._source)
        with operation.Rollback(f'rescue disk {path}') as undo:
            self._disks.create([model.DiskSpec(
                role=model.DiskRole.ROOT, source=source, path=path,
                format=image.format, size_bytes=0, boot_index=0,
                slot=rescuedrives.boot_slot(model.Generation.TWO),
                parent_path=image.path)], undo)
        return path

    def _swap_config_drive(self, instance: Any, network_info: Any,
                           password: str) -> None:
        """Put a config drive with the rescue's password in place."""
        if not nova_configdrive.required_by(instance):
            return
        found = self._paths.find_config_drive(instance.name)
        usual = next((medium for medium in self._drives.media(instance.name)
                      if found and paths_module.same(medium.path, found)),
                     None)
        if usual is None:
            return
        path = rescuedrives.beside(usual.path)
        with operation.Rollback(f'config drive {path}') as undo:
            self._config_drive.create(
                model.DiskSpec(
                    role=model.DiskRole.CONFIG, path=path, size_bytes=0,
                    source=model.DiskSource.CONFIG_DRIVE, slot=usual.slot,
                    format=model.DiskFormat(path.rsplit('.', 1)[1].lower())),
                self._config_drive.metadata(instance, network_info, None,
                                            password), undo)
        self._drives.exchange(instance.name, usual.path, path)

    # -- unrescue ---------------------------------------------------------

    def unrescue(self, instance: Any, network_info: Any,
                 block_device_info: Any) -> None:
        """Boot the instance's own disk again; can be repeated."""
        with self._locks.held(locks.instance(instance.uuid)):
            # Nova does not let anybody repeat it: a trouble that passes is
            # waited out here.
            operation.retry(
                self._leave, instance, block_device_info, on=(Exception,),
                only_if=errors.is_expected, attempts=_RETURN_ATTEMPTS,
                delay_s=_RETURN_DELAY_S)
            self._power.power_on(instance, network_info, block_device_info)

    def _leave(self, instance: Any, block_device_info: Any) -> None:
        self._power.power_off(instance, 0, 0)
        self._drives.put_back(instance, block_device_info)


def _refusal(instance: Any, reason: str) -> exception.InstanceNotRescuable:
    return exception.InstanceNotRescuable(instance_id=instance.uuid,
                                          reason=reason)
