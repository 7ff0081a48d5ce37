# SPDX-License-Identifier: Apache-2.0
"""nova-compute's own way to the driver, under Windows' own Python.

``modes.py 1`` with native threads, ``modes.py 0`` with eventlet: imports what
plain ``nova-compute`` imports, in its order; the only help is the plugin that
os-vif loads. Then the driver is loaded as Nova loads it, on a simulated host.
"""

import os
import sys
import tempfile

os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = sys.argv[1]


def load_driver(host_name):
    """What nova-compute does until it has its driver."""
    from nova.cmd import compute    # patches, or refuses eventlet
    import nova.conf
    import os_vif

    nova.conf.CONF([], project='nova', default_config_files=[])
    nova.conf.CONF.set_override('compute_driver',
                                'compute_hyperv.driver.HyperVDriver')
    compute.objects.register_all()
    os_vif.initialize()

    from compute_hyperv.sim import fabric as fabrics
    from compute_hyperv.sim import install
    install.install()
    fabric = fabrics.Fabric(tempfile.mkdtemp(),
                            [fabrics.HostSpec(name=host_name)])
    import nova.compute.manager    # noqa: F401 (it wants the shims)
    from nova.virt import driver as nova_driver
    from nova.virt import virtapi
    with fabric.on(host_name):
        return nova_driver.load_compute_driver(virtapi.VirtAPI())


def main():
    """Load, ask, tell; the exit code is for tests/windows/run.py."""
    driver = load_driver('HV1')
    driver.init_host('HV1')
    facts = driver.get_available_resource('HV1')
    from compute_hyperv.service import shims
    green = 'eventlet' in sys.modules
    if green == (sys.argv[1] == '1'):
        sys.exit('the wrong concurrency mode is in force')
    if set(shims._applied) != {shim.name for shim in shims.SHIMS}:
        sys.exit(f'shims in force: {shims._applied}')
    if facts['vcpus'] != 8 or facts['hypervisor_hostname'] != 'HV1':
        sys.exit(f'the host says {facts}')
    print('eventlet' if green else 'native threads', 'works', flush=True)
    os._exit(0)     # no waiting for threads of os-win


if __name__ == '__main__':
    main()
