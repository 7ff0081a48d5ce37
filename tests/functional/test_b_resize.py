# SPDX-License-Identifier: Apache-2.0
"""B10: resize and cold migration."""

import ntpath
import os

from nova import context
from nova import exception
from nova import objects
from nova.tests import fixtures as nova_fixtures

from compute_hyperv.sim import disks
from compute_hyperv.sim import guestdisks
from tests.functional import base

#: What a guest wrote onto its root disk, and where.
MARK = b'written by the guest' * 200
MARK_AT = 15 << 20


class MoveTest(base.TestCase):
    """Servers that move between HV1 and HV2."""

    HOSTS = ('HV1', 'HV2')

    def setUp(self):
        self.useFixture(nova_fixtures.HostNameWeigherFixture(
            weights={'HV1': 100, 'HV2': 50}))
        super().setUp()

    def host_of(self, server):
        return self._show_server(server)['OS-EXT-SRV-ATTR:host']

    def write_as_guest(self, server, file_name='root.vhdx'):
        """Let the guest write; when it is off, as if it had before."""
        vm = self.vm(server)
        path = vm.drive(file_name).path
        if vm.vm.worker is not None:
            disk = next(disk for disk in guestdisks.of(vm.vm)
                        if disk.path == path)
            disk.write(MARK_AT, MARK)
            return
        storage = vm.vm.host.storage
        with disks.open_disk(storage.local(path), writable=True,
                             resolve=storage.local, win_path=path) as disk:
            disk.write(MARK_AT, MARK)

    def assert_written(self, server, file_name='root.vhdx'):
        server = self._show_server(server)
        host = server['OS-EXT-SRV-ATTR:host']
        path = self.vm(server).drive(file_name).path
        with self.open_disk(path, host) as disk:
            self.assertEqual(MARK, disk.read(MARK_AT, len(MARK)))

    def resize(self, server, flavor_id, state='VERIFY_RESIZE'):
        self.api.post_server_action(
            server['id'], {'resize': {'flavorRef': flavor_id}})
        return self._wait_for_state_change(server, state)

    def migrate(self, server, host=None):
        self.api.post_server_action(server['id'],
                                    {'migrate': {'host': host}})
        return self._wait_for_state_change(server, 'VERIFY_RESIZE')

    def confirm(self, server):
        self.api.post_server_action(server['id'], {'confirmResize': None})
        return self._wait_for_state_change(server, 'ACTIVE')

    def revert(self, server):
        self.api.post_server_action(server['id'], {'revertResize': None})
        return self._wait_for_state_change(server, 'ACTIVE')

    def files(self, host, server, suffix=''):
        name = server['OS-EXT-SRV-ATTR:instance_name'] + suffix
        storage = self.fabric.host(host).storage
        directory = ntpath.join(base.INSTANCES_DIR, name)
        if not storage.exists(directory):
            return None
        return {entry for entry in os.listdir(storage.local(directory))
                if '.' in entry}


