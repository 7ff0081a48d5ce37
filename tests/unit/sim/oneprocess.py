# SPDX-License-Identifier: Apache-2.0
"""A process of its own for test_install: three hosts, a pool, a listener.

Usage: python -m tests.unit.sim.oneprocess FOLDER
"""

import sys
import threading
import time

import futurist

import tests        # noqa: F401 - Nova's choice of threads, then os-win's view

from compute_hyperv import oswin_loader
from compute_hyperv.sim import fabric as sim_fabric
from tests.unit.sim import test_install

PER_HOST = 8


def pool():
    if 'eventlet' in sys.modules:
        return 'eventlet', futurist.GreenThreadPoolExecutor(6)
    return 'threading', futurist.ThreadPoolExecutor(6)


def ended(events):
    """How many events tell that a VM runs (2) or is off (3)."""
    return sum(state in (2, 3) for _name, state in events)


def main(folder):
    fabric = sim_fabric.Fabric(folder, test_install.HOSTS)
    mode, executor = pool()
    workloads = {}
    for name in fabric.hosts:
        with fabric.on(name):
            workloads[name] = test_install.Workload(oswin_loader.bind())
    events = []
    listen = workloads['HV1'].vm.get_vm_power_state_change_listener(
        timeframe=1, event_timeout=200, get_handler=True)
    threading.Thread(target=listen, daemon=True,
                     args=(lambda *event: events.append(event),)).start()
    fabric.mark()
    names = [(host, f'{host}-{number}') for number in range(PER_HOST)
             for host in workloads]
    for work in [executor.submit(workloads[host].spawn, name)
                 for host, name in names]:
        assert work.result()[0] == 2
    for work in [executor.submit(workloads[host].destroy, name)
                 for host, name in names]:
        work.result()
    deadline_s = time.monotonic() + 60
    while ended(events) < 2 * PER_HOST and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert ended(events) == 2 * PER_HOST, events
    fabric.assert_clean()
    print(f'{mode}: {len(names)} spawned on {len(workloads)} hosts, clean',
          flush=True)
    fabric.close()


if __name__ == '__main__':
    main(sys.argv[1])
