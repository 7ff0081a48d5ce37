# SPDX-License-Identifier: Apache-2.0
"""What Hyper-V itself says about moving a running VM to another host."""

import dataclasses
import math
from typing import Any

from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import jobwaits
from compute_hyperv import oswin
from compute_hyperv import vmdrives

LOG = logging.getLogger(__name__)

_OK, _JOB_STARTED, _NOT_COMPATIBLE = 0, 4096, 32784
_MIB = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a migration is."""

    percent: int
    text: str       #: for the log


class LiveHost:
    """One host as the source, and Hyper-V on others as its target.

    The other host is asked over WMI, as for the migration itself: the
    account that runs nova-compute needs the right to do so there.
    """

    def __init__(self, win: oswin.Win) -> None:
        self._win = win
        self._drives = vmdrives.VmDrives(win)

    # -- the VM -----------------------------------------------------------

    def memory_bytes(self, vm_name: str) -> int:
        """Memory that a VM has now; 0 if it does not run."""
        info = self._win.vm.get_vm_summary_info(vm_name)
        return int(info['MemoryUsage'] or 0) * _MIB

    def files(self, vm_name: str) -> list[str]:
        """Paths of the disks and DVD images that a VM has plugged in."""
        return [path for path in self._win.vm.get_vm_storage_paths(
            vm_name)[0] if path]

    def physical_tags(self, vm_name: str) -> list[str]:
        """Volume ids of the disks of this host that a VM has."""
        return [drive.tag for drive in self._drives.all_of(vm_name)
                if drive.is_physical]

    def has_pci_devices(self, vm_name: str) -> bool:
        """Whether devices of this host are assigned to a VM."""
        if not self._win.caps.dda:
            return False
        settings = self._win.vm._lookup_vm_check(vm_name)
        return bool(self._win.vm._compat_conn.query(
            "SELECT * FROM Msvm_PciExpressSettingData WHERE InstanceID LIKE "
            f"'{settings.InstanceID}%'"))

    def missing_switches(self, vm_name: str, target: str) -> list[str]:
        """Virtual switches that a VM is plugged into and *target* lacks.

        :raises HyperVException: *target* cannot be asked.
        """
        conn = self._win.live._compat_conn
        settings = self._win.vm._lookup_vm_check(vm_name)
        ports = conn.query(
            "SELECT * FROM Msvm_EthernetPortAllocationSettingData WHERE "
            f"InstanceID LIKE '{settings.InstanceID}%'")
        used = {path.upper() for port in ports
                for path in port.HostResource or () if path}
        if not used:
            return []
        names = {switch.ElementName
                 for switch in conn.Msvm_VirtualEthernetSwitch()
                 if switch.path_().upper() in used}
        there = {switch.ElementName for switch in self._remote(
            target).Msvm_VirtualEthernetSwitch()}
        return sorted(names - there)

    # -- the other host ---------------------------------------------------

    def _remote(self, target: str) -> Any:
        return self._win.live._get_conn_v2(target)

    def users_of(self, volume_id: str, target: str) -> list[str]:
        """VMs of *target* that a volume is passed through to.

        :raises HyperVException: *target* cannot be asked.
        """
        return self._drives.users_of(volume_id, on=self._remote(target))

    def has_arrived(self, vm_name: str, target: str) -> bool:
        """Whether *target* has the (realized) VM.

        :raises HyperVException: *target* cannot be asked.
        """
        return bool(self._remote(target).Msvm_ComputerSystem(
            ElementName=vm_name))

    def check(self, vm_name: str, target: str) -> None:
        """Have Hyper-V check that a VM can move; nothing is changed.

        :raises HyperVError: the processors differ too much.
        :raises HyperVException: another reason: the VM's configuration
            version, migration is not set up, *target* cannot be reached.
        """
        live = self._win.live
        conn = live._compat_conn
        service = conn.Msvm_VirtualSystemMigrationService()[0]
        system = live._get_vm(conn, vm_name)
        remote = self._remote(target)
        self._check_processor(service, system, remote)
        # Not as the migration that is wanted: the cached image and the
        # volumes are not there yet.
        settings = conn.Msvm_VirtualSystemMigrationSettingData(
            MigrationType=live._MIGRATION_TYPE_STAGED)[0]
        settings.DestinationIPAddressList = live._get_ip_address_list(
            remote, target)
        job, code = service.CheckVirtualSystemIsMigratable(
            ComputerSystem=system.path_(), DestinationHost=target,
            MigrationSettingData=settings.GetText_(1))
        if code in (_OK, _JOB_STARTED):
            live._jobutils.check_ret_val(code, job)
        else:
            # Not a verdict: the migration itself will tell.
            LOG.debug("Hyper-V does not check %s: %d", vm_name, code)

    def _check_processor(self, service: Any, system: Any,
                         remote: Any) -> None:
        info, code = service.GetSystemCompatibilityInfo(
            ComputerSystem=system.path_())
        if code != _OK:
            LOG.debug("Hyper-V does not tell what a VM needs: %d", code)
            return
        reasons, code = (
            remote.Msvm_VirtualSystemMigrationService()[0]
            .CheckSystemCompatibilityInfo(CompatibilityInfo=info))
        if code == _NOT_COMPATIBLE or reasons:
            raise errors.HyperVError(
                reason=' '.join(reasons or ()) or 'not compatible')

    # -- the migration ----------------------------------------------------

    def migrate(self, vm_name: str, target: str, *,
                with_disks: bool) -> None:
        """Move a VM to another host and wait for it, however long.

        :raises HyperVException: it could not begin, or it failed.
        """
        with jobwaits.within(math.inf):
            self._win.live.live_migrate_vm(vm_name, target,
                                           migrate_disks=with_disks)

    def progress(self, vm_name: str) -> Progress | None:
        """How far it is; None if nothing is going on with the VM.

        :raises InstanceNotFound: the VM is not here any more.
        """
        try:
            system = self._win.vm._lookup_vm_check(vm_name, as_vssd=False)
        except errors.OS_WIN_ERRORS as exc:
            raise errors.to_nova(exc, vm_name) from exc
        pending = (self._win.vm._jobutils
                   ._get_pending_jobs_affecting_element(system))
        if not pending:
            return None
        job = pending[0]
        percent = int(job.PercentComplete or 0)
        return Progress(percent=percent, text=(
            f'{job.ElementName or job.Description or job.InstanceID}: '
            f'{percent} %'))
