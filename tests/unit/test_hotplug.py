# SPDX-License-Identifier: Apache-2.0
from nova import context
from oslo_db import exception as db_exc

from tests import factories
from tests.unit import opscase


class HotPlugTest(opscase.OpsTestCase):

    def test_nic_that_nova_cannot_note_down_goes_again(self):
        """There is no database here: the last step of an attach fails."""
        vm = self.define()
        before = self.win.nic_names(vm.name)
        self.assertRaises(db_exc.CantStartEngineError,
                          self.ops.hotplug.attach_interface,
                          context.get_admin_context(), self.instance,
                          factories.vif())
        self.assertEqual(before, self.win.nic_names(vm.name))
