# SPDX-License-Identifier: Apache-2.0
"""root/StandardCimv2: network adapters and addresses of the host."""

from __future__ import annotations

import typing

from . import engine
from . import network

if typing.TYPE_CHECKING:
    from ..host import Host
    from ..host import SwitchSpec

NAMESPACE = 'root/StandardCimv2'.lower()
_IPV4 = 2
_FIRST_INDEX = 4


def populate(host: Host) -> None:
    """The adapter below each external switch, the host's own vNICs."""
    store = host.stores[NAMESPACE]
    index = _FIRST_INDEX
    for spec in host.spec.switches:
        if spec.kind == 'external':
            _add_adapter(host, store, spec, index, physical=True)
            index += 1
        if spec.kind != 'private':
            _add_adapter(host, store, spec, index, physical=False)
            _add_address(host, store, index, '127.0.0.%d' % index)
            index += 1


def _add_adapter(host: Host, store: engine.Store, spec: SwitchSpec,
                 index: int, *, physical: bool) -> None:
    description = (network.adapter_name(host, spec) if physical else
                   'Hyper-V Virtual Ethernet Adapter (%s)' % spec.name)
    guid = '{%s}' % network.stable_guid(host, 'adapter', description)
    device = ('PCI\\VEN_8086&DEV_1572&SUBSYS_00008086&REV_01\\%d' % index
              if physical else 'ROOT\\VMS_MP\\%04d' % index)
    store.add('MSFT_NetAdapter', CreationClassName='MSFT_NetAdapter',
              DeviceID=guid, SystemCreationClassName='CIM_NetworkPort',
              SystemName=host.name, Name=(
                  'Ethernet %d' % index if physical else
                  'vEthernet (%s)' % spec.name),
              InterfaceDescription=description, InterfaceIndex=index,
              InterfaceGuid=guid, InstanceID=guid, PNPDeviceID=device,
              DriverDescription=description, Virtual=not physical,
              HardwareInterface=physical, Speed=10 ** 10,
              State=2, InterfaceOperationalStatus=1, MediaConnectState=1,
              PermanentAddress=network.mac_of(host, spec))


def _add_address(host: Host, store: engine.Store, index: int,
                 address: str) -> None:
    store.add('MSFT_NetIPAddress', CreationClassName='',
              Name=';%d;%s' % (index, address),
              SystemCreationClassName='', SystemName=host.name,
              InterfaceIndex=index, AddressFamily=_IPV4, IPAddress=address,
              IPv4Address=address, PrefixLength=8, Type=1, Store=1,
              AddressState=4)
