# SPDX-License-Identifier: Apache-2.0
"""Switches, adapters, ports, features (hyperv-semantics.md section 16)."""

import ddt

from compute_hyperv.sim.wmi import network_ports
from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import STARTED

INVALID_PARAMETER = 32773
INVALID_STATE = 5
NIC = 'Msvm_SyntheticEthernetPortSettingData'
PORT = 'Msvm_EthernetPortAllocationSettingData'
SWITCHES = [{'name': 'external'}, {'name': 'inside', 'kind': 'internal'},
            {'name': 'closed', 'kind': 'private'},
            {'name': 'weighted', 'bandwidth_mode': 1},
            {'name': 'fast', 'iov': True, 'vfs': 8, 'nic': 'Fast NIC'}]


class NetworkTestCase(hypervcase.HyperVTestCase):
    HOST = {'switches': SWITCHES}

    def nic_template(self, **changes):
        nic = self.template(NIC)
        for name, value in changes.items():
            setattr(nic, name, value)
        return nic


@ddt.ddt
class SwitchTest(NetworkTestCase):
    """Virtual switches of the host."""

    @ddt.data(('external', 'Simulated Ethernet Adapter'), ('inside', None),
              ('closed', None), ('fast', 'Fast NIC'))
    @ddt.unpack
    def test_external_adapter(self, switch, adapter):
        """Section 16: ExternalEthernetPort - SAP - LAN endpoints."""
        self.assertEqual(
            adapter, self.net.get_vswitch_external_network_name(switch))

    def test_settings_and_object_share_the_guid(self):
        """Section 16: settings `Microsoft:<switch GUID>`."""
        guid = self.net.get_vswitch_id('external')
        settings = self.wmi.Msvm_VirtualEthernetSwitchSettingData(
            InstanceID='Microsoft:' + guid)[0]
        self.assertEqual((guid, 'external'), (
            settings.VirtualSystemIdentifier, settings.ElementName))

    def test_sriov_needs_iov_preferred(self):
        """Section 16: IOVPreferred fixed at creation."""
        host = self.bound.utilsfactory.get_hostutils()
        self.assertEqual([('fast', 8, 0)], [
            (one['vswitch_name'], one['total_vfs'], one['used_vfs'])
            for one in host.get_nic_sriov_vfs()])

    def test_extensions(self):
        """Section 16: EnabledState 2/3, ExtensionType."""
        self.assertEqual(
            {('Microsoft Windows Filtering Platform', 2, 2),
             ('Microsoft NDIS Capture', 3, 1)},
            {(one['name'], one['enabled_state'], one['extension_type'])
             for one in self.net.get_vswitch_extensions('external')})

    def test_usage_of_virtual_functions(self):
        """oswin-surface.md 3.9: IovVfUsage of running VMs' ports."""
        host = self.bound.utilsfactory.get_hostutils()
        self.create_vm()
        self.add_nic()
        self.connect(switch='fast')
        self.net.set_vswitch_port_offload('nic', sriov_enabled=True)
        seen = []
        for bring in (lambda: None, self.start, self.turn_off):
            bring()
            seen.append(host.get_nic_sriov_vfs()[0]['used_vfs'])
        self.assertEqual([0, 1, 0], seen)

    def test_identities_are_the_same_every_time(self):
        """A host made twice has the same switches: references persist."""
        before = self.net.get_vswitch_id('fast')
        self.make_host('2022')
        self.assertEqual(before, self.net.get_vswitch_id('fast'))


