# SPDX-License-Identifier: Apache-2.0
"""Live migrations with every call to both hosts failing once.

As in ``test_b_movefaults``: the driver methods are called in the order in
which Nova's compute manager calls them, over a server that real Nova has
booted. A migration that breaks before the switch leaves the server running
where it was, one that breaks after it lets it run on the target; the guest
is not restarted, what it wrote is there, and nothing is left on the host
that the server is not on. In ``Nova*FaultsTest`` Nova itself does it.
"""

import ntpath

import ddt
from nova import context as nova_context
from nova import exception
from nova import objects

from tests.functional import base
from tests.functional import livecase
from tests.functional import sweepcase
from tests.functional import volumecase

#: Tests that share the calls of one operation; through Nova.
HANDS, NOVA_HANDS = 2, 6 if sweepcase.WHOLE else 16

#: Outcomes.
REFUSED, STAYED, MOVED, ERROR = 'refused', 'stayed', 'moved', 'in error'

TEXT = b'on the volume'


class Sweep(sweepcase.SweepMixin, livecase.LiveMixin):
    """Records and breaks calls to both hosts."""

    def boot_server(self):
        self.server = self.boot_and_write(
            self.glance.add_disk(hw_machine_type='hyperv-gen2'),
            config_drive=True)
        self.name = self.server['OS-EXT-SRV-ATTR:instance_name']
        self.boots = self.vm(self.server).boot[1]
        self.written = self.content(self.path, 'HV1')
        self.assertIn(livecase.MARK, self.written[1])

    @property
    def path(self):
        return ntpath.join(base.CONF.instances_path, self.name, 'root.vhdx')

    def check_all(self, what, host, other):
        """The server runs on that host, and nothing of it on the other."""
        vm = self.view(host).vm(self.name)
        self.assertEqual(('running', self.boots), (vm.state, vm.boot[1]),
                         what)
        self.assertTrue(self.written == self.content(self.path, host), what)
        disk = livecase.guestdisks.of(vm.vm)[0]
        self.assertEqual(livecase.MARK, disk.read(
            livecase.MARK_AT, len(livecase.MARK)), what)
        self.assertEqual([], self.left_at(other), what)
        self.assertEqual([], list(self.view(host).host.vms.planned()), what)
        if host == 'HV1':
            self.assert_problems(self.before, what)

    def left_at(self, host):
        return self.left(host, self.server)


class DriverSweep(Sweep):
    """Nova's compute manager, in short."""

    def setUp(self):
        super().setUp()
        self.boot_server()
        self.context = nova_context.get_admin_context()
        self.instance = objects.Instance.get_by_uuid(
            self.context, self.server['id'],
            expected_attrs=['flavor', 'metadata', 'system_metadata',
                            'device_metadata', 'info_cache', 'pci_requests'])
        self.manager = self.computes['HV1'].manager
        self.network_info = self.manager.network_api.get_instance_nw_info(
            self.context, self.instance)
        self.nodes = {name: {'cpu_info': self.driver(
            name).get_available_resource(name)['cpu_info']}
            for name in ('HV1', 'HV2')}
        self.record = objects.Migration(
            context=self.context, instance_uuid=self.instance.uuid,
            source_compute='HV1', dest_compute='HV2', status='running',
            migration_type='live-migration')
        self.record.create()
        self.instance.task_state = 'migrating'
        self.instance.save()
        self.add_devices()
        # The image is in the caches of both hosts in all runs.
        self.assertEqual(MOVED, self.go())
        self.come_back()
        self.before = self.problems()

    def add_devices(self):
        self.devices = self.manager._get_instance_block_device_info(
            self.context, self.instance)

    # What Nova does.

    def go(self, source='HV1', target='HV2'):
        """Migrate; the outcome."""
        here, there = self.driver(source), self.driver(target)
        self.instance.node = source
        try:
            data = self.check(here, there, source, target)
        except (exception.MigrationError, exception.Invalid):
            return REFUSED
        self.record.dest_node = target      # as Nova's conductor does
        data.migration = self.record
        try:
            there.pre_live_migration(self.context, self.instance,
                                     self.devices, self.network_info, None,
                                     data)
        except exception.NovaException:
            self.release_at(there)
            self.roll_back(there, data)
            return STAYED
        outcomes = []

        def post(*args):
            outcomes.append(self.post(here, there, data))

        def recover(*args, **kwargs):
            try:
                self.release_at(there)
            except exception.NovaException:
                outcomes.append('not released')
            self.roll_back(there, data)
            outcomes.append(STAYED)

        here.live_migration(self.context, self.instance, target, post,
                            recover, None, data)
        outcome, = outcomes
        return outcome

    def check(self, here, there, source, target):
        data = there.check_can_live_migrate_destination(
            self.context, self.instance, self.nodes[source],
            self.nodes[target], None, None)
        data = here.check_can_live_migrate_source(
            self.context, self.instance, data, self.devices)
        return there.check_source_migrate_data_at_dest(
            self.context, self.instance, data, self.record, None, None)

    def post(self, here, there, data):
        here.post_live_migration(self.context, self.instance, self.devices,
                                 data)
        here.post_live_migration_at_source(self.context, self.instance,
                                           self.network_info)
        here.cleanup(
            self.context, self.instance, self.network_info,
            destroy_disks=not data.is_shared_instance_path,
            migrate_data=data, destroy_vifs=False)
        try:
            there.post_live_migration_at_destination(
                self.context, self.instance, self.network_info, None,
                self.devices)
        except exception.NovaException:
            return ERROR
        return MOVED

    def release_at(self, there):
        for volume in self.devices['block_device_mapping']:
            there.detach_volume(self.context, volume['connection_info'],
                                self.instance, volume['mount_device'])

    def roll_back(self, there, data):
        there.rollback_live_migration_at_destination(
            self.context, self.instance, self.network_info,
            self.devices | {'block_device_mapping': []},
            destroy_disks=not data.is_shared_instance_path,
            migrate_data=data)

    def come_back(self):
        self.assertEqual(MOVED, self.go('HV2', 'HV1'))

    def sweep_driver(self, what, hand):
        calls = self.recorded(self.go, self.fabric.hosts)
        self.check_all('without a fault', 'HV2', 'HV1')
        self.come_back()
        self.sweep(what, calls, hand, HANDS, self.go_with_fault)
        self.assertEqual(MOVED, self.go())
        self.driver('HV2').destroy(self.context, self.instance,
                                   self.network_info, self.devices)
        self.assert_problems([], 'deleted')

    def go_with_fault(self, call):
        with self.failing(call):
            outcome = self.go()
        if outcome in (MOVED, ERROR):
            self.check_all(call, 'HV2', 'HV1')
            self.come_back()
        self.check_all(call, 'HV1', 'HV2')
        return outcome


