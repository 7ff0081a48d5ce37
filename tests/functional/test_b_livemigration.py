# SPDX-License-Identifier: Apache-2.0
"""B11: live migration between two hosts."""


from tests.functional import base
from tests.functional import livecase


class SharedNothingTest(livecase.LiveTest):

    def test_running_server_moves_and_comes_back(self):
        """L076, L079, L081, L082: same VM, same uptime, nothing behind."""
        server = self.boot_and_write(config_drive=True)
        self.until(lambda: 'login:' in self.log(server), 'login')
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
        self.assertIn('login:', self.log(server))
        self.api.post_server_action(server['id'], {'reboot': {
            'type': 'HARD'}})
        self.settle(server)
        self.guest_disk(server).write(livecase.MARK_AT, livecase.MARK)

        server = self.live_migrate(server, host='HV1')

        self.assert_written(server)
        self.assertEqual([], self.left('HV2', server))
        self.until(lambda: self.log(server).count('login:') == 2,
                   'the log of both hosts')
        self._delete_server(server)
        self.fabric.assert_clean()

    def log(self, server):
        return self.api.post_server_action(
            server['id'], {'os-getConsoleOutput': {}})['output']

    def test_broken_migration_leaves_the_server_where_it_was(self):
        """L078, L079: whatever the percentage; then it works."""
        server = self.boot_and_write()
        for _percent in self.broken_at(server, 0, 40, 90):
            self.assert_written(server)
        server = self.live_migrate(server)
        self.assert_written(server)
        self._delete_server(server)
        self.fabric.assert_clean()


class ImageTest(livecase.LiveTest):
    """L081: what the root disk refers to has to be on the target."""

    def assert_moves(self, server):
        server = self.live_migrate(server)
        self.assertEqual('HV2', self.host_of(server))
        self._reboot_server(server, hard=True)
        self.assert_written(server)
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_image_that_each_host_converted_itself(self):
        """One identity everywhere, or the child would not know it."""
        image_id = self.glance.add_disk('qcow2')
        server = self.boot_and_write(image_id)
        self._delete_server(self.boot(image_id, host='HV2'))
        self.assert_moves(server)

    def test_image_that_was_deleted(self):
        """The file comes from the source, also the grown one of a VHD."""
        for kind in ('vhdx', 'vhd'):
            image_id = self.glance.add_disk(kind)
            server = self.boot_and_write(
                image_id, flavor_id=self.flavor(disk_gib=2))
            self.glance.delete(image_id)
            self.assert_moves(server)

    def test_source_whose_files_cannot_be_read(self):
        """Without SMB between the hosts the image comes from Glance."""
        server = self.boot_and_write(self.glance.add_disk())
        self.fabric.shares.smb.down.add('hv1')
        self.assert_moves(server)

    def test_disk_that_refers_to_no_image(self):
        """Unshelved servers have whole disks; their image may be gone."""
        image_id = self.glance.add_disk()
        server = self.boot_and_write(image_id)
        for action in ('shelve', 'unshelve'):
            self.api.post_server_action(server['id'], {action: None})
            server = self._wait_for_server_parameter(server, {
                'OS-EXT-STS:task_state': None,
                'status': {'shelve': 'SHELVED_OFFLOADED',
                           'unshelve': 'ACTIVE'}[action]})
        here = self.host_of(server)
        other, = {'HV1', 'HV2'} - {here}
        self.glance.delete(image_id)
        server = self.live_migrate(server, host=other)
        self.assert_written(server)

    def test_checkpoint_moves_along(self):
        """An administrator's; the whole chain."""
        server = self.boot_and_write()
        vm_name = self.vm(server).vm.name
        self.driver()._win.vm.take_vm_snapshot(vm_name, 'before')
        self.guest_disk(server).write(1 << 20, b'after')
        server = self.live_migrate(server)
        self.assert_written(server)
        self.assertEqual(b'after', self.guest_disk(server).read(1 << 20, 5))
        self.assertEqual(1, len(
            self.driver('HV2')._win.vm.get_vm_snapshots(vm_name)))
        self.assertEqual([], self.left('HV1', server))


class OtherNamesTest(livecase.LiveTest):
    """[DEFAULT] host is not what Windows calls itself."""

    def start_compute(self, host):
        return super().start_compute(host, f'nova-{host}')

    def test_server_moves_live_and_cold(self):
        """L129: hosts find each other by the names of Windows."""
        server = self.boot(networks='auto', host='nova-HV1')
        name = server['OS-EXT-SRV-ATTR:instance_name']
        server = self.live_migrate(server, host='nova-HV2')
        self.assertEqual(([], [name]), (self.view('HV1').vm_names,
                                        self.view('HV2').vm_names))
        self.assertEqual(('nova-HV2', 'HV2'), tuple(
            server[f'OS-EXT-SRV-ATTR:{key}']
            for key in ('host', 'hypervisor_hostname')))
        self.api.post_server_action(server['id'], {'migrate': None})
        self._wait_for_state_change(server, 'VERIFY_RESIZE')
        self.api.post_server_action(server['id'], {'confirmResize': None})
        self._wait_for_state_change(server, 'ACTIVE')
        self.assertEqual(([name], []), (self.view('HV1').vm_names,
                                        self.view('HV2').vm_names))
        self._delete_server(server)
        self.fabric.assert_clean()


class MetricsTest(livecase.LiveTest):

    def _set_flags(self):
        super()._set_flags()
        self.flags(enable_instance_metrics_collection=True, group='hyperv')

    def test_target_collects_metrics(self):
        """L057."""
        server = self.boot_and_write()
        with self.fabric.recorder.recording() as calls:
            server = self.live_migrate(server)
        self.assertIn(('HV2', 'Msvm_MetricService.ControlMetrics'), {
            (call.host, call.label) for call in calls})


class SharedStorageTest(base.SharedInstances, livecase.LiveTest):
    """L074, L075: no file moves."""

    def test_server_moves_and_a_broken_move_touches_no_file(self):
        server = self.boot_and_write()
        for _percent in self.broken_at(server, 50):
            self.assert_written(server)

        server = self.live_migrate(server)

        self.assertEqual('HV2', self.host_of(server))
        self.assertEqual([], self.view('HV1').vm_names)
        self.assert_written(server)
        self._delete_server(server)
        self.assertEqual([], self.left_on_share())