@ddt.ddt
class AdapterTest(NetworkTestCase):
    """Virtual network adapters."""

    @ddt.data(('2012R2', 8), ('2016', 8), ('2019', 64), ('2022', 64))
    @ddt.unpack
    def test_number_of_adapters(self, windows, limit):
        """Section 16/18: 8, from 2019 on 64; 20.6."""
        self.make_host(windows)
        self.create_vm()
        texts = [self.nic_template().GetText_(1)]
        for _ in range(limit):
            self.assertEqual(0, self.service.AddResourceSettings(
                self.settings().path_(), texts)[2])
        before = self.everything()
        self.assertEqual(INVALID_PARAMETER, self.service.AddResourceSettings(
            self.settings().path_(), texts)[2])
        self.assert_unchanged(before)

    @ddt.data(1, 2)
    def test_identity_that_is_taken(self, calls):
        """Section 1: the GUID is the key; in one call or in two."""
        self.create_vm()
        text = self.nic_template(VirtualSystemIdentifiers=[
            '{%s}' % self.host.new_guid()]).GetText_(1)
        texts = [text] * (3 - calls)
        codes = [self.service.AddResourceSettings(
            self.settings().path_(), texts)[2] for _ in range(calls)]
        self.assertEqual(INVALID_PARAMETER, codes[-1])
        self.assertEqual(calls - 1, len(self.resources(cls=NIC)))

    def test_old_vm_version_has_eight(self):
        """Section 16: 64 synthetic for version >= 8.3."""
        self.assertEqual([8, 64], [self.host.profile.max_nics(version)
                                   for version in ('8.2', '8.3')])

    def test_legacy_adapters_of_generation_1(self):
        """Section 16: 4 legacy adapters, generation 1 only."""
        legacy = self.template('Msvm_EmulatedEthernetPortSettingData')
        self.create_vm()
        self.assertEqual(INVALID_PARAMETER, self.add(legacy)[2])
        self.create_vm('old', generation=1)
        codes = [self.add(legacy, 'old')[2] for _ in range(5)]
        self.assertEqual([0] * 4 + [INVALID_PARAMETER], codes)

    @ddt.data(('2012R2', 2, 'running', 5), ('2016', 1, 'running', 5),
              ('2016', 2, 'running', 0), ('2022', 2, 'paused', 0),
              ('2022', 2, 'saved', 5), ('2022', 1, 'off', 0))
    @ddt.unpack
    def test_when_adapters_may_come_and_go(self, windows, generation, state,
                                           code):
        """Section 4: O on 2012 R2 and gen 1; R on 2016+ gen 2."""
        self.make_host(windows)
        self.create_vm(generation=generation)
        nic = self.add_nic()
        self.bring_to(state)
        self.assertEqual(code, self.add(self.nic_template())[2])
        self.assertEqual(code, self.remove(nic)[1])

    @ddt.data('02155D000001', '02:15:5d:00:00:01', '02-15-5D-00-00-01')
    def test_address_is_stored_without_separators(self, given):
        """Section 16: address without separators."""
        self.create_vm()
        self.add(self.nic_template(Address=given, StaticMacAddress=True,
                                   ElementName='nic'))
        self.assertEqual('02155D000001',
                         self.net.get_vnic_mac_address('nic'))

    @ddt.data('01155D000001', 'nonsense', '02155D0000')
    def test_impossible_address(self, given):
        """Section 16 [F]: a multicast address is none of an adapter."""
        self.create_vm()
        self.assertEqual(INVALID_PARAMETER, self.add(self.nic_template(
            Address=given, StaticMacAddress=True))[2])

    def test_dynamic_address_is_drawn_at_the_first_start(self):
        """Section 16: 000000000000 until first start, pool 00155D.."""
        self.create_vm()
        self.add(self.nic_template(ElementName='nic'))
        self.assertEqual('0' * 12, self.net.get_vnic_mac_address('nic'))
        self.start()
        drawn = self.net.get_vnic_mac_address('nic')
        self.assertRegex(drawn, '^00155D[0-9A-F]{6}$')
        self.turn_off()
        self.start()
        self.assertEqual(drawn, self.net.get_vnic_mac_address('nic'))

    @ddt.data(('off', 0, '02155D0000FF'), ('running', 5, '02155D000001'))
    @ddt.unpack
    def test_address_changes_only_when_off(self, state, code, address):
        """Section 4: the adapter's settings are O."""
        self.create_vm()
        nic = self.add_nic()
        self.bring_to(state)
        self.assertEqual(code, self.modify(
            nic, Address='02:15:5d:00:00:ff')[2])
        self.assertEqual(address, self.net.get_vnic_mac_address('nic'))

    def test_equal_static_addresses_are_allowed(self):
        """Section 16 [F]: duplicates are allowed."""
        self.create_vm()
        for name in 'ab':
            self.add_nic(nic=name)
        self.assertEqual({'a', 'b'}, set(self.vmutils.get_vm_nic_names(
            'vm')))


