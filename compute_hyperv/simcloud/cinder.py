# SPDX-License-Identifier: Apache-2.0
"""Cinder backend of the demo cloud: one sparse file per volume.

It makes, copies, grows and deletes volumes, also from images and snapshots,
without root. The storage array of the simulated hosts offers them over
iSCSI, each behind a target of its own, with CHAP.
"""

from __future__ import annotations

import secrets
from typing import Any

from cinder import exception
from cinder.image import image_utils
from cinder import interface
from cinder.volume import configuration
from cinder.volume import driver
from oslo_concurrency import processutils
from oslo_config import cfg
from oslo_utils.imageutils import format_inspector

from compute_hyperv.simcloud import san
from compute_hyperv.simcloud import volumes

_QEMU_NAMES = {'vhd': 'vpc'}
_OPTIONS = [
    cfg.StrOpt(
        'sparse_file_dir', default='$state_path/sparse-volumes',
        help='Folder in which the sparse file backend keeps its volumes.'),
    cfg.StrOpt(
        'fabric_socket',
        help='Socket of the server of the simulated hosts, whose storage '
             'array offers the volumes. Without it they cannot be '
             'attached.'),
    cfg.StrOpt(
        'fabric_portal', default='127.0.0.10:3260',
        help='Address of that array on the storage network of the simulated '
             'hosts.'),
]
cfg.CONF.register_opts(_OPTIONS, group=configuration.SHARED_CONF_GROUP)


