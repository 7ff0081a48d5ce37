# SPDX-License-Identifier: Apache-2.0
"""B11, L073, L080: live migrations that are refused before they begin."""

import contextlib
import ntpath

from nova.tests.functional.api import client

from compute_hyperv.sim import install
from compute_hyperv.sim.wmi import virtualization_movable as movable
from tests.functional import base
from tests.functional import exports
from tests.functional import livecase
from tests.functional import volumecase


def host(name, **extra):
    """A simulated host that takes part in live migration."""
    facts = {key: extra.pop(key) for key in (
        'windows', 'memory_mib', 'volumes', 'switches') if key in extra}
    return {'name': name, 'extra': livecase.LIVE | extra} | facts


class RefusalTest(livecase.LiveTest):
    """Nothing is changed, and the reason is named."""

    def assert_refused(self, server, *words, **body):
        boot = self.vm(server).boot
        with self.fabric.recorder.recording() as calls:
            log = self.refused(server, **body)
        for word in words:
            self.assertIn(word, log)
        self.assertEqual([], [call.label for call in calls
                              if self.changes(call)])
        self.assertEqual(boot, self.vm(server).boot)

    @staticmethod
    def changes(call):
        """Whether a call changes something on its host."""
        return (call.kind == 'method' and not any(
            word in call.label for word in ('.Get', '.Check'))
            or call.kind == 'dll' and 'Create' in call.label)

    def forget(self, server):
        self._delete_server(server)
        self.fabric.assert_clean()


