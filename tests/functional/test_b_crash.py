# SPDX-License-Identifier: Apache-2.0
"""nova-compute killed in the middle of its work, and started again.

A good run is recorded; then, for every k-th of its calls to the host, a run
in which nova-compute is killed at that call. The service that is started
next brings the host in order; the user can go on.
"""

import collections

import ddt
from nova.tests import fixtures as nova_fixtures
from nova.tests.functional.api import client

from compute_hyperv.sim import guestdisks
from tests.functional import crashcase
from tests.functional import volumecase

HANDS = 2

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
MARK = b'written by the guest' * 100
MARK_AT = 15 << 20


@ddt.ddt
class SpawnCrashFaultsTest(crashcase.CrashTestCase):

    def setUp(self):
        super().setUp()
        self.image_id = self.glance.add_disk('vhdx', **GEN2)
        self.flavor_id = self.flavor(disk_gib=1, ephemeral_gib=1)

    def spawn(self, state='ACTIVE'):
        return self.boot(self.image_id, flavor_id=self.flavor_id,
                         networks='auto', state=state, config_drive=True)

    @ddt.data(*range(HANDS))
    def test_spawn(self, hand):
        """A9, B4: what was being built is removed; it can be deleted."""
        servers = []
        # The first one fetches the image.
        calls = self.recorded(lambda: servers.append(self.spawn()))
        self._delete_server(servers[0])
        own = self.share(calls, 24, hand, HANDS)
        outcomes = collections.Counter(
            self.spawn_and_die(*call) for call in own)
        self.tell('Spawn', own, calls, outcomes)
        self._delete_server(self.spawn())
        self.fabric.assert_clean()

    def spawn_and_die(self, kind, number, label):
        what = f'{kind} {number} {label}'
        self.forget_image(self.image_id)
        with self.killing(kind, number):
            server = self.spawn('BUILD')
            self.until(self.is_dead, what)
        self.replace()
        server = self.api.get_server(server['id'])
        self.assertEqual('ERROR', server['status'], what)
        self.assertEqual([], self.fabric.problems(), what)
        self.assertEqual([], self.partial_images(), what)
        self._delete_server(server)
        self.fabric.assert_clean()
        return server['status']


class ServerCrashCase(crashcase.CrashTestCase):
    """One server that lives through all of it."""

    def boot_server(self):
        self.server = self.boot(
            self.glance.add_disk('vhdx', **GEN2), networks='auto',
            flavor_id=self.flavor(disk_gib=1))
        guestdisks.of(self.vm(self.server).vm)[0].write(MARK_AT, MARK)
        self.boot_id = self.vm(self.server).boot
        self.before = self.seen()

    def seen(self):
        return sorted(problem for problem in self.fabric.problems()
                      if 'console.log' not in problem)

    def check_server(self, what):
        """It has run on, its data are there, nothing was left over."""
        server = self.api.get_server(self.server['id'])
        self.assertEqual(('ACTIVE', None),
                         (server['status'], server['OS-EXT-STS:task_state']),
                         what)
        self.assertEqual(self.boot_id, self.vm(server).boot, what)
        try:
            self.until(lambda: self.before == self.seen(), what)
        except AssertionError:
            self.assertEqual(self.before, self.seen(), what)
            raise
        self.assertEqual(
            MARK, guestdisks.of(self.vm(server).vm)[0].read(
                MARK_AT, len(MARK)), what)

    def run_and_die(self, operate, kind, number, label):
        what = f'{kind} {number} {label}'
        with self.killing(kind, number):
            operate()
            self.until(self.is_dead, what)
        self.replace()
        return what


@ddt.ddt
class SnapshotCrashFaultsTest(ServerCrashCase):

    def snapshot(self):
        self.api.post_server_action(
            self.server['id'], {'createImage': {'name': 'snapshot'}})

    def whole_snapshot(self):
        self.snapshot()
        self.until(lambda: self.api.get_server(self.server['id'])
                   ['OS-EXT-STS:task_state'] is None, 'no task', 30)

    @ddt.data(*range(HANDS))
    def test_snapshot(self, hand):
        """A9, L102: the checkpoint is merged, the export deleted."""
        self.boot_server()
        calls = self.recorded(self.whole_snapshot)
        own = self.share(calls, 4, hand, HANDS)
        for call in own:
            what = self.run_and_die(self.snapshot, *call)
            self.check_server(what)
        self.whole_snapshot()
        self.check_server('in the end')
        self.tell('Snapshot', own, calls, {'ACTIVE': len(own)})


