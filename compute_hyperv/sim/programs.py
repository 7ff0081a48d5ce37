# SPDX-License-Identifier: Apache-2.0
"""Programs of a simulated host, for those who run them as commands.

``rbd`` and ``rbd-wnbd`` become small scripts that ask the served fabric;
put their folder in front of PATH.
"""

from __future__ import annotations

import os
import sys
import typing

from . import remote

PROGRAMS = ('rbd', 'rbd-wnbd')
_SCRIPT = '''\
#!%(python)s
import sys
sys.path.insert(0, %(root)r)
from %(package)s import programs
sys.exit(programs.main(%(socket)r, %(host)r, %(program)r, sys.argv[1:]))
'''


def write(folder: str, socket_path: str, host: str) -> None:
    """Write the commands of a host.

    :param folder: where; made when missing.
    :param socket_path: where the fabric is served.
    """
    package = __package__ or ''
    root = os.path.dirname(os.path.abspath(__file__))
    for _part in package.split('.'):
        root = os.path.dirname(root)
    os.makedirs(folder, exist_ok=True)
    for program in PROGRAMS:
        path = os.path.join(folder, program)
        with open(path, 'w', encoding='utf-8') as script:
            script.write(_SCRIPT % {
                'python': sys.executable, 'root': root, 'package': package,
                'socket': socket_path, 'host': host, 'program': program})
        os.chmod(path, 0o755)


def main(socket_path: str, host: str, program: str,
         argv: typing.List[str]) -> int:
    """Run a program on a host; gives its exit code."""
    try:
        port = remote.RemotePort(socket_path, host)
        try:
            done = port.call('program.run', program=program, argv=argv)
        finally:
            port.close()
    except Exception as exc:        # a planned fault, or no fabric there
        print('%s: %s' % (program, exc), file=sys.stderr)
        return 1
    sys.stdout.write(done['out'])
    sys.stderr.write(done['err'])
    return int(done['code'])