class OtherHostTest(MoveTest):

    def test_resize_to_another_host_and_confirm(self):
        """L023, L033, L038, L076, L085, L087, L088, L090, L096."""
        image_id = self.glance.add_disk(hw_machine_type='hyperv-gen2')
        small = self.flavor(disk_gib=1)
        large = self.flavor(memory_mib=1024, vcpus=2, disk_gib=2,
                            ephemeral_gib=1, swap_mib=64)
        server = self.boot(image_id, flavor_id=small, networks='auto',
                           config_drive=True)
        self.write_as_guest(server)
        before = self.vm(server)
        nics, slots = before.nics, {
            drive.name: (drive.bus, drive.controller, drive.lun)
            for drive in before.drives}

        server = self.resize(server, large)

        self.assertEqual('HV2', self.host_of(server))
        vm = self.vm(server)
        self.assertEqual(('running', 1024, 2),
                         (vm.state, vm.memory_mib, vm.vcpus))
        self.assertEqual(nics, vm.nics)
        now = {drive.name: (drive.bus, drive.controller, drive.lun)
               for drive in vm.drives}
        self.assertEqual(slots, {name: now[name] for name in slots})
        self.assertEqual({'eph0.vhdx', 'swap.vhdx'}, now.keys() - slots)
        self.assert_written(server)
        root = vm.drive('root.vhdx').path
        self.assertTrue(0 <= (2 << 30) - self.disk_size(root, 'HV2')
                        <= 16 << 20)
        self.assertEqual('root.vhdx', vm.boot_order[0])
        # The source can take it back, and runs nothing.
        self.assertEqual([], self.view('HV1').vm_names)
        self.assertIn('root.vhdx', self.files('HV1', server, '_revert'))

        self.confirm(server)

        self.assertEqual('running', self.vm(server).state)
        self.assertIsNone(self.files('HV1', server, '_revert'))
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_migrated_server_is_reverted(self):
        """L085, L087, L088, L092: from the other host, on and off."""
        server = self.boot(networks='auto')
        self.write_as_guest(server)
        before = self.vm(server)
        drives, nics = before.drives, before.nics

        server = self.migrate(server)
        self.assertEqual('HV2', self.host_of(server))
        # What happens over there does not come back.
        path = self.vm(server).drive('root.vhdx').path
        self.view('HV2').turn_off(self.vm(server))
        self.overwrite('HV2', path)
        server = self.revert(server)

        self.assertEqual('HV1', self.host_of(server))
        vm = self.vm(server)
        self.assertEqual(('running', drives, nics),
                         (vm.state, vm.drives, vm.nics))
        self.assert_written(server)
        self.assertEqual([], self.view('HV2').vm_names)
        self.assertIsNone(self.files('HV2', server))
        self._stop_server(server)
        server = self.migrate(server)
        self.assertEqual('off', self.vm(server).state)
        self.api.post_server_action(server['id'], {'revertResize': None})
        server = self._wait_for_state_change(server, 'SHUTOFF')
        self.assertEqual('off', self.vm(server).state)
        self._start_server(server)
        self.assert_written(server)
        self._delete_server(server)
        self.fabric.assert_clean()

    def overwrite(self, host, path):
        storage = self.fabric.host(host).storage
        with disks.open_disk(storage.local(path), writable=True,
                             resolve=storage.local, win_path=path) as disk:
            disk.write(MARK_AT, bytes(len(MARK)))

    def test_child_vhd_grows_and_the_console_log_goes_along(self):
        """L028, L033, E1: generation 1 from a VHD, its config drive kept."""
        image_id = self.glance.add_disk('vhd')
        server = self.boot(image_id, flavor_id=self.flavor(disk_gib=1),
                           config_drive=True)
        self.write_as_guest(server, 'root.vhd')
        log = self.console(server)
        # The target would make a CD.
        self.flags(config_drive_cdrom=True, group='hyperv')

        server = self.resize(server, self.flavor(disk_gib=2))

        vm = self.vm(server)
        self.assertEqual({'root.vhd', 'configdrive.vhd'},
                         {drive.name for drive in vm.drives})
        self.assert_written(server, 'root.vhd')
        self.assertGreater(self.disk_size(vm.drive('root.vhd').path, 'HV2'),
                           (2 << 30) - (64 << 20))
        self.assertTrue(self.console(server).startswith(log[:20]))
        server = self.confirm(server)
        self._delete_server(server)
        self.fabric.assert_clean()

    def console(self, server):
        return self.api.post_server_action(
            server['id'], {'os-getConsoleOutput': {}})['output']

    def test_what_is_refused_or_fails_leaves_the_server_running(self):
        """L086, L089: nothing is changed, and Nova knows it."""
        server = self.boot(flavor_id=self.flavor(disk_gib=2,
                                                 ephemeral_gib=2))
        boot = self.vm(server).boot
        # Nova itself refuses a smaller root disk.
        self.resize_in_vain(server, self.flavor(disk_gib=2, ephemeral_gib=1))
        self.assertEqual(boot, self.vm(server).boot)

        larger = self.flavor(disk_gib=3, ephemeral_gib=2)
        self.write_as_guest(server)
        for kind, match in (('file', '*rename*'), ('method', '*Destroy*')):
            with self.fabric.faults.failing(host='HV1', kind=kind,
                                            match=match):
                self.resize_in_vain(server, larger)
            self.assert_written(server)
            self.assertEqual('running', self.vm(server).state)
            self.assertIsNone(self.files('HV1', server, '_revert'))
        self.assertEqual('HV1', self.host_of(server))
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_source_out_of_reach_is_named(self):
        """L097: with the usual cause; the source can be asked again."""
        server = self.boot()
        self.write_as_guest(server)
        with self.fabric.faults.failing(host='HV2', kind='file',
                                        match=r'*\\hv1\c$*_revert*',
                                        times=None):
            self.api.post_server_action(server['id'], {'migrate': {}})
            server = self._wait_for_state_change(server, 'ERROR')
        name = server['OS-EXT-SRV-ATTR:instance_name']
        self.assertIn(rf'\\HV1\C$\OpenStack\Instances\{name}_revert '
                      'cannot be read', self.fault(server))
        self.assertIn('LocalSystem', self.fault(server))
        self.assertEqual([], self.view('HV2').vm_names)
        server = self._reboot_server(server, hard=True)
        self.assertEqual('HV2', self.host_of(server))
        self.assert_written(server)
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_what_was_there_first_outlives_a_refused_arrival(self):
        """L002: also when another nova-compute is asked to delete it."""
        server = self.boot()
        name = server['OS-EXT-SRV-ATTR:instance_name']
        root = ntpath.join(base.INSTANCES_DIR, name, 'root.vhdx')
        win = self.driver('HV2')._win
        win.files.make_dirs(ntpath.dirname(root))
        win.vhd.create_dynamic_vhd(root, 1 << 30)
        self.api.post_server_action(server['id'], {'migrate': {}})
        server = self._wait_for_state_change(server, 'ERROR')
        self.assertEqual('HV2', self.host_of(server))

        self.restart_compute('HV2')
        self._delete_server(server)

        self.assertTrue(self.view('HV2').exists(root))

    def resize_in_vain(self, server, flavor_id):
        self.api.post_server_action(
            server['id'], {'resize': {'flavorRef': flavor_id}})
        self._wait_for_action_fail_completion(
            server, 'resize', 'compute_resize_instance')
        self._wait_for_server_parameter(
            server, {'status': 'ACTIVE', 'OS-EXT-STS:task_state': None})


