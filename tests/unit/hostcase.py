# SPDX-License-Identifier: Apache-2.0
"""Base of unit tests of ops: the real os-win on one simulated host."""

import fixtures
from nova import objects

from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim import install
from tests import base

objects.register_all()
install.install()

# The driver's modules import os-win, which must find the stand-ins.
from compute_hyperv import operation  # noqa: E402
from compute_hyperv import oswin  # noqa: E402
from compute_hyperv import paths  # noqa: E402

INSTANCES_DIR = r'C:\OpenStack\Instances'


class HostTestCase(base.TestCase, fixtures.TestWithFixtures):
    """A simulated host in ``self.host``, and its ``win`` and ``paths``.

    ``HOST`` are keyword arguments of ``sim.fabric.HostSpec``, ``SHARES``
    the sizes in GiB of shares that a file server has, ``CSVS`` those of
    cluster shared volumes by name.
    """

    HOST = {}
    SHARES = {}
    CSVS = {}
    INSTANCES_DIR = INSTANCES_DIR

    def setUp(self):
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        spec = sim_fabric.HostSpec(**({'name': 'HV1'} | self.HOST))
        self.fabric = sim_fabric.Fabric(folder, hosts=[spec])
        self.addCleanup(self.fabric.close)
        for unc, size_gib in self.SHARES.items():
            self.fabric.shares.add(unc, size_gib << 30)
        self.host = self.fabric.host('HV1')
        # Many tests start VMs without disks; functional tests have disks.
        self.host.vms.behaviours.default.needs_boot_source = False
        for name, size_gib in self.CSVS.items():
            self.fabric.shares.add_csv(name, size_gib << 30,
                                       [self.host.storage])
        with self.fabric.on('HV1'):
            self.win = oswin.connect()
        self.paths = paths.Paths(self.win.files,
                                 instances_path=self.INSTANCES_DIR)
        self.paths.make_dir(self.paths.instances_dir)

    def undo(self):
        """A rollback; use it as a context manager."""
        return operation.Rollback('test')
