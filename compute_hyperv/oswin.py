# SPDX-License-Identifier: Apache-2.0
"""The Hyper-V host through os-win; nothing else of ours knows os-win.

:func:`connect` binds the driver to its host once, while the driver is
built. Windows versions, WMI classes and Hyper-V's numbers stay in here: the
rest of the driver sees :class:`Win`, :class:`VMState` and ``HostCaps``.
"""

from collections.abc import Callable
import enum
import functools
import types
from typing import Any

from nova import exception
from nova import utils as nova_utils
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import hostcaps
from compute_hyperv import jobwaits
from compute_hyperv import model
from compute_hyperv import osfiles
from compute_hyperv import oswin_loader

# Behind the loader, as errors.py explains.
oswin_loader.install()

from os_win import constants  # noqa: E402,H306
from os_win import exceptions as os_win_exc  # noqa: E402,H306

LOG = logging.getLogger(__name__)

#: Codes of Msvm_ComputerSystem.EnabledState whose changes are events.
_EVENT_STATES = (2, 3, 6, 9)
#: "Critical" codes (the storage is lost), unknown to os-win: the plain ones.
_CRITICAL = {32781: 2, 32782: 3, 32784: 6, 32785: 9}


class VMState(enum.Enum):
    """State of a VM; states on the way to another count as RUNNING."""

    RUNNING = constants.HYPERV_VM_STATE_ENABLED
    OFF = constants.HYPERV_VM_STATE_DISABLED
    PAUSED = constants.HYPERV_VM_STATE_PAUSED
    SAVED = constants.HYPERV_VM_STATE_SUSPENDED


class DriveKind(enum.Enum):
    """What :meth:`Win.attach_drive` plugs in; values are os-win's."""

    DISK = constants.DISK
    DVD = constants.DVD


def native(module: types.ModuleType) -> Any:
    """Give *module* as it is without eventlet's patches.

    Threads that wait for Windows (pipes, for one) must be real ones in both
    of Nova's modes.
    """
    eventlet = nova_utils.get_eventlet()
    if eventlet is None:
        return module
    return eventlet.patcher.original(module.__name__)


