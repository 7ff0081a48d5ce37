# SPDX-License-Identifier: Apache-2.0
"""Cinder's volumes in virtual machines.

A volume is *connected* when it is a disk or a file of this host, and
*attached* when a drive of the VM stands for it. The drive is tagged with the
volume's id. Windows numbers its disks anew when it boots, so a tag is all
that tells whose disk a drive has to stand for.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import time
from typing import Any

from nova import exception
from oslo_log import log as logging

from compute_hyperv import connectors
from compute_hyperv.connectors import sanpolicy
from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths
from compute_hyperv.plan import volumes
from compute_hyperv import vmdrives

LOG = logging.getLogger(__name__)

#: Attempts to let go of a volume: Windows is busy with a disk for a moment
#: after a VM released it.
_RELEASE_ATTEMPTS = 3
_RELEASE_DELAY_S = 1.0


class VolumeOps:
    """Connects, attaches, extends and lets go of volumes.

    :param by_protocol: connectors by Cinder's ``driver_volume_type``.
    :param search: how long to wait for Hyper-V to see a new disk.
    :param retries: further attempts when attaching fails.
    :param retry_interval_s: pause between two of them, seconds.
    """

    def __init__(self, *, win: oswin.Win, planner: Any,
                 by_protocol: Mapping[str, connectors.Connector],
                 search: connectors.Search, retries: int,
                 retry_interval_s: float,
                 clock: operation.Clock = time) -> None:
        self._win = win
        self._planner = planner
        self._drives = vmdrives.VmDrives(win)
        self._san_policy = sanpolicy.SanPolicy(win)
        self._by_protocol = by_protocol
        self._search = search
        self._retries = retries
        self._retry_interval_s = retry_interval_s
        self._clock = clock

    # -- one volume -------------------------------------------------------

    def attach(self, vm_name: str, volume: Mapping[str, Any]
               ) -> model.VolumeSpec:
        """Attach one more volume to a VM.

        :param volume: as an entry of Nova's ``block_device_mapping``.
        :returns: the place it got: the lowest free slot of its bus.
        :raises VolumeAttachFailed: with the cause; nothing is left of it.
        """
        volume_id = _volume_id(volume['connection_info'])
        taken = []
        for drive in self._drives.all_of(vm_name):
            if drive.tag == volume_id:
                LOG.warning("Volume %s is in %s already, left by an attach "
                            "that was interrupted; it is attached anew.",
                            volume_id, vm_name)
                self._drives.remove(vm_name, drive)
            else:
                taken.append(drive.slot)
        generation = model.Generation(
            self._win.vm.get_vm_generation(vm_name))
        spec: model.VolumeSpec = self._planner.volume(volume, generation,
                                                      taken)
        self._attach(vm_name, spec)
        return spec

    def detach(self, vm_name: str, connection_info: Mapping[str, Any]
               ) -> None:
        """Take a volume from a VM and let go of it.

        Works without the VM, without the drive and without the disk.

        :raises DeviceDetachFailed: Hyper-V or Windows keeps it.
        """
        volume_id = _volume_id(connection_info)
        try:
            self._unplug(vm_name, volume_id)
            self.release(connection_info)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            raise exception.DeviceDetachFailed(
                device=volume_id, reason=errors.text_of(exc)) from exc

    def undo_attach(self, vm_name: str,
                    connection_info: Mapping[str, Any]) -> None:
        """Take away what an attach that was interrupted left of a volume.

        A drive that has no tag yet is known by what it stands for, or by
        standing for nothing.
        """
        stands_for = ''
        try:
            disk = self.connect(connection_info)
            stands_for = (disk.path if disk.number is None
                          else self._host_disk(disk))
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            LOG.debug("Not connected: %s", errors.text_of(exc))
        self._drives.remove_untagged(vm_name, stands_for)
        self.detach(vm_name, connection_info)

    def extend(self, connection_info: Mapping[str, Any],
               size_bytes: int) -> None:
        """Let the guest see that a volume has grown.

        :raises ExtendVolumeNotSupported: the protocol cannot while the
            volume is attached.
        :raises VolumeExtendFailed: the host still sees the old size.
        """
        connector = self._connector(connection_info)
        if not connector.caps.online_extend:
            raise exception.ExtendVolumeNotSupported(
                f"{connection_info['driver_volume_type']} volumes do not "
                'grow while they are attached')
        seen = connector.extend(connection_info.get('data'))
        if seen < size_bytes:
            raise exception.VolumeExtendFailed(
                volume_id=_volume_id(connection_info),
                reason=f'the host sees {seen} of {size_bytes} bytes')

    def is_file(self, connection: Mapping[str, Any]) -> bool:
        """Whether volumes of this protocol are files.

        :raises VolumeDriverNotFound: an unknown protocol.
        """
        return not self._connector(connection).caps.physical

    # -- all volumes of an instance ---------------------------------------

    def attach_all(self, vm_name: str, specs: tuple[model.VolumeSpec, ...]
                   ) -> dict[str, str]:
        """Attach the volumes of a VM that is being made.

        :returns: volume id -> what its drive stands for: a file, or the WMI
            path of a disk.
        :raises VolumeAttachFailed: one fails. The others stay, for the
            caller removes the VM and calls :meth:`disconnect_all`.
        """
        return {spec.volume_id: self._attach(vm_name, spec)
                for spec in specs}

    def connect_all(self, block_device_info: Any
                    ) -> dict[str, connectors.Disk]:
        """Connect the volumes of an instance; those that are stay so.

        :returns: volume id -> disk or file of this host.
        """
        return {_volume_id(connection): self.connect(connection)
                for connection in _connections(block_device_info)}

    def host_disks(self, block_device_info: Any) -> dict[str, str]:
        """Connect the volumes of an instance that comes from elsewhere.

        :returns: volume id -> WMI path of its disk, for those that are
            passed through.
        :raises DiskOperationFailed: one is a file on a share of this host,
            which has another path here than elsewhere; or Windows would use
            the disks itself, while the guest still does so elsewhere.
        """
        if not all(map(self.is_file, _connections(block_device_info))):
            self._san_policy.require()
        connected = self.connect_all(block_device_info)
        for volume_id, disk in connected.items():
            if disk.number is None and not paths.is_shared(disk.path):
                raise errors.DiskOperationFailed(
                    reason=f'volume {volume_id} is on a share of this very '
                           'host, where a running VM that comes from '
                           'another one does not find it')
        return {volume_id: self._host_disk(disk)
                for volume_id, disk in connected.items()
                if disk.number is not None}

    def disconnect_all(self, block_device_info: Any, *,
                       force: bool = False) -> None:
        """Let go of an instance's volumes; all of them are tried.

        :param force: the instance is being deleted: what Windows does not
            let go of is logged and does not stop the deletion.
        :raises HyperVError: the first failure, when not forced.
        """
        failures = []
        for connection in _connections(block_device_info):
            try:
                self.release(connection)
            except Exception as exc:
                if not errors.is_expected(exc):
                    raise
                LOG.warning("Volume %s stays connected to this host: %s",
                            _volume_id(connection), errors.text_of(exc))
                failures.append(exc)
        if failures and not force:
            raise failures[0]

    def reconnect(self, vm_name: str, block_device_info: Any) -> None:
        """Connect a VM's volumes and point its drives at the right disks.

        To be done before a VM starts: the disks have other numbers after
        the host was restarted, and the number a drive remembers may be that
        of somebody else's disk by now.

        :raises UnknownDisk: a drive passes a disk through of which nobody
            knows whose it is; the VM must not start with it.
        """
        known = self.connect_all(block_device_info)
        for drive in self._drives.all_of(vm_name):
            disk = known.get(drive.tag)
            if drive.is_physical:
                self._map(vm_name, drive, disk)
            elif (disk is not None and disk.number is None
                  and self._drives.file_of(drive) is None):
                LOG.warning("%s gets back volume %s, which was taken from "
                            "it for a moment when nova-compute ended.",
                            vm_name, drive.tag)
                self._drives.insert(vm_name, drive, disk.path,
                                    vmdrives.Limits())

    def _map(self, vm_name: str, drive: vmdrives.Drive,
             disk: connectors.Disk | None) -> None:
        if disk is None or disk.number is None:
            raise errors.UnknownDisk(
                vm_name=vm_name, tag=drive.tag or '(none)',
                slot=f'{drive.slot.bus.value} {drive.slot.controller}:'
                     f'{drive.slot.lun}')
        host_disk = self._host_disk(disk)
        if host_disk.upper() != drive.host_disk.upper():
            LOG.info("Volume %s of %s is %s now.", drive.tag, vm_name,
                     disk.path)
            self._drives.map_physical(vm_name, drive, host_disk)

    def check_host(self) -> None:
        """Warn of a host on which no disk can be passed through."""
        self._san_policy.check()

    # -- parts ------------------------------------------------------------

    def _attach(self, vm_name: str, spec: model.VolumeSpec) -> str:
        try:
            self._refuse_second_user(vm_name, spec)
            return operation.retry(
                self._try_attach, vm_name, spec,
                on=(Exception,), only_if=errors.is_foreign_or_ours,
                attempts=1 + self._retries, delay_s=self._retry_interval_s,
                clock=self._clock)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            raise exception.VolumeAttachFailed(
                volume_id=spec.volume_id,
                reason=errors.text_of(exc)) from exc

    def _refuse_second_user(self, vm_name: str,
                            spec: model.VolumeSpec) -> None:
        others = set(self._users(spec.connection)) - {vm_name}
        if others:
            raise errors.NotSupportedByHost(
                reason=f"{', '.join(sorted(others))} has this volume, and "
                       f'Hyper-V passes a disk through to one VM of a host; '
                       f'attach it to an instance on another host')

    def _users(self, connection: Mapping[str, Any]) -> list[str]:
        """VMs of this host with a volume that several instances may have."""
        if not self._connector(connection).caps.multiattach:
            return []
        return self._drives.users_of(_volume_id(connection))

    def _try_attach(self, vm_name: str, spec: model.VolumeSpec) -> str:
        connector = self._connector(spec.connection)
        if connector.caps.physical:
            self._san_policy.require()
        with operation.Rollback(f'volume {spec.volume_id}') as undo:
            undo.on_failure(self.release, spec.connection)
            disk = self.connect(spec.connection)
            undo.on_failure(self._unplug, vm_name, spec.volume_id, spec.slot)
            return self._plug(vm_name, spec, disk)

    def _plug(self, vm_name: str, spec: model.VolumeSpec,
              disk: connectors.Disk) -> str:
        if disk.number is None:
            self._drives.add_file(vm_name, disk.path, spec.slot,
                                  spec.volume_id)
            if spec.qos is not None:
                self._win.vm.set_disk_qos_specs(disk.path,
                                                spec.qos.max_iops)
            self._report_ignored(spec, volumes.QOS_KEYS)
            return disk.path
        self._report_ignored(spec, ())
        host_disk = self._host_disk(disk)
        self._drives.add_physical(vm_name, host_disk, spec.slot,
                                  spec.volume_id)
        return host_disk

    def _report_ignored(self, spec: model.VolumeSpec,
                        known: tuple[str, ...]) -> None:
        ignored = set(spec.data.get('qos_specs') or ()) - set(known)
        if ignored:
            LOG.warning("Limits of volume %s that Hyper-V does not know for "
                        "%s are ignored: %s.", spec.volume_id, spec.protocol,
                        ', '.join(sorted(ignored)))

    def _host_disk(self, disk: connectors.Disk) -> str:
        """WMI path of a disk that Windows keeps its hands off."""
        # Windows remembers by number whether a disk was online, so the next
        # disk of that number comes online whatever the SAN policy says.
        # Those that stay offline are read-only at first. Source: Ceph, "RBD
        # on Windows".
        state = self._win.disk._get_disk_by_number(disk.number)
        if not state.IsOffline:
            self._win.disk.set_disk_offline(disk.number)
        if state.IsReadOnly:
            self._win.disk.set_disk_readonly_status(disk.number, False)
        # Hyper-V sees new disks after a moment.
        found: str = operation.until(
            lambda: self._win.vm.get_mounted_disk_by_drive_number(
                disk.number),
            what=f'{disk.path} in Hyper-V',
            timeout_s=self._search.attempts * self._search.interval_s,
            interval_s=self._search.interval_s, clock=self._clock)
        return found

    def _unplug(self, vm_name: str, volume_id: str,
                slot: model.Slot | None = None) -> None:
        """Remove the drive of a volume.

        :param slot: where one that has no tag yet may be.
        """
        try:
            drives = self._drives.all_of(vm_name)
        except exception.InstanceNotFound:
            return
        for drive in drives:
            if drive.tag == volume_id or drive.slot == slot:
                self._drives.remove(vm_name, drive)

    def connect(self, connection: Mapping[str, Any]) -> connectors.Disk:
        """Connect one volume; one that is stays so."""
        return self._connector(connection).connect(connection.get('data'))

    def release(self, connection: Mapping[str, Any]) -> None:
        """Let go of a volume that no VM of this host has any more."""
        operation.retry(
            self._try_release, connection,
            on=(Exception,), only_if=errors.is_foreign_or_ours,
            attempts=_RELEASE_ATTEMPTS, delay_s=_RELEASE_DELAY_S,
            clock=self._clock)

    def _try_release(self, connection: Mapping[str, Any]) -> None:
        if users := self._users(connection):
            LOG.warning("Volume %s stays connected to this host for %s.",
                        _volume_id(connection), ', '.join(users))
            return
        self._connector(connection).disconnect(connection.get('data'))

    def _connector(self, connection: Mapping[str, Any]
                   ) -> connectors.Connector:
        protocol = str(connection.get('driver_volume_type'))
        try:
            return self._by_protocol[protocol]
        except KeyError:
            raise volumes.unknown_protocol(
                protocol, self._by_protocol) from None


def ids_of(block_device_info: Any) -> frozenset[str]:
    """Ids of the volumes of an instance."""
    return frozenset(map(_volume_id, _connections(block_device_info)))


def _volume_id(connection: Mapping[str, Any]) -> str:
    """Nova puts it into each connection."""
    return str(connection['serial'])


def _connections(block_device_info: Any) -> Iterator[Mapping[str, Any]]:
    """Those of an instance's volumes; one that is being made has none."""
    for volume in (block_device_info or {}).get('block_device_mapping') or ():
        if volume.get('connection_info'):
            yield volume['connection_info']
