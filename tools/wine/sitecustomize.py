# SPDX-License-Identifier: Apache-2.0
"""What Wine 8 lacks and Windows has, for every program of tools/wine-python.

Wine answers "protocol not available" to the TCP keepalive options of Windows
10 and later; keystoneauth sets them when Python knows their names.

And what kind of machine this is: a module ``this_machine`` in site-packages
runs before every program, see tests/windows/this_machine.py. (The .pth files
that would do this are not read by Python's embeddable package.)
"""

import _socket
import importlib.util
import socket

for _name in ('TCP_KEEPIDLE', 'TCP_KEEPCNT', 'TCP_KEEPINTVL'):
    for _module in (_socket, socket):
        if hasattr(_module, _name):
            delattr(_module, _name)

if importlib.util.find_spec('this_machine'):
    importlib.import_module('this_machine')
