# SPDX-License-Identifier: Apache-2.0
"""nova-compute killed in the middle of moves between two hosts.

As in ``test_b_crash``; either the source or the target is killed and started
again.
"""

import collections

import ddt
from nova import context
from nova import objects
from nova.tests import fixtures as nova_fixtures

from compute_hyperv.sim import guestdisks
from compute_hyperv.sim import jobs
from tests.functional import crashcase
from tests.functional import sweepcase
from tests.functional import volumecase

HANDS = 2


class MoveCrashCase(crashcase.ServerCrashCase):
    """A server on HV1 that is resized to HV2."""

    HOSTS = ('HV1', 'HV2')

    def setUp(self):
        self.useFixture(nova_fixtures.HostNameWeigherFixture(
            weights={'HV1': 100, 'HV2': 50}))
        super().setUp()
        self.large = self.flavor(disk_gib=2, memory_mib=1024)
        self.boot_server()

    def resize(self):
        self.api.post_server_action(
            self.server['id'], {'resize': {'flavorRef': self.large}})

    def whole_resize(self):
        self.resize()
        self._wait_for_state_change(self.server, 'VERIFY_RESIZE')

    def revert(self):
        self.api.post_server_action(self.server['id'], {'revertResize': None})
        self._wait_for_state_change(self.server, 'ACTIVE')

    def status(self):
        server = self.api.get_server(self.server['id'])
        return (server['status'] if server['OS-EXT-STS:task_state'] is None
                else None)

    def check_data(self, host, what):
        server = self.api.get_server(self.server['id'])
        self.assertEqual(host, server['OS-EXT-SRV-ATTR:host'], what)
        self.assertEqual('running', self.vm(server).state, what)
        self.assertEqual(
            crashcase.MARK, guestdisks.of(self.vm(server).vm)[0].read(
                crashcase.MARK_AT, len(crashcase.MARK)), what)

    def check_at_source(self, what):
        self.check_data('HV1', what)
        self.until(lambda: self.names() == self.own_names,
                   f'{what}: {self.names()}')

    def usages(self):
        """What placement holds for anybody, by host."""
        return {host: self._get_provider_usages(
            self._get_provider_uuid_by_host(host)) for host in self.HOSTS}

    def check_books(self, what):
        """Nova has closed its books on the last migration."""
        instance = objects.Instance.get_by_uuid(
            context.get_admin_context(), self.server['id'],
            expected_attrs=['migration_context'])
        self.assertIsNone(instance.migration_context, what)
        self.assertNotIn(self.api.get_migrations()[0]['status'],
                         ('pre-migrating', 'migrating'), what)

    def names(self):
        """What there is of the server, on both hosts."""
        found = [(host, vm) for host in ('HV1', 'HV2')
                 for vm in self.view(host).vm_names]
        for host in ('HV1', 'HV2'):
            files = self.driver(host)._win.files
            found += [(host, name) for name
                      in files.list_dir(r'C:\OpenStack\Instances')
                      if name.startswith('instance-')]
        return found


