# SPDX-License-Identifier: Apache-2.0
"""The cloud's processes: start, find again, stop, leave none behind.

Every process gets a session of its own, which its children are in, and the
variable ``MARK`` in its environment, which daemons of daemons (Erlang's epmd)
inherit. So whatever belongs to a cloud is found in /proc, and nothing else is
ever signalled.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
from typing import IO

from cloud import errors
from cloud import layout as layouts

#: environment variable whose value is the cloud's folder
MARK = 'COMPUTE_HYPERV_DEMO'
#: variables that would change how our programs run
_FOREIGN = ('PYTHONDONTWRITEBYTECODE', 'PYTHONPATH', 'PYTHONHOME',
            'PYTHONUNBUFFERED', 'VIRTUAL_ENV')
#: commands that run to their end, and whether they shall go on
_commands: set[subprocess.Popen[bytes]] = set()
_interrupted = threading.Event()
_PAGE_MIB = os.sysconf('SC_PAGE_SIZE') / 2 ** 20
_TICKS = os.sysconf('SC_CLK_TCK')


def environment(layout: layouts.Layout,
                more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of the cloud's processes."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith('OS_') and name not in _FOREIGN}
    env[MARK] = str(layout.root_dir)
    # setproctitle would write over the environment that /proc shows.
    env['SPT_NOENV'] = '1'
    env['HOME'] = str(layout.data_dir / 'home')
    env['PATH'] = os.pathsep.join(
        [str(layout.venv_dir / 'bin'), env.get('PATH', ''),
         '/usr/local/sbin', '/usr/sbin', '/sbin'])
    env.update(more or {})
    return env


@dataclasses.dataclass(frozen=True)
class Running:
    """A process that was started and still lives."""

    name: str
    pid: int
    rss_mib: float
    uptime_s: float


class Processes:
    """The processes of one cloud, whose folders are ``layout``."""

    def __init__(self, layout: layouts.Layout) -> None:
        self.layout = layout
        # Kept, because Popen complains about children that outlive it.
        self._children: list[subprocess.Popen[bytes]] = []

    def log_path(self, name: str) -> pathlib.Path:
        """Where a process's output goes."""
        return self.layout.log_dir / f'{name}.log'

    def start(self, name: str, command: Sequence[str],
              env: dict[str, str] | None = None,
              cwd: pathlib.Path | None = None) -> bool:
        """Start a process unless it runs.

        :returns: whether it had to be started.
        """
        if self.find(name) is not None:
            return False
        path = self.log_path(name)
        if path.exists():
            path.replace(path.with_suffix('.log.1'))
        with open(path, 'wb') as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True, cwd=cwd,
                env=environment(self.layout, env))
        self._children.append(child)
        record = {'pid': child.pid, 'ticks': _start_ticks(child.pid)}
        self._record_path(name).write_text(json.dumps(record))
        return True

    def find(self, name: str) -> Running | None:
        """The process of that name, if it lives."""
        record = self._record(name)
        # A number alone could be somebody else's process by now.
        if record is None or _start_ticks(record['pid']) != record['ticks']:
            return None
        return Running(name, record['pid'], _rss_mib(_session(record)),
                       _uptime_s(record['ticks']))

    def wait(self, name: str, ready: Callable[[], bool], timeout_s: float,
             what: str, grace_s: float = 20) -> None:
        """Wait until a started process does its work.

        One that is not ready in time is ended, so that it is started anew,
        not found running, the next time.

        :raises DemoError: it ended, or was not ready in time; with its log.
        """
        def check() -> bool:
            if self.find(name) is None:
                raise errors.DemoError(f'{name} ended at once.',
                                       self.log_path(name))
            return ready()

        try:
            until(check, timeout_s, what)
        except errors.Interrupted:
            raise
        except errors.DemoError as exc:
            self.stop([name], grace_s)
            raise errors.DemoError(str(exc), self.log_path(name)) from exc

    def stop(self, names: Iterable[str], grace_s: float) -> set[int]:
        """Ask processes to end together; kill what is there after a while.

        :returns: the pids that had to be killed.
        """
        records = [self._record(name) for name in names]
        living = {pid for record in records if record
                  for pid in _session(record)}
        _signal(living, signal.SIGTERM)
        _wait_gone(living, grace_s)
        killed = set(living)
        _signal(living, signal.SIGKILL)
        _wait_gone(living, 10)
        return killed

    def sweep(self) -> list[int]:
        """End everything that carries this cloud's mark.

        :returns: the pids that had to be ended.
        """
        found = self.belonging()
        living = set(found)
        _signal(living, signal.SIGTERM)
        _wait_gone(living, 5)
        _signal(living, signal.SIGKILL)
        if not _wait_gone(living, 10):
            raise errors.DemoError(f'Processes {sorted(living)} do not end.')
        for record in self.layout.run_dir.glob('*.json'):
            record.unlink()
        return sorted(found)

    def belonging(self) -> set[int]:
        """The pids of all processes of this cloud, found in /proc."""
        mark = f'{MARK}={self.layout.root_dir}'.encode()
        found = {pid for pid in _all_pids() if pid != os.getpid() and
                 mark in _read(f'/proc/{pid}/environ').split(b'\0')}
        for path in self.layout.run_dir.glob('*.json'):
            record = self._record(path.stem)
            if record is not None:
                found |= _session(record)
        return {pid for pid in found if _start_ticks(pid) is not None}

    def _record_path(self, name: str) -> pathlib.Path:
        return self.layout.run_dir / f'{name}.json'

    def _record(self, name: str) -> dict[str, int] | None:
        try:
            record: dict[str, int] = json.loads(
                self._record_path(name).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return record if record['ticks'] else None


def run(layout: layouts.Layout, command: Sequence[str], log_name: str,
        timeout_s: float, env: dict[str, str] | None = None) -> None:
    """Run a command to its end; all that it prints goes to a log.

    :raises DemoError: it failed or took longer than *timeout_s* seconds.
    """
    with open_log(layout, log_name, command) as log:
        _finish(layout, command, log, log, timeout_s, env)


def output(layout: layouts.Layout, command: Sequence[str], log_name: str,
           timeout_s: float, env: dict[str, str] | None = None) -> str:
    """Run a command to its end, with its errors in a log.

    :returns: its standard output.
    :raises DemoError: it failed or took longer than *timeout_s* seconds.
    """
    with open_log(layout, log_name, command) as log, \
            tempfile.TemporaryFile() as answer:
        try:
            _finish(layout, command, answer, log, timeout_s, env)
        finally:
            answer.seek(0)
            text = answer.read()
            log.write(text)
    return text.decode('utf-8', 'replace')


def open_log(layout: layouts.Layout, name: str,
             command: Sequence[str]) -> IO[bytes]:
    """A log to which a command is added, with a line that names it."""
    log = open(layout.log_dir / f'{name}.log', 'ab')
    log.write(f'$ {" ".join(command)}\n'.encode())
    log.flush()
    return log


def interrupt() -> None:
    """End the commands that run, and all waiting, in other threads.

    The processes of the cloud go on.
    """
    _interrupted.set()
    for child in list(_commands):
        child.terminate()


def _finish(layout: layouts.Layout, command: Sequence[str],
            stdout: IO[bytes], stderr: IO[bytes], timeout_s: float,
            env: dict[str, str] | None) -> None:
    path = pathlib.Path(stderr.name)
    name = path.stem
    if _interrupted.is_set():
        raise errors.Interrupted(f'{name} was not begun.')
    with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            env=environment(layout, env)) as child:
        _commands.add(child)
        if _interrupted.is_set():       # which has not seen this one
            child.terminate()
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise errors.DemoError(
                f'{name} took longer than {timeout_s:.0f} s.', path) from exc
        finally:
            _commands.discard(child)
            child.kill()
    if _interrupted.is_set():
        raise errors.Interrupted(f'{name} was interrupted.')
    if code:
        raise errors.DemoError(f'{name} failed with code {code}.', path)


