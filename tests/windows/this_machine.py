# SPDX-License-Identifier: Apache-2.0
"""Makes a machine of tools/wine-python a simulated Hyper-V host.

``endtoend`` puts this file into site-packages there, and beside it
``this_machine.json`` with ``{"socket": ADDRESS, "host": NAME}``. It runs when
Python starts, and stands for "this machine has Hyper-V": in nova-compute,
and in nothing else, os-win finds the WMI, the DLLs and the files of that
host. Neither the driver nor its service knows of it.
"""

import json
import os
import sys

FACTS_FILE = 'this_machine.json'
#: What starts nova-compute: the service's supervisor, or a person.
_PROGRAMS = ('compute_hyperv.service.compute', 'nova_compute.py')


def become_a_host(path: str) -> None:
    """Bind os-win of this process to the host that a file names."""
    from compute_hyperv.sim import install
    from compute_hyperv.sim import remote
    with open(path, encoding='utf-8') as stream:
        facts = json.load(stream)
    port = remote.RemotePort(facts['socket'], facts['host'], role='compute')
    install.install(sole_host=remote.RemoteHost(port))


if any(word.endswith(_PROGRAMS) for word in sys.orig_argv):
    become_a_host(os.path.join(os.path.dirname(__file__), FACTS_FILE))
