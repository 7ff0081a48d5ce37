# SPDX-License-Identifier: Apache-2.0
"""Field knowledge that a test can switch (profiles.FieldKnowledge)."""

import dataclasses

import ddt

from compute_hyperv.sim import profiles
from tests.unit.sim import hypervcase

#: Every combination of answers that os-win has to live with.
ANSWERS = [
    {}, {'define_is_job': True}, {'modify_is_job': True},
    {'destroy_is_job': False}, {'running_storage_change_is_job': False},
    {'define_is_job': True, 'modify_is_job': True,
     'destroy_is_job': False, 'running_storage_change_is_job': False},
]


@ddt.ddt
class AnswersTest(hypervcase.HyperVTestCase):
    """Methods that finish at once or as a job (section 3 [F])."""

    @ddt.data(*ANSWERS)
    def test_os_win_runs_a_whole_life(self, quirks):
        """Section 3: 0 = completed, 4096 = job started."""
        for name, value in quirks.items():
            setattr(self.host.quirks, name, value)
        self.create_vm()
        self.attach_disk()
        self.add_nic()
        self.connect()
        self.start()
        self.vmutils.attach_scsi_drive(
            'vm', self.make_disk('C:\\VMs\\vm\\late.vhdx'))
        self.turn_off()
        self.vmutils.destroy_vm('vm')
        self.fabric.assert_clean()

    def test_failed_definition_leaves_nothing(self):
        """20.3 where DefineSystem is a job."""
        from compute_hyperv.sim import jobs
        self.host.quirks.define_is_job = True
        self.host.jobs.fail_next(jobs.DEFINE)
        before = self.everything()
        with self.assertRaises(hypervcase.exceptions.WMIJobFailed):
            self.vmutils.create_vm('vm', False, 2, 'C:\\VMs')
        self.assert_unchanged(before)


class ReleaseTest(hypervcase.HyperVTestCase):
    """Files that the host keeps open a moment longer; time stands still."""

    CLOCK = 'stepped'

    def setUp(self):
        super().setUp()
        self.host.quirks.file_release_delay_s = 5.0
        self.create_vm()
        self.disk = self.attach_disk()
        self.request_state(2)
        self.fabric.clock.advance(60)
        self.request_state(3)
        self.fabric.clock.advance(1)
        self.assertEqual(3, self.state())

    def test_disk_is_free_after_the_delay(self):
        """field-lessons L012: released a few seconds later."""
        with self.assertRaises(OSError) as caught:
            self.files.remove(self.disk)
        self.assertEqual(32, caught.exception.winerror)
        self.fabric.clock.advance(5)
        self.files.remove(self.disk)

    def test_vm_itself_may_start_at_once(self):
        """The delay is no reason why the same VM could not start."""
        self.request_state(2)
        self.fabric.clock.advance(2)
        self.assertEqual(2, self.state())


class KnowledgeTest(hypervcase.HyperVTestCase):
    """Beliefs are per host, and each has a reason."""

    def test_hosts_do_not_share_them(self):
        self.host.quirks.invalid_state_code = 32775
        self.make_host('2022')
        self.assertEqual(5, self.host.quirks.invalid_state_code)

    def test_unknown_belief_is_an_error(self):
        """A misspelled switch must not pass silently."""
        with self.assertRaises(AttributeError):
            self.host.quirks.no_such_belief = True

    def test_all_have_defaults(self):
        for field in dataclasses.fields(profiles.FieldKnowledge):
            self.assertTrue(
                field.default is not dataclasses.MISSING or
                field.default_factory is not dataclasses.MISSING,
                field.name)

    def test_medium_goes_with_its_drive(self):
        """Section 6 [U]: else the drive stays until it is empty."""
        self.host.quirks.drive_with_medium_is_kept = False
        self.create_vm()
        self.attach_disk()
        drive = self.resources(subtype='Synthetic Disk Drive')[0]
        self.assertEqual(0, self.remove(drive)[1])
        self.assertEqual([], self.resources(cls=hypervcase.SASD))

    def test_facts_of_a_new_machine(self):
        """Section 4 and 16: startup memory, prefix of addresses."""
        self.make_host('2022', quirks={'default_memory_mib': 2048,
                                       'mac_prefix': '00155E'})
        self.vmutils.create_vm('vm', False, 2, 'C:\\VMs')
        self.assertEqual(2048, self.record().memory['VirtualQuantity'])
        self.add(self.template('Msvm_SyntheticEthernetPortSettingData'))
        self.start()
        self.assertEqual('00155E', self.resources(
            cls='Msvm_SyntheticEthernetPortSettingData')[0].Address[:6])

    def test_code_of_a_wrong_state(self):
        """Section 4: 5, or 32775."""
        self.host.quirks.invalid_state_code = 32775
        self.create_vm()
        self.start()
        self.assertEqual(32775, self.modify_settings(ChassisAssetTag='x'))

    def test_overhead_counts_against_the_host(self):
        """Section 5: startup memory plus overhead."""
        self.host.quirks.vm_overhead_mib = 100
        self.create_vm(memory_mib=512)
        self.start()
        self.assertEqual(612, self.host.vms.used_memory_mib())
