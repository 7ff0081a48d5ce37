# SPDX-License-Identifier: Apache-2.0
import contextlib

import ddt
from nova import exception
from nova.network import model as network_model

from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv.plan import nics
from compute_hyperv import vifops
from tests import base
from tests import factories

SWITCH = 'external'


class Host:
    """NICs of one VM: port id → {'mac', 'switch', ...}."""

    def __init__(self, **caps):
        self.vm = self.net = self
        self.caps = factories.caps('2016')
        self.nics = {}
        self.vm_state = oswin.VMState.OFF
        self.generation = model.Generation.TWO
        self.fail_connect = None
        self.owner = None

    def find_owner(self, vm_name):
        if isinstance(self.owner, Exception):
            raise self.owner
        return self.owner

    def create_nic(self, vm_name, port_id, mac):
        self.nics[port_id] = {'vm': vm_name, 'mac': mac}

    def connect_nic(self, port_id, vswitch):
        if self.fail_connect:
            raise self.fail_connect
        if port_id not in self.nics:
            raise exception.DeviceNotFound(device=port_id)
        if vswitch != SWITCH:
            return False
        self.nics[port_id]['switch'] = vswitch
        return True

    def nic_names(self, vm_name):
        return list(self.nics)

    def remove_nic(self, vm_name, port_id):
        self.nics.pop(port_id, None)

    def set_vswitch_port_mac_spoofing(self, port_id, state):
        self.nics[port_id]['spoofing'] = state

    def set_port_qos_rule(self, port_id, rule):
        self.nics[port_id]['qos'] = rule

    def remove_port_qos_rule(self, port_id):
        self.nics[port_id].pop('qos', None)

    def state(self, vm_name):
        return self.vm_state

    def get_vm_generation(self, vm_name):
        return self.generation


class VirtApi:
    """Neutron as Nova shows it: reports, stays silent or fails."""

    def __init__(self, outcome=None):
        self.outcome = outcome
        self.waited_for = None

    @contextlib.contextmanager
    def wait_for_instance_event(self, instance, events, timeout,
                                error_callback):
        self.waited_for = [port for _name, port in events]
        yield
        if self.outcome is not None and events:
            self.outcome(error_callback, instance)


def silent(error_callback, instance):
    raise exception.InstanceEventTimeout()


def failed(error_callback, instance):
    if not error_callback('network-vif-plugged', instance):
        raise AssertionError('it must go on waiting')


class Commands:
    """ovs-vsctl as far as the driver sees it."""

    def __init__(self):
        self.lines = []
        self.failure = None

    def __call__(self, *command, timeout_s):
        self.lines.append(' '.join(command))
        if self.failure:
            raise self.failure
        return ''


class Case(base.TestCase):

    def setUp(self):
        super().setUp()
        self.host = Host()
        self.commands = Commands()
        self.virtapi = VirtApi()
        self.instance = factories.instance(factories.flavor())

    def ops(self, vswitch=SWITCH, timeout_s=300, fatal=True):
        return vifops.VifOps(
            win=self.host, virtapi=self.virtapi, vswitch=vswitch,
            plug_timeout_s=timeout_s, plug_is_fatal=fatal,
            ovs_vsctl='ovs-vsctl.exe', ovs_timeout_s=120, run=self.commands)

    def error_of(self, cls, call, *args):
        with self.assertRaises(cls) as caught:
            call(*args)
        return str(caught.exception)

    def spawn(self, vifs, ops=None):
        ops = ops or self.ops()
        with (operation.Rollback('spawn') as undo,
              ops.plugged(self.instance, vifs,
                          nics.plan_nics(vifs, SWITCH), undo)):
            return sorted(self.host.nics)


