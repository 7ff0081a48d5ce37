# SPDX-License-Identifier: Apache-2.0
"""Run steps in the order of their needs, at the same time where possible."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import concurrent.futures
import dataclasses

from cloud import processes
from cloud import progress


#: a task's answer that leaves no line
NOTHING = '-'


@dataclasses.dataclass(frozen=True)
class Task:
    """One step of the work.

    :ivar name: how others refer to it in ``after``.
    :ivar title: what the person reads.
    :ivar action: does the work; what it returns is the line's remark,
        ``NOTHING`` if there was nothing to do and nothing to tell.
    :ivar after: names of the tasks that must have ended before.
    """

    name: str
    title: str
    action: Callable[[], str]
    after: tuple[str, ...] = ()


def run(tasks: Sequence[Task], show: progress.Progress,
        workers: int = 12) -> None:
    """Run all tasks; the first failure stops the start of further ones.

    :raises ValueError: a task needs one that does not exist, or a cycle.
    :raises Exception: the first error of a task, after those that were
        running at that moment have ended.
    """
    waiting = {task.name: task for task in tasks}
    unknown = {need for task in tasks for need in task.after} - set(waiting)
    if unknown:
        raise ValueError(f'tasks need unknown tasks {sorted(unknown)}')
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            failures = _work(pool, waiting, show)
        except KeyboardInterrupt:
            # Wherever it strikes: leaving the pool waits for its threads.
            processes.interrupt()
            raise
    if failures:
        raise failures[0]
    if waiting:
        raise ValueError(f'tasks wait for each other: {sorted(waiting)}')


def _work(pool: concurrent.futures.Executor, waiting: dict[str, Task],
          show: progress.Progress) -> list[BaseException]:
    """Run what is ready until nothing is, or something has failed.

    :returns: the errors of tasks; what has begun is gone from *waiting*.
    """
    done: set[str] = set()
    failures: list[BaseException] = []
    running: dict[concurrent.futures.Future[None], str] = {}
    while True:
        if not failures:
            for task in _ready(waiting, done):
                del waiting[task.name]
                running[pool.submit(_perform, task, show)] = task.name
        if not running:
            return failures
        for future in _first(running):
            done.add(running.pop(future))
            error = future.exception()
            if error is not None:
                failures.append(error)


def _ready(waiting: dict[str, Task], done: set[str]) -> list[Task]:
    return [task for task in waiting.values() if done.issuperset(task.after)]


def _first(running: dict[concurrent.futures.Future[None], str]
           ) -> set[concurrent.futures.Future[None]]:
    return concurrent.futures.wait(
        running, return_when=concurrent.futures.FIRST_COMPLETED).done


def _perform(task: Task, show: progress.Progress) -> None:
    with show.step(task.title) as step:
        step.note = task.action()
        step.hidden = step.note == NOTHING
