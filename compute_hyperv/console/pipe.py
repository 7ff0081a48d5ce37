# SPDX-License-Identifier: Apache-2.0
"""One named pipe of a serial port, through os-win's handler.

os-win serves it with native threads: a reader, which also writes the log,
and, for an interactive console, a writer.
"""

import threading as threading_module
from typing import Any

from nova import utils as nova_utils

from compute_hyperv import oswin

_JOIN_S = 10.0


class Pipe:
    """A handler that can be stopped without waiting for its writer.

    :param handler: of :meth:`oswin.Win.named_pipe`.
    """

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    @property
    def is_open(self) -> bool:
        """Whether it still works: Hyper-V closes it when the VM stops."""
        return (bool(self._handler._workers) and
                not self._handler._stopped.is_set())

    def start(self) -> None:
        """Open the pipe; waits for it for some seconds.

        :raises OSWinException: there is no such pipe, or it is taken.
        """
        nova_utils.tpool_wrap(self._handler).start()

    def stop(self) -> None:
        """Close the pipe and the log file; idempotent."""
        workers = list(self._handler._workers)
        # os-win's own stop() also waits for the writer, which looks only
        # once a second whether it has to end.
        oswin.native(threading_module).Thread(
            target=self._handler.stop, daemon=True,
            name='serial-pipe-stop').start()
        for reader in workers[:1]:
            reader.join(_JOIN_S)

    def flush(self) -> None:
        """Write what is buffered to the log file."""
        self._handler.flush_log_file()
