# SPDX-License-Identifier: Apache-2.0
"""B11: a live migration under way: progress, abort, limits, accidents."""

import contextlib
import time

import ddt
import fixtures
from nova import context as nova_context
from nova import objects
from nova.tests.functional.api import client

from compute_hyperv.sim import jobs
from tests.functional import livecase

LATER = b'written while it moved'


class UnderWayTest(livecase.LiveTest):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'compute_hyperv.livewatch.LOOK_INTERVAL_S', 0.2))

    def held(self, percent=50):
        """Let migrations from HV1 come so far."""
        return self.fabric.host('HV1').jobs.held(jobs.MOVE_ALL, percent)

    def begin_and_wait(self, server, *statuses):
        """Begin a migration; its id once it has one of them, or runs."""
        self.begin(server)
        return self.until(lambda: next((
            item['id'] for item in self.api.get_migrations()
            if item['instance_uuid'] == server['id']
            and item['status'] in (statuses or ('running',))), None),
            statuses)

    def begin_and_move(self, server):
        """The same, once something has arrived."""
        number = self.begin_and_wait(server)
        self.until(lambda: self.view('HV2').host.vms.planned(), 'half way')
        return number

    def ended(self, number, status):
        self.until(lambda: self.record(number).status == status, status)

    def record(self, number):
        return objects.Migration.get_by_id(
            nova_context.get_admin_context(), number)

    def assert_at_home(self, server, boot):
        server = self.settle(server)
        self.assertEqual('HV1', self.host_of(server))
        self.assertEqual(boot, self.vm(server).boot)
        self.assert_written(server)
        self.until(lambda: not self.left('HV2', server), 'clean target')

    def assert_moves(self, server):
        server = self.live_migrate(server)
        self.assertEqual('HV2', self.host_of(server))
        self.assert_written(server)
        self._delete_server(server)
        self.fabric.assert_clean()


@ddt.ddt
class AbortTest(UnderWayTest):

    @ddt.data(0, 5, 80, 95)
    def test_abort_in_each_phase(self, percent):
        """Checks, disks, memory, and just before the switch."""
        server = self.boot_and_write()
        boot = self.vm(server).boot
        with self.held(percent):
            number = self.begin_and_move(server)
            self.api.delete_migration(server['id'], number)
            self.ended(number, 'cancelled')
        self.assert_at_home(server, boot)
        self.assert_moves(server)

    def test_abort_while_the_target_gets_ready(self):
        server = self.boot_and_write()
        boot = self.vm(server).boot
        # On a busy machine it may be ready first.
        with (self.held(5),
              self.fabric.faults.failing(host='HV2', kind='file',
                                         match='CopyFileW*', delay_s=1.5)):
            number = self.begin_and_wait(server, 'preparing', 'running')
            self.until(lambda: self.aborted(server, number), 'aborted')
        self.assert_at_home(server, boot)
        self.assert_moves(server)

    def aborted(self, server, number):
        """Nova loses a request that comes just when it becomes ready."""
        if self.record(number).status in ('preparing', 'running'):
            with contextlib.suppress(client.OpenStackApiException):
                self.api.delete_migration(server['id'], number)
            time.sleep(1)
        return self.record(number).status == 'cancelled'

    def test_abort_of_one_that_waits_for_its_turn(self):
        """[DEFAULT] max_concurrent_live_migrations is 1."""
        first, second = self.boot_and_write(), self.boot_and_write()
        boot = self.vm(second).boot
        with self.held():
            self.begin_and_move(first)
            number = self.begin_and_wait(second, 'queued')
            # Nova says so a moment before it knows what to take away.
            waiting = self.computes['HV1'].manager._waiting_live_migrations
            self.until(lambda: any(waiting.get(second['id'], ())), 'waits')
            self.api.delete_migration(second['id'], number)
            self.ended(number, 'cancelled')
        self.until(lambda: self.host_of(first) == 'HV2', 'the first moved')
        self.settle(first)
        self.assert_at_home(second, boot)