class HostsTest(RefusalTest):
    """What is wrong with the hosts, one after the other."""

    HOSTS = (host('HV1'),
             host('HV2', volumes={'C': 3}, memory_mib=8192))

    def _set_flags(self):
        super()._set_flags()
        self.flags(initial_ram_allocation_ratio=16.0)

    def enable(self, name, enabled=True):
        """Switch live migration on or off."""
        machine = self.fabric.host(name)
        machine.v2.update(movable.settings_of(machine),
                          EnableVirtualSystemMigration=enabled)

    @contextlib.contextmanager
    def fact(self, **facts):
        """Another fact about HV2."""
        extra = self.fabric.host('HV2').spec.extra
        before = dict(extra)
        extra.update(facts)
        try:
            yield
        finally:
            extra.clear()
            extra.update(before)

    def test_hosts_that_are_not_set_up(self):
        """L073: live migration, its network, the way between them."""
        server = self.boot_and_write()
        for name in ('HV1', 'HV2'):
            self.enable(name, False)
            self.assert_refused(server, f'{name}: Live migration is not '
                                'enabled on this host')
            self.enable(name)
        with self.fact(migration_addresses=[]):
            self.assert_refused(
                server, 'HV2: Live migration networks are not configured')
        self.fabric.cut('HV1', 'HV2')
        self.assert_refused(server, 'HV1: ', 'HV2')
        self.fabric.mend('HV1', 'HV2')
        self.live_migrate(server)
        self.assert_written(server)

    def test_processors_that_differ(self):
        """L053: what the VM has decides, not the option of the host."""
        server = self.boot_and_write()
        self.flags(limit_cpu_features=True, group='hyperv')
        with self.fact(processor_features=[6, 10]):
            self.assert_refused(server, 'The virtual machine is using '
                                'processor-specific features')
        with self.fact(cpu_vendor='AuthenticAMD'):
            self.assert_refused(server, 'The processors are of another '
                                'vendor')
        self.forget(server)

    def fill(self, mib):
        """Leave less space on the target than Placement knows of."""
        storage = self.fabric.host('HV2').storage
        with open(storage.local('C:\\') + '/much', 'wb') as stream:
            stream.truncate(mib << 20)
        storage.drive('C').changed()
        self.fabric.mark()

    def test_disks_have_to_fit(self):
        """With disk_over_commit: False, of the API before 2.25, in full."""
        server = self.boot_and_write(flavor_id=self.flavor(disk_gib=2))
        self.fill(2000)
        self.api.microversion = '2.1'
        exc = self.assertRaises(
            client.OpenStackApiException, self.begin, server,
            block_migration=True, disk_over_commit=False)
        self.api.microversion = 'latest'
        self.assertIn('MiB free, the disks take 20', str(exc))
        self.fill(3071)
        self.assert_refused(server, 'MiB free, the disks take')

    def test_image_of_the_disks_has_to_fit_too(self):
        """L081: it is copied before the disks are, unless it is there."""
        image_id = self.glance.add_disk()
        server = self.boot_and_write(image_id)
        base_mib = self.size_mib('_base', f'{image_id}.vhdx')
        disk_mib = self.size_mib(server['OS-EXT-SRV-ATTR:instance_name'],
                                 'root.vhdx')
        self.fill(3072 - disk_mib - base_mib // 2)
        self.assert_refused(server, 'MiB free, the disks take '
                            f'{disk_mib + base_mib}')
        self.fill(0)
        self.boot(image_id, host='HV2')
        self.fill(3072 - self.used_mib() - disk_mib - base_mib // 2)
        self.live_migrate(server)
        self.assert_written(server)

    def size_mib(self, *names):
        path = ntpath.join(base.INSTANCES_DIR, *names)
        return self.driver()._ops.win.files.size_bytes(path) >> 20

    def used_mib(self):
        total, free = self.driver('HV2')._ops.win.files.disk_usage('C:\\')
        return (total - free) >> 20

    def test_memory_has_to_be_free(self):
        flavor_id = self.flavor(memory_mib=5000)
        self.boot(host='HV2', flavor_id=flavor_id)
        server = self.boot_and_write(flavor_id=flavor_id)
        self.assert_refused(
            server, 'MiB of memory are free, the VM has 5000')


class SwitchTest(RefusalTest):

    HOSTS = (host('HV1'), host('HV2', switches=['internal']))

    def test_target_without_the_virtual_switch(self):
        self.assert_refused(self.boot_and_write(), 'HV2: ', base.SWITCH)


class AgentSwitchTest(SwitchTest):
    """Without the option it is the layer 2 agent that chose the switch."""

    def _set_flags(self):
        super()._set_flags()
        self.flags(vswitch_name=None, group='hyperv')

    def test_target_without_the_virtual_switch(self):
        server = self.boot_and_write()
        net = install.bound(self.host).utilsfactory.get_networkutils()
        net.connect_vnic_to_vswitch(base.SWITCH,
                                    self.vm(server).nics[0].port_id)
        self.assert_refused(server, 'HV2 has no virtual switch external')


class VersionTest(RefusalTest):
    """Nova sees 10.0 in both."""

    HOSTS = (host('HV1', windows='2025'), host('HV2', windows='2022'))

    def test_target_does_not_know_the_configuration_version(self):
        self.assert_refused(
            self.boot_and_write(),
            "configuration version 12.0 is not supported on 'HV2'")


class NewerTargetTest(livecase.LiveTest):

    HOSTS = (host('HV1', windows='2019'), host('HV2', windows='2025'))

    def test_server_moves_to_a_newer_windows(self):
        server = self.live_migrate(self.boot_and_write())
        self.assertEqual('HV2', self.host_of(server))
        self.assert_written(server)


class VendorTest(RefusalTest):

    HOSTS = (host('HV1'), host('HV2', cpu_vendor='AuthenticAMD'))

    def test_processors_of_another_vendor(self):
        self.assert_refused(self.boot_and_write(),
                            'GenuineIntel', 'AuthenticAMD')


class LimitedProcessorTest(livecase.LiveTest):

    HOSTS = (host('HV1'), host('HV2', processor_features=[6, 10]))

    def _set_flags(self):
        super()._set_flags()
        self.flags(limit_cpu_features=True, group='hyperv')

    def test_server_with_hidden_features_moves(self):
        """L053."""
        server = self.live_migrate(self.boot_and_write())
        self.assertEqual('HV2', self.host_of(server))


class ServerTest(RefusalTest):
    """What is wrong with the server."""

    PCI = {'vendor_id': '10de', 'product_id': '1eb8',
           'address': '0000:04:00.0'}

    HOSTS = (host('HV1', pci=[PCI]), host('HV2'))

    def test_server_that_cannot_move(self):
        """Local disks, paused, a PCI device, an ISO image of the host."""
        server = self.boot_and_write(
            self.glance.add_disk(hw_machine_type='hyperv-gen2'))
        self.assert_refused(server, 'is not on shared storage',
                            block_migration=False)
        self.api.post_server_action(server['id'], {'pause': {}})
        server = self._wait_for_state_change(server, 'PAUSED')
        self.assert_refused(server, 'does not move a VM that is PAUSED')

        # What an administrator does.
        self.api.post_server_action(server['id'], {'unpause': {}})
        self.settle(server)
        server = self._stop_server(server)
        utils = install.bound(self.host).utilsfactory.get_vmutils()
        vm = self.vm(server).vm
        vm.host.v2.update(vm.settings, AutomaticShutdownAction=2)
        utils.add_pci_device(vm.name, '10DE', '1EB8')
        server = self._start_server(server)
        self.assert_refused(server, 'a PCI device of this host is assigned')

        server = self._stop_server(server)
        utils.remove_all_pci_devices(vm.name)
        iso = r'C:\drivers.iso'
        with self.driver()._win.files.open(iso, 'wb') as stream:
            stream.write(bytes(2048))
        self.fabric.mark()
        utils.attach_scsi_drive(vm.name, iso, 'DVD')
        server = self._start_server(server)
        self.assert_refused(server, iso + ' is on this host only')
        self.forget(server)


class ImageTest(RefusalTest):
    """L081: the file that the root disk refers to."""

    def _new_fabric(self, hosts):
        fabric = super()._new_fabric(hosts)
        fabric.shares.smb.down.add('hv1')
        return fabric

    def test_image_that_nobody_can_give(self):
        image_id = self.glance.add_disk()
        server = self.boot_and_write(image_id)
        self.glance.delete(image_id)
        self.assert_refused(server, 'is neither cached here nor in Glance')


class SharedStorageTest(base.SharedInstances, RefusalTest):

    def test_block_migration_of_shared_disks(self):
        server = self.boot_and_write()
        log = self.refused(server, block_migration=True)
        self.assertIn('is not on local storage', log)

    def test_share_out_of_reach_of_the_target(self):
        """L080."""
        server = self.boot_and_write()
        name = server['OS-EXT-SRV-ATTR:instance_name']
        with self.fabric.faults.failing(
                host='HV2', kind='file', match=f'*{name}*', times=None):
            log = self.refused(server)
        self.assertIn('HV2: ', log)
        self.live_migrate(server)


class TwoPathsTest(base.OwnPaths, RefusalTest):
    """Disks would come to a path that is not the target's."""

    HOSTS = tuple(host(name, volumes={'C': 127, 'D': 127})
                  for name in ('HV1', 'HV2'))
    PATHS = {'HV1': base.INSTANCES_DIR, 'HV2': r'D:\Nova\Instances'}

    def _set_flags(self):
        super()._set_flags()
        self.flags(use_cow_images=False)

    def test_paths_that_differ(self):
        """B11, L090: they are named; a cold migration is possible."""
        server = self.boot_and_write()
        self.assert_refused(
            server, '[DEFAULT] instances_path', *(
                f'{path} on {host}' for host, path in self.PATHS.items()))


class TwoSharesTest(TwoPathsTest):

    HOSTS = livecase.LiveTest.HOSTS
    PATHS = {'HV1': r'\\nas\instances', 'HV2': r'\\nas\others'}


class OwnShareTest(livecase.LiveMixin, volumecase.VolumeTestCase):
    """L120: a volume on a share of the host that the server is on."""

    HOSTS = (host('HV1', smb_shares={'vols': r'C:\Volumes'}), host('HV2'))

    def test_volume_would_be_moved_away_from_cinder(self):
        server = self.boot_and_write()
        volume = self.cinder.add_volume(kind=exports.SMB, share=r'\\HV1\vols')
        self.attach(server, volume)
        self.assertIn('is on this host only', self.refused(server))
        self._delete_server(server)


class OwnShareOfTargetTest(livecase.LiveMixin, volumecase.VolumeTestCase):
    """L120: it would have another path there."""

    HOSTS = (host('HV1'), host('HV2', smb_shares={'vols': r'C:\Volumes'}))

    def test_preparation_is_refused(self):
        server = self.boot_and_write()
        volume = self.cinder.add_volume(
            kind=exports.SMB, share=r'\\HV2\vols')
        self.attach(server, volume)
        server = self.live_migrate(server, 'failed')
        self.assertIn('is on a share of this very host',
                      self.stdlog.logger.output)
        self.assertEqual('HV1', self.host_of(server))
        self.assert_same_bytes(server, volume, b'still there')


class SharedVolumeTest(livecase.LiveMixin, volumecase.VolumeTestCase):
    """L077: Hyper-V passes a disk through to one VM of a host."""

    HOSTS = (host('HV1'), host('HV2'))

    def test_target_with_another_user_of_a_volume(self):
        volume = self.cinder.add_volume(shown={'multiattach': True})
        first = self.boot_and_write()
        second = self.boot(networks='auto', host='HV2')
        for server in (first, second):
            self.attach(server, volume)
        name = second['OS-EXT-SRV-ATTR:instance_name']
        first = self.live_migrate(first, 'error')
        self.assertIn(f'is in use on HV2 by {name}',
                      self.stdlog.logger.output)
        self.assertEqual('HV1', self.host_of(first))
        self.assert_same_bytes(second, volume, b'of the second')
        self.detach(second, volume)
        first = self.live_migrate(first)
        self.assert_same_bytes(first, volume, b'of the first')


class ForceTest(livecase.LiveTest):

    def test_api_of_forced_hosts_is_gone(self):
        """Nova removed it in 2.68: nobody gets past the checks."""
        server = self.boot_and_write()
        self.assertRaises(client.OpenStackApiException, self.begin, server,
                          force=True)
