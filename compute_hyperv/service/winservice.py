# SPDX-License-Identifier: Apache-2.0
"""The Windows service: service manager, event log, recovery actions.

Windows only. The service manager runs ``python -m
compute_hyperv.service.winservice …`` (no pythonservice.exe); this process
hosts the supervisor, and nova-compute is its child.

Sources: Microsoft, "Service State Transitions", "SERVICE_STATUS structure"
(checkpoints and wait hints), "SERVICE_FAILURE_ACTIONS".
"""

import argparse
from collections.abc import Sequence
import dataclasses
import logging
import sys
import threading
import time
from typing import Any

import pywintypes
import servicemanager
import win32evtlogutil
import win32security
import win32service
import win32serviceutil
import winerror

from compute_hyperv.service import processes
from compute_hyperv.service import settings
from compute_hyperv.service import supervisor

LOG = logging.getLogger(__name__)

DISPLAY_NAME = 'OpenStack Nova Compute (Hyper-V)'
DESCRIPTION = ('Manages the virtual machines of this Hyper-V host for '
               'OpenStack Nova.')
#: Services without which nova-compute could not do its work.
DEPENDENCIES = ('winmgmt',)

STARTUP = {'auto': win32service.SERVICE_AUTO_START,
           'delayed': win32service.SERVICE_AUTO_START,
           'manual': win32service.SERVICE_DEMAND_START,
           'disabled': win32service.SERVICE_DISABLED}

STATES = {win32service.SERVICE_STOPPED: 'stopped',
          win32service.SERVICE_START_PENDING: 'starting',
          win32service.SERVICE_STOP_PENDING: 'stopping',
          win32service.SERVICE_RUNNING: 'running',
          win32service.SERVICE_PAUSED: 'paused'}

#: SERVICE_STOPPED with this Win32 code carries a code of the service itself;
#: a stop with an error makes the service manager's recovery actions run.
_SPECIFIC_ERROR = winerror.ERROR_SERVICE_SPECIFIC_ERROR
#: Our codes (win32_exit_code 1066, service_exit_code below).
EXIT_GAVE_UP = 1
EXIT_BROKEN = 2
#: The service manager is told again at this interval that things move on.
_CHECKPOINT_S = 5.0
_WAIT_HINT_MS = 30000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Install:
    """What the service manager is told.

    :ivar account: ``DOMAIN\\user``, ``NT AUTHORITY\\…`` or a managed account
        ``DOMAIN\\name$``; None is LocalSystem.
    :ivar password: of the account; None for managed ones.
    :ivar restart_delays_s: pause before each restart by the service manager;
        the last one is used from then on. Empty: no recovery.
    :ivar reset_after_s: a failure-free time that clears the count.
    """

    startup: str = 'delayed'
    account: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    restart_delays_s: tuple[int, ...] = (60, 120, 300)
    reset_after_s: int = 86400


