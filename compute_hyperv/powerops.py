# SPDX-License-Identifier: Apache-2.0
"""Power states of virtual machines.

======== ============================================================
State    Left by
======== ============================================================
OFF      start → RUNNING
RUNNING  turn_off, shut_down → OFF; pause → PAUSED; suspend → SAVED
PAUSED   unpause → RUNNING; turn_off → OFF; suspend → SAVED
SAVED    resume, start → RUNNING; turn_off (memory is lost) → OFF
======== ============================================================
"""

from collections.abc import Callable
import time
from typing import Any

from nova.compute import power_state
from nova import exception
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import jobwaits
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import vmnames

LOG = logging.getLogger(__name__)

_NOVA_STATE = {oswin.VMState.RUNNING: power_state.RUNNING,
               oswin.VMState.OFF: power_state.SHUTDOWN,
               oswin.VMState.PAUSED: power_state.PAUSED,
               oswin.VMState.SAVED: power_state.SUSPENDED}

#: A state (change) that Hyper-V refuses is asked for again so many times.
_ATTEMPTS = 5
_ATTEMPT_DELAY_S = 1.0
#: How often a guest that shuts down is looked at.
_LOOK_INTERVAL_S = 0.5


class PowerOps:
    """Starts and stops VMs.

    :param left: ``leftdisks.LeftDisks``.
    :param soft_reboot_s: how long a guest has to shut down in a soft reboot.
    :param jobs_timeout_s: how long pending jobs may take to be ended.
    :param operation_timeout_s: how long one change may take.
    :param clock: for the waits.
    """

    def __init__(self, *, win: oswin.Win, vifs: Any, console: Any,
                 volumes: Any, metrics: Any, left: Any, soft_reboot_s: int,
                 jobs_timeout_s: int, operation_timeout_s: int,
                 clock: operation.Clock = time) -> None:
        self._win = win
        self._names = vmnames.VmNames(win)
        self._vifs = vifs
        self._volumes = volumes
        self._console = console
        self._metrics = metrics
        self._left = left
        self._soft_reboot_s = soft_reboot_s
        self._jobs_timeout_s = jobs_timeout_s
        self._operation_timeout_s = operation_timeout_s
        self._clock = clock

    def state(self, vm_name: str) -> int:
        """State of a VM as one of ``nova.compute.power_state``.

        Nova asks after each operation and takes an error here for a failure
        of the operation itself, so a passing one is waited out.

        :raises InstanceNotFound: no such VM.
        """
        state = operation.retry(
            self._win.state, vm_name, on=(errors.HyperVError,),
            attempts=_ATTEMPTS, delay_s=_ATTEMPT_DELAY_S, clock=self._clock)
        return int(_NOVA_STATE[state])

    # -- what Nova asks for ----------------------------------------------

    def power_on(self, instance: Any, network_info: Any,
                 block_device_info: Any = None) -> None:
        """Start a VM with its volumes connected and its ports plugged.

        :raises UnknownDisk: see :meth:`volumeops.VolumeOps.reconnect`.
        """
        self._by_name(instance, self._volumes.reconnect, instance.name,
                      block_device_info)
        self._vifs.plug_all(instance, network_info)
        self.start(instance)

    def power_off(self, instance: Any, timeout_s: float,
                  retry_interval_s: float) -> None:
        """Stop a VM: by its guest within *timeout_s*, else turn it off.

        A VM that is missing or off is fine.

        :raises InstancePowerOffFailure: Hyper-V does not stop it.
        """
        try:
            self._by_name(instance, self._stop, instance, timeout_s,
                          retry_interval_s)
        except exception.InstanceNotFound:
            LOG.debug("There is no VM to stop.", instance=instance)

    def _stop(self, instance: Any, timeout_s: float,
              retry_interval_s: float) -> None:
        if timeout_s and self.shut_down(instance.name, timeout_s,
                                        retry_interval_s):
            LOG.debug("The guest shut down.", instance=instance)
        self._release_console(instance, oswin.VMState.OFF)
        # An event may have opened it again in between.
        self._console.stop(instance.name)

    def reboot(self, instance: Any, network_info: Any,
               block_device_info: Any, soft: bool) -> None:
        """Restart a VM.

        :param soft: let the guest shut down; if it does not within
            ``[hyperv] wait_soft_reboot_seconds``, as not soft. Not soft:
            turn off from any state and start again, with fresh ports.
        """
        self._by_name(instance, self._end, instance, soft)
        self.power_on(instance, network_info, block_device_info)

    def _end(self, instance: Any, soft: bool) -> None:
        if soft and not self.shut_down(instance.name, self._soft_reboot_s,
                                       self._soft_reboot_s):
            LOG.warning("The guest did not shut down within %d seconds "
                        "([hyperv] wait_soft_reboot_seconds); resetting it.",
                        self._soft_reboot_s, instance=instance)
        self._release_console(instance, oswin.VMState.OFF)

    def pause(self, instance: Any) -> None:
        """Freeze a running VM; its memory stays."""
        self._change(instance.name, oswin.VMState.PAUSED)
        self._console.stop(instance.name)

    def unpause(self, instance: Any) -> None:
        """Let a paused VM run."""
        self.start(instance)

    def suspend(self, instance: Any) -> None:
        """Save the memory of a VM to disk and stop it."""
        self._release_console(instance, oswin.VMState.SAVED)

    def resume_after_boot(self, instance: Any, network_info: Any,
                          block_device_info: Any) -> None:
        """Start a VM that ran before its host went down.

        Nothing to do if something else started it.
        """
        if self._win.state(instance.name) in (oswin.VMState.RUNNING,
                                              oswin.VMState.PAUSED):
            return
        self.power_on(instance, network_info, block_device_info)

    def interrupt(self, instance: Any) -> None:
        """Send a non-maskable interrupt, for a guest that dumps its memory.

        What the guest makes of it is up to its system: Windows stops and
        writes a dump, Linux does so with ``kernel.unknown_nmi_panic``.

        :raises InstanceNotRunning: nobody is there to take it.
        """
        if self._win.state(instance.name) is not oswin.VMState.RUNNING:
            raise exception.InstanceNotRunning(instance_id=instance.uuid)
        vm = self._win.vm
        system = vm._lookup_vm_check(instance.name, as_vssd=False)
        # os-win has no call for it. Windows Server 2012 R2 and later.
        job, code = system.InjectNonMaskableInterrupt()
        # The schema has an object here where other methods give a path.
        path = job if job is None or isinstance(job, str) else job.path_()
        vm._jobutils.check_ret_val(code, path)

    # -- parts ------------------------------------------------------------

    def _by_name(self, instance: Any, call: Callable[..., None],
                 *args: Any) -> None:
        """Call; once more if the VM had been given another name."""
        try:
            call(*args)
        except exception.InstanceNotFound:
            if not self._names.restore(instance.name, instance.uuid):
                raise
            call(*args)

    def _release_console(self, instance: Any, state: oswin.VMState) -> None:
        """Bring a VM to a state in which its log file must be free.

        One that goes on keeps its console.
        """
        change = (self.turn_off if state is oswin.VMState.OFF
                  else self._save)
        with operation.Rollback(f'stop of {instance.name}') as undo:
            undo.on_failure(self._console.start, instance.name,
                            instance.uuid)
            self._console.stop(instance.name)
            change(instance.name)

    def _save(self, vm_name: str) -> None:
        self._change(vm_name, oswin.VMState.SAVED)

    def start(self, instance: Any,
              undo: operation.Rollback | None = None) -> None:
        """Run a VM that is off, paused or saved; serve its console."""
        if undo is not None:
            undo.on_failure(self._console.stop, instance.name)
        try:
            self._change(instance.name, oswin.VMState.RUNNING)
        except Exception:
            # An evacuation that was cut off may be why.
            if not self._left.try_to_mend(instance.name):
                raise
            self._change(instance.name, oswin.VMState.RUNNING)
        self._console.start(instance.name, instance.uuid)
        self._metrics.enable_vm(instance.name)
        if self._metrics.enabled:
            self._metrics.enable_nics(self._win.nic_names(instance.name))

    def shut_down(self, vm_name: str, timeout_s: float,
                  retry_interval_s: float) -> bool:
        """Ask the guest to shut down, again at intervals.

        :returns: whether the VM was off within *timeout_s* seconds.
        :raises InstanceNotFound: no such VM.
        """
        deadline = self._clock.monotonic() + timeout_s
        while (left_s := deadline - self._clock.monotonic()) > 0:
            if self._win.state(vm_name) is not oswin.VMState.RUNNING:
                return self._win.state(vm_name) is oswin.VMState.OFF
            if not self._win.ask_to_shut_down(vm_name):
                LOG.debug("The guest of %s does not listen yet.", vm_name)
            wait_s = min(left_s, retry_interval_s or left_s)
            try:
                operation.until(
                    lambda: self._win.state(vm_name) is oswin.VMState.OFF,
                    what=f'shutdown of {vm_name}', timeout_s=wait_s,
                    interval_s=_LOOK_INTERVAL_S, clock=self._clock)
                return True
            except errors.WaitTimeout as exc:
                LOG.debug("%s", exc)
        return False

    def turn_off(self, vm_name: str) -> None:
        """Take a VM's power away, from any state.

        :raises InstancePowerOffFailure: Hyper-V does not stop it.
        :raises InstanceNotFound: no such VM.
        """
        try:
            self._change(vm_name, oswin.VMState.OFF)
        except exception.InstanceNotFound:
            raise
        except Exception as exc:
            # Whatever it was: Nova must keep the networks of a VM that
            # runs on, and it knows that only by this class.
            raise exception.InstancePowerOffFailure(
                reason=errors.text_of(exc)) from exc

    def stop_jobs(self, vm_name: str) -> None:
        """End Hyper-V's jobs on a VM, wait for those that cannot be ended.

        :raises JobsStillRunning: some are left after ``[os_win]
            wmi_job_terminate_timeout`` seconds; names them.
        """
        if not self._win.stop_jobs(vm_name, self._jobs_timeout_s):
            raise jobwaits.still_running(
                self._win, vm_name, self._jobs_timeout_s,
                '[os_win] wmi_job_terminate_timeout')

    def destroy(self, vm_name: str) -> None:
        """Remove a VM that is off; its disks stay.

        :raises JobsStillRunning: Hyper-V does not get it done.
        """
        self._within_limit(vm_name, self._win.vm.destroy_vm, vm_name)

    def _within_limit(self, vm_name: str, call: Callable[..., None],
                      *args: Any) -> None:
        try:
            operation.bounded(call, *args, what=f'job on {vm_name}',
                              timeout_s=self._operation_timeout_s)
        except errors.WaitTimeout as exc:
            raise jobwaits.still_running(
                self._win, vm_name, self._operation_timeout_s,
                '[hyperv] vm_operation_timeout') from exc

    def _change(self, vm_name: str, wanted: oswin.VMState) -> None:
        """Bring a VM to a state.

        os-win takes "invalid state" (32775) for success; it is one only if
        the VM is in that state already.
        """
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._clock.sleep(_ATTEMPT_DELAY_S)
            self._within_limit(vm_name, self._win.request_state, vm_name,
                               wanted)
            now = self._win.state(vm_name)
            if now is wanted:
                return
        raise errors.HyperVError(
            reason=f'{vm_name} is {now.name} and does not become '
                   f'{wanted.name}')
