# SPDX-License-Identifier: Apache-2.0
"""A simulated host with its own os-win, for tests of the simulator."""

import functools

import fixtures

from compute_hyperv.sim import errors
from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim import install
from compute_hyperv.sim import native
from compute_hyperv.sim import osmodules
from tests import base

install.install()


class OneHostCase(base.TestCase, fixtures.TestWithFixtures):
    """``self.host``, the driver's ``self.files``, os-win in ``self.win``.

    ``HOST`` are further facts of the HostSpec.
    """

    HOST = {}
    MORE_HOSTS = ()

    def setUp(self):
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        spec = sim_fabric.HostSpec(
            **{'name': 'HV1', 'volumes': {'C': 100, 'D': 1}, **self.HOST})
        self.fabric = sim_fabric.Fabric(folder, hosts=[spec, *self.MORE_HOSTS])
        self.addCleanup(self.fabric.close)
        self.host = self.fabric.host('HV1')
        self.storage = self.host.storage
        self.files = osmodules.Files(self.host.port)

    @functools.cached_property
    def win(self):
        """``utilsfactory`` of the host's copy of os-win."""
        return install.bound(self.host).utilsfactory

    def oswin_module(self, name):
        """A module of the host's copy of os-win, by its dotted name."""
        own_import = self.win.__dict__['__builtins__']['__import__']
        return own_import(name, fromlist=('__name__',))

    def write(self, path, data=b''):
        """Make a file, and the folders that it needs."""
        self.files.make_dirs(path.rpartition('\\')[0] + '\\')
        with self.files.open(path, 'wb') as file:
            file.write(data)
        return path

    def read(self, path):
        with self.files.open(path, 'rb') as file:
            return file.read()

    def assert_fails(self, winerror, call, *args, **kwargs):
        """The call raises an error with this Windows code."""
        with self.assertRaises((OSError, errors.Win32Error)) as caught:
            call(*args, **kwargs)
        self.assertEqual(winerror, caught.exception.winerror)
        return caught.exception

    def soon(self, call, *args):
        """Call something in a native thread, after a moment."""
        def run():
            native.sleep(0.02)
            call(*args)
        thread = native.Thread(run).start()
        self.addCleanup(thread.join, 60)

    def assert_clean(self):
        self.assertEqual([], self.storage.problems()
                         + self.host.vdisks.problems()
                         + self.host.pipes.problems())