@ddt.ddt
class PluggedTest(Case):

    def test_nic_is_named_by_its_port_and_has_its_mac(self):
        """L128: a NIC's name is the port id, its MAC is the port's."""
        vif = factories.vif()
        self.spawn([vif])
        self.assertEqual(
            {vif['id']: {'vm': self.instance.name, 'mac': vif['address'],
                         'switch': SWITCH}}, self.host.nics)

    def test_nics_are_connected_before_the_wait(self):
        """L124: NICs are on the vSwitch before the VM is started."""
        self.assertEqual(1, len(self.spawn([factories.vif()])))

    @ddt.data((False, 300, 1), (True, 300, 0), (False, 0, 0))
    @ddt.unpack
    def test_only_inactive_ports_are_waited_for(self, active, timeout_s,
                                                expected):
        """L125: only inactive ports; time-out 0 waits for none."""
        self.spawn([factories.vif(active=active)],
                   self.ops(timeout_s=timeout_s))
        self.assertEqual(expected, len(self.virtapi.waited_for))

    @ddt.data(silent, failed)
    def test_fatal_silence_is_undone(self, outcome):
        """L125: fatal setting: fail and roll back."""
        self.virtapi.outcome = outcome
        self.assertRaises(exception.VirtualInterfaceCreateException,
                          self.spawn, [factories.vif(active=False)])
        self.assertEqual({}, self.host.nics)

    @ddt.data(silent, failed)
    def test_silence_that_is_not_fatal_is_a_warning(self, outcome):
        """L125: else warn and continue."""
        self.virtapi.outcome = outcome
        with self.assertLogs('compute_hyperv.vifops', 'WARNING'):
            self.spawn([factories.vif(active=False)], self.ops(fatal=False))
        self.assertEqual(1, len(self.host.nics))

    def test_missing_switch_is_named(self):
        """L128: a missing vSwitch gives a specific error naming it."""
        error = self.error_of(errors.VSwitchNotFound, self.spawn,
                              [factories.vif()], self.ops('wrong'))
        self.assertIn("'wrong'", error)
        self.assertEqual({}, self.host.nics)

    def test_without_a_switch_the_agent_connects(self):
        self.spawn([factories.vif()], self.ops(vswitch=None))
        [nic] = self.host.nics.values()
        self.assertNotIn('switch', nic)

    def test_port_without_security_may_spoof(self):
        self.spawn([factories.vif(
            details={'port_security_enabled': False})])
        [nic] = self.host.nics.values()
        self.assertIs(True, nic['spoofing'])

    def test_bandwidth_of_neutron_is_applied(self):
        rule = {'max_kbps': 20000}
        self.spawn([factories.vif(details={'qos': rule})])
        [nic] = self.host.nics.values()
        self.assertEqual(rule, nic['qos'])


@ddt.ddt
class PlugTest(Case):

    def test_host_that_does_not_answer_is_the_same_at_start(self):
        """L126: nor does a fault of the host."""
        self.host.owner = errors.os_win_exc.x_wmi('no')
        self.assertRaises(exception.VirtualInterfacePlugException,
                          self.ops().plug_those_of, self.instance, [])

    def test_nothing_is_plugged_without_a_vm(self):
        vif = factories.vif()
        self.ops().plug_those_of(self.instance, [vif])
        self.assertEqual({}, self.host.nics)
        self.host.owner = self.instance.uuid
        self.ops().plug_those_of(self.instance, [vif])
        self.assertEqual([vif['id']], list(self.host.nics))

    @ddt.data(OSError(5, 'x'), errors.os_win_exc.x_wmi('no'),
              errors.os_win_exc.HyperVException('no'),
              errors.WaitTimeout(what='a job', timeout_s=1))
    def test_any_failure_is_the_one_that_nova_expects(self, failure):
        """L126: one bad port does not stop the service at start."""
        failure.winerror = 5
        self.host.fail_connect = failure
        vif = factories.vif()
        self.host.create_nic('vm', vif['id'], vif['address'])
        self.assertRaises(exception.VirtualInterfacePlugException,
                          self.ops().plug_all, self.instance, [vif])

    def test_nic_that_the_vm_lacks_is_added(self):
        """L157: start re-plugs ports, whatever became of them."""
        vif = factories.vif()
        self.ops().plug_all(self.instance, [vif])
        self.ops().plug_all(self.instance, [vif])
        self.assertEqual(
            {vif['id']: {'vm': self.instance.name, 'mac': vif['address'],
                         'switch': SWITCH}}, self.host.nics)

    @ddt.data(({}, (True, {'max_kbps': 1})),
              ({'port_security_enabled': None}, (True, {'max_kbps': 1})),
              ({'port_security_enabled': True}, (False, {'max_kbps': 1})),
              ({'qos': {'min_kbps': 2}}, (True, {'min_kbps': 2})),
              ({'qos': {'max_kbps': 0}}, (True, None)),
              ({'qos': {}}, (True, None)), ({'qos': None}, (True, None)))
    @ddt.unpack
    def test_what_neutron_says_replaces_what_was_set(self, details,
                                                     expected):
        """C9: what it says nothing about stays."""
        vif = factories.vif(details={'port_security_enabled': False,
                                     'qos': {'max_kbps': 1}})
        self.ops().plug_all(self.instance, [vif])
        vif['details'] = details
        self.ops().plug_all(self.instance, [vif])
        nic = self.host.nics[vif['id']]
        self.assertEqual(expected, (nic['spoofing'], nic.get('qos')))

    def test_failed_binding_tells_the_usual_causes(self):
        """L126: a failed port binding logs the usual causes."""
        vif = factories.vif(network_model.VIF_TYPE_BINDING_FAILED)
        error = self.error_of(errors.UnsupportedVif,
                              self.ops().plug_all, self.instance, [vif])
        self.assertIn('agent is alive', error)

    def test_no_ports_are_fine(self):
        self.ops().plug_all(self.instance, None)
        self.ops().unplug_all(self.instance, None)


