# SPDX-License-Identifier: Apache-2.0
"""B11: live migration between two hosts."""

import os

from compute_hyperv.sim import jobs
from tests.functional import livecase


class SharedNothingTest(livecase.LiveTest):

    def test_running_server_moves_and_comes_back(self):
        """L076, L079, L081, L082: same VM, same uptime, nothing behind."""
        server = self.boot_and_write(config_drive=True)
        vm = self.vm(server)
        boot, drives, nics = vm.boot, vm.drives, vm.nics

        server = self.live_migrate(server)

        self.assertEqual('HV2', self.host_of(server))
        vm = self.vm(server)
        self.assertEqual('running', vm.state)
        self.assertEqual((drives, nics), (vm.drives, vm.nics))
        self.assertEqual(boot[1], vm.boot[1])
        self.assert_written(server)
        self.assertEqual([], self.left('HV1', server))
        self.assertIn('login:', self.api.post_server_action(
            server['id'], {'os-getConsoleOutput': {}})['output'])
        self.api.post_server_action(server['id'], {'reboot': {
            'type': 'HARD'}})
        self.settle(server)
        self.guest_disk(server).write(livecase.MARK_AT, livecase.MARK)

        server = self.live_migrate(server, host='HV1')

        self.assert_written(server)
        self.assertEqual([], self.left('HV2', server))
        self.until(lambda: self.api.post_server_action(
            server['id'], {'os-getConsoleOutput': {}})['output'].count(
                'login:') == 2, 'the log of both hosts')
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_broken_migration_leaves_the_server_where_it_was(self):
        """L078, L079: whatever the percentage; then it works."""
        server = self.boot_and_write()
        boot = self.vm(server).boot
        for percent in (0, 40, 90):
            fault = self.fabric.faults.add(
                host='HV1', match='Moving Virtual Machine*',
                at_percent=percent)
            server = self.live_migrate(server, 'failed')
            self.fabric.faults.remove(fault)

            self.assertEqual('HV1', self.host_of(server))
            self.assertEqual(('running', boot), (self.vm(server).state,
                                                 self.vm(server).boot))
            self.assert_written(server)
            self.until(lambda: not self.left('HV2', server), 'clean target')

        server = self.live_migrate(server)
        self.assert_written(server)
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_running_migration_is_aborted(self):
        server = self.boot_and_write()
        with self.fabric.host('HV1').jobs.held(jobs.MOVE_ALL, 50):
            self.begin(server)
            self._wait_for_migration_status(server, ['running'])
            migration = self.api.get_migrations()[0]
            self.until(lambda: self.view('HV2').host.vms.planned(),
                       'half way')
            self.api.delete_migration(server['id'], migration['id'])
            self._wait_for_migration_status(server, ['cancelled'])

        self._wait_for_server_parameter(
            server, {'status': 'ACTIVE', 'OS-EXT-STS:task_state': None})
        self.assert_written(server)
        self.until(lambda: not self.left('HV2', server), 'clean target')
        self._delete_server(server)
        self.fabric.assert_clean()


class RefusedTest(livecase.LiveTest):
    """L073: found before anything is changed, and named."""

    HOSTS = ({'name': 'HV1', 'extra': livecase.LIVE}, 'HV2')

    def test_target_without_live_migration_is_refused(self):
        server = self.boot_and_write()

        with self.fabric.recorder.recording() as calls:
            self.begin(server)
            self._wait_for_action_fail_completion(
                server, 'live-migration', 'conductor_live_migrate_instance')

        self.assertIn('HV2: Live migration is not enabled on this host',
                      self.stdlog.logger.output)
        self.assertEqual([], [call.label for call in calls
                              if call.kind in ('method', 'dll')])
        self._wait_for_server_parameter(
            server, {'status': 'ACTIVE', 'OS-EXT-STS:task_state': None})
        self.assertEqual([], self.left('HV2', server))
        self.assertEqual('running', self.vm(server).state)
        self._delete_server(server)
        self.fabric.assert_clean()


class SharedStorageTest(livecase.LiveTest):
    """L074, L075: no file moves."""

    SHARE = r'\\nas\instances'

    def _set_flags(self):
        super()._set_flags()
        self.flags(instances_path=self.SHARE)

    def _new_fabric(self, hosts):
        fabric = super()._new_fabric(hosts)
        fabric.shares.add(self.SHARE, 500 << 30)
        return fabric

    def test_server_moves_and_a_broken_move_touches_no_file(self):
        server = self.boot_and_write()
        fault = self.fabric.faults.add(
            host='HV1', match='Moving Virtual Machine*', at_percent=50)
        server = self.live_migrate(server, 'failed')
        self.fabric.faults.remove(fault)
        self.assertEqual('HV1', self.host_of(server))
        self.assert_written(server)

        server = self.live_migrate(server)

        self.assertEqual('HV2', self.host_of(server))
        self.assertEqual([], self.view('HV1').vm_names)
        self.assert_written(server)
        self._delete_server(server)
        storage = self.fabric.host('HV1').storage
        self.assertEqual([], [
            name for name in os.listdir(storage.local(self.SHARE))
            if name not in ('_base', 'locks')])
