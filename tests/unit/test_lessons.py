# SPDX-License-Identifier: Apache-2.0
"""Field lessons that belong to no single module."""

from compute_hyperv import errors
from tests import factories
from tests.unit import opscase


class RightsTest(opscase.OpsTestCase):

    def test_account_without_rights_is_told_so_at_once(self):
        """L003: an authorization error, before disks are created."""
        store = self.host.v2
        store.delete(store.find_one('Msvm_VirtualSystemManagementService'))
        with self.assertRaises(errors.HypervisorPermissionDenied):
            self.ops.vms.spawn(None, self.instance, factories.image_meta(),
                               [], None, [], factories.block_device_info())
        self.assertEqual([], self.paths.list_dir(self.paths.instances_dir))


class QueriesTest(opscase.OpsTestCase):

    def test_state_of_one_vm_is_asked_by_its_name(self):
        """L161: lookups are keyed, they cost the same among many VMs."""
        self.define()
        before = self._count_info()
        for number in range(20):
            self.define(factories.instance(id=1000 + number))
        self.assertEqual(before, self._count_info())

    def _count_info(self):
        with self.fabric.recorder.recording() as calls:
            self.ops.vms.info(self.instance)
        return len(calls)