class VolumeMixin:
    """A local disk, and a volume with CHAP."""

    def boot_server(self):
        super().boot_server()
        self.volume = self.cinder.add_volume(content=TEXT, chap=True)
        self.attach(self.server, self.volume)

    def left_at(self, host):
        self.assertEqual(TEXT, self.volume.read(0, len(TEXT)))
        here, = {'HV1', 'HV2'} - {host}
        disk, = [disk for disk in livecase.guestdisks.of(
            self.view(here).vm(self.name).vm)
            if disk.tag == self.volume.id]
        self.assertEqual(TEXT, disk.read(0, len(TEXT)))
        return super().left_at(host)


@ddt.ddt
class SharedNothingFaultsTest(DriverSweep, base.TestCase):

    @ddt.data(*range(HANDS))
    def test_server_stays_or_moves(self, hand):
        """L078, L079: whichever call fails."""
        self.sweep_driver('Live migration', hand)


@ddt.ddt
class SharedStorageFaultsTest(base.SharedInstances, DriverSweep,
                              base.TestCase):

    @ddt.data(*range(HANDS))
    def test_server_stays_or_moves(self, hand):
        """L074, L078, L079: whichever call fails; no file is touched."""
        self.sweep_driver('Live migration, shared storage', hand)


@ddt.ddt
class VolumeFaultsTest(VolumeMixin, DriverSweep,
                       volumecase.VolumeTestCase):

    @ddt.data(*range(HANDS))
    def test_server_stays_or_moves(self, hand):
        """L077, L078: whichever call fails."""
        self.sweep_driver('Live migration with a volume', hand)

    def add_devices(self):
        self.cinder.export(self.volume,
                           self.driver('HV2').get_volume_connector(None))
        super().add_devices()


class NovaSweep(Sweep):
    """The whole of Nova."""

    def sweep_nova(self, what, hand):
        self.boot_server()
        self.assertEqual('completed', self.go())
        self.go('HV1')
        self.before = self.problems()
        calls = self.recorded(self.go, self.fabric.hosts)
        self.go('HV1')
        self.sweep(what + ' through Nova', calls, hand, NOVA_HANDS,
                   self.go_with_fault)
        self.assertEqual('completed', self.go())
        self._delete_server(self.server)
        self.assert_problems([], 'deleted')

    def go(self, host='HV2'):
        """Migrate; the status of the migration."""
        before = {item['id'] for item in self.api.get_migrations()}
        self.begin(self.server, host)
        migration, = self.until(
            lambda: [item for item in self.api.get_migrations()
                     if item['id'] not in before and item['status'] in (
                         'completed', 'failed', 'error')],
            'the end of the migration')
        self.server = self.until(self.settled, 'no task')
        return migration['status']

    def settled(self):
        server = self.api.get_server(self.server['id'])
        return (server if server['OS-EXT-STS:task_state'] is None else None)

    def go_with_fault(self, call):
        with self.failing(call):
            status = self.go()
            host = self.host_of(self.server)
            other, = {'HV1', 'HV2'} - {host}
            self.until(lambda: not self.left_at(other), f'{call}: clean')
        self.assertEqual('HV2' if status == 'completed' else 'HV1', host,
                         call)
        self.assertEqual('ACTIVE', self.server['status'], call)
        self.check_all(call, host, other)
        if host == 'HV2':
            self.go('HV1')
            self.check_all(call, 'HV1', 'HV2')
        return status


@ddt.ddt
class NovaSharedNothingFaultsTest(NovaSweep, base.TestCase):

    @ddt.data(*sweepcase.hands(NOVA_HANDS, 1))
    def test_server_stays_or_moves(self, hand):
        self.sweep_nova('Live migration', hand)


@ddt.ddt
class NovaSharedStorageFaultsTest(base.SharedInstances, NovaSweep,
                                  base.TestCase):

    @ddt.data(*sweepcase.hands(NOVA_HANDS, 1))
    def test_server_stays_or_moves(self, hand):
        self.sweep_nova('Live migration, shared storage', hand)


@ddt.ddt
class NovaVolumeFaultsTest(VolumeMixin, NovaSweep,
                           volumecase.VolumeTestCase):

    @ddt.data(*sweepcase.hands(NOVA_HANDS, 1))
    def test_server_stays_or_moves(self, hand):
        self.sweep_nova('Live migration with a volume', hand)
