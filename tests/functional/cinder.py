# SPDX-License-Identifier: Apache-2.0
"""Nova's Cinder fixture with volumes that are units of the fabric's SAN."""

import copy
import dataclasses
import uuid

from nova.tests import fixtures as nova_fixtures

PORTAL = '127.0.0.10:3260'
SECRET = 'n0tForLogs-Xyzzy'
GIB = 1 << 30


@dataclasses.dataclass
class Volume:
    """A volume as Cinder knows it.

    :ivar shown: keys that the volume API shows besides its own.
    :ivar data: what is added to the connection's data.
    """

    id: str
    lun: object
    iqn: str
    number: int
    portals: tuple
    chap: bool
    shown: dict
    data: dict
    exports: int = 0


class Cinder(nova_fixtures.CinderFixture):
    """Exports a volume while it has a connected attachment."""

    def __init__(self, test):
        super().__init__(test)
        self.fabric = test.fabric
        self.made = {}

    @property
    def san(self):
        return self.fabric.san

    # What tests make.

    def add_volume(self, size_gib=1, *, content=b'', iqn=None, number=1,
                   portals=(PORTAL,), chap=False, data=None, **shown):
        """A new iSCSI volume; its own target unless *iqn* names one."""
        volume_id = str(uuid.uuid4())
        lun = self.san.create_lun(f'volume-{volume_id}', size_gib * GIB)
        if content:
            lun.write(0, content)
        volume = Volume(
            id=volume_id, lun=lun, number=number, portals=tuple(portals),
            iqn=iqn or f'iqn.2010-10.org.openstack:volume-{volume_id}',
            chap=chap, data=data or {},
            shown={'size': size_gib, 'bootable': bool(content)} | shown)
        self.made[volume_id] = volume
        return volume

    def extend(self, volume, size_gib):
        """What Cinder does to a volume before it tells Nova."""
        self.san.extend_lun(volume.lun.name, size_gib * GIB)
        volume.shown['size'] = size_gib

    # What Nova asks.

    def fake_get(self, context, volume_id, microversion=None):
        found = super().fake_get(context, volume_id, microversion)
        if volume_id in self.made:
            found.update(self.made[volume_id].shown)
        return found

    def _is_multiattach(self, volume_id):
        volume = self.made.get(volume_id)
        if volume is None:
            return super()._is_multiattach(volume_id)
        return volume.shown.get('multiattach', False)

    def fake_attachment_update(self, context, attachment_id, connector,
                               mountpoint=None):
        volume_id, attachment, attachments = self._find_attachment(
            attachment_id)
        volume = self.made.get(volume_id)
        if volume is not None and attachment['connector'] is None:
            self.export(volume, connector)
        others = {key: other['connector'] for key, other in
                  attachments.items() if self._is_multiattach(volume_id)}
        for key in others:          # the fixture allows one connector only
            attachments[key]['connector'] = None
        found = super().fake_attachment_update(
            context, attachment_id, connector, mountpoint)
        for key in set(others) - {attachment_id}:
            attachments[key]['connector'] = others[key]
        return found

    def fake_attachment_delete(self, context, attachment_id):
        volume_id, attachment, _ = self._find_attachment(attachment_id)
        volume = self.made.get(volume_id)
        super().fake_attachment_delete(context, attachment_id)
        if volume is not None and attachment['connector'] is not None:
            self.unexport(volume)

    def _find_connection_info(self, volume_id, attachment_id):
        if volume_id not in self.made:
            return super()._find_connection_info(volume_id, attachment_id)
        return self.connection(self.made[volume_id])

    # The storage.

    def export(self, volume, connector):
        """Let the host of a connector in."""
        if self.san.find_target(volume.iqn) is None:
            self.san.create_target(
                volume.iqn, volume.portals, initiators=(),
                chap=('cinder', SECRET) if volume.chap else None)
        self.san.grant(volume.iqn, connector['initiator'])
        if not volume.exports:
            self.san.map(volume.iqn, volume.number, volume.lun.name)
        volume.exports += 1

    def unexport(self, volume):
        volume.exports -= 1
        if volume.exports:
            return
        target = self.san.target(volume.iqn)
        self.san.unmap(volume.iqn, volume.number)
        if not target.luns:
            self.san.delete_target(volume.iqn)

    def connection(self, volume):
        """Cinder's connection_info."""
        data = {'target_discovered': False, 'volume_id': volume.id,
                'target_portal': volume.portals[0],
                'target_iqn': volume.iqn, 'target_lun': volume.number,
                'access_mode': 'rw', 'encrypted': False, 'qos_specs': None}
        if len(volume.portals) > 1:
            count = len(volume.portals)
            data |= {'target_portals': list(volume.portals),
                     'target_iqns': [volume.iqn] * count,
                     'target_luns': [volume.number] * count}
        if volume.chap:
            data |= {'auth_method': 'CHAP', 'auth_username': 'cinder',
                     'auth_password': SECRET}
        return copy.deepcopy({'driver_volume_type': 'iscsi',
                              'data': data | volume.data})
