# SPDX-License-Identifier: Apache-2.0
"""Storage lost under machines (hyperv-semantics.md section 2 [D])."""

import os

import ddt

from compute_hyperv.sim import cli
from compute_hyperv.sim import server as sim_server
from tests.unit.sim import addresses
from tests.unit.sim import hypervcase
from tests.unit.sim import twohosts

SHARE = '\\\\FS\\vms'
RUNNING, OFF, SAVED, PAUSED = 2, 3, 6, 9
RUNNING_CRITICAL, OFF_CRITICAL = 32781, 32782
SAVED_CRITICAL, PAUSED_CRITICAL = 32784, 32785
TIMEOUT_S = 1800


@ddt.ddt
class ShareTest(twohosts.TwoHostCase):
    """A file server that stops to answer, and comes back."""

    SHARES = {SHARE: 10}
    CLOCK = 'stepped'

    def make_vm(self, folder=SHARE + '\\vm', **settings):
        self.files.make_dirs(folder)
        self.files.make_dirs(SHARE + '\\vm')
        self.vmutils.create_vm('vm', False, 2, folder, ['vm'])
        self.vmutils.update_vm('vm', 512, None, 1, None, False, 1.0)
        if settings:
            self.assertEqual(0, self.modify_settings(**settings))
        self.disk = self.attach_disk(self.make_disk(
            SHARE + '\\vm\\disk.vhdx'))

    def bring_to(self, state):
        for requested in {'off': [], 'running': [2], 'paused': [2, 9],
                          'saved': [2, 6]}[state]:
            self.request_state(requested)
            self.fabric.clock.advance(60)
        self.assertEqual(hypervcase.STATES[state], self.state())

    def health(self):
        return self.system().HealthState

    @ddt.data(('running', 1, PAUSED_CRITICAL), ('running', 0,
              RUNNING_CRITICAL), ('paused', 1, PAUSED_CRITICAL),
              ('off', 1, OFF_CRITICAL), ('saved', 1, SAVED_CRITICAL))
    @ddt.unpack
    def test_lost_and_back(self, state, action, critical):
        """AutomaticCriticalErrorAction 0 none, 1 pause and resume."""
        self.make_vm(AutomaticCriticalErrorAction=action)
        self.bring_to(state)
        self.fabric.lose_server('FS')
        self.assertEqual((critical, 25), (self.state(), self.health()))
        self.assertEqual(critical, self.wmi.
                         Msvm_VirtualSystemManagementService()[0].
                         GetSummaryInformation([100], [
                             self.settings().path_()])[1][0].EnabledState)
        self.fabric.clock.advance(TIMEOUT_S / 2)
        self.fabric.regain_server('FS')
        self.assertEqual((hypervcase.STATES[state], 5), (
            self.state(), self.health()))
        self.fabric.clock.advance(TIMEOUT_S)
        self.assertEqual(hypervcase.STATES[state], self.state())
        if state == 'running':
            self.assertEqual('running', self.record().worker.guest.state)

    def test_2012_r2_knows_no_action(self):
        """The pause came with 2016."""
        self.make_host('2012R2')
        self.make_vm()
        self.bring_to('running')
        self.fabric.lose_server('FS')
        self.assertEqual(RUNNING_CRITICAL, self.state())

    @ddt.data((SHARE + '\\vm', OFF_CRITICAL), ('C:\\VMs\\vm', OFF))
    @ddt.unpack
    def test_powered_off_after_the_timeout(self, folder, after):
        """A timeout, after which the VM is powered off."""
        self.make_vm(folder)
        self.bring_to('running')
        self.fabric.lose_server('FS')
        self.fabric.clock.advance(TIMEOUT_S - 1)
        self.assertEqual(PAUSED_CRITICAL, self.state())
        self.fabric.clock.advance(2)
        self.assertEqual(after, self.state())
        self.assertIsNone(self.record().worker)
        self.fabric.regain_server('FS')
        self.assertEqual((OFF, 5), (self.state(), self.health()))

    @ddt.data((2, 32775), (6, 32775), (9, 32775), (11, 32775), (3, 4096))
    @ddt.unpack
    def test_requests(self, requested, code):
        """It can be turned off, nothing else."""
        self.make_vm('C:\\VMs\\vm')
        self.bring_to('running')
        self.fabric.lose_server('FS')
        self.assertEqual(code, self.request_state(requested))
        self.fabric.clock.advance(60)
        if requested == 3:
            self.assertEqual((OFF, 5), (self.state(), self.health()))

    def test_no_other_operations(self):
        self.make_vm()
        self.bring_to('running')
        self.fabric.lose_server('FS')
        self.assertNotEqual(0, self.service.DestroySystem(
            self.system().path_())[1])
        snapshots = self.wmi.Msvm_VirtualSystemSnapshotService()[0]
        self.assertEqual(5, snapshots.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)[2])

    def test_vm_that_is_off_can_be_removed(self):
        self.make_vm()
        self.fabric.lose_server('FS')
        self.assertEqual(4096, self.service.DestroySystem(
            self.system().path_())[1])
        self.fabric.clock.advance(60)
        self.assertEqual([], self.host.vms.problems())

    def test_start_without_storage_fails(self):
        """Its configuration is here, its disk is not: 0x80070035."""
        self.make_vm('C:\\VMs\\vm')
        self.fabric.lose_server('FS')
        self.assertEqual(OFF, self.state())
        job = self.system().RequestStateChange(2)[0]
        self.fabric.clock.advance(60)
        self.assert_job_failed(job, '0x80070035')
        self.assertEqual(OFF, self.state())

    def test_file_that_is_gone(self):
        """Nobody tells the host; somebody has to look."""
        self.make_vm()
        self.bring_to('running')
        local = self.host.storage.local(self.disk)
        os.rename(local, local + '.away')
        self.fabric.look_at_storage()
        self.assertEqual(PAUSED_CRITICAL, self.state())
        os.rename(local + '.away', local)
        self.fabric.look_at_storage()
        self.assertEqual(RUNNING, self.state())

    @ddt.data('cut', 'power')
    def test_share_of_another_host(self, how):
        """A host that is cut off or off serves no files."""
        folder = '\\\\HV2\\C$\\VMs'
        self.there.files.make_dirs('C:\\VMs')
        self.create_vm()
        self.attach_disk(self.make_disk(folder + '\\disk.vhdx'))
        self.bring_to('running')
        if how == 'cut':
            self.fabric.cut('HV1', 'HV2')
        else:
            self.other.power_off()
        self.assertEqual(PAUSED_CRITICAL, self.state())
        if how == 'cut':
            self.fabric.mend('HV1', 'HV2')
        else:
            self.other.power_on()
        self.assertEqual(RUNNING, self.state())

    def test_host_that_loses_its_power_meanwhile(self):
        """After its boot the VM is off; nothing waits any more."""
        self.make_vm(AutomaticStartupAction=2)
        self.bring_to('running')
        self.fabric.lose_server('FS')
        self.host.power_off()
        self.host.power_on()
        self.assertEqual(OFF_CRITICAL, self.state())
        self.fabric.regain_server('FS')
        self.fabric.clock.advance(2 * TIMEOUT_S)
        self.assertEqual(OFF, self.state())

    def test_field_knowledge(self):
        """How soon, or whether, they are reached is not published."""
        self.host.quirks.notices_lost_storage = False
        self.make_vm()
        self.bring_to('running')
        self.fabric.lose_server('FS')
        self.assertEqual(RUNNING, self.state())

    def test_command(self):
        """``hyperv-sim storage down|up|look``."""
        socket = addresses.address(self.fabric.root_dir)
        server = sim_server.Server(self.fabric, socket)
        server.start()
        self.addCleanup(server.stop)
        self.make_vm()
        self.bring_to('running')
        for act, state in ((['down', 'fs'], PAUSED_CRITICAL),
                           (['look'], PAUSED_CRITICAL),
                           (['up', 'FS'], RUNNING)):
            self.assertEqual(0, cli.main(
                ['storage', *act, '--socket', socket]))
            self.assertEqual(state, self.state())
