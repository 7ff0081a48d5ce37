# SPDX-License-Identifier: Apache-2.0
"""From Nova's network information to virtual NICs."""

from __future__ import annotations

import collections.abc
from typing import Any

from nova import exception
from nova.network import model as network_model

from compute_hyperv import model

_VIF_TYPES = (network_model.VIF_TYPE_HYPERV, network_model.VIF_TYPE_OVS)
_VNIC_TYPES = (network_model.VNIC_TYPE_NORMAL,)

#: Nova's VIF dict, ``nova.network.model.VIF``.
Vif = collections.abc.Mapping[str, Any]


def plan_nics(network_info: collections.abc.Iterable[Vif],
              switch: str | None) -> tuple[model.NicSpec, ...]:
    """One NIC for each port, in Neutron's order.

    :param network_info: Nova's VIF dicts; iterating over them may wait
        for Neutron.
    :param switch: name of the vSwitch, None if a layer 2 agent chooses.
    :raises nova.exception.VirtualInterfaceCreateException: a port that
        Neutron could not bind to this host, or bound in a way that this
        host or Hyper-V does not have.
    """
    return tuple(_plan_nic(vif, switch) for vif in network_info or ())


def _plan_nic(vif: Vif, switch: str | None) -> model.NicSpec:
    vif_type = vif.get('type')
    if vif_type not in _VIF_TYPES:
        raise exception.VirtualInterfaceCreateException(
            f'Port {vif.get("id")} has vif_type={vif_type}; allowed: '
            f'{", ".join(_VIF_TYPES)}. The usual causes are a Neutron '
            'server without a mechanism driver for Hyper-V, and no live '
            'L2 agent on this host.')
    if vif_type == network_model.VIF_TYPE_OVS and not switch:
        raise exception.VirtualInterfaceCreateException(
            f'Port {vif.get("id")} has vif_type=ovs, which needs [hyperv] '
            'vswitch_name on this host: a virtual switch with the Open '
            'vSwitch extension')
    vnic_type = vif.get('vnic_type') or network_model.VNIC_TYPE_NORMAL
    if vnic_type not in _VNIC_TYPES:
        # A plain NIC would look like what was asked for.
        raise exception.VirtualInterfaceCreateException(
            f'Port {vif.get("id")} has binding:vnic_type={vnic_type}; '
            f'allowed: {", ".join(_VNIC_TYPES)}')
    meta = (vif.get('network') or {}).get('meta') or {}
    mtu = meta.get('mtu')
    return model.NicSpec(
        port_id=str(vif['id']), mac=str(vif['address']),
        vif_type=str(vif_type), switch=switch,
        mtu=int(mtu) if mtu else None)
