# SPDX-License-Identifier: Apache-2.0
"""What could not be done when the service started, and is tried again.

Another service was not there yet: Cinder, or nova-compute on another host.
"""

from collections.abc import Callable
import threading
from typing import Any

from oslo_log import log as logging

from compute_hyperv import errors

LOG = logging.getLogger(__name__)

_FIRST_S = 1.0
_LONGEST_S = 60.0


class Again:
    """Repeats calls, each in a thread, until they work or the service ends.

    :param first_s: pause before the first attempt, seconds; each later one
        is twice as long, but never more than a minute.
    """

    def __init__(self, first_s: float = _FIRST_S) -> None:
        self._first_s = first_s
        self._ended = threading.Event()

    def start(self, what: str, call: Callable[..., object],
              *args: Any) -> None:
        """Repeat a call that has failed; its result does not matter.

        :param what: names it in the log.
        """
        LOG.info("%s: will be tried again until it works.", what)
        threading.Thread(target=self._run, args=(self._ended, what, call,
                                                 args),
                         daemon=True, name=f'again-{what}').start()

    def stop(self) -> None:
        """End what was started, with the service; idempotent.

        nova-compute may begin anew in the same process, with new calls.
        """
        self._ended.set()
        self._ended = threading.Event()

    def _run(self, ended: threading.Event, what: str,
             call: Callable[..., object], args: tuple[Any, ...]) -> None:
        pause_s = self._first_s
        while not ended.wait(pause_s):
            try:
                call(*args)
                LOG.info("%s: done at last.", what)
                return
            except Exception as exc:    # the last frame of its thread
                LOG.debug("%s: %s", what, errors.text_of(exc))
            pause_s = min(2 * pause_s, _LONGEST_S)
