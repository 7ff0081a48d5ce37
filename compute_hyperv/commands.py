# SPDX-License-Identifier: Apache-2.0
"""Running other programs (qemu-img, mkisofs): with a deadline, no shell.

Not through oslo.concurrency: its ``processutils`` (7.6) sets ``preexec_fn``
always, which Windows refuses.
"""

import ntpath
import subprocess
import sys

from nova import utils as nova_utils
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

#: So much of a program's complaint goes into the error.
_TEXT_LIMIT = 500
_VERSION_TIMEOUT_S = 30
#: A service has no console that a program could show up in.
if sys.platform == 'win32':
    _FLAGS = subprocess.CREATE_NO_WINDOW
else:
    _FLAGS = 0


def run(*command: str, timeout_s: float) -> str:
    """Run a program and wait for its end.

    :param command: the program, found in PATH unless it is a full path,
        and its arguments; no shell sees them.
    :param timeout_s: the program is killed after so many seconds.
    :returns: what it wrote to its standard output.
    :raises CommandFailed: it is not there, failed, or took too long; with
        what it said.
    """
    name = ntpath.basename(command[0])
    LOG.debug("Running %s", command)
    # With eventlet, in a thread of its own: waiting for the pipes of a
    # program would stop everything else on Windows.
    native = oswin.native(subprocess)
    run_in_thread = nova_utils.tpool_wrap(native.run)
    try:
        done = run_in_thread(
            command, stdin=native.DEVNULL, capture_output=True,
            timeout=timeout_s, creationflags=_FLAGS)
    except native.TimeoutExpired as exc:
        raise errors.CommandFailed(
            command=name, reason=f'not done within {timeout_s} seconds: '
                                 f'{_text(exc.stderr)}') from exc
    except OSError as exc:
        raise errors.CommandFailed(command=name, reason=str(exc)) from exc
    if done.returncode:
        text = _text(done.stderr) or _text(done.stdout)
        raise errors.CommandFailed(
            command=name, reason=f'exit code {done.returncode}: {text}')
    output: str = done.stdout.decode(errors='replace')
    return output


def check(option: str, command: str, *, purpose: str,
          is_needed: bool) -> None:
    """Look whether the program that an option names can be run.

    :param purpose: what would fail without it, for the operator.
    :param is_needed: nothing works without it; otherwise its absence is
        logged, and only what needs it fails.
    :raises BadOption: it is needed and does not run.
    """
    try:
        run(command, '--version', timeout_s=_VERSION_TIMEOUT_S)
        return
    except errors.CommandFailed as exc:
        broken = errors.BadOption(
            option=option, reason=f'{exc} The program {command} {purpose}. '
            'Install it, and give its full path unless it is in the PATH of '
            'the service')
    if is_needed:
        raise broken
    LOG.error("%s", broken)


def _text(output: bytes | None) -> str:
    return (output or b'').decode(errors='replace').strip()[-_TEXT_LIMIT:]
