# SPDX-License-Identifier: Apache-2.0
"""How the Cinder fixture offers a volume over each protocol."""

import contextlib
import os

from compute_hyperv.sim import disks

PORTAL = '127.0.0.10:3260'
SECRET = 'n0tForLogs-Xyzzy'
SHARE = r'\\FILER\volumes'
GIB = 1 << 30


class Lun:
    """A volume that is a unit of the fabric's SAN."""

    def __init__(self, san, volume_id, size_gib):
        self.san = san
        self.volume_id = volume_id
        self.name = self.name_of(volume_id)
        self.lun = san.create_lun(self.name, size_gib * GIB)

    def name_of(self, volume_id):
        return f'volume-{volume_id}'

    def read(self, offset, count):
        return self.lun.read(offset, count)

    def write(self, offset, data):
        self.lun.write(offset, data)

    def revoke(self, connector):
        """Nobody is told, unless the protocol knows how."""

    def delete(self):
        self.san.delete_lun(self.name)

    def extend(self, size_gib):
        self.san.extend_lun(self.name, size_gib * GIB)


class ISCSI(Lun):
    """Its own target, unless *iqn* names one that it shares."""

    protocol = 'iscsi'

    def __init__(self, san, volume_id, size_gib, *, iqn=None, number=1,
                 portals=(PORTAL,), chap=False):
        super().__init__(san, volume_id, size_gib)
        self.iqn = iqn or f'iqn.2010-10.org.openstack:volume-{volume_id}'
        self.number = number
        self.portals = list(portals)
        self.chap = chap

    def export(self, connector):
        if self.san.find_target(self.iqn) is None:
            self.san.create_target(
                self.iqn, self.portals, initiators=(),
                chap=('cinder', SECRET) if self.chap else None)
        self.san.grant(self.iqn, connector['initiator'])
        if self.number not in self.san.target(self.iqn).luns:
            self.san.map(self.iqn, self.number, self.name)

    def revoke(self, connector):
        self.san.revoke(self.iqn, connector['initiator'])

    def unexport(self):
        target = self.san.target(self.iqn)
        self.san.unmap(self.iqn, self.number)
        if not target.luns:
            self.san.delete_target(self.iqn)

    def data(self):
        found = {'target_discovered': False, 'target_portal': self.portals[0],
                 'target_iqn': self.iqn, 'target_lun': self.number}
        count = len(self.portals)
        if count > 1:
            found |= {'target_portals': self.portals,
                      'target_iqns': [self.iqn] * count,
                      'target_luns': [self.number] * count}
        if self.chap:
            found |= {'auth_method': 'CHAP', 'auth_username': 'cinder',
                      'auth_password': SECRET}
        return found


class FibreChannel(Lun):
    """Behind two ports of the storage."""

    protocol = 'fibre_channel'
    NODE = '5001438000000000'
    PORTS = ('5001438000000001', '5001438000000002')

    def __init__(self, san, volume_id, size_gib, *, number=1, ports=PORTS):
        super().__init__(san, volume_id, size_gib)
        self.number = number
        self.ports = ports
        for port in ports:
            san.add_storage_port(port, self.NODE)

    def export(self, connector):
        for port in self.ports:
            self.san.mask(self.name, self.number, port, connector['wwpns'])

    def revoke(self, connector):
        self.san.unmask(self.name, connector['wwpns'])

    def unexport(self):
        self.san.unmask(self.name)

    def data(self):
        return {'target_discovered': True, 'target_lun': self.number,
                'target_wwn': list(self.ports)}


class RBD(Lun):
    """An image of Ceph."""

    protocol = 'rbd'

    def name_of(self, volume_id):
        return f'volumes/volume-{volume_id}'

    def export(self, connector):
        """Whoever has the key may map it."""

    def unexport(self):
        """Nobody is told."""

    def data(self):
        return {'name': self.name, 'hosts': ['127.0.0.1'], 'ports': ['6789'],
                'auth_enabled': True, 'auth_username': 'cinder'}


class SMB:
    """A VHDX on a share that wants credentials."""

    protocol = 'smbfs'

    def __init__(self, host, volume_id, size_gib, *, share=SHARE,
                 export=None, options=None, fmt='vhdx'):
        self.share = share
        self.export_name = export or share
        self.options = options
        #: The end of its chain of snapshots.
        self.name = f'volume-{volume_id}.{fmt}'
        # Past the share's access check: the storage writes there itself.
        server, name = share.strip('\\').split('\\')
        self.folder = host.fabric.shares.share(server, name).root
        disks.create(self.path, fmt=fmt, kind='dynamic',
                     size_bytes=size_gib * GIB,
                     win_path=f'{share}\\{self.name}', resolve=str)

    def delete(self):
        """One that is gone is fine, for Cinder too."""
        if os.path.exists(self.path):
            os.unlink(self.path)

    @property
    def path(self):
        return self.path_of(self.name)

    def path_of(self, name):
        return os.path.join(self.folder, name)

    def resolve(self, path):
        """The storage's own place of a file that others know by a share."""
        return self.path_of(path.rpartition('\\')[2])

    @contextlib.contextmanager
    def opened(self, writable, name=None):
        path = self.path_of(name or self.name)
        with disks.open_disk(path, writable=writable,
                             resolve=self.resolve) as disk:
            yield disk

    def read(self, offset, count):
        with self.opened(False) as disk:
            return disk.read(offset, count)

    def write(self, offset, data):
        with self.opened(True) as disk:
            disk.write(offset, data)

    def export(self, connector):
        """Who has the password may use it."""

    def revoke(self, connector):
        """Nobody is told."""

    def unexport(self):
        """Nobody is told."""

    def data(self):
        return {'export': self.export_name, 'name': self.name,
                'options': self.options}
