# SPDX-License-Identifier: Apache-2.0
"""Nova's Cinder fixture with volumes that are units of the fabric's SAN."""

import copy
import dataclasses
import functools
import json
import os
import types
from typing import Any
import urllib.parse
import uuid

import fixtures
from nova import exception
from nova.tests import fixtures as nova_fixtures

from compute_hyperv.sim import disks
from tests.functional import exports


@dataclasses.dataclass
class Volume:
    """A volume as Cinder knows it.

    :ivar storage: its bytes, and how they are offered.
    :ivar shown: keys that the volume API shows besides its own.
    :ivar data: what is added to the connection's data.
    :ivar connectors: of the hosts that it is offered to.
    """

    id: str
    storage: Any
    shown: dict
    data: dict
    connectors: list = dataclasses.field(default_factory=list)

    def read(self, offset, count):
        return self.storage.read(offset, count)


@dataclasses.dataclass
class Snapshot:
    """A snapshot of a volume in use.

    :ivar file: what was made for it: the guest writes there afterwards.
    :ivar status: as Cinder shows it.
    :ivar told: what Nova said, in order.
    """

    id: str
    volume: Volume
    file: str
    status: str = 'creating'
    told: list = dataclasses.field(default_factory=list)


#: What Cinder lets Nova make of a snapshot's status.
_MAY_BECOME = {'creating': ('creating', 'available', 'error'),
               'deleting': ('deleting', 'error_deleting')}


