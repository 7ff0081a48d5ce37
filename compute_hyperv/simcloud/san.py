# SPDX-License-Identifier: Apache-2.0
"""The storage array of a served fabric, as a Cinder driver manages it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compute_hyperv.sim import remote

_IQN = 'iqn.2010-10.org.openstack:'
#: Number of the one logical unit behind each target.
LUN = 1


class FabricSan:
    """Offers volumes over iSCSI, one target each, with CHAP.

    :param socket_path: where ``hyperv-sim serve`` listens.
    :param portal: ``address:port`` of the array on the storage network.
    """

    def __init__(self, socket_path: str, portal: str) -> None:
        self._socket_path = socket_path
        self._portal = portal

    def offer(self, volume_id: str, path: str, initiator: str,
              user: str, secret: str) -> dict[str, Any]:
        """Let an initiator in; again is harmless.

        :param path: the local file with the volume's bytes.
        :returns: ``connection_info['data']``.
        """
        iqn = _IQN + volume_id
        if not self._has('luns', 'name', volume_id):
            self._ask('create_lun', name=volume_id, path=path)
        if not self._has('targets', 'iqn', iqn):
            self._ask('create_target', iqn=iqn, portals=[self._portal],
                      chap=[user, secret], initiators=[])
            self._ask('map', iqn=iqn, number=LUN, lun=volume_id)
        self._ask('grant', iqn=iqn, initiator=initiator)
        return {'target_discovered': False, 'target_portal': self._portal,
                'target_iqn': iqn, 'target_lun': LUN,
                'volume_id': volume_id, 'auth_method': 'CHAP',
                'auth_username': user, 'auth_password': secret}

    def revoke(self, volume_id: str, initiator: str) -> bool:
        """Let an initiator in no more.

        :returns: whether others are still let in.
        """
        iqn = _IQN + volume_id
        for target in self._ask('targets'):
            if target['iqn'] == iqn:
                self._ask('revoke', iqn=iqn, initiator=initiator)
                return bool(set(target['initiators']) - {initiator})
        return False

    def withdraw(self, volume_id: str) -> None:
        """Offer a volume no more; one that is not offered is fine."""
        self._ask('delete_target', iqn=_IQN + volume_id)
        self._ask('delete_lun', name=volume_id)

    def _has(self, what: str, key: str, value: str) -> bool:
        found: list[Mapping[str, Any]] = self._ask(what)
        return any(item[key] == value for item in found)

    def _ask(self, operation: str, **arguments: Any) -> Any:
        return remote.admin(self._socket_path, f'admin.san.{operation}',
                            **arguments)
