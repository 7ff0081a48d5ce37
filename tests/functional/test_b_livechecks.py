# SPDX-License-Identifier: Apache-2.0
"""B11, L073, L080: live migrations that are refused before they begin."""

from nova.tests.functional.api import client

from compute_hyperv.sim import install
from tests.functional import base
from tests.functional import exports
from tests.functional import livecase
from tests.functional import volumecase

GIB = 1 << 30


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
        self.assertEqual([], [call.label for call in calls if self.changes(
            call)])
        self.assertEqual(boot, self.vm(server).boot)
        self._delete_server(server)
        self.fabric.assert_clean()

    @staticmethod
    def changes(call):
        """Whether a call changes something on its host."""
        return (call.kind == 'method' and not any(
            word in call.label for word in ('.Get', '.Check'))
            or call.kind == 'dll' and 'Create' in call.label)


class NotEnabledTest(RefusalTest):

    HOSTS = (host('HV1'), 'HV2')

    def test_target_without_live_migration(self):
        self.assert_refused(
            self.boot_and_write(),
            'HV2: Live migration is not enabled on this host')


class SourceNotEnabledTest(RefusalTest):

    HOSTS = ('HV1', host('HV2'))

    def test_source_without_live_migration(self):
        self.assert_refused(
            self.boot_and_write(),
            'HV1: Live migration is not enabled on this host')


class NoNetworkTest(RefusalTest):

    HOSTS = (host('HV1'), host('HV2', migration_addresses=[]))

    def test_target_without_a_migration_network(self):
        self.assert_refused(
            self.boot_and_write(),
            'HV2: Live migration networks are not configured')


class UnreachableTest(RefusalTest):

    def test_target_out_of_reach_of_the_source(self):
        server = self.boot_and_write()
        self.fabric.cut('HV1', 'HV2')
        self.addCleanup(self.fabric.mend, 'HV1', 'HV2')
        self.assert_refused(server, 'HV1: ', 'HV2')


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


class ProcessorTest(RefusalTest):

    HOSTS = (host('HV1'), host('HV2', processor_features=[6, 10]))

    def test_processor_that_lacks_features(self):
        """L053: what the VM has decides, not the option."""
        server = self.boot_and_write()
        self.flags(limit_cpu_features=True, group='hyperv')
        self.restart_compute('HV1')
        self.restart_compute('HV2')
        self.assert_refused(server, 'The virtual machine is using '
                            'processor-specific features')


class LimitedProcessorTest(livecase.LiveTest):

    HOSTS = ProcessorTest.HOSTS

    def _set_flags(self):
        super()._set_flags()
        self.flags(limit_cpu_features=True, group='hyperv')

    def test_server_with_hidden_features_moves(self):
        """L053."""
        server = self.live_migrate(self.boot_and_write())
        self.assertEqual('HV2', self.host_of(server))


class SpaceTest(RefusalTest):

    HOSTS = (host('HV1'), host('HV2', volumes={'C': 3}))

    def fill(self, mib):
        """Leave less space on the target than Placement knows of."""
        storage = self.fabric.host('HV2').storage
        with open(storage.local('C:\\') + '/much', 'wb') as stream:
            stream.truncate(mib << 20)
        storage.ignored.append('much')
        self.fabric.mark()

    def test_full_size_of_the_disks_has_to_fit(self):
        """disk_over_commit: False of the API before 2.25."""
        server = self.boot_and_write(flavor_id=self.flavor(disk_gib=2))
        self.fill(2000)
        self.api.microversion = '2.1'
        self.addCleanup(setattr, self.api, 'microversion', 'latest')
        exc = self.assertRaises(
            client.OpenStackApiException, self.begin, server,
            block_migration=True, disk_over_commit=False)
        self.assertIn('MiB free, the disks take 2048', str(exc))

    def test_files_have_to_fit(self):
        server = self.boot_and_write()
        self.fill(3068)
        self.assert_refused(server, 'MiB free, the disks take')


class MemoryTest(RefusalTest):

    HOSTS = (host('HV1'), host('HV2', memory_mib=8192))

    def _set_flags(self):
        super()._set_flags()
        self.flags(initial_ram_allocation_ratio=16.0)

    def test_memory_has_to_be_free(self):
        flavor_id = self.flavor(memory_mib=5000)
        self.boot(host='HV2', flavor_id=flavor_id)
        server = self.boot_and_write(flavor_id=flavor_id)
        log = self.refused(server)
        self.assertIn('MiB of memory are free, the VM has 5000', log)


class StateTest(RefusalTest):

    PCI = {'vendor_id': '10de', 'product_id': '1eb8',
           'address': '0000:04:00.0'}

    HOSTS = (host('HV1', pci=[PCI]), host('HV2'))

    def utils(self):
        """What an administrator has."""
        return install.bound(self.host).utilsfactory.get_vmutils()

    def test_paused_server(self):
        server = self.boot_and_write()
        self.api.post_server_action(server['id'], {'pause': {}})
        server = self._wait_for_state_change(server, 'PAUSED')
        self.assert_refused(server, 'does not move a VM that is PAUSED')

    def test_pci_device_that_is_assigned(self):
        server = self.boot_and_write(
            self.glance.add_disk(hw_machine_type='hyperv-gen2'))
        self._stop_server(server)
        vm = self.vm(server).vm
        vm.host.v2.update(vm.settings, AutomaticShutdownAction=2)
        self.utils().add_pci_device(vm.name, '10DE', '1EB8')
        server = self._start_server(server)
        self.assert_refused(server, 'a PCI device of this host is assigned')

    def test_disk_of_the_host_that_is_no_volume(self):
        server = self.boot_and_write(
            self.glance.add_disk(hw_machine_type='hyperv-gen2'))
        iso = r'C:\drivers.iso'
        with self.driver()._win.files.open(iso, 'wb') as stream:
            stream.write(bytes(2048))
        self.fabric.mark()
        self.utils().attach_scsi_drive(self.vm(server).vm.name, iso, 'DVD')
        self.assert_refused(server, iso + ' is on this host only')

    def test_block_migration_is_what_it_takes(self):
        """With local disks; also where the API says that it is not."""
        server = self.boot_and_write()
        self.assert_refused(server, 'is not on shared storage',
                            block_migration=False)


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


class SharedStorageTest(RefusalTest):

    SHARE = r'\\nas\instances'

    def _set_flags(self):
        super()._set_flags()
        self.flags(instances_path=self.SHARE)

    def _new_fabric(self, hosts):
        fabric = super()._new_fabric(hosts)
        fabric.shares.add(self.SHARE, 500 << 30)
        return fabric

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


class ForceTest(livecase.LiveTest):

    def test_api_of_forced_hosts_is_gone(self):
        """Nova removed it in 2.68: nobody gets past the checks."""
        server = self.boot_and_write()
        self.assertRaises(client.OpenStackApiException, self.begin, server,
                          force=True)
