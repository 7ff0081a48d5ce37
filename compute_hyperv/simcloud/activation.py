# SPDX-License-Identifier: Apache-2.0
"""When a bound port of a simulated host becomes active.

Neutron's layer 2 agent reports a port when its NIC is connected on the host.
Too early is as wrong as never: Nova does not yet listen for the event then,
and waits for it until its timeout.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
import logging
import threading
import time

from compute_hyperv.sim import remote

LOG = logging.getLogger(__name__)

#: how long a port that nobody plugs is watched
PATIENCE_S = 600.0


def wired_ports(socket_path: str) -> Collection[str]:
    """The names of all NICs that are connected to a vSwitch.

    The driver names a NIC after its port.

    :param socket_path: where the fabric is served.
    :raises OSError: no server there.
    """
    return {row['name'] for row in
            remote.admin(socket_path, 'admin.show', what='adapters')
            if row['switch']}


class Activations:
    """Activates ports, one thread for all of them.

    An activation that raises is logged and forgotten: the port's next update
    asks again.

    :param activate: called with the port's id.
    :param delay_s: seconds between a port being wired and *activate*.
    :param wired: gives the ids of the ports that are wired now; without it
        a port counts as wired when it is asked for.
    :param poll_s: seconds between two looks.
    """

    def __init__(self, activate: Callable[[str], object], delay_s: float,
                 wired: Callable[[], Collection[str]] | None = None,
                 poll_s: float = 0.25) -> None:
        self._activate = activate
        self._delay_s = delay_s
        self._wired = wired
        self._poll_s = poll_s
        self._changed = threading.Condition()
        self._asked: dict[str, float] = {}
        self._wired_since: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._blind = False

    def ask(self, port_id: str) -> bool:
        """Activate a port once it is wired.

        :returns: False if it waits already.
        """
        with self._changed:
            if port_id in self._asked:
                return False
            self._asked[port_id] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name='port-activation', daemon=True)
                self._thread.start()
            self._changed.notify()
            return True

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread; what still waits is dropped."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while self._wait():
            for port_id in self._due():
                self._forget(port_id)
                try:
                    self._activate(port_id)
                except Exception:     # the thread serves other ports too
                    LOG.exception('Activation of port %s failed', port_id)

    def _wait(self) -> bool:
        """Wait for the next look; False at the end."""
        with self._changed:
            if self._asked:
                self._changed.wait(self._poll_s)
            while not self._asked and not self._stopped:
                self._changed.wait()
            return not self._stopped

    def _due(self) -> list[str]:
        with self._changed:
            asked = dict(self._asked)
        try:
            wired = asked if self._wired is None else self._wired()
        except OSError as exc:
            if not self._blind:       # once, not at every look
                LOG.warning('Cannot see which ports are wired: %s', exc)
            self._blind = True
            return []
        self._blind = False
        now = time.monotonic()
        due = []
        for port_id, since in asked.items():
            if port_id in wired:
                first = self._wired_since.setdefault(
                    port_id, since if self._wired is None else now)
                if now - first >= self._delay_s:
                    due.append(port_id)
            elif now - since > PATIENCE_S:
                LOG.warning('Port %s was not wired within %d seconds',
                            port_id, PATIENCE_S)
                self._forget(port_id)
        return due

    def _forget(self, port_id: str) -> None:
        with self._changed:
            self._asked.pop(port_id, None)
            self._wired_since.pop(port_id, None)
