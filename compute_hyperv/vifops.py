# SPDX-License-Identifier: Apache-2.0
"""Virtual NICs and the virtual switch ports behind them.

A NIC carries the id of its Neutron port as its name: layer 2 agents, Open
vSwitch and this driver find it by that.

* ``hyperv``: the NIC is connected to ``[hyperv] vswitch_name``, or left to
  the layer 2 agent where that is not set.
* ``ovs``: the same, plus a port of that name on the bridge of Open vSwitch
  (``ovs-vsctl``), whose extension runs in the virtual switch.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
from typing import Any

from nova import exception
from nova.network import model as network_model
from oslo_log import log as logging

from compute_hyperv import commands
from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv.plan import nics

LOG = logging.getLogger(__name__)

PLUGGED = 'network-vif-plugged'
_SUPPORTED = (network_model.VIF_TYPE_HYPERV, network_model.VIF_TYPE_OVS)

_BINDING_FAILED_HINT = (
    'Neutron could not bind it. Check that its layer 2 agent is alive on '
    'this host, that the ML2 mechanism driver for Hyper-V is enabled, and '
    'that the host names of both agree')


class VifOps:
    """Plugs and unplugs NICs.

    :param virtapi: Nova's, to wait for Neutron's events.
    :param vswitch: ``[hyperv] vswitch_name`` or None.
    :param plug_timeout_s: how long to wait for Neutron, 0 for not at all.
    :param plug_is_fatal: whether a spawn fails when Neutron stays silent.
    :param ovs_vsctl: the command.
    :param ovs_timeout_s: how long it may take.
    :param run: runs a command, see ``commands.run``.
    """

    def __init__(self, *, win: oswin.Win, virtapi: Any, vswitch: str | None,
                 plug_timeout_s: int, plug_is_fatal: bool,
                 ovs_vsctl: str, ovs_timeout_s: int,
                 run: Callable[..., str] = commands.run) -> None:
        self._win = win
        self._virtapi = virtapi
        self._vswitch = vswitch
        self._plug_timeout_s = plug_timeout_s
        self._plug_is_fatal = plug_is_fatal
        self._ovs_vsctl = (ovs_vsctl, f'--timeout={ovs_timeout_s}')
        # A little more than the command's own limit: its error is better.
        self._ovs_timeout_s = ovs_timeout_s + 5
        self._run = run

    # -- spawn ------------------------------------------------------------

    @contextlib.contextmanager
    def plugged(self, instance: Any, network_info: Any,
                specs: Sequence[model.NicSpec],
                undo: operation.Rollback) -> Iterator[None]:
        """Give a VM its NICs, run the block, wait until Neutron is ready.

        A VM that moved here has brought them; they are connected then. Only
        ports that Neutron says are inactive are waited for.

        :param specs: planned NICs, one for each entry of *network_info*.
        :raises VirtualInterfaceCreateException: no answer in time, and
            ``vif_plugging_is_fatal``; or Neutron reports a failure.
        """
        events = self._awaited(network_info)
        vifs = {vif['id']: vif for vif in network_info}
        try:
            with self._virtapi.wait_for_instance_event(
                    instance, events, timeout=self._plug_timeout_s,
                    error_callback=self._on_failed_event):
                there = self._win.nic_names(instance.name)
                for nic in specs:
                    vif = vifs[nic.port_id]
                    undo.on_failure(self.unplug, instance, vif)
                    self._add(instance, nic, vif, nic.port_id in there)
                yield
        except exception.InstanceEventTimeout:
            LOG.warning("Neutron did not report %s within %d seconds "
                        "(vif_plugging_timeout). Check its layer 2 agent on "
                        "this host.", ', '.join(port for _, port in events),
                        self._plug_timeout_s, instance=instance)
            if self._plug_is_fatal:
                raise exception.VirtualInterfaceCreateException()

    def _awaited(self, network_info: Any) -> list[tuple[str, str]]:
        if not self._plug_timeout_s:
            return []
        return [(PLUGGED, vif['id']) for vif in network_info
                if vif.get('active', True) is False]

    def _on_failed_event(self, event_name: str, instance: Any) -> bool:
        LOG.error("Neutron reports a failure: %s", event_name,
                  instance=instance)
        if self._plug_is_fatal:
            raise exception.VirtualInterfaceCreateException()
        return True             # go on waiting for the other ports

    # -- one NIC ----------------------------------------------------------

    def add(self, instance: Any, nic: model.NicSpec, vif: Any) -> None:
        """Add a NIC to a VM and plug it; nothing is left if that fails.

        :raises VirtualInterfacePlugException: unsuitable port or switch.
        """
        with operation.Rollback(f'port {nic.port_id}') as undo:
            undo.on_failure(self.unplug, instance, vif)
            self._add(instance, nic, vif)

    def _add(self, instance: Any, nic: model.NicSpec, vif: Any,
             is_there: bool = False) -> None:
        self._check(vif)
        if not is_there:
            self._win.vm.create_nic(instance.name, nic.port_id, nic.mac)
        self.plug(instance, vif)

    def plug(self, instance: Any, vif: Any) -> None:
        """Connect a NIC; doing it again is harmless.

        One that the VM lacks (an attach that was interrupted) is added.
        Port security and bandwidth become what Neutron says now.

        :raises VirtualInterfacePlugException: unsuitable port or switch.
        """
        self._check(vif)
        port_id = vif['id']
        if self._vswitch:
            try:
                self._connect(port_id, self._vswitch)
            except exception.DeviceNotFound:
                self._win.vm.create_nic(instance.name, port_id,
                                        vif['address'])
                self._connect(port_id, self._vswitch)
            self._apply_details(port_id, vif.get('details') or {})
        if vif['type'] == network_model.VIF_TYPE_OVS:
            self._add_ovs_port(instance, vif)

    def unplug(self, instance: Any, vif: Any) -> None:
        """Remove a NIC from its VM and its port from the switch.

        What is missing already is fine.
        """
        self._win.remove_nic(instance.name, vif['id'])
        self.release(vif)

    def release(self, vif: Any) -> None:
        """Remove what a NIC that is gone with its VM left on the host."""
        if vif['type'] == network_model.VIF_TYPE_OVS:
            self._ovs(vif['id'], '--if-exists', 'del-port', vif['id'])

    def plug_all(self, instance: Any, network_info: Any) -> None:
        """Plug the ports of an instance; harmless if they are.

        Any failure is the one exception that Nova expects.

        :raises VirtualInterfacePlugException: one of them fails.
        """
        for vif in network_info or ():
            try:
                self.plug(instance, vif)
            except exception.VirtualInterfacePlugException:
                raise
            except Exception as exc:
                if not errors.is_expected(exc):
                    raise
                raise exception.VirtualInterfacePlugException(
                    errors.text_of(exc)) from exc

    def plug_those_of(self, instance: Any, network_info: Any) -> None:
        """As :meth:`plug_all`; nothing to do without a VM.

        Nova asks when it starts, also for what a resize has put aside, and
        does not go on after another error than the one it expects.
        """
        try:
            there = self._win.find_owner(instance.name) is not None
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            raise exception.VirtualInterfacePlugException(
                errors.text_of(exc)) from exc
        if there:
            self.plug_all(instance, network_info)

    def unplug_all(self, instance: Any, network_info: Any) -> None:
        """Remove all ports of an instance, whether its VM exists or not."""
        for vif in network_info or ():
            self.unplug(instance, vif)

    def release_all(self, network_info: Any) -> None:
        """Remove what the ports of a removed VM left on the host."""
        for vif in network_info or ():
            self.release(vif)

    # -- attach, detach ---------------------------------------------------

    def attach(self, instance: Any, vif: Any) -> model.NicSpec:
        """Add a NIC to an instance.

        :returns: what was added.
        :raises InterfaceAttachFailed: an unsuitable port, or the VM runs and
            this host or its generation cannot add NICs to running VMs;
            nothing is changed.
        """
        try:
            self._require_changeable(instance.name)
            nic = nics.plan_nics([vif], self._vswitch)[0]
            self._drop_leftover(instance, vif)
            self.add(instance, nic, vif)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            raise exception.InterfaceAttachFailed(
                f"Port {vif['id']}: {errors.text_of(exc)}",
                instance_uuid=instance.uuid) from exc
        return nic

    def detach(self, instance: Any, vif: Any) -> None:
        """Remove a NIC from an instance.

        :raises InterfaceDetachFailed: the VM is gone, or it runs and its
            NICs cannot be removed; nothing is changed.
        """
        try:
            self._require_changeable(instance.name)
            self.unplug(instance, vif)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            raise exception.InterfaceDetachFailed(
                f"Port {vif['id']}: {errors.text_of(exc)}",
                instance_uuid=instance.uuid) from exc

    def _drop_leftover(self, instance: Any, vif: Any) -> None:
        """Remove the NIC of an attach that was interrupted.

        Nova offers no port that an instance has.
        """
        if vif['id'] in self._win.nic_names(instance.name):
            LOG.warning("A NIC of port %s is there already; it is added "
                        "anew.", vif['id'], instance=instance)
            self.unplug(instance, vif)

    def _require_changeable(self, vm_name: str) -> None:
        if self._win.state(vm_name) is oswin.VMState.OFF:
            return
        generation = self._win.vm.get_vm_generation(vm_name)
        if not self._win.caps.hot_nic or generation != model.Generation.TWO:
            raise errors.NotSupportedByHost(
                reason='NICs of a running VM can be added and removed with '
                       'generation 2 on Windows Server 2016 or later; stop '
                       'the instance first')

    # -- parts ------------------------------------------------------------

    def _check(self, vif: Any) -> None:
        if vif['type'] in _SUPPORTED:
            if vif['type'] == network_model.VIF_TYPE_OVS and not self._vswitch:
                raise errors.UnsupportedVif(
                    port_id=vif['id'], vif_type=vif['type'],
                    hint='it needs [hyperv] vswitch_name')
            return
        hint = f"supported are {' and '.join(_SUPPORTED)}"
        if vif['type'] == network_model.VIF_TYPE_BINDING_FAILED:
            hint = _BINDING_FAILED_HINT
        raise errors.UnsupportedVif(port_id=vif['id'], vif_type=vif['type'],
                                    hint=hint)

    def _connect(self, port_id: str, vswitch: str) -> None:
        if not self._win.connect_nic(port_id, vswitch):
            raise errors.VSwitchNotFound(vswitch=vswitch, port_id=port_id)

    def _apply_details(self, port_id: str, details: Any) -> None:
        """Apply what Neutron's mechanism driver wrote into the port.

        What it says nothing about stays: an agent may have set it.

        :param details: Neutron's ``binding:vif_details``; of interest are
            ``port_security_enabled`` and ``qos``: ``{'min_kbps': ..,
            'max_kbps': .., 'max_burst_kbps': .., 'max_burst_size_kb': ..}``,
            all optional; none of them means no limit any more.
        """
        net = self._win.net
        if details.get('port_security_enabled') is not None:
            net.set_vswitch_port_mac_spoofing(
                port_id, not details['port_security_enabled'])
        if any((details.get('qos') or {}).values()):
            net.set_port_qos_rule(port_id, details['qos'])
        elif 'qos' in details:
            net.remove_port_qos_rule(port_id)

    def _add_ovs_port(self, instance: Any, vif: Any) -> None:
        port_id = vif['id']
        bridge = ((vif.get('details') or {}).get('bridge_name') or
                  vif['network'].get('bridge') or 'br-int')
        iface_id = vif.get('ovs_interfaceid') or port_id
        settings = [f'external-ids:iface-id={iface_id}',
                    'external-ids:iface-status=active',
                    f"external-ids:attached-mac={vif['address']}",
                    f'external-ids:vm-uuid={instance.uuid}']
        mtu = vif['network'].get_meta('mtu')
        if mtu:
            settings.append(f'mtu_request={mtu}')
        self._ovs(port_id, '--may-exist', 'add-port', bridge, port_id, '--',
                  'set', 'Interface', port_id, *settings)

    def _ovs(self, port_id: str, *args: str) -> None:
        try:
            self._run(*self._ovs_vsctl, '--', *args,
                      timeout_s=self._ovs_timeout_s)
        except errors.CommandFailed as exc:
            raise errors.VifCommandFailed(port_id=port_id,
                                          reason=str(exc)) from exc
