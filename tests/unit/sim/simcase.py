# SPDX-License-Identifier: Apache-2.0
"""Base of tests of the simulator: a fabric in a folder of its own."""

import logging
import shutil
import tempfile
import unittest
from unittest import mock

from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim.wmi import engine
from compute_hyperv.sim.wmi import face
from compute_hyperv.sim.wmi import registry

# What os-win logs about the failures that tests cause is no news.
logging.getLogger().addHandler(logging.NullHandler())


class SimTestCase(unittest.TestCase):
    """A fabric in ``self.fabric``, its first host in ``self.host``.

    ``HOSTS`` are what Fabric takes; ``CLOCK`` is its mode.
    """

    HOSTS = ('HV1',)
    CLOCK = 'instant'

    def setUp(self):
        super().setUp()
        folder = tempfile.mkdtemp(prefix='sim-')
        self.addCleanup(shutil.rmtree, folder)
        self.fabric = sim_fabric.Fabric(folder, self.HOSTS, clock=self.CLOCK)
        self.addCleanup(self.fabric.close)
        self.host = next(iter(self.fabric.hosts.values()))
        self.store = self.host.v2
        self.wmi = face.module(self.host.port)

    def connect(self, namespace='root/virtualization/v2', host='.'):
        return self.wmi.WMI(f'//{host}/{namespace}')

    def add_vm(self, name, number=0, **props):
        """The records of a machine that the tests look for; no worker."""
        guid = f'{number:08X}-0000-4000-8000-00000000AB00'
        self.store.add('Msvm_VirtualSystemSettingData',
                       InstanceID=f'Microsoft:{guid}', ElementName=name,
                       VirtualSystemIdentifier=guid)
        return self.store.add(
            'Msvm_ComputerSystem', CreationClassName='Msvm_ComputerSystem',
            Name=guid, ElementName=name, **{'EnabledState': 3, **props})

    def assert_hresult(self, hresult, call, *args, **kwargs):
        """The call raises x_wmi with that (unsigned) code."""
        with self.assertRaises(self.wmi.x_wmi) as caught:
            call(*args, **kwargs)
        self.assertEqual(
            hex(hresult),
            hex(caught.exception.com_error.hresult & 0xFFFFFFFF))
        return caught.exception


class FaceTestCase(SimTestCase):
    """Methods registered by a test are gone after it."""

    def setUp(self):
        super().setUp()
        methods = mock.patch.dict(registry._methods)
        methods.start()
        self.addCleanup(methods.stop)
        self.calls = []

    def answer(self, namespace, cls, name, **out):
        """Let a method note its call and give *out*."""
        @engine.method(namespace, cls, name)
        def handler(call):
            self.calls.append(call)
            return dict(out)