@ddt.ddt
class ConnectionTest(NetworkTestCase):
    """Port allocations and switch ports."""

    def setUp(self):
        super().setUp()
        self.create_vm()
        self.nic = self.add_nic()

    def _vm_ports(self, switch='external'):
        return [one for one in self.wmi.Msvm_EthernetSwitchPort(
            SystemName=self.net.get_vswitch_id(switch))
            if one.ElementName == 'nic']

    def test_identity_and_parent(self):
        r"""Section 1: connection `...\<NIC GUID>\C`; trap 9.13."""
        port = self.connect()
        self.assertEqual(self.nic.InstanceID + '\\C', port.InstanceID)
        self.assertEqual(self.nic.path_(), port.Parent)
        self.assertEqual('external', port.LastKnownSwitchName)

    @ddt.data(('off', 0), ('running', 1), ('paused', 1), ('saved', 0))
    @ddt.unpack
    def test_switch_port_exists_while_running(self, state, count):
        """Section 16 [F]: port object present only while it runs."""
        self.connect()
        self.bring_to(state)
        self.assertEqual(count, len(self._vm_ports()))

    def test_connecting_while_running_makes_the_port(self):
        """Section 4: vNIC connect/disconnect R."""
        self.start()
        port = self.connect()
        self.assertEqual(1, len(self._vm_ports()))
        self.remove(port)
        self.assertEqual(0, len(self._vm_ports()))

    def test_moving_to_another_switch_while_running(self):
        """Section 16: HostResource[0] = switch path."""
        port = self.connect()
        self.start()
        other = self.wmi.Msvm_VirtualEthernetSwitch(
            ElementName='closed')[0]
        self.assertEqual(0, self.modify(
            port, HostResource=[other.path_()])[2])
        self.assertEqual((0, 1), (len(self._vm_ports()),
                                  len(self._vm_ports('closed'))))

    def test_disabled_connection_has_no_port(self):
        """Section 16: EnabledState 2/3."""
        self.modify(self.connect(), EnabledState=3)
        self.start()
        self.assertEqual([], self._vm_ports())

    def test_second_connection_is_refused(self):
        """Section 16: one connection per adapter."""
        port = self.connect()
        again = self.template(PORT)
        again.Parent, again.HostResource = port.Parent, port.HostResource
        self.assertEqual(INVALID_PARAMETER, self.add(again)[2])

    def test_missing_switch_is_refused(self):
        """Section 16: HostResource is a switch."""
        port = self.template(PORT)
        port.Parent = self.nic.path_()
        port.HostResource = [self.settings().path_()]
        self.assertEqual(INVALID_PARAMETER, self.add(port)[2])

    def test_start_without_its_switch_fails(self):
        """Section 11/16: could not find switch."""
        self.connect()
        self.host.v2.delete(self.host.v2.find_one(
            'Msvm_VirtualEthernetSwitch', ElementName='external'))
        job, code = self.system().RequestStateChange(2)
        self.assertEqual(STARTED, code)
        self.assert_job_failed(job, 'could not find switch')
        self.assertEqual({}, self.host.vms.workers)

    def test_removing_the_adapter_takes_all_below_it(self):
        """20.2: no path below a removed device stays."""
        port = self.connect()
        self.net.set_vswitch_port_vlan_id(5, 'nic')
        self.start()
        self.remove(self.nic)
        self.assertEqual([], self.host.v2.under(self.nic.InstanceID))
        self.assertEqual([], self._vm_ports())
        self.assert_not_found(port.path_())

    def test_offload_settings_come_with_the_port(self):
        """Section 16 [D,U]: defaults, created with the port."""
        self.connect()
        self.net.set_vswitch_port_offload('nic', sriov_enabled=True,
                                          vmq_enabled=False)
        found = self.host.v2.under(self.nic.InstanceID,
                                   'Msvm_EthernetSwitchPortOffloadSetting'
                                   'Data')
        self.assertEqual([(100, 0, 512, 1)], [
            (one['IOVOffloadWeight'], one['VMQOffloadWeight'],
             one['IPSecOffloadLimit'], one['IOVQueuePairsRequested'])
            for one in found])


