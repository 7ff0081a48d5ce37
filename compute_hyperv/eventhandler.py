# SPDX-License-Identifier: Apache-2.0
"""Changes of power state on the host become Nova's life-cycle events."""

from collections.abc import Callable
import threading
from typing import Any

from nova.virt import event as virt_event
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

_EVENT_FOR = {
    oswin.VMState.RUNNING: virt_event.EVENT_LIFECYCLE_STARTED,
    oswin.VMState.OFF: virt_event.EVENT_LIFECYCLE_STOPPED,
    oswin.VMState.PAUSED: virt_event.EVENT_LIFECYCLE_PAUSED,
    oswin.VMState.SAVED: virt_event.EVENT_LIFECYCLE_SUSPENDED,
}
#: Pause after an error of the event source, seconds.
_PAUSE_S = 1.0
#: How much longer than one poll the end of the thread is waited for.
_STOP_MARGIN_S = 2.0


class EventHandler:
    """Listens to power state changes, one thread for all VMs.

    WMI delivers the changes; no VM is polled. In eventlet mode the thread is
    a green one and the waiting happens in eventlet's thread pool, so that
    Nova's callback always runs where Nova expects it.

    :param emit: Nova's ``emit_event``; set by :meth:`start`.
    """

    def __init__(self, *, win: oswin.Win, console: Any, timeframe_s: int,
                 poll_s: int) -> None:
        self._win = win
        self._console = console
        self._timeframe_s = timeframe_s
        self._poll_s = poll_s
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._emit: Callable[[Any], None] | None = None

    def start(self, emit: Callable[[Any], None]) -> None:
        """Begin to listen.

        The subscription is made before this returns: no later change is
        missed.

        :param emit: called with each event; may block.
        """
        self._emit = emit
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._listen, args=(self._subscribe(),), daemon=True,
            name='hyperv-power-events')
        self._thread.start()

    def stop(self) -> None:
        """Forward nothing any more; idempotent.

        Waits for the thread for at most one poll: it ends there.
        """
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._poll_s + _STOP_MARGIN_S)

    def _subscribe(self) -> Callable[[], Any]:
        return self._win.power_events(self._timeframe_s, self._poll_s)

    def _listen(self, next_event: Callable[[], Any]) -> None:
        while not self._stopping.is_set():
            try:
                change = next_event()
            except Exception as exc:
                # Nobody else would notice that the thread is gone. A
                # subscription ends with a restart of the host's WMI service.
                LOG.warning("Changes of power states outside Nova are not "
                            "seen; subscribing again: %s",
                            errors.text_of(exc))
                self._stopping.wait(_PAUSE_S)
                next_event = self._resubscribe() or next_event
                continue
            if change is not None and not self._stopping.is_set():
                self._try_to_handle(*change)

    def _resubscribe(self) -> Callable[[], Any] | None:
        try:
            return self._subscribe()
        except Exception as exc:        # the loop comes here again
            LOG.warning("No subscription yet: %s", errors.text_of(exc))
            return None

    def _try_to_handle(self, vm_name: str, state: oswin.VMState) -> None:
        try:
            self._handle(vm_name, state)
        except Exception:               # the next events must be heard
            LOG.exception("The change of VM %s to %s was lost.", vm_name,
                          state.name)

    def _handle(self, vm_name: str, state: oswin.VMState) -> None:
        uuid = self._win.uuid_of(vm_name)
        if uuid is None:        # not Nova's, or gone already
            return
        LOG.debug("VM %s became %s.", vm_name, state.name)
        # Opening a pipe can take seconds: the next events need not wait. And
        # it does not depend on what Nova makes of the event.
        threading.Thread(target=self._follow, args=(vm_name, uuid),
                         daemon=True, name=f'console-{vm_name}').start()
        if self._emit is not None:
            self._emit(virt_event.LifecycleEvent(uuid, _EVENT_FOR[state]))

    def _follow(self, vm_name: str, uuid: str) -> None:
        """Serve the console of a VM that runs now, else stop that.

        Whatever the event said: the state may have changed since, and the
        threads of several events may come in any order.
        """
        try:
            self._console.follow(vm_name, uuid)
        except Exception:               # the last frame of its thread
            LOG.warning("The console of VM %s was not looked after.",
                        vm_name, exc_info=True)