class SameHostTest(MoveTest):

    HOSTS = ('HV1',)

    def _set_flags(self):
        super()._set_flags()
        self.flags(allow_resize_to_same_host=True)

    def test_resize_on_the_same_host(self):
        """L093, L094: confirmed, reverted; a cold migration goes nowhere."""
        server = self.boot(flavor_id=self.flavor(disk_gib=1, swap_mib=64,
                                                 ephemeral_gib=1))
        self.write_as_guest(server)
        bare = self.flavor(disk_gib=2, quota__disk_total_iops_sec='500')

        server = self.resize(server, bare)
        self.assertEqual({'root.vhdx'},
                         {drive.name for drive in self.vm(server).drives})
        server = self.revert(server)

        self.assertEqual({'root.vhdx', 'swap.vhdx', 'eph0.vhdx'},
                         {drive.name for drive in self.vm(server).drives})
        self.assert_written(server)
        self.assertIsNone(self.files('HV1', server, '_revert'))
        server = self.confirm(self.resize(server, bare))
        self.assert_written(server)
        limited = self.flavor(disk_gib=2, quota__cpu_shares='2048')
        server = self.confirm(self.resize(server, limited))
        self.assertEqual(200, int(self.vm(server).vm.processor['Weight']))
        self.assertIsNone(self.files('HV1', server, '_revert'))
        self.assert_written(server)
        self._delete_server(server)
        self.fabric.assert_clean()


class SharedStorageTest(base.SharedInstances, MoveTest):
    """L074: instances on a share that both hosts use."""

    def test_resize_and_revert_over_a_share(self):
        server = self.boot(flavor_id=self.flavor(disk_gib=1))
        self.write_as_guest(server)

        server = self.resize(server, self.flavor(disk_gib=2,
                                                 ephemeral_gib=1))
        self.assertEqual('HV2', self.host_of(server))
        self.assert_written(server)
        server = self.revert(server)

        self.assertEqual('HV1', self.host_of(server))
        self.assert_written(server)
        self.assertEqual(['root.vhdx'], [drive.name for drive
                                         in self.vm(server).drives])
        server = self.confirm(self.migrate(server))
        self.assert_written(server)
        self._delete_server(server)
        self.assertEqual([], self.left_on_share())


class NamedShareTest(MoveTest):
    """[hyperv] instances_path_share, where nobody administers both."""

    HOSTS = tuple({'name': f'HV{number}', 'extra': {
        'smb_shares': {'moves': base.INSTANCES_DIR}}} for number in (1, 2))

    def _set_flags(self):
        super()._set_flags()
        self.flags(instances_path_share='moves', group='hyperv')

    def test_files_go_over_the_share_and_no_other(self):
        """D9, L084, L096: images that the target lacks, too."""
        image_id = self.glance.add_disk()
        server = self.boot(image_id)
        self.write_as_guest(server)
        self.glance.delete(image_id)
        with self.fabric.recorder.recording() as calls:
            server = self.confirm(self.migrate(server))
        self.assertEqual('HV2', self.host_of(server))
        self.assert_written(server)
        self.assertEqual({'moves'}, self.shares_used(calls, 'hv1'))
        self._delete_server(server)
        self.fabric.assert_clean()

    def shares_used(self, calls, host):
        """Names of the shares of a host that files were reached by."""
        return {label.split('\\\\')[-1].split('\\')[1]
                for label in map(str.lower, (call.label for call in calls
                                             if call.kind == 'file'))
                if f'\\\\{host}\\' in label}