@ddt.ddt
class ResizeCrashFaultsTest(MoveCrashCase):

    def sweep(self, host, kills, hand, after=None):
        self.whole_resize()     # the target has the image from now on
        self.revert()
        self.own_names, used = self.names(), self.usages()
        calls = self.recorded(self.whole_resize, host, after)
        self.revert()
        own = self.share(calls, kills, hand, HANDS)
        outcomes = collections.Counter()
        for call in own:
            what = self.run_and_die(self.resize, *call, host=host)
            status = self.until(self.status, what)
            outcomes[status] += 1
            if status == 'VERIFY_RESIZE':
                self.check_data('HV2', what)
                self.revert()
            self.check_at_source(what)
            self.assertEqual(used, self.usages(), what)
            self.check_books(what)
        self.whole_resize()
        self.check_data('HV2', 'in the end')
        self.tell(f'Resize, {host}', own, calls, outcomes)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_source(self, hand):
        """A9, L086: taken back, or on its way; nothing lost."""
        self.sweep('HV1', 20, hand)

    def test_claim(self):
        """A9: killed at the target before the source has begun."""
        self.whole_resize()
        self.revert()
        self.own_names = self.names()
        used = self.usages()
        for call in self.claiming():
            what = self.run_and_die(self.resize, *call, host='HV2')
            self.assertEqual('ACTIVE', self.until(self.status, what))
            self.check_at_source(what)
            self.assertEqual(used, self.usages(), what)
            self.check_books(what)
        self.whole_resize()
        self.check_data('HV2', 'in the end')

    #: What nova-compute was about to note, where, and what comes of it.
    WORDS = (('old_vm_state', 'HV2', 'ACTIVE'),
             ('resize_migrating', 'HV1', 'ACTIVE'),
             ('resize_finish', 'HV2', 'VERIFY_RESIZE'))

    @ddt.data(*sweepcase.hands(len(WORDS), usual=1))
    def test_nova_ends_before_it_begins(self, hand):
        """A9, B10: nothing is noted of what it was about to do."""
        word, host, expected = self.WORDS[hand]
        self.own_names, used = self.names(), self.usages()
        self.last_words = (host, word)
        self.resize()
        self.wait_for_named_death(word, host)
        self.replace(host)
        self.assertEqual(expected, self.until(self.status, word))
        if expected == 'VERIFY_RESIZE':
            self.check_data('HV2', word)
            self.revert()
        self.check_at_source(word)
        self.assertEqual(used, self.usages(), word)
        self.check_books(word)
        self.whole_resize()
        self.check_data('HV2', 'in the end')

    def test_target_restarts_before_the_source_has_begun(self):
        """A9, B10: the source, which is slow, goes on."""
        self.slow.add('HV1')
        self.resize()
        self.until(lambda: self._waiting, 'the source was asked')
        self.until(lambda: not self.unfinished('HV2'), 'the target is done')
        self.replace('HV2')
        self.slow.clear()
        self.deliver()
        self.assertEqual('VERIFY_RESIZE', self.until(self.status, 'there'))
        self.check_data('HV2', 'in the end')

    def claiming(self):
        """Two calls of the target before the source's first."""
        with self.fabric.recorder.recording() as calls:
            self.whole_resize()
        self.revert()
        found = collections.Counter()
        first = []
        for call in calls:
            if call.host == 'HV1' and call.kind != 'connect':
                break
            if call.host == 'HV2' and call.kind in sweepcase.KINDS:
                found[call.kind] += 1
                first.append((call.kind, found[call.kind], call.label))
        self.assertTrue(first)
        return first[0], first[-1]

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_target(self, hand):
        """A9, L085: it arrives anew."""
        self.sweep('HV2', 20, hand, after='HV1')


class LiveCase(MoveCrashCase):
    """A running server that moves from HV1 to HV2."""

    HOSTS = tuple({'name': name, 'extra': {'live_migration': True}}
                  for name in ('HV1', 'HV2'))

    def begin(self, host='HV2'):
        self.api.post_server_action(self.server['id'], {'os-migrateLive': {
            'host': host, 'block_migration': 'auto'}})

    def host_of(self):
        return self.api.get_server(
            self.server['id'])['OS-EXT-SRV-ATTR:host']

    def live_migrate(self, host='HV2'):
        self.begin(host)
        self.until(lambda: self.host_of() == host and self.status(),
                   f'on {host}')
        self.until(lambda: self.api.get_migrations()[0]['status']
                   == 'completed', 'completed')

    def wait_for_conductor(self):
        self.until(lambda: self.api.get_migrations()[0]['status']
                   != 'accepted', 'not checked any more')

    def vm_now(self):
        return self.vm(self.api.get_server(self.server['id']))

    def hard_reboot(self):
        self.api.post_server_action(
            self.server['id'], {'reboot': {'type': 'HARD'}})
        self.until(lambda: self.status() == 'ACTIVE', 'ACTIVE')
        self.boots = self.vm_now().boot[1]


@ddt.ddt
class LiveCrashFaultsTest(LiveCase):

    def sweep(self, host, kills, hand):
        self.boots = self.vm_now().boot[1]
        self.live_migrate()
        self.live_migrate('HV1')
        self.own_names = self.names()
        calls = self.recorded(self.live_migrate, host)
        self.live_migrate('HV1')
        own = self.share(calls, kills, hand, HANDS)
        outcomes = collections.Counter()
        for call in own:
            what = self.run_and_die(self.begin, *call, host=host)
            status = self.until(self.status, what)
            now = self.host_of()
            outcomes[f'{status} on {now}'] += 1
            self.check_data(now, what)
            self.assertEqual(self.boots, self.vm_now().boot[1], what)
            if status == 'ERROR':
                # Nova itself says so when the target dies as the last step.
                self.assertEqual('HV2', now, what)
                self.hard_reboot()
                self.check_data(now, what)
            if now == 'HV2':
                self.live_migrate('HV1')
            self.check_at_source(what)
        self.live_migrate()
        self.check_data('HV2', 'in the end')
        self.tell(f'Live migration, {host}', own, calls, outcomes)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_source(self, hand):
        """A9, L079: on one host, wholly; running all the time."""
        self.sweep('HV1', 20, hand)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_target(self, hand):
        self.sweep('HV2', 16, hand)


