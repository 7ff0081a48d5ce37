# SPDX-License-Identifier: Apache-2.0
r"""Serial ports of VMs: console log and interactive console.

Each used COM port of a VM is a named pipe ``\\.\pipe\<uuid>_<kind>``; *kind*
is ``rw`` (interactive) or ``ro`` (only logged), as older drivers had it, so
that the pipe's name alone says what it is for. A lone ``rw`` is logged too.
Hyper-V is the server: the pipe is there while the VM runs, and what the
guest writes while nobody reads is lost.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
from typing import Any

from nova.console import type as console_type
from nova import exception
from oslo_log import log as logging

from compute_hyperv.console import pipe
from compute_hyperv.console import serialproxy
from compute_hyperv import errors
from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

_PIPE = '\\\\.\\pipe\\{uuid}_{kind}'
_INTERACTIVE = 'rw'
_LOGGED = 'ro'
#: Longest wait for another start or stop of the same console.
_LOCK_TIMEOUT_S = 60


class _Handler:
    """Serves one pipe; made anew for each start of the VM."""

    def __init__(self, win: oswin.Win, pipe_path: str, log_path: str | None,
                 proxy: serialproxy.SerialProxy | None) -> None:
        self._proxy = proxy
        queues = {} if proxy is None else {
            'input_queue': proxy.to_guest, 'output_queue': proxy.from_guest,
            'connect_event': proxy.connected}
        self._pipe = pipe.Pipe(win.named_pipe(
            pipe_path, log_file=log_path, **queues))

    @property
    def address(self) -> tuple[str, int] | None:
        """Where the interactive console listens; None if there is none."""
        return None if self._proxy is None else self._proxy.address

    @property
    def is_alive(self) -> bool:
        """Whether the pipe is still open: it ends when its VM stops."""
        return self._pipe.is_open

    def start(self) -> None:
        if self._proxy is not None:
            self._proxy.start()
        try:
            self._pipe.start()
        except Exception:
            self.stop()
            raise

    def stop(self) -> None:
        if self._proxy is not None:
            self._proxy.stop()
        self._pipe.stop()

    def flush(self) -> None:
        self._pipe.flush()


class SerialConsoleOps:
    """Keeps at most one reader on each serial pipe of each VM.

    :param pool: ports for interactive consoles; None if they are disabled
        (``[serial_console] enabled``): then those ports are only logged.

    ``start``, ``follow`` and ``stop`` may come from RPC threads and from the
    event listener at any time; a lock for each VM orders them.
    """

    def __init__(self, *, win: oswin.Win, paths: Any,
                 pool: serialproxy.PortPool | None) -> None:
        self._win = win
        self._paths = paths
        self._pool = pool
        self._locks = locks.ProcessBackend()
        self._handlers: dict[str, list[_Handler]] = {}
        self._stopped = False

    def set_up_ports(self, vm_name: str, uuid: str,
                     ports: Sequence[model.SerialPortSpec]) -> None:
        """Connect the COM ports of a VM that is off to pipes."""
        for port in ports:
            kind = _INTERACTIVE if port.interactive else _LOGGED
            self._win.vm.set_vm_serial_port_connection(
                vm_name, port.number, _PIPE.format(uuid=uuid, kind=kind))

    def start(self, vm_name: str, uuid: str) -> None:
        """Read the serial ports of a running VM; harmless if it is read.

        A console that cannot be served is logged and costs the VM nothing.
        """
        with self._vm_lock(vm_name):
            self._ensure(vm_name, uuid)

    def follow(self, vm_name: str, uuid: str) -> None:
        """Serve the console of a VM if that runs, else stop reading.

        The state is asked for under the lock: a stop that was decided on
        before the VM was started, or made anew, would come after its start.
        """
        with self._vm_lock(vm_name):
            try:
                runs = self._win.state(vm_name) is oswin.VMState.RUNNING
            except exception.InstanceNotFound:
                runs = False
            if runs:
                self._ensure(vm_name, uuid)
            else:
                self._drop(vm_name)

    def stop(self, vm_name: str) -> None:
        """Stop reading the serial ports of a VM; the log file is free."""
        with self._vm_lock(vm_name):
            self._drop(vm_name)

    def begin(self) -> None:
        """Serve consoles again; the service starts after a stop."""
        self._stopped = False

    def stop_all(self) -> None:
        """Stop until :meth:`begin`, with the service."""
        self._stopped = True
        for vm_name in list(self._handlers):
            self.stop(vm_name)

    def output(self, instance: Any) -> bytes:
        """Archive and log of an instance's console, oldest byte first.

        Works for a stopped VM; empty before anything was written.

        :raises ConsoleNotAvailable: the VM is shielded.
        """
        if self._win.vm.is_secure_vm(instance.name):
            raise exception.ConsoleNotAvailable()
        for handler in self._handlers.get(instance.name, []):
            handler.flush()
        log_path = self._paths.console_path(instance.name)
        return bytes(self._paths.read_bytes(f'{log_path}.1') +
                     self._paths.read_bytes(log_path))

    def console(self, instance: Any) -> console_type.ConsoleSerial:
        """Where nova-serialproxy finds the interactive console.

        :raises ConsoleTypeUnavailable: consoles are disabled, or the VM is
            shielded.
        :raises InstanceNotReady: it does not run.
        """
        if self._pool is None or self._win.vm.is_secure_vm(instance.name):
            raise exception.ConsoleTypeUnavailable(console_type='serial')
        addresses = [handler.address
                     for handler in self._handlers.get(instance.name, [])
                     if handler.address and handler.is_alive]
        if not addresses:
            raise exception.InstanceNotReady(instance_id=instance.uuid)
        return console_type.ConsoleSerial(*addresses[0])

    def _ensure(self, vm_name: str, uuid: str) -> None:
        handlers = self._handlers.get(vm_name, [])
        if self._stopped or (handlers and
                             all(one.is_alive for one in handlers)):
            return
        self._drop(vm_name)
        try:
            # Asked under the lock: a start that comes late, after the VM was
            # turned off, must not hold the log file.
            if (self._win.state(vm_name) is not oswin.VMState.OFF and
                    not self._win.vm.is_secure_vm(vm_name)):
                self._serve(vm_name)
        except exception.InstanceNotFound:
            LOG.debug("VM %s is gone; no console of it.", vm_name)
        except Exception as exc:
            # A VM runs well without its console, and events go on.
            LOG.warning("The serial console of %s (%s) is not served: "
                        "%s", vm_name, uuid, errors.text_of(exc))
            self._drop(vm_name)
        if self._stopped:       # meanwhile; stop_all() has not seen it
            self._drop(vm_name)

    def _serve(self, vm_name: str) -> None:
        pipes = self._win.vm.get_vm_serial_port_connections(vm_name)
        only_one = len(pipes) == 1
        handlers = self._handlers.setdefault(vm_name, [])
        for pipe_path in pipes:
            interactive = pipe_path.endswith(f'_{_INTERACTIVE}')
            logged = only_one or not interactive
            proxy = None
            if interactive and self._pool is not None:
                proxy = serialproxy.SerialProxy(self._win, self._pool)
            if not logged and proxy is None:
                continue
            log_path = self._paths.console_path(vm_name) if logged else None
            handler = _Handler(self._win, pipe_path, log_path, proxy)
            handler.start()
            handlers.append(handler)

    def _drop(self, vm_name: str) -> None:
        for handler in self._handlers.pop(vm_name, []):
            handler.stop()

    @contextlib.contextmanager
    def _vm_lock(self, vm_name: str) -> Iterator[None]:
        release = self._locks.acquire(vm_name, _LOCK_TIMEOUT_S)
        try:
            yield
        finally:
            release()