def until(check: Callable[[], bool], timeout_s: float, what: str,
          interval_s: float = 0.2) -> None:
    """Wait for something.

    :raises DemoError: not true within *timeout_s* seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            raise errors.DemoError(f'{what}: not within {timeout_s:.0f} s.')
        if _interrupted.wait(interval_s):
            raise errors.Interrupted(f'{what}: not waited for.')


def _read(path: str) -> bytes:
    # A process may end, or belong to another user, while we look at it.
    try:
        return pathlib.Path(path).read_bytes()
    except OSError:
        return b''


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]


def _stat(pid: int) -> list[bytes]:
    # Fields from the third on; the second (the name) may hold spaces.
    return _read(f'/proc/{pid}/stat').rpartition(b')')[2].split()


def _start_ticks(pid: int) -> int | None:
    """When a process started, in ticks since boot; None if it is gone."""
    fields = _stat(pid)
    if not fields or fields[0] in (b'Z', b'X'):
        return None
    return int(fields[19])


def _session(record: dict[str, int]) -> set[int]:
    """The processes of a session, also after its leader has ended."""
    leader = record['pid']
    if _start_ticks(leader) not in (None, record['ticks']):
        return set()
    members = {pid: _stat(pid) for pid in _all_pids()}
    return {pid for pid, fields in members.items()
            if fields and int(fields[3]) == leader and
            int(fields[19]) >= record['ticks']}


def _rss_mib(pids: Iterable[int]) -> float:
    return sum(int(fields[21]) for fields in map(_stat, pids)
               if fields) * _PAGE_MIB


def _uptime_s(start_ticks: int) -> float:
    since_boot = float(_read('/proc/uptime').split()[0])
    return since_boot - start_ticks / _TICKS


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _wait_gone(pids: set[int], timeout_s: float) -> bool:
    """Wait for processes to end; forgets those that did.

    :returns: whether all are gone.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        pids.difference_update(
            [pid for pid in pids if _start_ticks(pid) is None])
        if not pids or time.monotonic() > deadline:
            return not pids
        time.sleep(0.05)