@ddt.ddt
class InterfaceCrashFaultsTest(ServerCrashCase):

    def attach(self):
        try:
            self.api.attach_interface(
                self.server['id'], {'interfaceAttachment': {
                    'net_id': self.neutron.network_1['id']}})
        except client.OpenStackApiException as exc:
            self.assertIn(exc.response.status_code, (500, 504))

    def ports(self):
        return {port['port_id'] for port in self.api.get_port_interfaces(
            self.server['id'])}

    def detach(self, port_id):
        self.api.detach_interface(self.server['id'], port_id)
        self.until(lambda: port_id not in self.ports(), 'detached')

    @ddt.data(*range(HANDS))
    def test_interface(self, hand):
        self.boot_server()
        ports = self.ports()
        calls = self.recorded(self.attach)
        new, = self.ports() - ports
        self.detach(new)
        own = self.share(calls, 1, hand, HANDS)
        outcomes = collections.Counter()
        for call in own:
            what = self.run_and_die(self.attach, *call)
            new = self.ports() - ports
            outcomes['attached' if new else 'not attached'] += 1
            self.assertEqual(
                self.ports(),
                {nic.port_id for nic in self.vm(self.server).nics}, what)
            for port_id in new:
                self.detach(port_id)
            self.assertEqual(1, len(self.vm(self.server).nics), what)
            self.check_server(what)
        self.tell('Attach of a port', own, calls, outcomes)


@ddt.ddt
class VolumeCrashFaultsTest(volumecase.VolumeTestCase, ServerCrashCase):

    @ddt.data(*range(HANDS))
    def test_volume(self, hand):
        self.boot_server()
        volume = self.cinder.add_volume(content=MARK, chap=True)
        calls = self.recorded(lambda: self.attach(self.server, volume))
        self.detach(self.server, volume)
        own = self.share(calls, 2, hand, HANDS)
        outcomes = collections.Counter()
        for call in own:
            what = self.run_and_die(
                lambda: self.api.post_server_volume(self.server['id'], {
                    'volumeAttachment': {'volumeId': volume.id}}), *call)
            known = self._is_known(self.server, volume)
            outcomes['attached' if known else 'detached'] += 1
            if known:
                self.detach(self.server, volume)
            self.check_server(what)
        self.tell('Attach of a volume', own, calls, outcomes)


class MoveCrashCase(ServerCrashCase):
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

    def run_and_die(self, operate, host, kind, number, label):
        what = f'{host} {kind} {number} {label}'
        with self.killing(kind, number, host):
            operate()
            self.until(lambda: self.is_dead(host), what)
        self.replace(host)
        return what

    def status(self):
        server = self.api.get_server(self.server['id'])
        return (server['status'] if server['OS-EXT-STS:task_state'] is None
                else None)

    def check_data(self, host, what):
        server = self.api.get_server(self.server['id'])
        self.assertEqual(host, server['OS-EXT-SRV-ATTR:host'], what)
        self.assertEqual('running', self.vm(server).state, what)
        self.assertEqual(
            MARK, guestdisks.of(self.vm(server).vm)[0].read(
                MARK_AT, len(MARK)), what)

    def check_at_source(self, what):
        self.check_data('HV1', what)
        self.until(lambda: self.names() == self.own_names,
                   f'{what}: {self.names()}')

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

    def sweep(self, host, step, hand, after=None):
        self.whole_resize()     # the target has the image from now on
        self.revert()
        self.own_names = self.names()
        calls = self.recorded(self.whole_resize, host, after)
        self.revert()
        own = self.share(calls, step, hand, HANDS)
        outcomes = collections.Counter()
        for call in own:
            what = self.run_and_die(self.resize, host, *call)
            status = self.until(self.status, what, 30)
            outcomes[status] += 1
            if status == 'VERIFY_RESIZE':
                self.check_data('HV2', what)
                self.revert()
            self.check_at_source(what)
        self.whole_resize()
        self.check_data('HV2', 'in the end')
        self.tell(f'Resize, {host}', own, calls, outcomes)

    @ddt.data(*range(HANDS))
    def test_source(self, hand):
        """A9, L086: taken back, or on its way; nothing lost."""
        self.sweep('HV1', 6, hand)

    @ddt.data(*range(HANDS))
    def test_target(self, hand):
        """A9, L085: it arrives anew."""
        # Nova itself does not recover from the loss of its first request
        # to the target, for which the driver does nothing.
        self.sweep('HV2', 6, hand, after='HV1')


@ddt.ddt
class LiveCrashFaultsTest(MoveCrashCase):
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

    def vm_now(self):
        return self.vm(self.api.get_server(self.server['id']))

    def hard_reboot(self):
        self.api.post_server_action(
            self.server['id'], {'reboot': {'type': 'HARD'}})
        self.until(lambda: self.status() == 'ACTIVE', 'ACTIVE')
        self.boots = self.vm_now().boot[1]

    def sweep(self, host, step, hand):
        self.boots = self.vm_now().boot[1]
        self.live_migrate()
        self.live_migrate('HV1')
        self.own_names = self.names()
        calls = self.recorded(self.live_migrate, host)
        self.live_migrate('HV1')
        own = self.share(calls, step, hand, HANDS)
        outcomes = collections.Counter()
        for call in own:
            what = self.run_and_die(self.begin, host, *call)
            status = self.until(self.status, what, 30)
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

    @ddt.data(*range(HANDS))
    def test_source(self, hand):
        """A9, L079: on one host, wholly; running all the time."""
        self.sweep('HV1', 4, hand)

    @ddt.data(*range(HANDS))
    def test_target(self, hand):
        self.sweep('HV2', 4, hand)