class Cinder(nova_fixtures.CinderFixture):
    """Exports a volume while it has a connected attachment."""

    def __init__(self, test):
        super().__init__(test)
        self.test = test
        self.fabric = test.fabric
        self.made = {}
        self.fails_to_reimage = False
        self.snapshots = {}
        #: Volumes that the API has asked to be let go of.
        self.detaching = set()
        #: Ids of those that became another one's data.
        self.gone = set()
        #: What update_snapshot_status raises, call by call.
        self.deaf = []

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'nova.volume.cinder.API.update_snapshot_status',
            lambda api, *args: self.update_snapshot_status(*args)))
        self.useFixture(fixtures.MonkeyPatch(
            'nova.volume.cinder.cinderclient', self._client))

    # What tests make.

    def add_volume(self, size_gib=1, *, kind=exports.ISCSI, content=b'',
                   data=None, shown=None, **options):
        """A new volume; *options* are those of the protocol's class."""
        volume_id = str(uuid.uuid4())
        place = (next(iter(self.fabric.hosts.values()))
                 if kind is exports.SMB else self.fabric.san)
        storage = kind(place, volume_id, size_gib, **options)
        if content:
            storage.write(0, content)
        volume = Volume(
            id=volume_id, storage=storage, data=data or {},
            shown={'size': size_gib, 'bootable': bool(content),
                   'display_description': ''} | (shown or {}))
        self.made[volume_id] = volume
        return volume

    def extend(self, volume, size_gib):
        """What Cinder does to a volume before it tells Nova."""
        volume.storage.extend(size_gib)
        volume.shown['size'] = size_gib

    # Snapshots of SMB volumes in use, as Cinder's driver does them.

    def snapshot(self, volume):
        """Make a snapshot; ``told`` ends with 'creating' if it worked."""
        snapshot = self.ask_for_snapshot(volume)
        self.test.until(lambda: snapshot.told, 'Nova told of a snapshot')
        return snapshot

    def ask_for_snapshot(self, volume):
        """Have Nova make a snapshot."""
        snapshot_id = str(uuid.uuid4())
        stem, suffix = os.path.splitext(volume.storage.name)
        snapshot = Snapshot(
            id=snapshot_id, volume=volume,
            file=f'{stem[:len("volume-") + 36]}.{snapshot_id}{suffix}')
        self.snapshots[snapshot_id] = snapshot
        self.test.admin_api.api_post('/os-assisted-volume-snapshots', {
            'snapshot': {'volume_id': volume.id, 'create_info': {
                'snapshot_id': snapshot_id, 'type': 'qcow2',
                'new_file': snapshot.file}}})
        return snapshot

    def delete_snapshot(self, snapshot, **info):
        """Delete a snapshot; what Nova said at last."""
        self.ask_to_delete(snapshot, **info)
        return self.finish_deletion(snapshot)

    def ask_to_delete(self, snapshot, **info):
        """The part of Nova."""
        before = len(snapshot.told)
        self.begin_deletion(snapshot, **info)
        self.test.until(lambda: len(snapshot.told) > before,
                        'Nova told of a deletion')

    def begin_deletion(self, snapshot, **info):
        """Have Nova delete a snapshot, when it has ended what it told of."""
        for attachment in self.volume_to_attachment[
                snapshot.volume.id].values():
            self.test.until(lambda: self.test.api.get_server(
                attachment['instance_uuid'])['OS-EXT-STS:task_state'] is None,
                'no task')
        snapshot.status = 'deleting'
        info = {'file_to_merge': snapshot.file,
                'volume_id': snapshot.volume.id} | info
        self.test.admin_api.api_delete(
            f'/os-assisted-volume-snapshots/{snapshot.id}?delete_info='
            + urllib.parse.quote(json.dumps(info)))

    def finish_deletion(self, snapshot):
        """What Cinder does itself; what Nova said at last."""
        storage = snapshot.volume.storage
        if snapshot.told[-1] == 'deleting':
            if storage.name == snapshot.file:
                storage.name = self.parent_name(storage, snapshot.file)
            os.unlink(storage.path_of(snapshot.file))
            del self.snapshots[snapshot.id]
        return snapshot.told[-1]

    def parent_name(self, storage, name):
        """As os-win tells Cinder, which runs on another Windows host."""
        utils = self.test.driver()._win.vhd
        parent = utils.get_vhd_parent_path(f'{storage.share}\\{name}')
        return parent.lower().rpartition('\\')[2]

    def update_snapshot_status(self, context, snapshot_id, status):
        if self.deaf:
            raise self.deaf.pop()
        snapshot = self.snapshots[snapshot_id]
        if status not in _MAY_BECOME.get(snapshot.status, ()):
            raise exception.InvalidInput(
                reason=f'{snapshot.status} does not become {status}')
        snapshot.told.append(status)
        snapshot.status = status
        if status == 'creating':    # Cinder looks, and does the rest
            snapshot.status = 'available'
            snapshot.volume.storage.name = snapshot.file

    def fake_get_snapshot(self, context, snapshot_id):
        if snapshot_id not in self.snapshots:
            raise exception.SnapshotNotFound(snapshot_id=snapshot_id)
        return {'id': snapshot_id,
                'status': self.snapshots[snapshot_id].status}

    # Migration of a volume in use to another backend.

    def fake_migrate_volume_completion(self, context, old_volume_id,
                                       new_volume_id, error):
        """The other volume's data becomes the volume's, or it goes."""
        if old_volume_id not in self.made:
            return super().fake_migrate_volume_completion(
                context, old_volume_id, new_volume_id, error)
        volume, other = self.made[old_volume_id], self.made.pop(new_volume_id)
        self._check_migration(volume, other)
        self.gone.add(new_volume_id)
        if error:
            other.storage.delete()
        else:
            volume.storage.delete()
            volume.storage, volume.connectors = (
                other.storage, other.connectors)
            volume.shown['size'] = other.shown['size']
            self.volume_to_attachment[old_volume_id].update(
                self.volume_to_attachment.pop(new_volume_id))
        volume.shown['migration_status'] = 'error' if error else 'success'
        return {'save_volume_id': old_volume_id}

    def begin_migration(self, volume, other):
        """What Cinder notes before it asks Nova to move the data."""
        volume.shown['migration_status'] = 'migrating'
        other.shown['migration_status'] = f'target:{volume.id}'

    @staticmethod
    def _check_migration(volume, other):
        if (volume.shown.get('migration_status') != 'migrating'
                or other.shown.get('migration_status')
                != f'target:{volume.id}'):
            raise exception.InvalidInput(reason=f'{volume} does not migrate')

    # What Nova asks.

    def fake_get(self, context, volume_id, microversion=None):
        if volume_id in self.gone:
            raise exception.VolumeNotFound(volume_id=volume_id)
        found = super().fake_get(context, volume_id, microversion)
        if volume_id in self.made:
            found.update(self.made[volume_id].shown)
        if volume_id in self.detaching:
            found['status'] = 'detaching'
        return found

    def fake_begin_detaching(self, context, volume_id):
        self.detaching.add(volume_id)

    def fake_roll_detaching(self, context, volume_id):
        self.detaching.discard(volume_id)

    def fake_attachment_get_all(self, context, instance_id=None,
                                volume_id=None):
        """As Cinder lists them: those of the asking project.

        Who asks with the service's own account is of another one.
        """
        if context.project_id is None:
            return []
        return self.attachments(instance_id, volume_id)

    def attachments(self, instance_id=None, volume_id=None):
        """Those of all projects, with their volumes."""
        return [dict(attachment, volume_id=key)
                for key, attachments in self.volume_to_attachment.items()
                for attachment in attachments.values()
                if volume_id in (None, key)
                and instance_id in (None, attachment['instance_uuid'])]

    def _client(self, context, microversion=None, skip_version_check=False):
        """What Nova's API of volumes has no call for."""
        def find(search_opts):
            wanted = dict(search_opts)
            found = (self.attachments if wanted.pop('all_tenants', False)
                     else functools.partial(self.fake_attachment_get_all,
                                            context))(**wanted)
            return [types.SimpleNamespace(id=one['id'],
                                          volume_id=one['volume_id'])
                    for one in found]
        return types.SimpleNamespace(
            attachments=types.SimpleNamespace(list=find))

    def _is_multiattach(self, volume_id):
        volume = self.made.get(volume_id)
        if volume is None:
            return super()._is_multiattach(volume_id)
        return volume.shown.get('multiattach', False)

    def fake_attachment_create(self, context, volume_id, instance_uuid,
                               connector=None, mountpoint=None):
        volume = self.made.get(volume_id)
        if volume is not None and connector is not None:
            self.export(volume, connector)  # the target of a migration
        return super().fake_attachment_create(
            context, volume_id, instance_uuid, connector, mountpoint)

    def fake_attachment_get(self, context, attachment_id):
        """As Cinder has it: no connection before a host is known."""
        found = super().fake_attachment_get(context, attachment_id)
        _, attachment, _ = self._find_attachment(attachment_id)
        if attachment['connector'] is None:
            found['connection_info'] = {}
        return found

    def fake_reimage_volume(self, context, volume_id, image_id,
                            reimage_reserved=False):
        """Write an image over a volume that nobody may use meanwhile."""
        volume = self.made[volume_id]
        if volume.connectors or not reimage_reserved:
            raise AssertionError(f'{volume_id} is in use')
        if not self.fails_to_reimage:
            with disks.open_disk(self.test.glance.path(image_id),
                                 writable=False, resolve=str) as image:
                for offset in range(0, image.size_bytes, 1 << 20):
                    length = min(1 << 20, image.size_bytes - offset)
                    volume.storage.write(offset, image.read(offset, length))
        attachment, = self.volume_to_attachment[volume_id].values()
        self.test.admin_api.create_server_external_events([{
            'name': 'volume-reimaged', 'tag': volume_id,
            'server_uuid': attachment['instance_uuid'],
            'status': 'failed' if self.fails_to_reimage else 'completed'}])

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
        self.detaching.discard(volume_id)
        if volume is not None and attachment['connector'] is not None:
            self.unexport(volume, attachment['connector'])

    def _find_connection_info(self, volume_id, attachment_id):
        if volume_id not in self.made:
            return super()._find_connection_info(volume_id, attachment_id)
        return self.connection(self.made[volume_id])

    # The storage.

    def export(self, volume, connector):
        """Let the host of a connector in."""
        volume.storage.export(connector)
        volume.connectors.append(connector)

    def unexport(self, volume, connector):
        """Let the host of a connector in no more, and at last nobody."""
        volume.connectors.remove(connector)
        hosts = {other['host'] for other in volume.connectors}
        if not hosts:
            volume.storage.unexport()
        elif connector['host'] not in hosts:
            volume.storage.revoke(connector)

    def connection(self, volume):
        """Cinder's connection_info."""
        data = {'volume_id': volume.id, 'access_mode': 'rw',
                'encrypted': False, 'qos_specs': None}
        return copy.deepcopy({
            'driver_volume_type': volume.storage.protocol,
            'data': data | volume.storage.data() | volume.data})
