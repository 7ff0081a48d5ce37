# SPDX-License-Identifier: Apache-2.0
"""The power of hosts, and what becomes of their servers."""

from compute_hyperv.sim import install
from compute_hyperv.sim import vm as sim_vm
from tests.functional import base


class HostPowerTest(base.TestCase):
    """A7: through Nova's API, as far as it still has it."""

    def act(self, action):
        self.admin_api.microversion = '2.42'
        self.addCleanup(setattr, self.admin_api, 'microversion',
                        self.microversion)
        return self.admin_api.api_get(f'/os-hosts/HV1/{action}').body

    def booted_at(self):
        system, = self.host.stores['root/cimv2'].find('Win32_OperatingSystem')
        return system['LastBootUpTime']

    def test_reboot(self):
        """L154."""
        server = self.boot()
        before = self.booted_at()
        self.assertEqual({'host': 'HV1', 'power_action': 'reboot'},
                         self.act('reboot'))
        self.assertTrue(self.host.powered)
        self.assertNotEqual(before, self.booted_at())
        self.assertNotEqual('running', self.vm(server).state)

    def test_shutdown(self):
        """L154."""
        self.addCleanup(self.host.power_on)
        self.assertEqual({'host': 'HV1', 'power_action': 'shutdown'},
                         self.act('shutdown'))
        self.assertFalse(self.host.powered)


class ShutdownActionTest(base.TestCase):
    """B15: what Hyper-V does with servers when the host reboots."""

    #: Their state afterwards, and how often the guest has booted then.
    STATE, BOOTS = sim_vm.SAVED, 0

    def _set_flags(self):
        super()._set_flags()
        self.flags(resume_guests_state_on_host_boot=True)

    def test_running_servers_come_back_and_stopped_ones_do_not(self):
        """L005, L157: Nova starts them, not Hyper-V."""
        running, stopped = self.boot(), self._stop_server(self.boot())
        self.computes['HV1'].stop()

        factory = install.bound(self.host).utilsfactory
        factory.get_hostutils().host_power_action('reboot')

        self.assertEqual((self.STATE, sim_vm.OFF),
                         (self.vm(running).vm.state,
                          self.vm(stopped).vm.state))
        self.start_compute('HV1')
        self.until(lambda: self.vm(running).state == 'running',
                   'the VM runs again')
        self.assertEqual('off', self.vm(stopped).state)
        self.assertEqual(self.BOOTS, self.vm(running).boot[1])
        self._delete_server(running)
        self._delete_server(stopped)
        self.fabric.assert_clean()


class AutomaticShutdownTest(ShutdownActionTest):
    """B15: [hyperv] instance_automatic_shutdown."""

    STATE, BOOTS = sim_vm.OFF, 1

    def _set_flags(self):
        super()._set_flags()
        self.flags(instance_automatic_shutdown=True, group='hyperv')
