# SPDX-License-Identifier: Apache-2.0
"""Hyper-V jobs: work that outlives the method call that started it.

A job is a record of ``Msvm_ConcreteJob`` (or a sibling) plus, while it
runs, one :class:`Job` here that knows what to do at its end. States and
codes: hyperv-semantics.md section 3.

====================  =====================================================
running (4)           from the start
completed (7)         the work returned
exception (10)        the work raised; what it began is undone
terminated/killed     RequestStateChange(4 or 5) on a cancellable job
====================  =====================================================

Long work comes in steps, each at a percentage of the job's time; a fault
with ``at_percent`` breaks the job when it gets there.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import typing

from .winerror import WinError
from .wmi import engine
from .wmi import values

if typing.TYPE_CHECKING:
    from .host import Host

V2 = 'root/virtualization/v2'

RUNNING, COMPLETED, TERMINATED, KILLED, EXCEPTION = 4, 7, 8, 9, 10

#: Codes of the Microsoft methods, also found in a job's ErrorCode.
FAILED, ACCESS_DENIED, NOT_SUPPORTED = 32768, 32769, 32770
INVALID_PARAMETER, IN_USE, INVALID_STATE = 32773, 32774, 32775
OUT_OF_MEMORY = 32778
STARTED = 4096

#: JobType values (section 3). Msvm_StorageJob has none for most work.
UNKNOWN = 0
DEFINE, MODIFY, DESTROY = 1, 2, 3
START, POWER_OFF, SAVE, RESTORE = 12, 13, 14, 15
PAUSE, RESUME, RESET = 26, 27, 28
ADD_RESOURCES, MODIFY_RESOURCES, REMOVE_RESOURCES = 30, 31, 32
IMPORT, EXPORT = 61, 62
SNAPSHOT, APPLY_SNAPSHOT, DELETE_SNAPSHOT = 70, 71, 72
#: JobType values of Msvm_MigrationJob.
CREATE_REMOTE, CHECK_MIGRATION = 300, 301
MOVE, MOVE_ALL, MOVE_STORAGE = 305, 306, 307

#: Seconds that work takes when the fabric's clock is real.
DURATION_S = {START: 1.0, POWER_OFF: 0.5, SAVE: 2.0, RESTORE: 2.0,
              PAUSE: 0.2, RESUME: 0.2, RESET: 0.5, DESTROY: 0.5,
              SNAPSHOT: 1.0, APPLY_SNAPSHOT: 1.0, DELETE_SNAPSHOT: 1.5,
              ADD_RESOURCES: 0.2, REMOVE_RESOURCES: 0.2}

#: A wait shorter than this is a rounding error of the clock's sums.
_ROUNDING_S = 1e-6


class JobFailure(Exception):
    """Work that failed: the job ends in state 10 with this code and text."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


class Gone(LookupError):
    """What the work was about does not exist any more."""


