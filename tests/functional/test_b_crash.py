# SPDX-License-Identifier: Apache-2.0
"""nova-compute killed in the middle of its work, and started again.

A good run is recorded; then, for every k-th of its calls to the host, a run
in which nova-compute is killed at that call. The service that is started
next brings the host in order; the user can go on.
"""

import collections

import ddt
from nova.tests.functional.api import client

from tests.functional import crashcase
from tests.functional import sweepcase
from tests.functional import test_d_protocols
from tests.functional import volumecase

HANDS = 2


@ddt.ddt
class SpawnCrashFaultsTest(crashcase.CrashTestCase):

    def setUp(self):
        super().setUp()
        self.image_id = self.glance.add_disk('vhdx', **crashcase.GEN2)
        self.flavor_id = self.flavor(disk_gib=1, ephemeral_gib=1)

    def spawn(self, state='ACTIVE'):
        return self.boot(self.image_id, flavor_id=self.flavor_id,
                         networks='auto', state=state, config_drive=True)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_spawn(self, hand):
        """A9, B4: what was being built is removed; it can be deleted."""
        servers = []
        # The first one fetches the image.
        calls = self.recorded(lambda: servers.append(self.spawn()))
        self._delete_server(servers[0])
        own = self.share(calls, 28, hand, HANDS)
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
            self.wait_for_death(what)
        self.replace()
        server = self.api.get_server(server['id'])
        if server['status'] == 'ACTIVE':
            self.assertEqual('running', self.vm(server).state, what)
        else:
            self.assertEqual('ERROR', server['status'], what)
            self.assert_in_time([], self.fabric.problems, what)
        self.assertEqual([], self.partial_images(), what)
        self._delete_server(server)
        self.fabric.assert_clean()
        return server['status']


class ImageCrashTest(crashcase.CrashTestCase):

    def test_half_an_image_is_removed(self):
        """A9, L017: and fetched again."""
        image_id = self.glance.add_disk('qcow2')
        with self.fabric.faults.failing(kind='file', match='rename*',
                                        kill=True):
            server = self.boot(image_id, state='BUILD')
            self.until(self.is_dead, 'killed')
        self.assertNotEqual([], self.partial_images())
        self.replace()
        self.assertEqual([], self.partial_images())
        self._delete_server(server)
        self._delete_server(self.boot(image_id))
        self.fabric.assert_clean()


@ddt.ddt
class SnapshotCrashFaultsTest(crashcase.ServerCrashCase):

    def snapshot(self):
        self.api.post_server_action(
            self.server['id'], {'createImage': {'name': 'snapshot'}})

    def whole_snapshot(self):
        self.snapshot()
        self.until(lambda: self.api.get_server(self.server['id'])
                   ['OS-EXT-STS:task_state'] is None, 'no task')

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_snapshot(self, hand):
        """A9, L102: the checkpoint is merged, the export deleted."""
        self.boot_server()
        calls = self.recorded(self.whole_snapshot)
        own = self.share(calls, 26, hand, HANDS)
        for call in own:
            what = self.run_and_die(self.snapshot, *call)
            self.check_server(what)
        self.whole_snapshot()
        self.check_server('in the end')
        self.tell('Snapshot', own, calls, {'ACTIVE': len(own)})


@ddt.ddt
class InterfaceCrashFaultsTest(crashcase.ServerCrashCase):

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

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_interface(self, hand):
        """A9: Nova knows of the port already, so that it gets it."""
        self.boot_server()
        ports = self.ports()
        calls = self.recorded(self.attach)
        new, = self.ports() - ports
        self.detach(new)
        own = self.share(calls, 16, hand, HANDS)
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


class VolumeCrashCase(volumecase.VolumeTestCase,
                      crashcase.ServerCrashCase):

    def attach_and_die(self, volume, call):
        """What becomes of a volume; in the end it is not attached."""
        what = self.run_and_die(
            lambda: self.api.post_server_volume(self.server['id'], {
                'volumeAttachment': {'volumeId': volume.id}}), *call)
        known = self._is_known(self.server, volume)
        if known:
            self.detach(self.server, volume)
        self.check_server(what)
        return 'attached' if known else 'detached'

    def sweep(self, volume, kills, hand, hands, name):
        calls = self.recorded(lambda: self.attach(self.server, volume))
        self.detach(self.server, volume)
        own = self.share(calls, kills, hand, hands)
        outcomes = collections.Counter(
            self.attach_and_die(volume, call) for call in own)
        self.attach(self.server, volume)
        self.assert_same_bytes(self.server, volume, crashcase.MARK)
        self.tell(name, own, calls, outcomes)


@ddt.ddt
class VolumeCrashFaultsTest(VolumeCrashCase):

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_volume(self, hand):
        """A9, L109: sessions and drives are removed, it is available."""
        self.boot_server()
        volume = self.cinder.add_volume(content=crashcase.MARK, chap=True)
        self.sweep(volume, 33, hand, HANDS, 'Attach of a volume')


class ShareCrashTest(VolumeCrashCase, test_d_protocols.SMBVolumes):

    def test_volume_on_a_share(self):
        """A9: drives without a tag and mounts are removed."""
        volume = self.add()
        self.boot_server()
        self.sweep(volume, 16, 0, 1, 'Attach of a volume over SMB')


class VolumeBootCrashTest(VolumeCrashCase):

    def test_build_from_a_volume(self):
        """A9, B4: the volume is let go of, its content is as before."""
        volume = self.cinder.add_volume(content=crashcase.MARK, chap=True)
        for match in ('iscsidsc.GetIScsiSessionListW',
                      'Msvm_VirtualSystemManagementService.AddResource*',
                      'Msvm_ComputerSystem.RequestStateChange'):
            with self.fabric.faults.failing(match=match, kill=True):
                server = self.boot_from(volume, state='BUILD')
                self.wait_for_named_death(match)
            self.replace()
            self.assertEqual(
                'ERROR', self.api.get_server(server['id'])['status'])
            self.assert_in_time([], self.fabric.problems, match)
            self._delete_server(server)
            self.assertEqual(crashcase.MARK,
                             volume.read(0, len(crashcase.MARK)), match)
        server = self.boot_from(volume)
        self.assert_same_bytes(server, volume, crashcase.MARK)
