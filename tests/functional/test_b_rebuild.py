# SPDX-License-Identifier: Apache-2.0
"""Feature letter B, row 8: rebuild and evacuation."""

import ntpath

from nova.tests import fixtures as nova_fixtures

from compute_hyperv.sim import guestdisks
from compute_hyperv.sim import install
from compute_hyperv.sim import vm as sim_vm
from tests.functional import base

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
OFFSET = 9 << 20
DATA = b'written by the guest'


class LocalDisks(base.TestCase):

    def local_disks(self, server):
        """Root and ephemeral disk, as the guest has them."""
        return [disk for disk in guestdisks.of(self.vm(server).vm)
                if 'configdrive' not in disk.path and not disk.is_physical]

    def write(self, server):
        for disk in self.local_disks(server):
            disk.write(OFFSET, DATA)

    def read(self, server):
        return [disk.read(OFFSET, len(DATA))
                for disk in self.local_disks(server)]


class RebuildTest(LocalDisks):

    def test_rebuild_puts_another_image_into_the_same_server(self):
        """All local disks are new, also in the state it had."""
        flavor_id = self.flavor(disk_gib=1, ephemeral_gib=1)
        server = self.boot(self.glance.add_disk('vhdx', seed=1, **GEN2),
                           flavor_id=flavor_id, networks='auto',
                           config_drive=True)
        before = [drive.name for drive in self.vm(server).drives]
        self.write(server)
        other_id = self.glance.add_disk('vhdx', seed=2, **GEN2)

        self.api.post_server_action(
            server['id'], {'rebuild': {'imageRef': other_id}})
        self._wait_for_server_parameter(
            server, {'OS-EXT-STS:task_state': None, 'status': 'ACTIVE'})

        vm = self.vm(server)
        self.assertEqual('running', vm.state)
        self.assertEqual(before, [drive.name for drive in vm.drives])
        self.assertEqual(1, len(vm.nics))
        self.assert_disk_begins_like_image(
            vm.drive('root.vhdx').path, other_id, disk_gib=1)
        self.assertEqual(bytes(len(DATA)), self.read(server)[1])
        self._delete_server(server)
        self.fabric.assert_clean()


class EvacuateCase(LocalDisks):

    HOSTS = ('HV1', 'HV2')

    def setUp(self):
        self.useFixture(nova_fixtures.HostNameWeigherFixture(
            weights={'HV1': 100, 'HV2': 50}))
        super().setUp()
        self.server = self.boot_server()
        self.write(self.server)

    def boot_server(self):
        return self.boot(self.glance.add_disk('vhdx', **GEN2),
                         networks='auto', config_drive=True,
                         flavor_id=self.flavor(ephemeral_gib=1))

    def evacuate(self):
        """The host dies; its server comes up on the other one."""
        self.computes['HV1'].stop()
        self.view('HV1').request_state(self.vm(self.server), sim_vm.OFF)
        self.api.put_service(
            self.api.get_services(binary='nova-compute', host='HV1')[0]['id'],
            {'forced_down': True})
        self.api.post_server_action(self.server['id'],
                                    {'evacuate': {'host': 'HV2'}})
        return self._wait_for_server_parameter(
            self.server, {'OS-EXT-SRV-ATTR:host': 'HV2',
                          'OS-EXT-STS:task_state': None,
                          'status': 'SHUTOFF'})

    def come_back(self):
        """The dead host starts again and forgets the server."""
        self.start_compute('HV1')
        self.until(lambda: not self.view('HV1').vm_names, 'forgotten')

    def start(self, server):
        self.api.post_server_action(server['id'], {'os-start': None})
        return self._wait_for_state_change(server, 'ACTIVE')

    def check_end(self, server):
        self.assertEqual(1, len(self.vm(server).nics))
        self._delete_server(server)
        # The stopped service of HV1 may still wait for its last event.
        ours = ('subscription', '\\_base\\', '\\locks\\')
        self.assert_in_time([], lambda: [
            problem for problem in self.fabric.problems()
            if not any(part in problem for part in ours)])


class EvacuateTest(EvacuateCase):

    def test_server_is_built_anew_and_the_old_one_removed(self):
        """L166: storage is not shared, so the old disks are deleted."""
        server = self.start(self.evacuate())
        self.assertEqual(bytes(len(DATA)), self.read(server)[1])
        self.assertNotIn(DATA, self.read(server))
        self.come_back()
        self.assertFalse(self.view('HV1').exists(ntpath.join(
            base.INSTANCES_DIR, server['OS-EXT-SRV-ATTR:instance_name'])))
        self.check_end(server)


class SharedStorage(EvacuateCase):
    """All hosts have the instances on one cluster shared volume."""

    def _set_flags(self):
        super()._set_flags()
        self.flags(instances_path=r'C:\ClusterStorage\Volume1\Instances')

    def _new_fabric(self, hosts):
        return super()._new_fabric(hosts, csvs={'Volume1': 100})


class SharedEvacuateTest(SharedStorage):

    def start_compute(self, host):
        # They make config drives of two kinds.
        self.flags(config_drive_cdrom=host == 'HV2', group='hyperv')
        return super().start_compute(host)

    def test_server_keeps_its_disks_on_shared_storage(self):
        """L166: probes decide, are removed, and no disk is deleted."""
        old, = self.config_drives()
        server = self.start(self.evacuate())
        self.assertEqual(['configdrive.iso'], [
            drive.name for drive in self.vm(server).drives if drive.is_dvd])
        self.assertFalse(self.view('HV2').exists(old))
        self.assertEqual([DATA] * 2, self.read(server))
        self.come_back()
        self.assertEqual([DATA] * 2, self.read(server))
        self.check_end(server)

    def config_drives(self):
        return [drive.path for drive in self.vm(self.server).drives
                if drive.name.startswith('configdrive')]


class CheckpointEvacuateTest(SharedStorage):

    def test_what_was_written_after_a_checkpoint_is_kept(self):
        """L102: the host died while a snapshot was being made."""
        utils = install.bound(self.host).utilsfactory.get_vmutils()
        vm = self.vm(self.server).vm
        for name in ('OpenStack snapshot', 'of an administrator'):
            utils.take_vm_snapshot(vm.name, name)
        for disk in self.local_disks(self.server):
            disk.write(2 * OFFSET, DATA)
        server = self.start(self.evacuate())
        self.assertEqual([DATA] * 2, self.read(server))
        self.assertEqual([DATA] * 2, [
            disk.read(2 * OFFSET, len(DATA))
            for disk in self.local_disks(server)])
        self.assertNotIn('.avhdx', str(self.vm(server).drives))
        self.come_back()
        self.assertEqual([DATA] * 2, self.read(server))
        self.check_end(server)


class ISOEvacuateTest(SharedStorage):
    """A server that boots from an ISO image, and has a blank disk."""

    def boot_server(self):
        return self.boot(self.glance.add_iso(
            hw_machine_type='hyperv-gen2'), networks='auto')

    def local_disks(self, server):
        return [disk for disk in super().local_disks(server)
                if not disk.path.endswith('.iso')]

    def test_both_disks_are_kept(self):
        before = self.vm(self.server).drives
        server = self.start(self.evacuate())
        self.assertEqual(before, self.vm(server).drives)
        self.assertEqual([DATA], self.read(server))
        self.come_back()
        self.check_end(server)
