# SPDX-License-Identifier: Apache-2.0
"""What a fabric is made of, and its clean check."""

import os

import ddt

from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim import host as sim_host
from tests.unit.sim import simcase

YAML = r"""
clock: stepped
root: disks
shares: {'\\FS\vms': 10}
csvs: {Volume1: 20}
hosts:
  - HV1
  - name: HV2
    windows: 2012R2
    volumes: {C: 50, E: 1}
    switches: [one, {name: two, kind: private}]
    features: [clustering]
"""


@ddt.ddt
class DescriptionTest(simcase.SimTestCase):

    def load(self, text):
        path = os.path.join(self.fabric.root_dir, 'fabric.yaml')
        with open(path, 'w', encoding='utf-8') as stream:
            stream.write(text)
        found = sim_fabric.Fabric.from_yaml(path)
        self.addCleanup(found.close)
        return found

    def test_everything_a_file_can_say(self):
        fabric = self.load(YAML)
        self.assertEqual(['HV1', 'HV2'], list(fabric.hosts))
        self.assertEqual('stepped', fabric.clock.mode)
        self.assertEqual('disks', os.path.basename(fabric.root_dir))
        host = fabric.host('hv2')
        self.assertEqual('6.3.9600', host.profile.version)
        self.assertEqual(['C', 'E'], host.storage.volumes())
        self.assertEqual(
            (sim_host.SwitchSpec('one'), sim_host.SwitchSpec(
                'two', kind='private')), host.spec.switches)
        self.assertIn('root/mscluster', host.stores)
        self.assertNotIn('root/mscluster', fabric.host('HV1').stores)
        for path in (r'\\FS\vms', r'C:\ClusterStorage\Volume1'):
            self.assertTrue(host.storage.exists(path), path)

    @ddt.data('hosts: [HV1]\ncolour: red', 'hosts: [{name: A, colour: red}]',
              'hosts: [A]\nclock: sometimes',
              'hosts: [{name: A, features: [magic]}]', '', 'hosts: [',
              'clock: real', 'hosts: [A, a]', 'hosts: [{windows: 2022}]',
              'hosts: [{name: A, memory_mib: much}]',
              'hosts: [{name: A, volumes: [C]}]',
              'hosts: [{name: A, switches: [{title: x}]}]')
    def test_unknown_facts_are_refused(self, text):
        self.assertRaises(ValueError, self.load, text)

    def test_field_knowledge_can_be_described(self):
        text = 'hosts: [{name: HV1, quirks: {migration_mib_per_s: 110}}]'
        host, = self.load(text).hosts.values()
        self.assertEqual(110, host.quirks.migration_mib_per_s)
        with self.assertRaisesRegex(ValueError, 'HV1, quirks.*no_such'):
            self.load(text.replace('migration_mib_per_s', 'no_such'))

    @ddt.data('1999', '2022R2')
    def test_unknown_windows_is_refused(self, windows):
        with self.assertRaises((KeyError, ValueError)):
            sim_fabric.Fabric(self.fabric.root_dir, [
                {'name': 'A', 'windows': windows}])

    def test_hosts_are_found_by_any_spelling(self):
        for name in ('HV1', 'hv1', 'hv1.example.org'):
            self.assertIs(self.host, self.fabric.find(name))
        self.assertIsNone(self.fabric.find('HV9'))
        self.assertRaises(KeyError, self.fabric.host, 'HV9')


class CleanTest(simcase.SimTestCase):

    def setUp(self):
        super().setUp()
        self.fabric.mark()
        self.fabric.assert_clean()

    def assert_problem(self, text):
        found = [one for one in self.fabric.problems() if text in one]
        self.assertTrue(found, self.fabric.problems())
        with self.assertRaises(AssertionError) as caught:
            self.fabric.assert_clean()
        self.assertIn(found[0], str(caught.exception))

    def test_machine(self):
        self.add_vm('a')
        self.assert_problem('VM a')

    def test_what_is_left_of_a_machine(self):
        """Settings alone do not vouch for what is below them."""
        system = self.add_vm('a')
        store = self.host.v2
        settings = store.find_one('Msvm_VirtualSystemSettingData',
                                  ElementName='a')
        below = store.add('Msvm_BootSourceSettingData',
                          InstanceID=settings['InstanceID'] + '\\b')
        store.add('Msvm_VirtualSystemSettingDataComponent',
                  GroupComponent=settings, PartComponent=below)
        self.assertEqual(1, len(self.host.vms.problems()))
        store.delete(system)
        self.assertEqual(2, len(self.host.vms.problems()))
        self.assert_problem('SettingData.InstanceID="Microsoft:')
        store.delete(settings)
        self.assert_problem('links something that is gone')
        self.assert_problem('b is left of a VM')

    def test_files_are_compared_with_a_mark(self):
        self.assertTrue(self.fabric.is_marked)
        self.assertFalse(sim_fabric.Fabric(
            self.fabric.root_dir, ['A']).is_marked)

    def test_file_that_was_not_there_at_the_mark(self):
        local = os.path.join(self.host.storage.local('C:\\'), 'left.vhdx')
        with open(local, 'w', encoding='utf-8'):
            self.assert_problem('C:\\left.vhdx')
        self.fabric.mark()
        self.fabric.assert_clean()

    def test_open_handle(self):
        local = os.path.join(self.host.storage.local('C:\\'), 'a.txt')
        with open(local, 'w', encoding='utf-8'):
            self.fabric.mark()
        held = self.host.storage.hold('C:\\a.txt', owner='a test')
        self.assert_problem('a.txt is open by a test')
        held.close()
        self.fabric.assert_clean()

    def test_pipe(self):
        pipe = self.host.pipes.open(r'\\.\pipe\a', lambda data: None)
        self.assert_problem('pipe')
        pipe.close()
        self.fabric.assert_clean()

    def test_registered_check(self):
        @sim_fabric.check
        def more(fabric):
            yield from ['the moon is full'] if fabric is self.fabric else []
        self.addCleanup(sim_fabric._checks.remove, more)
        self.assert_problem('the moon is full')


class PowerTest(simcase.SimTestCase):

    HOSTS = ('HV1', 'HV2')

    def test_other_host_answers_while_it_has_power(self):
        self.connect(host='HV2')
        self.fabric.host('HV2').power_off()
        self.assert_hresult(0x800706BA, self.connect, host='HV2')
        self.fabric.host('HV2').power_on()
        self.connect(host='HV2')

    def test_cut_network_parts_two_hosts_both_ways(self):
        self.fabric.cut('hv1', 'HV2')
        self.assert_hresult(0x800706BA, self.connect, host='HV2')
        self.connect(host='HV1')
        self.fabric.mend('HV2', 'HV1')
        self.connect(host='HV2')