class NovaComputeService(win32serviceutil.ServiceFramework):
    """The service as the service manager sees it."""

    _svc_name_ = 'nova-compute'
    _svc_display_name_ = DISPLAY_NAME
    #: Set by :func:`main` before the service manager builds the object.
    options: settings.Settings

    def __init__(self, args: Sequence[str]) -> None:
        self._svc_name_ = args[0] if args else self._svc_name_
        super().__init__(args)
        self._supervisor = supervisor.Supervisor(
            self.options.launch, policy=self.options.policy,
            report=self._report)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._pending: int | None = win32service.SERVICE_START_PENDING
        self._checkpoint = 0

    def SvcRun(self) -> None:
        """Run the supervisor; report RUNNING only when it is true."""
        threading.Thread(target=self._keep_reporting, daemon=True,
                         name='service-checkpoints').start()
        exit_code = EXIT_BROKEN
        try:
            ended = self._supervisor.run()
            exit_code = (0 if ended is supervisor.State.STOPPED
                         else EXIT_GAVE_UP)
        except Exception:    # the outermost frame of the service
            LOG.exception('The service failed')
            servicemanager.LogErrorMsg(
                f'{self._svc_name_}: the service failed; see '
                f'{self.options.output_path}.')
        finally:
            self._over.set()
            self._stopped(exit_code)

    def SvcStop(self) -> None:
        """Take the service manager's request to stop; returns at once."""
        self._set_pending(win32service.SERVICE_STOP_PENDING)
        self._supervisor.stop()

    SvcShutdown = SvcStop

    def _stopped(self, exit_code: int) -> None:
        with self._lock:
            self._pending = None
            self.ReportServiceStatus(
                win32service.SERVICE_STOPPED,
                win32ExitCode=_SPECIFIC_ERROR if exit_code else 0,
                svcExitCode=exit_code)

    def _set_pending(self, status: int) -> None:
        with self._lock:
            self._pending = status
            self._tell()

    def _tell(self) -> None:
        """Report the pending status with a rising checkpoint."""
        if self._pending is not None:
            self._checkpoint += 1
            servicemanager_status = (
                win32service.SERVICE_WIN32_OWN_PROCESS, self._pending,
                self._accepted(), 0, 0, self._checkpoint, _WAIT_HINT_MS)
            win32service.SetServiceStatus(self.ssh, servicemanager_status)

    def _accepted(self) -> int:
        if self._pending == win32service.SERVICE_STOP_PENDING:
            return 0
        return int(self.GetAcceptedControls())

    def _keep_reporting(self) -> None:
        with self._lock:
            self._tell()
        while not self._over.wait(_CHECKPOINT_S):
            with self._lock:
                self._tell()

    def _report(self, state: supervisor.State, text: str) -> None:
        if text:
            self._log_event(state, text)
        if state is supervisor.State.RUNNING:
            with self._lock:
                if self._pending != win32service.SERVICE_STOP_PENDING:
                    self._pending = None
                    self.ReportServiceStatus(win32service.SERVICE_RUNNING)

    def _log_event(self, state: supervisor.State, text: str) -> None:
        message = f'{self._svc_name_}: {text}'
        if state is supervisor.State.FAILED:
            servicemanager.LogErrorMsg(message)
        elif state is supervisor.State.WAITING:
            servicemanager.LogWarningMsg(message)
        else:
            servicemanager.LogInfoMsg(message)


# -- the service manager's view ------------------------------------------


def install(options: settings.Settings, wanted: Install) -> None:
    """Register the service, or change it if it is there already.

    :raises pywintypes.error: the service manager refuses (rights, account).
    """
    manager = win32service.OpenSCManager(
        None, None, win32service.SC_MANAGER_ALL_ACCESS)
    try:
        handle = _create_or_change(manager, options, wanted)
        try:
            _describe(handle, wanted)
        finally:
            win32service.CloseServiceHandle(handle)
    finally:
        win32service.CloseServiceHandle(manager)
    if wanted.account and wanted.password is not None:
        grant_logon_as_service(wanted.account)
    win32evtlogutil.AddSourceToRegistry(
        options.name, servicemanager.__file__, 'Application')


def _create_or_change(manager: Any, options: settings.Settings,
                      wanted: Install) -> Any:
    command = options.service_command()
    try:
        return win32service.CreateService(
            manager, options.name, DISPLAY_NAME,
            win32service.SERVICE_ALL_ACCESS,
            win32service.SERVICE_WIN32_OWN_PROCESS, STARTUP[wanted.startup],
            win32service.SERVICE_ERROR_NORMAL, command, None, 0,
            list(DEPENDENCIES), wanted.account, wanted.password)
    except pywintypes.error as error:
        if error.winerror != winerror.ERROR_SERVICE_EXISTS:
            raise
    handle = win32service.OpenService(manager, options.name,
                                      win32service.SERVICE_ALL_ACCESS)
    win32service.ChangeServiceConfig(
        handle, win32service.SERVICE_NO_CHANGE, STARTUP[wanted.startup],
        win32service.SERVICE_NO_CHANGE, command, None, 0,
        list(DEPENDENCIES), wanted.account, wanted.password, DISPLAY_NAME)
    return handle


def _describe(handle: Any, wanted: Install) -> None:
    """Set what CreateService has no parameter for."""
    _change(handle, 'description',
            win32service.SERVICE_CONFIG_DESCRIPTION, DESCRIPTION)
    if wanted.startup in ('auto', 'delayed'):
        _change(handle, 'delayed start',
                win32service.SERVICE_CONFIG_DELAYED_AUTO_START_INFO,
                wanted.startup == 'delayed')
    actions = [(win32service.SC_ACTION_RESTART, delay_s * 1000)
               for delay_s in wanted.restart_delays_s]
    _change(handle, 'recovery actions',
            win32service.SERVICE_CONFIG_FAILURE_ACTIONS,
            {'ResetPeriod': wanted.reset_after_s, 'RebootMsg': None,
             'Command': None, 'Actions': actions})
    # Also when the service stops by itself with an error, not only when its
    # process dies.
    _change(handle, 'recovery after a stop with an error',
            win32service.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, True)