class Win:
    """One Hyper-V host.

    os-win's utilities are attributes, by their os-win names without
    ``utils``: ``vm vhd net host disk path metrics migration``, and ``live``.

    :param host: what ``oswin_loader.bind()`` gave.
    """

    def __init__(self, host: oswin_loader.Host) -> None:
        factory = host.utilsfactory
        self.name: str = host.name
        self.files: osfiles.Files = host.files
        self.host = factory.get_hostutils()
        self.caps = hostcaps.caps_of(self.host.get_windows_version())
        self.vm = factory.get_vmutils()
        self.vhd = factory.get_vhdutils()
        self.net = factory.get_networkutils()
        self.disk = factory.get_diskutils()
        self.path = factory.get_pathutils()
        self.metrics = factory.get_metricsutils()
        self.migration = factory.get_migrationutils()
        self.live = factory.get_livemigrationutils()
        # Every VM serial port needs a handler of its own, later.
        self._named_pipe = factory.get_named_pipe_handler
        self._io_queue = factory.namedpipe.ioutils.IOQueue
        self._get_clusterutils = factory.get_clusterutils
        # Their libraries are not on every host: loaded when first called.
        self.iscsi = functools.cache(factory.get_iscsi_initiator_utils)
        self.fc = functools.cache(factory.get_fc_utils)
        self.smb = functools.cache(factory.get_smbutils)

    def limit_jobs(self, timeout_s: float) -> None:
        """Let no wait for a job that changes a VM last longer than that.

        :param timeout_s: for one job; then ``WaitTimeout`` is raised.
        """
        for utility in (self.vm, self.net, self.migration, self.live):
            jobwaits.limit(utility._jobutils, timeout_s)

    def check_access(self) -> None:
        """Check that this account may manage Hyper-V.

        :raises HypervisorPermissionDenied: it sees no management service.
        """
        try:
            self.vm.check_admin_permissions()
        except os_win_exc.HyperVAuthorizationException as exc:
            raise errors.to_nova(exc) from exc

    def check_clustered(self) -> None:
        """Check that this host is a node of a failover cluster.

        :raises ClusterOperationFailed: it is not, or its cluster service
            does not run.
        """
        try:
            self._get_clusterutils()
        except Exception as exc:    # IndexError too: os-win takes item 0
            raise errors.ClusterOperationFailed(
                reason=f'host {self.name} is no node of a failover cluster, '
                       f'or the cluster service does not run: '
                       f'{errors.text_of(exc)}') from exc

    # -- state ------------------------------------------------------------

    def state(self, vm_name: str) -> VMState:
        """State of a VM now; one query.

        :raises InstanceNotFound: there is none.
        :raises HyperVError: two VMs have that name.
        """
        try:
            found = self.vm._conn.Msvm_ComputerSystem(
                ['EnabledState'], ElementName=vm_name)
        except errors.OS_WIN_ERRORS as exc:
            raise errors.to_nova(exc, vm_name) from exc
        if not found:
            raise exception.InstanceNotFound(instance_id=vm_name)
        _refuse_several(found, vm_name)
        return self._state_of(found[0])

    def states(self) -> dict[str, VMState]:
        """State of every VM by its name, Nova's or not; one query."""
        return {system.ElementName: self._state_of(system) for system in
                self.vm._conn.Msvm_ComputerSystem(
                    ['ElementName', 'EnabledState'])}

    def _state_of(self, system: Any) -> VMState:
        code = _CRITICAL.get(system.EnabledState, system.EnabledState)
        try:
            return VMState(self.vm.get_vm_power_state(code))
        except ValueError:
            return VMState.RUNNING      # on the way to another state

    def request_state(self, vm_name: str, state: VMState) -> None:
        """Ask for a state and wait for the job; no check of the outcome.

        :raises InstanceNotFound: no such VM.
        :raises HyperVError: the job failed.
        """
        try:
            self.vm.set_vm_state(vm_name, state.value)
        except errors.OS_WIN_ERRORS as exc:
            raise errors.to_nova(exc, vm_name) from exc

    def ask_to_shut_down(self, vm_name: str) -> bool:
        """Tell the guest to shut down; whether it took notice.

        A guest that boots or has no integration services does not.
        """
        try:
            self.vm.soft_shutdown_vm(vm_name)
        except os_win_exc.HyperVVMNotFoundException:
            raise
        except os_win_exc.HyperVException as exc:
            LOG.debug("Shutdown of %s: %s", vm_name, exc)
            return False
        return True

    def stop_jobs(self, vm_name: str, timeout_s: int) -> bool:
        """End Hyper-V's jobs on a VM; whether none is left.

        :raises InstanceNotFound: no such VM.
        """
        try:
            self.vm.stop_vm_jobs(vm_name, timeout_s)
        except os_win_exc.JobTerminateFailed:
            return False
        except os_win_exc.HyperVVMNotFoundException as exc:
            raise errors.to_nova(exc, vm_name) from exc
        return True

    def jobs(self, vm_name: str) -> list[str]:
        """What Hyper-V is doing with a VM, for messages."""
        jobutils = self.vm._jobutils
        system = self.vm._lookup_vm_check(vm_name, as_vssd=False)
        return [f'{job.ElementName or job.Description or job.InstanceID} '
                f'({job.PercentComplete} %)'
                for job in jobutils._get_pending_jobs_affecting_element(
                    system)]

    def uuids(self) -> dict[str, str]:
        """VM name → Nova's uuid of all VMs that carry one; one query."""
        return {name: notes[0] for name, notes
                in self.vm.list_instance_notes()
                if notes and _is_uuid(notes[0])}

    def planned_uuids(self) -> dict[str, str]:
        """VM name → Nova's uuid of the planned (unrealized) VMs."""
        found = self.vm._conn.Msvm_VirtualSystemSettingData(
            ['ElementName', 'Notes'],
            VirtualSystemType=self.vm._VIRTUAL_SYSTEM_TYPE_PLANNED)
        return {settings.ElementName: settings.Notes[0] for settings in found
                if settings.Notes and _is_uuid(settings.Notes[0])}

    def export_definition(self, vm_name: str, directory: str) -> None:
        """Export a VM without disks and checkpoints.

        Windows makes ``Virtual Machines`` and other folders in there.
        """
        self.migration.export_vm(
            vm_name, directory, copy_vm_storage=False,
            copy_snapshots_config=constants.EXPORT_CONFIG_NO_SNAPSHOTS,
            create_export_subdir=False)

    def full_featured_names(self) -> list[str]:
        """Names of the VMs whose processors show all features; 2 queries."""
        full = {processor.InstanceID.split('\\')[0].upper() for processor
                in self.vm._conn.Msvm_ProcessorSettingData(
                    ['InstanceID'], LimitProcessorFeatures=False)}
        return sorted(
            settings.ElementName for settings
            in self.vm._conn.Msvm_VirtualSystemSettingData(
                ['ElementName', 'InstanceID'],
                VirtualSystemType=self.vm._VIRTUAL_SYSTEM_TYPE_REALIZED)
            if settings.InstanceID.upper() in full)

    def find_owner(self, vm_name: str) -> str | None:
        """Nova's uuid of the (realized) VM of that name; one query.

        :returns: '' for a VM that is not Nova's, None if there is none.
        :raises HyperVError: two VMs have that name.
        """
        found = self.vm._conn.Msvm_VirtualSystemSettingData(
            ['Notes'], ElementName=vm_name,
            VirtualSystemType=self.vm._VIRTUAL_SYSTEM_TYPE_REALIZED)
        _refuse_several(found, vm_name)
        notes = [note for settings in found for note in settings.Notes or ()]
        if not found:
            return None
        return notes[0] if notes and _is_uuid(notes[0]) else ''

    def uuid_of(self, vm_name: str) -> str | None:
        """Nova's uuid of a VM; None if it has none or is gone."""
        try:
            uuid: str | None = self.vm.get_instance_uuid(vm_name)
        except os_win_exc.HyperVVMNotFoundException:
            return None
        return uuid

    def power_events(self, timeframe_s: int, poll_s: int
                     ) -> Callable[[], tuple[str, VMState] | None]:
        """Subscribe to changes of state of all VMs.

        :param timeframe_s: how often Windows compares the states.
        :param poll_s: how long one call waits.
        :returns: a function that waits for the next change and gives the
            VM's name and new state, or None if there was none or one to a
            state that is only passed through.
        """
        listener = nova_utils.tpool_wrap(
            self.vm.get_vm_power_state_change_listener(
                timeframe=timeframe_s, filtered_states=_EVENT_STATES))

        def next_event() -> tuple[str, VMState] | None:
            try:
                event = listener(poll_s * 1000)
            except os_win_exc.x_wmi_timed_out:
                return None
            state = self.vm.get_vm_power_state(event.EnabledState)
            try:
                return event.ElementName, VMState(state)
            except ValueError:
                return None
        return next_event

    # -- devices ----------------------------------------------------------

    def attach_drive(self, vm_name: str, path: str, slot: model.Slot,
                     kind: DriveKind) -> None:
        """Plug a disk or DVD image into a slot of a VM."""
        if slot.bus is model.Bus.IDE:
            self.vm.attach_ide_drive(vm_name, path, slot.controller, slot.lun,
                                     kind.value)
            return
        self.vm.attach_drive(vm_name, path,
                             self.vm.get_vm_scsi_controller(vm_name),
                             slot.lun, kind.value)

    def set_disk_parent(self, path: str, parent_path: str) -> None:
        """Let a differencing disk have another parent of the same content.

        os-win's way keeps to the identity of the parent, which every write
        to it changes.
        """
        service = self.vm._conn.Msvm_ImageManagementService()[0]
        job, result = service.SetParentVirtualHardDisk(
            ChildPath=path, ParentPath=parent_path, LeafPath=None,
            IgnoreIDMismatch=True)
        self.vm._jobutils.check_ret_val(result, job)

    def set_processor(self, vm_name: str, *, limit: int, weight: int,
                      threads_per_core: int | None) -> None:
        """Set what ``update_vm`` of os-win cannot; call it afterwards.

        :param limit: cap in thousandths of a percent.
        :param weight: share of a busy host, 1 to 10000.
        :param threads_per_core: None leaves it to the host.
        """
        settings = self.vm._lookup_vm_check(vm_name)
        processor = self.vm._compat_conn.query(
            "SELECT * FROM Msvm_ProcessorSettingData WHERE InstanceID LIKE "
            f"'{settings.InstanceID}%'")[0]
        processor.Limit = limit
        processor.Weight = weight
        if threads_per_core is not None:
            processor.HwThreadsPerCore = threads_per_core
        self.vm._jobutils.modify_virt_resource(processor)

    def connect_nic(self, port_id: str, vswitch: str) -> bool:
        """Connect a NIC to a virtual switch; False if there is no such.

        One that is connected already stays as it is.

        :raises DeviceNotFound: there is no such NIC.
        """
        try:
            self.net.connect_vnic_to_vswitch(vswitch, port_id)
        except os_win_exc.HyperVvSwitchNotFound:
            return False
        except os_win_exc.HyperVvNicNotFound as exc:
            raise errors.to_nova(exc) from exc
        return True

    def remove_nic(self, vm_name: str, port_id: str) -> None:
        """Remove a NIC and its switch port; missing ones are fine."""
        self.net.remove_switch_port(port_id)
        self.vm.destroy_nic(vm_name, port_id)

    def nic_names(self, vm_name: str) -> list[str]:
        """Names (Neutron port ids) of the NICs of a VM."""
        return list(self.vm.get_vm_nic_names(vm_name))

    # -- pipes ------------------------------------------------------------

    def named_pipe(self, pipe_path: str, **handler_args: Any) -> Any:
        """Handler of one named pipe, see os-win's NamedPipeHandler."""
        return self._named_pipe(pipe_path, **handler_args)

    def io_queue(self, connected: Any) -> Any:
        """Queue between a pipe handler and its client.

        :param connected: native Event that says whether a client is there.
        """
        return self._io_queue(connected)


def _refuse_several(found: Any, vm_name: str) -> None:
    if len(found) > 1:
        raise errors.HyperVError(
            reason=f'{len(found)} VMs have the name {vm_name}; rename those '
                   f'that are not of OpenStack')


def _is_uuid(text: str) -> bool:
    from_text = text.replace('-', '').lower()
    return len(from_text) == 32 and all(c in '0123456789abcdef'
                                        for c in from_text)


def connect() -> Win:
    """Bind to the host that this process (or the current test) is for.

    :raises HypervisorTooOld: before Windows Server 2012 R2.
    :raises HypervisorUnavailable: Hyper-V's management service is missing.
    """
    try:
        return Win(oswin_loader.bind())
    except errors.OS_WIN_ERRORS as exc:
        raise exception.HypervisorUnavailable() from exc
