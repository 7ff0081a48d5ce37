# SPDX-License-Identifier: Apache-2.0
"""Ports and volumes that come to an instance later, or leave it."""

from typing import Any

from nova.compute import task_states
from nova import exception

from compute_hyperv import guestmetadata
from compute_hyperv import locks
from compute_hyperv import operation


class HotPlug:
    """Changes the devices of an instance and tells its metadata service."""

    def __init__(self, *, vifs: Any, volumes: Any, locks: locks.Locks
                 ) -> None:
        self._vifs = vifs
        self._volumes = volumes
        self._locks = locks

    def attach_interface(self, context: Any, instance: Any,
                         vif: Any) -> None:
        """Add a NIC.

        :raises InterfaceAttachFailed: see :meth:`vifops.VifOps.attach`.
        """
        with (self._locks.held(locks.instance(instance.uuid)),
              operation.Rollback(f"port {vif['id']}") as undo):
            nic = self._vifs.attach(instance, vif)
            undo.on_failure(self._vifs.unplug, instance, vif)
            guestmetadata.replace_nic(context, instance, nic.mac, nic)

    def detach_interface(self, context: Any, instance: Any,
                         vif: Any) -> None:
        """Remove a NIC.

        :raises InterfaceDetachFailed: see :meth:`vifops.VifOps.detach`.
        """
        with self._locks.held(locks.instance(instance.uuid)):
            self._vifs.detach(instance, vif)
            guestmetadata.replace_nic(context, instance, vif['address'],
                                      None)

    def attach_volume(self, context: Any, connection_info: Any,
                      instance: Any, volume: dict[str, Any],
                      encryption: Any) -> None:
        """Add a volume.

        :param volume: ``mount_device``, ``disk_bus`` and ``device_type`` as
            the user wants them.
        :raises VolumeAttachFailed: see :meth:`volumeops.VolumeOps.attach`.
        :raises VolumeEncryptionNotSupported: Cinder wants it encrypted.
        """
        volume_id = connection_info['serial']
        if encryption:
            raise exception.VolumeEncryptionNotSupported(
                volume_type=connection_info['driver_volume_type'],
                volume_id=volume_id)
        with (self._locks.held(locks.instance(instance.uuid)),
              operation.Rollback(f'volume {volume_id}') as undo):
            spec = self._volumes.attach(
                instance.name, volume | {'connection_info': connection_info})
            undo.on_failure(self._volumes.detach, instance.name,
                            connection_info)
            guestmetadata.replace_volume(context, instance, volume_id, spec)

    def detach_volume(self, context: Any, connection_info: Any,
                      instance: Any) -> None:
        """Remove a volume, whether or not the VM and its disk are there.

        :param connection_info: None if an attach was interrupted before it
            was known; nothing is connected then.
        :raises DeviceDetachFailed: see :meth:`volumeops.VolumeOps.detach`.
        """
        if not connection_info:
            return
        with self._locks.held(locks.instance(instance.uuid)):
            self._volumes.detach(instance.name, connection_info)
            if instance.task_state == task_states.MIGRATING:
                # A live migration to here failed: where the VM is, it keeps
                # it.
                return
            guestmetadata.replace_volume(context, instance,
                                         connection_info['serial'], None)
