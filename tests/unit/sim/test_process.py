# SPDX-License-Identifier: Apache-2.0
"""Programs on a simulated host that are killed within this process."""

import threading

from compute_hyperv.sim import install
from compute_hyperv.sim import native
from compute_hyperv.sim import osmodules
from compute_hyperv.sim import pipes
from compute_hyperv.sim import process
from tests.unit.sim import onehost


class ProcessTest(onehost.OneHostCase):

    def setUp(self):
        super().setUp()
        self.process = process.Process(self.host)
        self.own_files = osmodules.Files(self.process.port)
        self.write('C:\\a\\file', b'before')

    def oswin(self):
        return install.bound(self.process).utilsfactory

    @staticmethod
    def listen(win):
        return win.get_vmutils().get_vm_power_state_change_listener(
            timeframe=1)

    def assert_vanishes(self, call, *args, **kwargs):
        with self.assertRaises(process.Vanished):
            call(*args, **kwargs)

    def test_it_works_like_any_program(self):
        self.assertEqual(['file'], self.own_files.list_dir('C:\\a'))
        self.oswin().get_vmutils().list_instances()

    def test_each_program_has_an_os_win_of_its_own(self):
        """What os-win remembers goes with the process."""
        other = process.Process(self.host)
        self.assertIsNot(self.oswin(), install.bound(other).utilsfactory)
        self.assertNotEqual(self.process.port.client, other.port.client)

    def test_nothing_is_done_once_it_is_killed(self):
        vmutils = self.oswin().get_vmutils()
        self.process.kill()
        self.process.kill()
        self.assert_vanishes(self.own_files.remove, 'C:\\a\\file')
        self.assert_vanishes(vmutils.list_instances)
        self.assertEqual(b'before', self.read('C:\\a\\file'))

    def test_a_fault_kills_it_instead_of_the_call(self):
        with self.fabric.faults.failing(match='remove*file', kill=True):
            self.assert_vanishes(self.own_files.remove, 'C:\\a\\file')
        self.assertFalse(self.process.alive)
        self.assertEqual(b'before', self.read('C:\\a\\file'))

    def test_what_comes_after_the_kill_does_nothing(self):
        """Neither except nor finally of the program reach the host."""
        seen = []

        def work():
            try:
                self.own_files.list_dir('C:\\a')
            except Exception:
                seen.append('except Exception')
            finally:
                seen.append(process.Vanished.is_being_handled())
                self.own_files.remove('C:\\a\\file')
                seen.append('removed')
        with self.fabric.faults.failing(match='list*', kill=True):
            self.assert_vanishes(work)
        self.assertEqual([True], seen)
        self.assertFalse(process.Vanished.is_being_handled())
        self.assertTrue(self.files.exists('C:\\a\\file'))

    def test_its_files_are_closed_and_its_buffers_lost(self):
        stream = self.own_files.open('C:\\a\\file', 'wb')
        stream.write(b'never written')
        self.process.kill()
        self.assert_clean()
        stream.close()
        self.assertEqual(b'', self.read('C:\\a\\file'))

    def test_its_disk_handles_are_closed(self):
        vhdutils = self.oswin().get_vhdutils()
        vhdutils.create_dynamic_vhd('C:\\a\\disk.vhdx', 1 << 26)
        with self.fabric.faults.failing(
                kind='dll', match='virtdisk.close*', kill=True):
            self.assert_vanishes(vhdutils.get_vhd_info, 'C:\\a\\disk.vhdx')
        self.assert_clean()
        self.files.remove('C:\\a\\disk.vhdx')

    def test_its_ends_of_pipes_are_closed(self):
        pipe = self.host.pipes.open('\\\\.\\pipe\\com', lambda data: None)
        self.process.port.call('dll.kernel32.CreateFileW.pipe',
                               path='\\\\.\\pipe\\com',
                               client=self.process.port.client)
        self.assertTrue(pipe.is_busy)
        self.process.kill()
        self.assertFalse(pipe.is_busy)
        pipe.close()
        self.assertEqual('COM', pipes.short_name(pipe.name))

    def test_its_subscriptions_end(self):
        listener = self.listen(self.oswin())
        self.assertEqual(1, len(self.host.watches))
        other = self.listen(self.win)
        self.process.kill()
        self.assertEqual(1, len(self.host.watches))
        self.assert_vanishes(listener, 100)
        del other

    def test_who_waits_when_it_dies_vanishes_as_well(self):
        listener = self.listen(self.oswin())
        seen = []

        def wait():
            try:
                listener(60000)
            except BaseException as exc:
                seen.append(isinstance(exc, process.Vanished))
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        native.sleep(0.1)
        self.process.kill()
        thread.join(60)
        self.assertEqual([True], seen)

    def test_a_handle_that_was_just_being_opened_is_closed(self):
        with self.fabric.faults.failing(match='open*file', delay_s=0.3):
            self.soon(self.process.kill)
            self.assert_vanishes(self.own_files.open, 'C:\\a\\file', 'wb')
        self.assert_clean()

    def test_others_on_the_host_go_on(self):
        other = process.Process(self.host)
        files = osmodules.Files(other.port)
        with files.open('C:\\a\\other', 'wb') as stream:
            self.process.kill()
            stream.write(b'written')
        self.assertEqual(b'written', self.read('C:\\a\\other'))
        self.assertTrue(other.alive)
