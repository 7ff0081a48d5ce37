# SPDX-License-Identifier: Apache-2.0
"""Child processes of the supervisor: pipes, status file, job object.

On Windows a child lives in a job object that is closed, and with it every
process in it ended, when the supervisor goes, however it goes. Elsewhere
(tests, development) it leads a process group of its own.
"""

from collections.abc import Sequence
import json
import os
import signal
import subprocess
import sys
from typing import IO

if sys.platform == 'win32':
    import win32api
    import win32con
    import win32job

#: The file for a child's output is set aside at this size.
MAX_OUTPUT_BYTES = 10 << 20


def open_output(path: str) -> IO[bytes]:
    """Open the file that takes stdout and stderr; one old one is kept."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.exists(path) and os.path.getsize(path) > MAX_OUTPUT_BYTES:
        os.replace(path, path + '.1')
    return open(path, 'ab')


class Child:
    """One running nova-compute.

    :param argv: its command line, with the status file in it.
    :param status_path: the status file of ``compute.Status``.
    :param output: takes its standard output and error.
    """

    def __init__(self, argv: Sequence[str], *, status_path: str,
                 output: IO[bytes]) -> None:
        self._status_path = status_path
        if os.path.exists(status_path):
            os.remove(status_path)
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=output, stderr=output,
            env=dict(os.environ, PYTHONUTF8='1'),
            **_group())
        self._job = _own_job(self._process)
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Exit code, None while it runs."""
        return self._process.poll()

    def is_ready(self) -> bool:
        """Whether the status file, written by this child, says so."""
        try:
            with open(self._status_path, encoding='utf-8') as stream:
                status = json.load(stream)
        except (OSError, ValueError):
            return False
        return (status.get('pid') == self.pid and
                status.get('state') == 'running')

    def ask_to_stop(self) -> None:
        """Write a line to its standard input, once."""
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            return
        try:
            stdin.write(b'stop\n')
            stdin.close()
        except OSError:    # it has just ended: then there is nothing to ask
            return

    def kill(self) -> None:
        """End it and everything that it started."""
        if sys.platform == 'win32':
            win32job.TerminateJobObject(self._job, 1)
        else:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(timeout=30)

    def close(self) -> None:
        """Close pipes and the job object."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        if sys.platform == 'win32' and self._job is not None:
            win32api.CloseHandle(self._job)
            self._job = None


def _group() -> dict[str, object]:
    """Popen's arguments: Ctrl-C in a console reaches the supervisor only."""
    if sys.platform == 'win32':
        return {'creationflags': subprocess.CREATE_NEW_PROCESS_GROUP |
                subprocess.CREATE_NO_WINDOW}
    return {'start_new_session': True}


def _own_job(process: 'subprocess.Popen[bytes]') -> object | None:
    """Put a process into a job object that ends it with this process."""
    if sys.platform != 'win32':
        return None
    job = win32job.CreateJobObject(None, '')
    limits = win32job.QueryInformationJobObject(
        job, win32job.JobObjectExtendedLimitInformation)
    limits['BasicLimitInformation']['LimitFlags'] |= (
        win32job.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE)
    win32job.SetInformationJobObject(
        job, win32job.JobObjectExtendedLimitInformation, limits)
    handle = win32api.OpenProcess(
        win32con.PROCESS_SET_QUOTA | win32con.PROCESS_TERMINATE, False,
        process.pid)
    try:
        win32job.AssignProcessToJobObject(job, handle)
    finally:
        win32api.CloseHandle(handle)
    return job
