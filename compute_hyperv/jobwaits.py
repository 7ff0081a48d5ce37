# SPDX-License-Identifier: Apache-2.0
"""A deadline for waits for Hyper-V's jobs.

os-win looks at a job until it is done, for ever. The job itself goes on
after the deadline: Hyper-V does not end most of them.
"""

from collections.abc import Iterator
import contextlib
import threading
import time
from typing import Any

from compute_hyperv import errors
from compute_hyperv import operation

_this_thread = threading.local()


@contextlib.contextmanager
def within(timeout_s: float) -> Iterator[None]:
    """Give the jobs that this thread waits for in the block another limit."""
    _this_thread.timeout_s = timeout_s
    try:
        yield
    finally:
        _this_thread.timeout_s = None


def limit(jobutils: Any, timeout_s: float, *,
          clock: operation.Clock = time) -> None:
    """Let no wait of *jobutils* for one job last longer than a time.

    :param timeout_s: the limit, unless :func:`within` gives another.
    :param jobutils: os-win's helper of one of its utilities; it raises
        :class:`errors.WaitTimeout`, which names the job, from now on.
    """
    wait, is_completed = jobutils._wait_for_job, jobutils._is_job_completed
    current = threading.local()

    def wait_for_job(job_path: str) -> Any:
        current.timeout_s = getattr(_this_thread, 'timeout_s', None) or (
            timeout_s)
        current.deadline = clock.monotonic() + current.timeout_s
        try:
            return wait(job_path)
        finally:
            current.deadline = None

    def is_job_completed(job: Any) -> bool:
        done = bool(is_completed(job))
        # os-win asks this in other places, too, that do not wait.
        deadline = getattr(current, 'deadline', None)
        if not done and deadline is not None and clock.monotonic() > deadline:
            raise errors.WaitTimeout(what=f"Hyper-V's job '{_name(job)}'",
                                     timeout_s=current.timeout_s)
        return done

    jobutils._wait_for_job = wait_for_job
    jobutils._is_job_completed = is_job_completed


def _name(job: Any) -> str:
    return str(job.ElementName or job.Description or job.InstanceID)
