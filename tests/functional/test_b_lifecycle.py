# SPDX-License-Identifier: Apache-2.0
"""Feature letter B: the life of an instance."""

import ddt
from nova.tests.functional.api import client

from compute_hyperv.sim import vm as sim_vm
from tests.functional import base


@ddt.ddt
class DestroyTest(base.TestCase):
    """B5: deletion ends in nothing, whatever it finds."""

    def _delete(self, server):
        self._delete_server(server)
        self.assertEqual([], self.view().vm_names)
        self.fabric.assert_clean()

    @ddt.data(sim_vm.RUNNING, sim_vm.OFF, sim_vm.PAUSED, sim_vm.SAVED)
    def test_server_is_deleted_in_state(self, state):
        server = self.boot(networks='auto')
        self.view().request_state(self.vm(server), state)

        self._delete(server)

    def test_server_without_a_vm_is_deleted(self):
        server = self.boot(networks='auto')
        self.view().destroy_vm(self.vm(server))

        self._delete(server)

    def test_disk_that_was_there_first_is_left_alone(self):
        """L002: names come again, in a database made anew for one."""
        root = f'{base.INSTANCES_DIR}\\instance-00000001\\root.vhdx'
        win = self.driver()._win
        win.files.make_dirs(root.rpartition('\\')[0])
        win.vhd.create_dynamic_vhd(root, 1 << 30)

        server = self.boot(state='ERROR')

        self.assertEqual('instance-00000001',
                         server['OS-EXT-SRV-ATTR:instance_name'])
        self.assertTrue(self.view().exists(root))
        self._delete_server(server)
        self.assertTrue(self.view().exists(root))

    def test_file_that_somebody_holds_for_a_moment_is_deleted(self):
        server = self.boot()
        root = self.vm(server).drive('root.vhdx')
        self.view().request_state(self.vm(server), sim_vm.OFF)
        handle = self.host.storage.hold(root.path, owner='a backup program')
        self.addCleanup(handle.close)

        self.api.delete_server(server['id'])
        self.until(lambda: not self.view().vm_names, 'the VM is gone')
        handle.close()

        self._wait_until_deleted(server)
        self.fabric.assert_clean()


class PowerTest(base.TestCase):
    """B6."""

    def test_stop_asks_the_guest_and_start_boots_it_again(self):
        server = self.boot()

        self._stop_server(server)
        self.assertEqual('off', self.vm(server).state)
        self._start_server(server)

        self.assertEqual('running', self.vm(server).state)

    def test_soft_reboot_restarts_the_guest(self):
        server = self.boot()
        before = self.vm(server).boot

        self._reboot_server(server)

        self.assertEqual('running', self.vm(server).state)
        self.assertNotEqual(before, self.vm(server).boot)

    def test_hard_reboot_restarts_the_vm(self):
        server = self.boot()
        before = self.vm(server).boot

        self._reboot_server(server, hard=True)

        self.assertEqual('running', self.vm(server).state)
        self.assertNotEqual(before, self.vm(server).boot)

    def test_hard_reboot_starts_a_server_that_is_off(self):
        server = self.boot()
        self._stop_server(server)

        self._reboot_server(server, hard=True)

        self.assertEqual('running', self.vm(server).state)

    def test_pause_and_unpause(self):
        server = self.boot()

        self.api.post_server_action(server['id'], {'pause': {}})
        self._wait_for_state_change(server, 'PAUSED')
        self.assertEqual('paused', self.vm(server).state)
        self.api.post_server_action(server['id'], {'unpause': {}})

        self._wait_for_state_change(server, 'ACTIVE')
        self.assertEqual('running', self.vm(server).state)

    def test_suspend_and_resume(self):
        server = self.boot()

        self._suspend_server(server)
        self.assertEqual('saved', self.vm(server).state)
        self._resume_server(server)

        self.assertEqual('running', self.vm(server).state)


class RenamedTest(base.TestCase):
    """Somebody renamed the VM in Hyper-V Manager."""

    def setUp(self):
        super().setUp()
        self.server = self.boot(networks='auto')
        self.vm_name = self.server['OS-EXT-SRV-ATTR:instance_name']
        self.rename()

    def rename(self):
        self.view().rename_vm(self.view().vm(self.vm_name), 'web server')

    def test_server_is_stopped_started_and_deleted(self):
        self._stop_server(self.server)
        self.assertEqual('off', self.view().vm(self.vm_name).state)
        self.rename()
        self._start_server(self.server)
        self.assertEqual('running', self.view().vm(self.vm_name).state)
        self.rename()
        self._delete_server(self.server)
        self.assertEqual([], self.view().vm_names)
        self.fabric.assert_clean()

    def test_hard_reboot_finds_it(self):
        self._reboot_server(self.server, hard=True)
        self.assertEqual('running', self.view().vm(self.vm_name).state)


class PlugTest(base.TestCase):
    """B3: the wait for Neutron."""

    NEUTRON = {'active': False, 'plug_timeout_s': 1}

    def test_server_fails_clean_when_its_port_never_comes_up(self):
        server = self.boot(networks='auto', state='ERROR')

        self.assertEqual([], self.view().vm_names)
        self._delete_server(server)
        self.fabric.assert_clean()


class PlugNotFatalTest(base.TestCase):

    NEUTRON = {'active': False, 'plug_timeout_s': 1}

    def _set_flags(self):
        super()._set_flags()
        self.flags(vif_plugging_is_fatal=False)

    def test_server_starts_anyway_if_told_so(self):
        server = self.boot(networks='auto')

        self.assertEqual('running', self.vm(server).state)


class IdentityTest(base.TestCase):
    """B14, B15: how the VM and its guest know what they are."""

    def test_vm_names_its_instance_and_the_guest_its_cloud(self):
        server = self.boot()

        vm = self.vm(server)
        self.assertIn(server['id'], vm.notes)
        self.assertEqual('OpenStack Nova', vm.settings['ChassisAssetTag'])

    def test_vm_of_that_name_that_is_not_ours_is_left_alone(self):
        server = self.boot()
        name = server['OS-EXT-SRV-ATTR:instance_name']
        number = int(name.rpartition('-')[2], 16)
        foreign = f'instance-{number + 1:08x}'
        self.view().create_vm(foreign)

        self.boot(state='ERROR')

        self.assertIn(foreign, self.view().vm_names)

    def test_unknown_server_is_not_found(self):
        self.assertRaises(client.OpenStackApiNotFoundException,
                          self.api.get_server, base.UNKNOWN_ID)
