# SPDX-License-Identifier: Apache-2.0
"""The DNS of the hosts: names of hosts and file servers of the fabric."""

from __future__ import annotations

import typing

from .ports import op

if typing.TYPE_CHECKING:
    from .host import Host


@op('net.resolve', kind=None)
def resolve(host: Host, name: str) -> typing.Optional[str]:
    """The address of a name; None when it is none of the fabric's.

    Addresses are made up, but for those of the host itself: os-win
    compares them to find out whether a share is local.
    """
    shares = host.storage.shares
    plain = name.partition('.')[0]
    if plain.lower() in shares.smb.names or shares.knows_server(plain):
        return shares.smb.address(host.name, plain)
    return None
