# SPDX-License-Identifier: Apache-2.0
"""Base of tests of what two simulated hosts do with each other."""

import fixtures

from compute_hyperv import oswin_loader
from compute_hyperv.sim import fabric as sim_fabric
from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import exceptions

__all__ = ('exceptions', 'remove_tree', 'TwoHostCase')


def remove_tree(files, path):
    """Remove a folder of a host with all that is in it."""
    for name in files.list_dir(path):
        inner = path + '\\' + name
        if files.is_dir(inner):
            remove_tree(files, inner)
        else:
            files.remove(inner)
    files.remove_dir(path)


class TwoHostCase(hypervcase.HyperVTestCase):
    """HV1 as the base class has it; HV2 in ``self.other``.

    ``OTHER`` is what differs on HV2.
    """

    OTHER = {}
    SHARES = {}

    def make_host(self, windows, **facts):
        folder = self.useFixture(fixtures.TempDir()).path
        both = dict({'extra': {'live_migration': True}}, **self.HOST)
        spec = dict(both, name='HV1', windows=windows, **facts)
        other = dict(both, **dict(dict(name='HV2', windows=windows),
                                  **self.OTHER))
        self.fabric = sim_fabric.Fabric(folder, hosts=[spec, other],
                                        clock=self.CLOCK,
                                        shares=self.SHARES)
        self.addCleanup(self.fabric.close)
        self.host, self.other = (self.fabric.host(name)
                                 for name in ('HV1', 'HV2'))
        self.relax_boot()
        self.bound = self.bind('HV1')
        self.files = self.bound.files
        self.vmutils = self.bound.utilsfactory.get_vmutils()
        self.net = self.bound.utilsfactory.get_networkutils()
        self.vhd = self.bound.utilsfactory.get_vhdutils()
        self.migration = self.bound.utilsfactory.get_livemigrationutils()
        self.wmi = self.vmutils._conn
        self.there = self.bind('HV2')
        self.vmutils2 = self.there.utilsfactory.get_vmutils()
        self.migration2 = self.there.utilsfactory.get_livemigrationutils()
        self.vhd2 = self.there.utilsfactory.get_vhdutils()
        self.fabric.mark()

    def bind(self, name):
        with self.fabric.on(name):
            return oswin_loader.bind()

    def write(self, path, data=b'', files=None):
        files = files or self.files
        files.make_dirs(path.rpartition('\\')[0])
        with files.open(path, 'wb') as file:
            file.write(data)
        return path

    def make_machine(self, name='vm', generation=2, switch='external',
                     **settings):
        """A VM with a disk, an adapter and a COM port; off."""
        self.create_vm(name, generation, **settings)
        disk = self.make_disk('C:\\VMs\\%s\\root.vhdx' % name)
        self.attach_disk(disk, name)
        self.add_nic(name, 'nic')
        self.connect('nic', switch)
        return self.record(name)