class TwoPathsTest(base.OwnPaths, NamedShareTest):
    """The hosts have different instances_path, one name of its share."""

    PATHS = {'HV1': base.INSTANCES_DIR, 'HV2': r'D:\Nova\Instances'}
    HOSTS = tuple({'name': name, 'volumes': {'C': 127, 'D': 127},
                   'extra': {'smb_shares': {'moves': path}}}
                  for name, path in PATHS.items())

    def test_files_go_over_the_share_and_no_other(self):
        """L085, L090: there, back, and again after a failed arrival."""
        server = self.boot(flavor_id=self.flavor(disk_gib=1),
                           config_drive=True)
        self.write_as_guest(server)
        server = self.resize(server, self.flavor(disk_gib=2))
        for drive in self.vm(server).drives:
            self.assertTrue(drive.path.startswith(self.PATHS['HV2']))
        self.assert_written(server)
        server = self.revert(server)
        self.assert_written(server)
        server = self.confirm(self.migrate(server))
        self.assert_written(server)

        with self.fabric.recorder.recording() as calls:
            with self.fabric.faults.failing(host='HV1', kind='method',
                                            match='*RealizePlannedSystem'):
                self.api.post_server_action(server['id'], {'migrate': {}})
                server = self._wait_for_state_change(server, 'ERROR')
            server = self._reboot_server(server, hard=True)
        self.assertEqual('HV1', self.host_of(server))
        self.assert_written(server)
        self.assertEqual({'moves'}, self.shares_used(calls, 'hv2'))
        self._delete_server(server)
        self.fabric.assert_clean()


class LimitsTest(MoveTest):
    """What a flavor limits, and what it must not make smaller."""

    HOSTS = ('HV1',)

    def _set_flags(self):
        super()._set_flags()
        self.flags(allow_resize_to_same_host=True)

    def limits(self, server):
        return {medium['HostResource'][0].rpartition('\\')[2]:
                medium['IOPSLimit'] for medium in self.vm(server).vm.media()}

    def test_disks_have_the_limits_of_the_new_flavor(self):
        """C11, L056, L094: set, changed and taken away, there and back."""
        plain, some, bytes_ = (
            self.flavor(ephemeral_gib=1, **specs) for specs in (
                {}, {'quota__disk_total_iops_sec': '500'},
                {'quota__disk_total_bytes_sec': str(70 * 8192)}))
        server = self.boot(flavor_id=plain)
        for flavor_id, limit in ((some, 500), (bytes_, 70), (plain, 0)):
            before = self.limits(server)
            server = self.resize(server, flavor_id)
            self.assertEqual({'root.vhdx': limit, 'eph0.vhdx': limit},
                             self.limits(server))
            server = self.revert(server)
            self.assertEqual(before, self.limits(server))
            server = self.confirm(self.resize(server, flavor_id))
            self.assertEqual({'root.vhdx': limit, 'eph0.vhdx': limit},
                             self.limits(server))

    def test_smaller_root_is_refused_by_the_driver_too(self):
        """L029, L089: before the power is off; Nova's API does, too."""
        server = self.boot(flavor_id=self.flavor(disk_gib=2))
        boot = self.vm(server).boot
        admin = context.get_admin_context()
        instance = objects.Instance.get_by_uuid(
            admin, server['id'], expected_attrs=['flavor',
                                                 'system_metadata'])
        smaller = objects.Flavor.get_by_flavor_id(
            admin, self.flavor(disk_gib=1))
        refused = self.assertRaises(
            exception.InstanceFaultRollback,
            self.driver().migrate_disk_and_power_off, admin, instance, 'HV1',
            smaller, [], {'block_device_mapping': []})
        self.assertIsInstance(refused.inner_exception, exception.ResizeError)
        self.assertIn('2 to 1 GiB', str(refused.inner_exception))
        self.assertEqual(('running', boot), (self.vm(server).state,
                                             self.vm(server).boot))
