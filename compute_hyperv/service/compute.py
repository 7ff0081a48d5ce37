# SPDX-License-Identifier: Apache-2.0
"""nova-compute as a child of the supervisor.

``python -m compute_hyperv.service.compute --status FILE -- ARGS`` runs
Nova's own ``nova.cmd.compute.main()`` with *ARGS* as its command line. Only
Nova's launcher is replaced (:mod:`.launcher`): it wants signals, which
Windows does not have, and ends the process by ``os._exit``.

* It is asked to stop by a line on, or the end of, its standard input.
* It writes ``{"pid": …, "state": "starting"|"running"|"stopping"}`` to the
  status file, which is replaced as a whole.
* It exits with 0 after a stop that was asked for, otherwise with Nova's code.

Import it nowhere: Nova patches, or poisons, the process that does.
"""

# The native function, taken before Nova may patch it: see run().
from _thread import start_new_thread
import argparse
from collections.abc import Sequence
import sys

from nova.cmd import compute as nova_compute
from nova import service as nova_service

from compute_hyperv.service import launcher
from compute_hyperv.service import shims


def run(status_path: str, args: Sequence[str]) -> None:
    """Run nova-compute in this process until it is asked to stop."""
    status = launcher.Status(status_path)
    status.write(launcher.State.STARTING)
    stand_in = launcher.Launcher(status)
    # A native thread also in eventlet mode: reading would block the hub.
    start_new_thread(launcher.watch, (sys.stdin.buffer, stand_in))
    shims.apply()
    nova_service.serve = stand_in.serve
    nova_service.wait = stand_in.wait
    sys.argv = ['nova-compute', *args]
    nova_compute.main()


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line of the child and run it."""
    parser = argparse.ArgumentParser(
        prog='python -m compute_hyperv.service.compute',
        description='nova-compute as a child of compute-hyperv-service.')
    parser.add_argument('--status', required=True, metavar='FILE',
                        help='file that tells the state of this process')
    parser.add_argument('args', nargs='*',
                        help='command line of nova-compute (after --)')
    options = parser.parse_args(argv)
    run(options.status, options.args)


if __name__ == '__main__':
    main()