@interface.volumedriver
class SparseFileDriver(driver.VolumeDriver):
    """Volumes of simulated Hyper-V hosts."""

    VERSION = '1.0.0'
    CI_WIKI_NAME = 'none'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(_OPTIONS)

    def do_setup(self, context: Any) -> None:
        """Make the folder; find the array."""
        self._files = volumes.SparseFiles(self.configuration.sparse_file_dir)
        self._san = san.FabricSan(self.configuration.fabric_socket or '',
                                  self.configuration.fabric_portal)

    def check_for_setup_error(self) -> None:
        """Refuse a folder that cannot be written.

        :raises VolumeBackendAPIException: with the reason.
        """
        probe = 'probe'
        try:
            self._files.delete(probe)
            self._files.create(probe, 0)
            self._files.delete(probe)
        except OSError as exc:
            raise exception.VolumeBackendAPIException(data=str(exc)) from exc

    def _update_volume_stats(self) -> None:
        total_gib, free_gib = self._files.disk_usage()
        self._stats = {
            'volume_backend_name':
                self.configuration.safe_get('volume_backend_name'),
            'vendor_name': 'compute-hyperv', 'driver_version': self.VERSION,
            'storage_protocol': 'iSCSI', 'multiattach': True,
            'shared_targets': False, 'total_capacity_gb': total_gib,
            'free_capacity_gb': free_gib, 'thin_provisioning_support': True,
            'thick_provisioning_support': False,
            'max_over_subscription_ratio': 20.0,
            'reserved_percentage': 0, 'QoS_support': False}

    def create_volume(self, volume: Any) -> None:
        """An empty volume."""
        self._files.create(volume.id, volume.size)

    def delete_volume(self, volume: Any) -> None:
        """Remove a volume; one that is gone is fine."""
        self._withdraw(volume)
        self._files.delete(volume.id)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Grow a volume to *new_size* GiB."""
        self._files.extend(volume.id, new_size)

    def create_snapshot(self, snapshot: Any) -> None:
        """A snapshot is a copy."""
        self._files.copy(snapshot.volume_id, snapshot.id,
                         snapshot.volume_size)

    def delete_snapshot(self, snapshot: Any) -> None:
        """Remove a snapshot; one that is gone is fine."""
        self._files.delete(snapshot.id)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        """A volume with a snapshot's bytes."""
        self._files.copy(snapshot.id, volume.id, volume.size)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        """A volume with another volume's bytes."""
        self._files.copy(src_vref.id, volume.id, volume.size)

    def clone_image(self, context: Any, volume: Any, image_location: Any,
                    image_meta: Any, image_service: Any
                    ) -> tuple[dict[str, Any], bool]:
        """Fill a new volume from an image, in any format qemu-img reads.

        Answering "cloned" here keeps Cinder's own way of doing it out, which
        needs sudo (its privileged helper).

        :raises ImageUnacceptable: it does not fit, or is no such image.
        """
        path = self._files.path(volume.id)
        with image_utils.temporary_file() as source:
            with open(source, 'wb') as image:
                image_service.download(context, image_meta['id'], image)
            image_format = self._check_image(source, image_meta, volume)
            processutils.execute('qemu-img', 'convert', '-f', image_format,
                                 '-O', 'raw', source, str(path))
        self._files.extend(volume.id, volume.size)
        return {}, True

    def _check_image(self, source: str, image_meta: Any, volume: Any) -> str:
        """Refuse what does not fit, or reaches outside of its own file.

        :returns: the format's name for qemu-img.
        """
        try:
            inspector = format_inspector.detect_file_format(source)
            inspector.safety_check()
            if inspector.virtual_size > volume.size * volumes.GIB:
                raise exception.ImageUnacceptable(
                    image_id=image_meta['id'],
                    reason=f'{inspector.virtual_size} bytes do not fit into '
                           f'{volume.size} GiB')
        except (format_inspector.ImageFormatError,
                format_inspector.SafetyCheckFailed) as exc:
            raise exception.ImageUnacceptable(
                image_id=image_meta['id'], reason=str(exc)) from exc
        name = str(inspector)
        return _QEMU_NAMES.get(name, name)

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Nothing to do: the array keeps what it offers over a restart."""

    def create_export(self, context: Any, volume: Any,
                      connector: Any) -> dict[str, str]:
        """Choose the credentials of a volume's target.

        :returns: what Cinder stores of them.
        """
        if volume.provider_auth:
            return {}
        return {'provider_auth': f'CHAP {volume.id} {secrets.token_hex(8)}'}

    def initialize_connection(self, volume: Any, connector: Any
                              ) -> dict[str, Any]:
        """Let a host in.

        :raises VolumeBackendAPIException: the array does not answer.
        """
        user, secret = volume.provider_auth.split()[1:]
        try:
            data = self._san.offer(
                volume.id, str(self._files.path(volume.id)),
                connector['initiator'], user, secret)
        except (OSError, LookupError, ValueError) as exc:
            raise exception.VolumeBackendAPIException(data=str(exc)) from exc
        return {'driver_volume_type': 'iscsi', 'data': data}

    def terminate_connection(self, volume: Any, connector: Any,
                             **kwargs: Any) -> bool:
        """Let a host in no more; without a connector, nobody.

        :returns: whether others use the target: then Cinder must not
            remove it, as it would at the end of a live migration.
        :raises VolumeBackendAPIException: the array does not answer.
        """
        if connector is None:
            self._withdraw(volume)
            return False
        initiator = connector['initiator']
        same = [one for one in volume.volume_attachment if
                (one.connector or {}).get('initiator') == initiator]
        if len(same) > 1:       # another server on the same host
            return True
        try:
            return self._san.revoke(volume.id, initiator)
        except (OSError, LookupError, ValueError) as exc:
            raise exception.VolumeBackendAPIException(data=str(exc)) from exc

    def remove_export(self, context: Any, volume: Any) -> None:
        """Take a volume off the array; its last connection has gone."""
        self._withdraw(volume)

    def _withdraw(self, volume: Any) -> None:
        if not self.configuration.fabric_socket:
            return                      # never offered
        try:
            self._san.withdraw(volume.id)
        except (OSError, LookupError, ValueError) as exc:
            raise exception.VolumeBackendAPIException(data=str(exc)) from exc