class TimeLimitTest(UnderWayTest):

    def _set_flags(self):
        super()._set_flags()
        self.flags(live_migration_timeout=1, group='hyperv')

    def test_migration_that_takes_too_long_is_cancelled(self):
        """[hyperv] live_migration_timeout."""
        server = self.boot_and_write()
        boot = self.vm(server).boot
        with self.held():
            self.begin_and_wait(server, 'cancelled')
        self.assertIn('live_migration_timeout', self.stdlog.logger.output)
        self.assert_at_home(server, boot)
        self.flags(live_migration_timeout=0, group='hyperv')
        self.restart_compute('HV1')
        self.assert_moves(server)


class ProgressTest(UnderWayTest):

    def test_progress_is_shown(self):
        server = self.boot_and_write()
        with self.held(30):
            number = self.begin_and_move(server)
            path = f"/servers/{server['id']}/migrations/{number}"
            shown = self.until(lambda: self.half_way(path), 'progress')
            self.until(lambda: self.api.get_server(server['id'])[
                'progress'] == 30, 'progress of the server')
        total = shown['disk_total_bytes'] + shown['memory_total_bytes']
        self.assertEqual(512 << 20, shown['memory_total_bytes'])
        for share, what in ((30, 'processed'), (70, 'remaining')):
            self.assertAlmostEqual(total * share / 100, sum(
                shown[f'{kind}_{what}_bytes'] or 0
                for kind in ('disk', 'memory')), delta=1)
        self.ended(number, 'completed')
        record = self.record(number)
        self.assertEqual((None, None), (record.disk_remaining,
                                        record.memory_remaining))
        self.assertEqual(0, self.settle(server)['progress'])

    def half_way(self, path):
        found = self.api.api_get(path).body['migration']
        return found if found['disk_processed_bytes'] else None

    def test_force_complete_is_not_for_hyperv(self):
        """The action fails; the migration goes on."""
        server = self.boot_and_write()
        with self.held():
            number = self.begin_and_move(server)
            self.api.force_complete_migration(server['id'], number)
            self._wait_for_action_fail_completion(
                server, 'live_migration_force_complete',
                'compute_live_migration_force_complete')
            self.assertEqual('running', self.record(number).status)
        self.ended(number, 'completed')
        self.assertEqual('HV2', self.host_of(self.settle(server)))
        self.assert_written(server)

    def test_guest_goes_on_writing(self):
        server = self.boot_and_write()
        with self.held(90):
            number = self.begin_and_move(server)
            self.guest_disk(server).write(1 << 20, LATER)
        self.ended(number, 'completed')
        server = self.settle(server)
        self.assert_written(server)
        self.assertEqual(LATER, self.guest_disk(server).read(1 << 20,
                                                             len(LATER)))


class AccidentTest(UnderWayTest):

    def test_network_between_the_hosts_breaks(self):
        """L078, L079."""
        server = self.boot_and_write()
        boot = self.vm(server).boot
        with self.held(80):
            number = self.begin_and_move(server)
            self.fabric.cut('HV1', 'HV2')
        self.ended(number, 'failed')
        self.fabric.mend('HV1', 'HV2')
        self.assert_at_home(server, boot)
        self.assert_moves(server)

    def test_server_is_deleted_while_it_moves(self):
        """It does not wait; nothing is left on either host."""
        server = self.boot_and_write()
        with self.held(80):
            self.begin_and_move(server)
            self._delete_server(server)
        for host in self.fabric.hosts:
            self.until(lambda: not self.left(host, server),
                       f'{host} clean')
        self.fabric.assert_clean()


class PlugTest(UnderWayTest):
    """[compute] live_migration_wait_for_vif_plug of the target."""

    def setUp(self):
        super().setUp()
        self.flags(live_migration_wait_for_vif_plug=True, group='compute')

    def test_migration_waits_for_neutron(self):
        # Nova's fixture of Neutron has set it to 0.
        self.flags(vif_plugging_timeout=60)
        server = self.boot_and_write()
        number = self.begin_and_wait(server, 'preparing')
        self.until(lambda: self.left('HV2', server), 'target prepared')
        self.assertEqual('preparing', self.record(number).status)
        port, = self.neutron.ports(server['id'])
        self.neutron.activate(port['id'])
        self.ended(number, 'completed')
        self.assertEqual('HV2', self.host_of(self.settle(server)))

    def test_neutron_that_never_answers(self):
        self.flags(vif_plugging_timeout=1)
        server = self.boot_and_write()
        boot = self.vm(server).boot
        self.begin_and_wait(server, 'failed')
        self.assert_at_home(server, boot)