class LiveRestartTest(LiveCase):
    """Hyper-V moves the server while nova-compute is away."""

    def half_way(self):
        self.own_names = self.names()
        self.begin()
        self.until(lambda: self.view('HV2').host.vms.planned(), 'half way')

    def test_source_ends_the_migration_when_it_is_back(self):
        with self.fabric.host('HV1').jobs.held(jobs.MOVE_ALL, 50):
            self.half_way()
            self.replace('HV1')
        self.assertEqual('ACTIVE', self.until(self.status, 'no task'))
        self.check_at_source('killed half way')
        self.assertEqual([], list(self.view('HV2').host.vms.planned()))

    def test_arrival_is_completed_when_the_target_is_back(self):
        """A9: both services were killed while Hyper-V moved the server."""
        with self.fabric.host('HV1').jobs.held(jobs.MOVE_ALL, 50):
            self.half_way()
            for host in ('HV1', 'HV2'):
                self.processes[host].kill()
        self.until(lambda: self.view('HV2').vm_names, 'moved')
        self.replace('HV1')
        self.assertEqual('MIGRATING', self.api.get_server(
            self.server['id'])['status'])
        self.replace('HV1')         # it is not forgotten
        self.replace('HV2')
        self.until(lambda: self.host_of() == 'HV2' and self.status()
                   == 'ACTIVE', 'on HV2')
        self.until(lambda: self.api.get_migrations()[0]['status']
                   == 'completed', 'completed')
        self.check_data('HV2', 'in the end')

    def test_target_waits_for_what_arrives(self):
        """A9: its planned VM is needed."""
        with self.fabric.host('HV1').jobs.held(jobs.MOVE_ALL, 50):
            self.half_way()
            self.replace('HV2')
            self.assertTrue(self.view('HV2').host.vms.planned())
        self.until(lambda: self.host_of() == 'HV2' and self.status(),
                   'on HV2')
        self.check_data('HV2', 'restarted half way')


class VolumeCrashTest(volumecase.VolumeTestCase, MoveCrashCase):

    def test_resize_with_a_volume_goes_on(self):
        """A9: whether or not Cinder knew the new host already."""
        self.own_names = self.names()
        volume = self.cinder.add_volume(content=crashcase.MARK, chap=True)
        self.attach(self.server, volume)
        for match in ('iscsidsc.GetIScsiInitiatorNodeNameW',
                      'iscsidsc.LoginIScsiTargetW*',
                      'Msvm_ComputerSystem.RequestStateChange'):
            with self.fabric.faults.failing(host='HV2', match=match,
                                            kill=True):
                self.resize()
                self.wait_for_named_death(match, 'HV2')
            self.replace('HV2')
            self.assertEqual('VERIFY_RESIZE',
                             self.until(self.status, match))
            self.check_data('HV2', match)
            server = self.api.get_server(self.server['id'])
            self.assert_same_bytes(server, volume, match.encode())
            self.revert()
            self.check_at_source(match)
        self.detach(self.server, volume)


@ddt.ddt
class RecoveryCrashFaultsTest(MoveCrashCase):

    def put_aside(self):
        """Kill the source when all files have left their places."""
        with self.fabric.faults.failing(
                host='HV1', match='Msvm_*Service.DestroySystem', kill=True):
            self.resize()
            self.wait_for_named_death('put aside')

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_return(self, hand):
        """A9: what was half taken back is taken back."""
        self.own_names = self.names()
        drives = self.vm(self.server).drives
        self.put_aside()
        calls = self.recorded(lambda: self.replace('HV1'))
        own = self.share(calls, 20, hand, HANDS)
        for call in own:
            self.put_aside()
            what = self.replace_and_die('HV1', *call)
            self.replace('HV1')
            self.assertEqual('ACTIVE', self.until(self.status, what), what)
            self.check_at_source(what)
            self.assertEqual(drives, self.vm(self.server).drives, what)
        self.tell('Return of a resize', own, calls, {'ACTIVE': len(own)})
