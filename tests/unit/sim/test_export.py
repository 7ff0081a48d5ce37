# SPDX-License-Identifier: Apache-2.0
"""Export and import of VMs (hyperv-semantics.md section 10)."""

from tests.unit.sim import twohosts

EXPORT = 'C:\\Export'


class ExportCase(twohosts.TwoHostCase):
    """A VM on HV1 that is exported to a folder of HV2."""

    def setUp(self):
        super().setUp()
        self.vm = self.make_machine()
        self.guid = self.vm.guid

    def definition(self, folder=EXPORT, suffix='.vmcx'):
        return '%s\\Virtual Machines\\%s%s' % (folder, self.guid, suffix)

    def send(self, folder=EXPORT):
        """The folder as it is on HV1, to HV2 by its admin share."""
        for path in sorted(self.host.storage.drive('C').listing()):
            if path.startswith(folder + '\\') and path[-1] != '\\':
                target = '\\\\HV2\\C$' + path[2:]
                self.files.make_dirs(target.rpartition('\\')[0])
                self.files.copy(path, target)


class ExportTest(ExportCase):
    """ExportSystemDefinition through os-win."""

    def test_folder(self):
        """Output: Virtual Machines, Snapshots, Virtual Hard Disks."""
        self.migration.export_vm('vm', EXPORT)
        self.assertEqual(['Snapshots', 'Virtual Hard Disks',
                          'Virtual Machines'], self.files.list_dir(EXPORT))
        self.assertTrue(self.files.exists(self.definition()))

    def test_round_trip_between_hosts(self):
        """Exported, imported and realized elsewhere it is the same VM."""
        before = self.host.v2.under(self.vm.instance_id)
        self.migration.export_vm('vm', EXPORT)
        self.send()
        self.migration2.import_vm_definition(
            self.definition(), EXPORT + '\\Snapshots')
        self.assertTrue(self.migration2.planned_vm_exists('vm'))
        self.assertEqual([], self.vmutils2.list_instances())
        after = self.other.v2.under(self.vm.instance_id)
        self.assertEqual([one['InstanceID'] for one in before],
                         [one['InstanceID'] for one in after])