@ddt.ddt
class FeatureTest(NetworkTestCase):
    """Features of ports."""

    def setUp(self):
        super().setUp()
        self.create_vm()
        self.add_nic()
        self.port = self.connect()

    def _new(self, cls, **values):
        feature = getattr(self.wmi, 'Msvm_EthernetSwitchPort%sSettingData'
                          % cls).new()
        for name, value in values.items():
            setattr(feature, name, value)
        return feature

    def _add(self, feature):
        return self.service.AddFeatureSettings(
            self.port.path_(), [feature.GetText_(1)])

    def test_identity(self):
        r"""Section 1: `...\C\<feature_id>\<GUID>`."""
        path = self._add(self._new('Vlan', OperationMode=1))[1][0]
        instance_id = self.job(path).InstanceID
        self.assertTrue(instance_id.startswith(
            self.port.InstanceID + '\\952C5004-4465-451C-8CB8-FA9AB382B773'))

    @ddt.data('Vlan', 'Security', 'Bandwidth', 'Profile')
    def test_single_instance_features(self, cls):
        """Section 16 [F]: at most one per port."""
        self.assertEqual(0, self._add(self._new(cls))[2])
        before = self.everything()
        self.assertEqual(INVALID_PARAMETER, self._add(self._new(cls))[2])
        self.assert_unchanged(before)
        self.host.quirks.single_instance_features = False
        self.assertEqual(0, self._add(self._new(cls))[2])

    def test_many_acls(self):
        """Section 16: many ACLs."""
        for _ in range(3):
            self.assertEqual(0, self._add(self._new(
                'Acl', Direction=1, AclType=2, Action=3,
                Applicability=1))[2])

    @ddt.data(('Vlan', {'OperationMode': 1, 'AccessVlanId': 4095}),
              ('Vlan', {'OperationMode': 4}),
              ('Vlan', {'OperationMode': 2, 'TrunkVlanIdArray': [0]}),
              ('Vlan', {'OperationMode': 3, 'PvlanMode': 4}),
              ('Acl', {'Direction': 3, 'AclType': 2, 'Action': 1,
                       'Applicability': 1}),
              ('Acl', {'Direction': 1, 'AclType': 2, 'Action': 1,
                       'Applicability': 3}),
              ('ExtendedAcl', {'Direction': 1, 'Action': 3}),
              ('Bandwidth', {'Reservation': 5000000}),
              ('Bandwidth', {'Reservation': 20000000, 'Limit': 10000000}),
              ('Bandwidth', {'Limit': 20000000, 'BurstLimit': 10000000}))
    @ddt.unpack
    def test_impossible_values(self, cls, values):
        """Section 16: ranges; surfaces with 0x80070057 in the text."""
        before = self.everything()
        with self.assertRaises(self.x_wmi) as caught:
            self._add(self._new(cls, **values))
        self.assertIn('0x80070057', str(caught.exception))
        self.assert_unchanged(before)

    def test_extended_acl_weights_are_unique_per_direction(self):
        """Section 16: Weight unique per direction."""
        rule = dict(Direction=1, Action=1, Weight=7)
        self._add(self._new('ExtendedAcl', **rule))
        with self.assertRaises(self.x_wmi):
            self._add(self._new('ExtendedAcl', **rule))
        self.assertEqual(0, self._add(self._new(
            'ExtendedAcl', **dict(rule, Direction=2)))[2])

    def test_absolute_reservation_needs_the_switch_mode(self):
        """Section 16: reservation only when the switch mode allows it."""
        self.modify(self.port, HostResource=[
            self.wmi.Msvm_VirtualEthernetSwitch(
                ElementName='weighted')[0].path_()])
        feature = self._new('Bandwidth', Reservation=20000000)
        with self.assertRaises(self.x_wmi):
            self._add(feature)
        self.host.quirks.enforce_bandwidth_mode = False
        self.assertEqual(0, self._add(feature)[2])

    def test_os_win_recognizes_the_refusal(self):
        """oswin-surface.md 9.14: the text holds 0x80070057."""
        self.modify(self.port, HostResource=[
            self.wmi.Msvm_VirtualEthernetSwitch(
                ElementName='weighted')[0].path_()])
        with self.assertRaises(
                hypervcase.exceptions.InvalidParameterValue):
            self.net.set_port_qos_rule('nic', {'min_kbps': 20000})

    def test_extended_acl_defaults(self):
        """Section 16: strings with ANY defaults."""
        self._add(self._new('ExtendedAcl', Direction=1, Action=1))
        found = self.host.v2.under(
            self.port.InstanceID,
            'Msvm_EthernetSwitchPortExtendedAclSettingData')[0]
        self.assertEqual({'ANY'}, {found[name] for name in (
            'LocalIPAddress', 'RemoteIPAddress', 'LocalPort', 'RemotePort',
            'Protocol')})

    def test_features_change_while_running(self):
        """Section 4: port features R."""
        self.start()
        self.net.set_vswitch_port_vlan_id(100, 'nic')
        self.net.set_vswitch_port_vlan_id(200, 'nic')
        self.net.set_vswitch_port_mac_spoofing('nic', True)
        self.net.set_vswitch_port_mac_spoofing('nic', False)
        self.assertEqual([200], [one['AccessVlanId'] for one in (
            self.host.v2.under(self.port.InstanceID,
                               'Msvm_EthernetSwitchPortVlanSettingData'))])

    def test_trunk(self):
        """Section 16: OperationMode 2, ids."""
        self.net.set_vswitch_port_vlan_id(
            10, 'nic', operation_mode=2, trunk_vlans=[20, 30])
        found = self.host.v2.under(
            self.port.InstanceID, 'Msvm_EthernetSwitchPortVlanSettingData')
        self.assertEqual((2, 10, (20, 30)), (
            found[0]['OperationMode'], found[0]['NativeVlanId'],
            found[0]['TrunkVlanIdArray']))

    def test_offload_settings_cannot_be_removed(self):
        """Section 16 [U]: all ports have offload settings."""
        found = self.wmi.query(
            "SELECT * FROM Msvm_EthernetSwitchPortOffloadSettingData WHERE "
            "InstanceID LIKE '%s%%'" % self.port.InstanceID)
        self.assertNotEqual(0, self.service.RemoveFeatureSettings(
            FeatureSettings=[found[0].path_()])[1])

    def test_nothing_or_something_else_is_refused(self):
        """Section 3: parameter errors are immediate return codes."""
        self.host.quirks.wrong_reference_hresult = 0
        system = self.create_vm('other').path_()
        self.assertEqual((INVALID_PARAMETER, INVALID_PARAMETER), (
            self.service.AddFeatureSettings()[2],
            self.service.RemoveFeatureSettings(
                FeatureSettings=[system])[1]))

    def test_feature_of_something_else(self):
        """Section 3: a VM is no port."""
        self.host.quirks.wrong_reference_hresult = 0
        self.assertEqual(INVALID_PARAMETER, self.service.AddFeatureSettings(
            self.system().path_(), [self._new('Vlan').GetText_(1)])[2])

    def test_every_feature_has_a_definition(self):
        """Section 1: `Microsoft:Definition\\<GUID>\\Default`."""
        for cls in network_ports.FEATURE_IDS:
            with self.subTest(cls):
                self.assertEqual(1, len(self.wmi.query(
                    "SELECT * FROM %s WHERE InstanceID LIKE "
                    "'%%\\Default'" % cls)))

    def test_vnic_listener_sees_creation_and_deletion(self):
        """oswin-surface.md 5: __InstanceCreationEvent of adapters."""
        events = {kind: self.wmi.Msvm_SyntheticEthernetPortSettingData
                  .watch_for(raw_wql="SELECT * FROM __Instance%sEvent "
                             "WITHIN 2 WHERE TargetInstance ISA '%s'" % (
                                 kind, NIC))
                  for kind in ('Creation', 'Deletion')}
        nic = self.add_nic(nic='late', mac='02:15:5D:00:00:09')
        self.assertEqual('late', events['Creation'](1000).ElementName)
        self.remove(nic)
        self.assertEqual('late', events['Deletion'](1000).ElementName)
