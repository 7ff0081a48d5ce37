# SPDX-License-Identifier: Apache-2.0
"""Live migration between two hosts (hyperv-semantics.md section 11)."""

from tests.unit.sim import twohosts


class MoveTest(twohosts.TwoHostCase):
    """The VM with its storage, through os-win's live_migrate_vm."""

    def test_shared_nothing(self):
        """Same GUID, name, state, uptime; the source has nothing left."""
        vm = self.make_machine()
        self.start()
        with open(self.host.storage.local('C:\\VMs\\vm\\root.vhdx'),
                  'rb') as file:
            content = file.read()
        guid = vm.guid
        self.migration.live_migrate_vm('vm', 'HV2')
        new = self.other.vms.named('vm')
        self.assertEqual((guid, 2), (new.guid, new.state))
        with open(self.other.storage.local('C:\\VMs\\vm\\root.vhdx'),
                  'rb') as file:
            self.assertEqual(content, file.read())
        self.assertEqual([], self.host.vms.problems())
        self.assertEqual([], self.other.vms.planned())
