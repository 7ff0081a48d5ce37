# SPDX-License-Identifier: Apache-2.0
"""Follows a live migration: progress for Nova, time limit, cancellation."""

import threading
from typing import Any

from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import jobwaits
from compute_hyperv import livehost
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

#: How often progress is looked at, seconds.
LOOK_INTERVAL_S = 2.0


class LiveWatch:
    """A thread beside the one that waits for Hyper-V's job.

    ``with watch: ...`` around that wait.

    :param record: Nova's migration record; its ``disk_*`` and ``memory_*``
        become bytes of what moves. Hyper-V tells percents only: disks come
        first, memory after them.
    :param timeout_s: a migration that takes longer is cancelled; 0: none.
    """

    def __init__(self, *, win: oswin.Win, host: livehost.LiveHost,
                 instance: Any, record: Any, disk_bytes: int,
                 memory_bytes: int, timeout_s: int) -> None:
        self._win = win
        self._host = host
        self._instance = instance
        self._record = record
        self._disk_bytes = disk_bytes
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._cancelled = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._run, daemon=True,
            name=f'live-migration-{instance.name}')

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody wanted it to end, or it took too long."""
        return self._cancelled.is_set()

    def cancel(self) -> bool:
        """End the migration; whether none is under way any more.

        One that has not begun yet does not begin.
        """
        self._cancelled.set()
        return self._win.stop_jobs(self._instance.name,
                                   jobwaits.CANCEL_TIMEOUT_S)

    def __enter__(self) -> None:
        self._try(self._report, 0)
        self._thread.start()

    def __exit__(self, *exc_info: Any) -> None:
        self._done.set()
        self._thread.join()

    def finish(self) -> None:
        """Tell Nova that everything has moved."""
        self._try(self._report, 100)

    def _run(self) -> None:
        waited_s, said = 0.0, -1
        while not self._done.wait(LOOK_INTERVAL_S):
            waited_s += LOOK_INTERVAL_S
            if self._timeout_s and waited_s >= self._timeout_s:
                LOG.warning("The live migration takes longer than %d seconds "
                            "([hyperv] live_migration_timeout).",
                            self._timeout_s, instance=self._instance)
                self._cancelled.set()
            if self.is_cancelled:
                # Perhaps it had not begun when this was asked for.
                self._try(self.cancel)
            said = self._try(self._look, said) or said

    def _look(self, said: int) -> int:
        now = self._host.progress(self._instance.name)
        if now is None or now.percent == said:
            return said
        LOG.info("Live migration: %s", now.text, instance=self._instance)
        self._report(now.percent)
        return now.percent

    def _report(self, percent: int) -> None:
        total = self._disk_bytes + self._memory_bytes
        moved = total * percent // 100
        disk = min(moved, self._disk_bytes)
        memory = moved - disk
        record = self._record
        # Nova's API knows no 0 there, only null.
        record.disk_total = self._disk_bytes or None
        record.disk_processed = disk or None
        record.disk_remaining = self._disk_bytes - disk or None
        record.memory_total = self._memory_bytes or None
        record.memory_processed = memory or None
        record.memory_remaining = self._memory_bytes - memory or None
        record.save()
        self._instance.progress = percent
        self._instance.save()

    def _try(self, call: Any, *args: Any) -> Any:
        """The migration goes on, whatever cannot be told about it."""
        try:
            return call(*args)
        except Exception as exc:
            LOG.debug("Live migration: %s", errors.text_of(exc),
                      instance=self._instance)
            return None