class OvsTest(Case):

    def setUp(self):
        super().setUp()
        self.vif = factories.vif(network_model.VIF_TYPE_OVS)

    def test_port_is_on_the_bridge(self):
        """L124: OVS ports exist before the VM is started."""
        self.spawn([self.vif])
        [line] = self.commands.lines
        port = self.vif['id']
        self.assertIn(f'--may-exist add-port br-int {port} -- set Interface '
                      f'{port} external-ids:iface-id={port}', line)
        self.assertIn(f"attached-mac={self.vif['address']}", line)
        self.assertIn(f'vm-uuid={self.instance.uuid}', line)

    def test_port_is_removed_also_without_vm(self):
        """L007: destroy of a VM that is gone still unplugs ports."""
        self.ops().release_all([self.vif])
        self.assertEqual(
            ['ovs-vsctl.exe --timeout=120 -- --if-exists del-port '
             + self.vif['id']], self.commands.lines)

    def test_failing_command_is_undone(self):
        self.commands.failure = errors.CommandFailed(command='ovs-vsctl.exe',
                                                     reason='no bridge')
        error = self.error_of(errors.VifCommandFailed, self.spawn,
                              [self.vif])
        self.assertIn('no bridge', error)
        self.assertEqual({}, self.host.nics)

    def test_it_needs_a_switch(self):
        error = self.error_of(errors.UnsupportedVif, self.spawn,
                              [self.vif], self.ops(vswitch=None))
        self.assertIn('[hyperv] vswitch_name', error)


@ddt.ddt
class AttachTest(Case):

    @ddt.data((oswin.VMState.OFF, 1, '2012R2', True),
              (oswin.VMState.OFF, 2, '2016', True),
              (oswin.VMState.RUNNING, 2, '2016', True),
              (oswin.VMState.RUNNING, 1, '2016', False),
              (oswin.VMState.RUNNING, 2, '2012R2', False))
    @ddt.unpack
    def test_hot_only_where_the_host_can(self, state, generation, windows,
                                         possible):
        """L127: stopped always; running only gen 2 on 2016+."""
        self.host.vm_state = state
        self.host.generation = model.Generation(generation)
        self.host.caps = factories.caps(windows)
        vif, ops = factories.vif(), self.ops()
        if possible:
            ops.attach(self.instance, vif)
            self.assertEqual([vif['id']], list(self.host.nics))
            ops.detach(self.instance, vif)
            self.assertEqual({}, self.host.nics)
        else:
            self.assertRaises(exception.InterfaceAttachFailed, ops.attach,
                              self.instance, vif)
            self.assertRaises(exception.InterfaceDetachFailed, ops.detach,
                              self.instance, vif)
            self.assertEqual({}, self.host.nics)

    def test_failed_attach_leaves_nothing(self):
        self.host.fail_connect = errors.os_win_exc.x_wmi('no')
        self.assertRaises(exception.InterfaceAttachFailed,
                          self.ops().attach, self.instance, factories.vif())
        self.assertEqual({}, self.host.nics)

    def test_detach_from_a_vanished_vm_is_detach_failed(self):
        """L127: not a raw error."""
        def gone(vm_name):
            raise exception.InstanceNotFound(instance_id=vm_name)
        self.host.state = gone
        self.assertRaises(exception.InterfaceDetachFailed,
                          self.ops().detach, self.instance, factories.vif())
