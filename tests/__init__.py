# SPDX-License-Identifier: Apache-2.0
"""Tests of compute_hyperv.

The order below matters and is the same as in nova-compute: first Nova decides
between native threads and eventlet (and patches, or forbids eventlet), then
on Windows its libraries get the shims of the service, then
os-win gets the view of its surroundings that it needs, then all the rest.
``OS_NOVA_DISABLE_EVENTLET_PATCHING=0`` runs the tests under eventlet; the
default is nova-compute's own, native threads.
"""

import os

os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', '1')

from nova import monkey_patch  # noqa: E402

monkey_patch.patch()

from compute_hyperv.service import shims  # noqa: E402

shims.apply()

from compute_hyperv.sim import install  # noqa: E402

install.install()