def from_windows(exc: WinError, what: str) -> JobFailure:
    """A failed file operation as a job reports it.

    :param what: what could not be done, a sentence without its full stop
    :returns: text ends with the HRESULT, e.g. ``(0x80070002)``
    """
    code = exc.winerror & 0xFFFFFFFF
    hresult = code if code > 0xFFFF else 0x80070000 | code
    return JobFailure('%s: %s (0x%08X).' % (what, exc, hresult))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Work for a job, and how the job shows itself."""

    #: Called once at the end of the job's time; what it raises as
    #: JobFailure or WinError ends the job in state 10.
    work: Callable[[], object]
    job_type: int
    name: str = ''
    #: Records linked by Msvm_AffectedJobElement.
    affected: Iterable[engine.Record] = ()
    #: Records that *work* appends; linked when it is done.
    created: list[engine.Record] = dataclasses.field(default_factory=list)
    #: Called when the job fails or is killed.
    undo: Callable[[], object] | None = None
    cancellable: bool = False
    cls: str = 'Msvm_ConcreteJob'
    #: Seconds in real time; by default per type.
    duration_s: float | None = None
    #: Work on the way: percentage (0..99) at which it is done, and what.
    steps: Iterable[tuple[float, Callable[[], object]]] = ()
    #: Called when the host that runs the job loses its power.
    power_cut: Callable[[], object] | None = None
    #: Further properties of the job's record.
    facts: Mapping[str, typing.Any] = dataclasses.field(
        default_factory=dict)


@dataclasses.dataclass(slots=True)
class Job:
    """A job that has not ended."""

    record: engine.Record
    task: Task
    started_s: float
    duration_s: float
    #: What is still to do: percentage, and what is done there.
    plan: list[tuple[float, Callable[[], object]]]
    timer: typing.Any = None
    reached: float = 0.0
    #: Percentage beyond which a test holds it, or None.
    held_at: float | None = None


class Jobs:
    """The jobs of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pending: dict[str, Job] = {}
        self._planned_failures: list[tuple[int, JobFailure]] = []
        self._held: dict[int, float] = {}

    # -- for tests and the command line
    def fail_next(self, job_type: int, text: str = 'The operation failed.',
                  code: int = FAILED) -> None:
        """Make the next job of *job_type* end in exception."""
        self._planned_failures.append((job_type, JobFailure(text, code)))

    @contextlib.contextmanager
    def held(self, job_type: int, percent: float = 0.0) -> Iterator[None]:
        """Keep jobs of *job_type* running until the block is left.

        :param percent: how far they come
        """
        self._held[job_type] = percent
        try:
            yield
        finally:
            with self._host.fabric.lock:
                del self._held[job_type]
                for job in list(self._pending.values()):
                    if job.held_at is not None and (
                            job.task.job_type == job_type):
                        job.held_at = None
                        self._run(job)

    def pending(self) -> list[engine.Record]:
        """Records of the jobs that have not ended."""
        return [job.record for job in self._pending.values()]

    def problems(self) -> list[str]:
        """What a clean host does not have: jobs that still run."""
        return ['job %s still runs (%s)' % (
            job.record['InstanceID'], job.record['Description'])
            for job in self._pending.values()]

    def power_cut(self) -> None:
        """Jobs end with the host that ran them."""
        pending, self._pending = self._pending, {}
        for job in pending.values():
            if job.timer is not None:
                job.timer.cancel()
            if job.task.power_cut is not None:
                job.task.power_cut()

    # -- for the providers
    def start(self, task: Task) -> dict[str, typing.Any]:
        """Run a task as a job.

        :returns: out parameters ``Job`` and ``ReturnValue`` (4096)
        """
        host = self._host
        seconds = task.duration_s
        if seconds is None:
            seconds = DURATION_S.get(task.job_type, 0.1)
        delay_s = host.clock.duration(seconds)
        record = self._record(task)
        for element in task.affected:
            host.v2.add('Msvm_AffectedJobElement', AffectedElement=element,
                        AffectingElement=record)
        job = Job(record, task, host.clock.monotonic(), delay_s,
                  self._plan(task), held_at=self._held.get(task.job_type))
        self._pending[record['InstanceID']] = job
        self._run(job)
        return {'Job': record, 'ReturnValue': STARTED}

    def failed(self, failure: JobFailure, job_type: int,
               affected: Iterable[engine.Record] = ()
               ) -> dict[str, typing.Any]:
        """A job that finds *failure* when it does its work."""
        def work() -> None:
            raise failure
        return self.start(Task(work=work, job_type=job_type,
                               affected=affected))

    def has_ended(self, record: engine.Record) -> bool:
        """Whether a job is in one of its final states."""
        return record['InstanceID'] not in self._pending

    def kill(self, record: engine.Record, state: int) -> int:
        """End a running job from outside; a job's RequestStateChange."""
        job = self._pending.get(record['InstanceID'])
        if job is None:
            return 4097                     # invalid state transition
        if not record['Cancellable'] and (
                self._host.quirks.jobs_end_only_if_cancellable):
            return 1                        # not supported
        if job.timer is not None:
            job.timer.cancel()
        self._end(job, state, JobFailure('The operation was cancelled.'))
        return 0

    def running_on(self, element: engine.Record, *job_types: int) -> bool:
        """Whether a job of one of those types affects *element*."""
        return any(
            job.task.job_type in job_types and
            self._host.v2.find('Msvm_AffectedJobElement',
                               AffectedElement=element,
                               AffectingElement=job.record)
            for job in self._pending.values())

    def percent(self, record: engine.Record) -> int:
        """Progress of a job by the fabric's clock."""
        job = self._pending.get(record['InstanceID'])
        if job is None:
            return int(record['PercentComplete'])
        if job.held_at is not None or job.duration_s <= 0:
            return int(job.reached)
        spent_s = self._host.clock.monotonic() - job.started_s
        return min(99, int(100 * spent_s / job.duration_s))

    def elapsed_s(self, record: engine.Record) -> float | None:
        """Seconds a job has been running; None once it has ended."""
        job = self._pending.get(record['InstanceID'])
        if job is None:
            return None
        return float(self._host.clock.monotonic() - job.started_s)

    # -- inside
    def _record(self, task: Task) -> engine.Record:
        now = values.cim_datetime(self._host.clock.time())
        name = task.name
        return self._host.v2.add(
            task.cls, InstanceID=self._host.new_guid(), JobState=RUNNING,
            JobType=task.job_type, PercentComplete=0, ErrorCode=0,
            Cancellable=task.cancellable, Caption=name, Description=name,
            ElementName=name, Name=name, JobStatus='Running',
            TimeSubmitted=now, StartTime=now, TimeOfLastStateChange=now,
            ElapsedTime=values.cim_interval(0), LocalOrUtcTime=2,
            HealthState=5, OperationalStatus=(11,),
            StatusDescriptions=('InService',), DeleteOnCompletion=False,
            Owner='NT AUTHORITY\\SYSTEM',
            TimeBeforeRemoval=values.cim_interval(
                self._host.quirks.job_lifetime_s), **task.facts)

    def _plan(self, task: Task
              ) -> list[tuple[float, Callable[[], object]]]:
        """Steps and work in order, cut off where a fault breaks it."""
        plan = [*sorted(task.steps, key=lambda step: step[0]),
                (100.0, task.work)]
        fault = self._host.fabric.faults.of_job(self._host.name, task.name)
        if fault is None:
            return plan
        at_percent = float(fault.at_percent or 0)

        def fail() -> None:
            raise JobFailure('%s broke off at %d %%: %s' % (
                task.name, at_percent, fault.error('method')),
                fault.code or FAILED)
        return [step for step in plan if step[0] < at_percent] + [
            (at_percent, fail)]

    def _run(self, job: Job) -> None:
        """Do what is due; wait for the rest, or end the job."""
        clock = self._host.clock
        while job.record['InstanceID'] in self._pending:
            percent, action = job.plan[0]
            if job.held_at is not None and percent > job.held_at:
                job.reached = job.held_at
                return
            wait_s = job.duration_s * percent / 100 - (
                clock.monotonic() - job.started_s)
            if job.duration_s > 0 and wait_s > _ROUNDING_S:
                job.timer = clock.call_later(
                    wait_s, lambda: self._run_later(job))
                return
            del job.plan[0]
            job.reached = percent
            self._do(job, action, last=not job.plan)

    def _run_later(self, job: Job) -> None:
        """Go on in the clock's thread, which must survive."""
        try:
            self._run(job)
        except Exception as exc:    # nobody above this frame could say it
            self._host.fabric.note_not_simulated(exc)
            self._end(job, EXCEPTION, JobFailure(
                'The simulator failed: %r.' % exc))

    def _do(self, job: Job, action: Callable[[], object], *,
            last: bool) -> None:
        try:
            if last:
                self._meet_failure(job.task.job_type)
            action()
        except JobFailure as exc:
            self._end(job, EXCEPTION, exc)
        except WinError as exc:
            self._end(job, EXCEPTION,
                      from_windows(exc, 'The operation failed'))
        except Gone as exc:
            self._end(job, EXCEPTION, JobFailure(
                '%s while the operation was pending.' % exc, INVALID_STATE))
        else:
            if last:
                self._end(job, COMPLETED, None)

    def _meet_failure(self, job_type: int) -> None:
        """Raise what :meth:`fail_next` has planned."""
        for index, (planned, failure) in enumerate(self._planned_failures):
            if planned == job_type:
                del self._planned_failures[index]
                raise failure

    def _end(self, job: Job, state: int, failure: JobFailure | None) -> None:
        if self._pending.pop(job.record['InstanceID'], None) is None:
            return
        if failure is not None and job.task.undo is not None:
            job.task.undo()
        store = self._host.v2
        record = job.record
        for element in job.task.created:
            store.add('Msvm_AffectedJobElement', AffectedElement=element,
                      AffectingElement=record)
        clock = self._host.clock
        changes: dict[str, typing.Any] = {
            'JobState': state, 'OperationalStatus': (2,),
            'JobStatus': 'Completed', 'StatusDescriptions': ('OK',),
            'ElapsedTime': values.cim_interval(
                clock.monotonic() - job.started_s),
            'TimeOfLastStateChange': values.cim_datetime(clock.time())}
        if failure is None:
            changes['PercentComplete'] = 100
        else:
            changes.update(
                ErrorCode=failure.code, ErrorDescription=str(failure),
                JobStatus=str(failure), StatusDescriptions=('Error',),
                OperationalStatus=(10 if state == EXCEPTION else 2,),
                ErrorSummaryDescription=str(failure).split(':')[0])
        store.update(record, **changes)
        # A finished job can be read for a few minutes, then its path gives
        # NOT_FOUND [F]. Source: hyperv-semantics.md section 3.
        clock.call_later(self._host.quirks.job_lifetime_s,
                         lambda: self._remove(record.path))

    def _remove(self, path: str) -> None:
        store = self._host.v2
        for link in store.find('Msvm_AffectedJobElement',
                               AffectingElement=path):
            store.delete(link)
        record = store.by_path(path)
        if record is not None:
            store.delete(record)
