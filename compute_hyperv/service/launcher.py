# SPDX-License-Identifier: Apache-2.0
"""What stands in for Nova's launcher in the supervisor's child."""

import enum
import json
import logging
import os
import time
from typing import Any
from typing import BinaryIO

LOG = logging.getLogger(__name__)

#: How often the loop looks whether it is to stop, in seconds.
POLL_S = 0.2
#: How long the status file may be in use by a reader, in seconds.
_REPLACE_S = 10.0


class State(enum.Enum):
    """What the status file says."""

    STARTING = 'starting'
    RUNNING = 'running'
    STOPPING = 'stopping'


class Status:
    """The status file, the child's side."""

    def __init__(self, path: str) -> None:
        self._path = path

    def write(self, state: State) -> None:
        """Replace the file; a reader sees the old or the new text."""
        temporary = f'{self._path}.{os.getpid()}'
        with open(temporary, 'w', encoding='utf-8') as stream:
            json.dump({'pid': os.getpid(), 'state': state.value}, stream)
        give_up = time.monotonic() + _REPLACE_S
        while True:
            try:
                os.replace(temporary, self._path)
                return
            except PermissionError:
                # On Windows: while the supervisor reads the old one.
                if time.monotonic() >= give_up:
                    raise
                time.sleep(0.01)


class Launcher:
    """Stands in for the launcher of ``nova.service``.

    One server, no workers, no signals. ``serve`` and ``wait`` are what
    ``nova.cmd.compute.main`` calls.
    """

    def __init__(self, status: Status) -> None:
        self._status = status
        self._server: Any = None
        # A plain flag: it is set by a native thread, and the loop may be a
        # green one.
        self._stop_asked = False
        self._started = False

    def ask_to_stop(self) -> None:
        """May be called from any thread, more than once.

        While Nova is still starting (it waits for nova-conductor without an
        end, and cannot be interrupted) the process ends at once: nothing has
        been begun that the next start would not clear up.
        """
        self._stop_asked = True
        if not self._started:
            self._status.write(State.STOPPING)
            os._exit(0)

    def serve(self, server: Any, workers: int | None = None,
              no_fork: bool = False) -> None:
        """Start Nova's service; returns when it is up."""
        self._server = server
        server.start()
        self._started = True
        self._status.write(State.RUNNING)

    def wait(self) -> None:
        """Return when the service has been stopped gracefully."""
        while not self._stop_asked:
            time.sleep(POLL_S)
        self._status.write(State.STOPPING)
        self._server.stop()
        self._server.wait()


def watch(stream: BinaryIO, launcher: Launcher) -> None:
    """Wait for a line, or the end, of *stream*; then ask for the stop."""
    line = stream.readline()
    LOG.info('Asked to stop: %s.',
             'by the supervisor' if line else 'the supervisor is gone')
    launcher.ask_to_stop()
