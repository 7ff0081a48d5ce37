# SPDX-License-Identifier: Apache-2.0
"""Where the fabrics of tests are served, and how processes end."""

import os
import socket
import sys

from compute_hyperv.sim import native


def tcp(folder):
    """A free port of the loopback, with a token file in *folder*."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    return f'tcp:{port}:{os.path.join(folder, "token")}'


def address(folder):
    """A unix socket in *folder*; on Windows a port."""
    if sys.platform == 'win32':
        return tcp(folder)
    return os.path.join(folder, 'socket')


#: Exit code of a process that the simulator killed.
KILLED = native.KILL if sys.platform == 'win32' else -native.KILL
