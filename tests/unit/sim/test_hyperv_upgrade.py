# SPDX-License-Identifier: Apache-2.0
"""UpgradeSystemVersion (hyperv-semantics.md section 10 [D])."""

import ddt

from tests.unit.sim import hypervcase

FOLDER = 'C:\\VMs\\vm\\Virtual Machines'


@ddt.ddt
class UpgradeTest(hypervcase.HyperVTestCase):

    def setUp(self):
        super().setUp()
        self.make_old('2016', '5.0')

    def make_old(self, windows, version):
        """A VM of an old version on a host that still runs it."""
        self.make_host(windows)
        self.files.make_dirs('C:\\VMs\\vm')
        settings = self.wmi.Msvm_VirtualSystemSettingData.new()
        settings.ElementName, settings.Version = 'vm', version
        settings.ConfigurationDataRoot = 'C:\\VMs\\vm'
        self.assertEqual(0, self.service.DefineSystem(
            SystemSettings=settings.GetText_(1))[2])

    def upgrade(self, version=None):
        text = None
        if version:
            settings = self.wmi.Msvm_VirtualSystemSettingData.new()
            settings.Version = version
            text = settings.GetText_(1)
        return self.service.UpgradeSystemVersion(
            ComputerSystem=self.system().path_(), UpgradeSettingData=text)

    def test_to_the_newest(self):
        """Files too: .xml of 5.0 becomes .vmcx and .vmrs."""
        self.assertEqual(['.xml'], [name[-4:] for name in
                                    self.files.list_dir(FOLDER)])
        self.assertEqual(4096, self.upgrade()[1])
        self.assertEqual('8.0', self.record().version)
        self.assertEqual(['vmcx', 'vmrs'], sorted(
            name[-4:] for name in self.files.list_dir(FOLDER)))
        self.start()

    def test_to_a_given_version(self):
        self.assertEqual(4096, self.upgrade('6.2')[1])
        self.assertEqual('6.2', self.record().version)

    @ddt.data('5.0', '9.0')
    def test_no_downgrade_and_no_unknown_one(self, version):
        self.upgrade('6.2')
        self.assertEqual((None, 6), self.upgrade(version))
        self.assertEqual('6.2', self.record().version)

    @ddt.data('running', 'saved', 'paused')
    def test_only_while_off(self, state):
        self.bring_to(state)
        self.assertEqual((None, 5), self.upgrade())
        self.assertEqual('5.0', self.record().version)

    def test_features_follow(self):
        """Section 18: the version decides what a VM can have."""
        def expose():
            return self.modify(self.resources(
                cls='Msvm_ProcessorSettingData')[0],
                ExposeVirtualizationExtensions=True)[2]
        self.assertEqual(32773, expose())
        self.upgrade()
        self.assertEqual(0, expose())
