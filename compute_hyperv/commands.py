# SPDX-License-Identifier: Apache-2.0
"""Running other programs (qemu-img, mkisofs): with a deadline, no shell."""

import ntpath
import subprocess

from oslo_concurrency import processutils
from oslo_log import log as logging

from compute_hyperv import errors

LOG = logging.getLogger(__name__)

#: So much of a program's complaint goes into the error.
_TEXT_LIMIT = 500


def run(*command: str, timeout_s: int) -> str:
    """Run a program and wait for its end.

    :param command: the program, found in PATH unless it is a full path,
        and its arguments; no shell sees them.
    :param timeout_s: the program is killed after so many seconds.
    :returns: what it wrote to its standard output.
    :raises CommandFailed: it is not there, failed, or took too long; with
        what it said.
    """
    started: list[subprocess.Popen[bytes]] = []
    name = ntpath.basename(command[0])
    try:
        output, _unused = processutils.execute(
            *command, timeout=timeout_s, on_execute=started.append,
            log_errors=processutils.LOG_ALL_ERRORS)
    except subprocess.TimeoutExpired as exc:
        # oslo.concurrency leaves the program running.
        for process in started:
            process.kill()
            process.communicate()
        raise errors.CommandFailed(
            command=name,
            reason=f'not done within {timeout_s} seconds') from exc
    except processutils.ProcessExecutionError as exc:
        text = (exc.stderr or exc.stdout or '').strip()[-_TEXT_LIMIT:]
        raise errors.CommandFailed(
            command=name, reason=f'exit code {exc.exit_code}: {text}'
        ) from exc
    except OSError as exc:
        raise errors.CommandFailed(command=name, reason=str(exc)) from exc
    return str(output)