def _change(handle: Any, what: str, level: int, value: Any) -> None:
    """Change one optional setting; a manager that lacks it is warned of."""
    try:
        win32service.ChangeServiceConfig2(handle, level, value)
    except pywintypes.error as error:
        if error.winerror != winerror.ERROR_INVALID_LEVEL:
            raise
        LOG.warning('The service manager here does not know: %s.', what)


def grant_logon_as_service(account: str) -> None:
    """Give an account the right that services need."""
    sid, _, _ = win32security.LookupAccountName(None, account)
    policy = win32security.LsaOpenPolicy(
        None, win32security.POLICY_ALL_ACCESS)
    try:
        win32security.LsaAddAccountRights(policy, sid,
                                          ['SeServiceLogonRight'])
    finally:
        win32security.LsaClose(policy)


def remove(name: str) -> None:
    """Unregister the service; it is stopped first."""
    if status(name) != 'stopped':
        stop(name, timeout_s=supervisor.Policy().stop_timeout_s)
    win32serviceutil.RemoveService(name)
    win32evtlogutil.RemoveSourceFromRegistry(name, 'Application')


def start(name: str, timeout_s: float) -> None:
    """Start the service and wait until it runs."""
    win32serviceutil.StartService(name)
    _wait(name, win32service.SERVICE_RUNNING, timeout_s)


def stop(name: str, timeout_s: float) -> None:
    """Stop the service and wait until it is stopped."""
    try:
        win32serviceutil.StopService(name)
    except pywintypes.error as error:
        if error.winerror != winerror.ERROR_SERVICE_NOT_ACTIVE:
            raise
    _wait(name, win32service.SERVICE_STOPPED, timeout_s)


def _wait(name: str, wanted: int, timeout_s: float) -> None:
    """Wait for a state; a service that stops instead is a failure.

    :raises TimeoutError: not in that state in time, or stopped.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        current = win32serviceutil.QueryServiceStatus(name)
        if current[1] == wanted:
            return
        if current[1] == win32service.SERVICE_STOPPED:
            raise TimeoutError(
                f'The service {name} has stopped (code {current[3]}, '
                f'{current[4]}); see the event log.')
        if time.monotonic() >= deadline:
            raise TimeoutError(
                f'The service {name} is {STATES.get(current[1])} after '
                f'{timeout_s:.0f} s.')
        time.sleep(0.25)


def status(name: str) -> str:
    """State of the service in a word; ``not installed`` without one."""
    try:
        current = win32serviceutil.QueryServiceStatus(name)[1]
    except pywintypes.error as error:
        if error.winerror == winerror.ERROR_SERVICE_DOES_NOT_EXIST:
            return 'not installed'
        raise
    return STATES.get(current, str(current))


# -- the process that the service manager starts ----------------------------


def _parse(argv: Sequence[str] | None) -> settings.Settings:
    policy = supervisor.Policy()
    parser = argparse.ArgumentParser(prog='compute_hyperv.service.winservice')
    parser.add_argument('--name', required=True)
    parser.add_argument('--log-dir', required=True)
    parser.add_argument('--start-timeout', type=float,
                        default=policy.start_timeout_s)
    parser.add_argument('--stop-timeout', type=float,
                        default=policy.stop_timeout_s)
    parser.add_argument('--max-restarts', type=int,
                        default=policy.max_restarts)
    parser.add_argument('--config-file', action='append', default=[])
    parser.add_argument('--config-dir', action='append', default=[])
    given = parser.parse_args(argv)
    return settings.Settings(
        name=given.name, log_dir=given.log_dir,
        config_files=tuple(given.config_file),
        config_dirs=tuple(given.config_dir),
        policy=dataclasses.replace(
            policy, start_timeout_s=given.start_timeout,
            stop_timeout_s=given.stop_timeout,
            max_restarts=given.max_restarts))


def main(argv: Sequence[str] | None = None) -> None:
    """Host the service in this process, for the service manager."""
    options = _parse(argv)
    # A service has no usable standard handles.
    output = processes.open_output(options.output_path)
    sys.stdout = sys.stderr = open(
        output.fileno(), 'a', encoding='utf-8', buffering=1, closefd=False)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr,
        format='%(asctime)s service %(levelname)s %(message)s')
    NovaComputeService._svc_name_ = options.name
    NovaComputeService.options = options
    servicemanager.Initialize(options.name, servicemanager.__file__)
    servicemanager.PrepareToHostSingle(NovaComputeService)
    servicemanager.StartServiceCtrlDispatcher()


if __name__ == '__main__':
    main()
