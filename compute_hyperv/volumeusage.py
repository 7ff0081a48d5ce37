# SPDX-License-Identifier: Apache-2.0
"""How much servers read from their volumes, and wrote to them.

Hyper-V's own metrics know megabytes and no operations, and nothing of
disks that are passed through. Windows' performance counters know all: of
the virtual disk of a VM that runs, or of the host's disk, which nobody else
uses. They begin anew when the VM starts, which Nova notices.
"""

from collections.abc import Iterable
import dataclasses
from typing import Any

from nova import context as nova_context
from nova import exception
from nova import objects
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import oswin
from compute_hyperv import vmdrives

LOG = logging.getLogger(__name__)

_VIRTUAL = ('Win32_PerfRawData_Counters_HyperVVirtualStorageDevice', (
    'ReadOperationsPerSec', 'ReadBytesPersec', 'WriteOperationsPerSec',
    'WriteBytesPersec'))
_PHYSICAL = ('Win32_PerfRawData_PerfDisk_PhysicalDisk', (
    'DiskReadsPersec', 'DiskReadBytesPersec', 'DiskWritesPersec',
    'DiskWriteBytesPersec'))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What was read and written since the VM started."""

    reads: int
    read_bytes: int
    writes: int
    written_bytes: int


class VolumeUsage:
    """Reads Windows' counters of the disks of VMs."""

    def __init__(self, win: oswin.Win) -> None:
        self._win = win
        self._drives = vmdrives.VmDrives(win)

    def all_of(self, compute_host_bdms: Iterable[dict[str, Any]]
               ) -> list[dict[str, Any]]:
        """For Nova's audit: all volumes of all servers that run here.

        :param compute_host_bdms: ``{'instance': .., 'instance_bdms': ..}``
        """
        counters = self._counters()
        found = []
        for host_bdms in compute_host_bdms:
            instance = host_bdms['instance']
            # One VM whose disk is lost must not hide the use of all others.
            try:
                usages = self._of_vm(instance, counters)
            except (exception.NovaException, *errors.OS_WIN_ERRORS) as exc:
                LOG.warning("The use of its volumes is not known: %s",
                            errors.text_of(exc), instance=instance)
                continue
            found += [
                {'volume': bdm.volume_id, 'instance': instance,
                 'rd_req': usage.reads, 'rd_bytes': usage.read_bytes,
                 'wr_req': usage.writes, 'wr_bytes': usage.written_bytes}
                for bdm in host_bdms['instance_bdms']
                if (usage := usages.get(bdm.volume_id)) is not None]
        return found

    def of_device(self, instance: Any, device: str) -> list[int] | None:
        """Of one volume, by Nova's name of its device.

        :param device: without ``/dev/``.
        :returns: reads, bytes read, writes, bytes written, errors (which
            Windows does not count for all disks: 0); None if they are not
            known. Nova asks on the way to detach a volume, which must not
            fail for this.
        """
        try:
            usages = self._of_vm(instance, self._counters())
        except (exception.NovaException, *errors.OS_WIN_ERRORS) as exc:
            LOG.warning("The use of %s is not known: %s", device,
                        errors.text_of(exc), instance=instance)
            return None
        bdms = objects.BlockDeviceMappingList.get_by_instance_uuid(
            nova_context.get_admin_context(), instance.uuid)
        for bdm in bdms:
            usage = usages.get(bdm.volume_id or '')
            if usage is not None and device == (
                    bdm.device_name or '').removeprefix('/dev/'):
                return [usage.reads, usage.read_bytes, usage.writes,
                        usage.written_bytes, 0]
        return None

    def _of_vm(self, instance: Any, counters: dict[str, Usage]
               ) -> dict[str, Usage]:
        """Tag -> usage of the drives of a VM; none if it is gone."""
        try:
            drives = self._drives.all_of(instance.name)
        except exception.InstanceNotFound:
            return {}
        found = {}
        for drive in drives:
            usage = counters.get(self._counter(instance.name, drive))
            if drive.tag and usage is not None:
                found[drive.tag] = usage
        return found

    def _counter(self, vm_name: str, drive: vmdrives.Drive) -> str:
        if drive.is_physical:
            if not drive.host_disk:
                return ''
            disk = self._win.vm._get_wmi_obj(drive.host_disk)
            return '' if disk is None else str(disk.DriveNumber)
        return _name_of(self._drives.file_of(drive) or '')

    def _counters(self) -> dict[str, Usage]:
        """By the counters' names: a path, or the number of a disk."""
        found = {}
        for class_name, names in (_VIRTUAL, _PHYSICAL):
            for item in self._win.host._conn_cimv2.query(
                    f"SELECT * FROM {class_name}"):
                reads, read_bytes, writes, written_bytes = (
                    int(getattr(item, name) or 0) for name in names)
                # The letters of a disk's volumes follow its number.
                name = (item.Name.partition(' ')[0]
                        if class_name is _PHYSICAL[0]
                        else _name_of(item.Name))
                found[name] = Usage(
                    reads=reads, read_bytes=read_bytes, writes=writes,
                    written_bytes=written_bytes)
        return found


def _name_of(path: str) -> str:
    """A path as the counters have it: hyphens for backslashes."""
    return path.lower().replace('\\', '-').replace('/', '-').removeprefix(
        '--?-')
