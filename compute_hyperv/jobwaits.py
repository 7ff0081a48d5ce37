# SPDX-License-Identifier: Apache-2.0
"""Deadlines for waits for Hyper-V's jobs, and for their ends.

os-win looks at a job until it is done, for ever. The job itself goes on
after the deadline: Hyper-V does not end most of them.
"""

from collections.abc import Iterator
import contextlib
import threading
import time
from typing import Any

from nova import exception

from compute_hyperv import errors
from compute_hyperv import operation

#: How long a job that is cancelled may take to end, seconds.
CANCEL_TIMEOUT_S = 60
#: Tries of a host that does not answer.
_ATTEMPTS = 4

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


def end(win: Any, vm_name: str, *, timeout_s: float, option: str,
        clock: operation.Clock = time) -> None:
    """Cancel the jobs on a VM and wait for those that cannot be cancelled.

    What they make of the VM is known only then. One that is gone has none.

    :param timeout_s: how long all of it may take; *option* is its name.
    :raises JobsStillRunning: some are left, or just begun; names them.
    """
    deadline = clock.monotonic() + timeout_s

    def ended() -> bool:
        left_s = int(deadline - clock.monotonic())
        try:
            return bool(win.stop_jobs(vm_name, max(1, min(CANCEL_TIMEOUT_S,
                                                          left_s))))
        except exception.InstanceNotFound:
            return True

    try:
        operation.until(
            lambda: operation.retry(
                ended, on=(Exception,), only_if=errors.is_expected,
                attempts=_ATTEMPTS, clock=clock),
            what=f'the end of the jobs of {vm_name}', timeout_s=timeout_s,
            clock=clock)
    except errors.WaitTimeout as exc:
        raise still_running(win, vm_name, timeout_s, option) from exc


def still_running(win: Any, vm_name: str, timeout_s: float,
                  option: str) -> errors.JobsStillRunning:
    """The error for jobs on a VM that took longer than an option allows.

    That the host cannot tell which ones, or has no such VM any more, changes
    nothing about that.
    """
    try:
        jobs = '; '.join(win.jobs(vm_name)) or 'no job'
    except Exception as exc:
        if not errors.is_expected(exc):
            raise
        jobs = f'unknown ({errors.text_of(exc)})'
    return errors.JobsStillRunning(
        vm_name=vm_name, timeout_s=timeout_s, option=option, what='jobs',
        jobs=jobs)


def _name(job: Any) -> str:
    return str(job.ElementName or job.Description or job.InstanceID)
