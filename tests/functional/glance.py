# SPDX-License-Identifier: Apache-2.0
"""An image service with real bytes, below Nova's own Glance code.

Nova's tests replace the whole image service; ours stands where the Glance
client does, so that Nova's download (chunks, signatures, writing to the path)
and upload run as in production.
"""

import collections
import io
import os
import shutil
import threading

import fixtures
import glanceclient.exc
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures.nova import PROJECT_ID
from oslo_utils import timeutils
from oslo_utils import uuidutils

from tests.functional import images

#: Everything else that an image has is a custom property.
_BASE = (
    'id', 'name', 'status', 'visibility', 'protected', 'owner', 'checksum',
    'size', 'virtual_size', 'disk_format', 'container_format', 'min_ram',
    'min_disk', 'created_at', 'updated_at', 'tags', 'schema', 'file', 'self',
    'direct_url', 'locations', 'os_hidden', 'os_hash_algo', 'os_hash_value')
_SCHEMA = {'name': 'image', 'properties': {
    name: {'type': 'string', 'is_base': True} for name in _BASE}}
_SCHEMA['properties']['disk_format'] = {
    'type': 'string', 'enum': ['raw', 'vhd', 'vhdx', 'vmdk', 'qcow2', 'iso']}

CHUNK_BYTES = 64 * 1024


class _Image(dict):
    """An image as the client gives it: a dict with attributes."""

    schema = _SCHEMA

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name)


class _Chunks:
    """The data of an image, in chunks, as the client hands it out."""

    def __init__(self, path):
        self.wrapped = path

    def __iter__(self):
        with open(self.wrapped, 'rb') as source:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk


class _Schema:
    def get(self, name):
        return self

    def raw(self):
        return _SCHEMA


class Glance(fixtures.Fixture):
    """The image service of a test.

    ``downloads`` counts by image how often its data was asked for;
    ``before_data`` and ``before_upload`` are called with the image id before
    data flows, and may wait or raise.
    """

    def __init__(self, test):
        super().__init__()
        self._test = test
        self._lock = threading.Lock()
        self._images = {}
        self._paths = {}
        self.downloads = collections.Counter()
        self.before_data = lambda image_id: None
        self.before_upload = lambda image_id: None

    def _setUp(self):
        self._folder = self.useFixture(fixtures.TempDir()).path
        self.useFixture(nova_fixtures.ConfPatcher(
            group='glance', api_servers=['http://localhost:9292']))
        self._test.stub_out('nova.image.glance._glanceclient_from_endpoint',
                            lambda context, endpoint, version: self)

    # What a test says.

    def add(self, path, disk_format, name='image', min_disk=0, **properties):
        """Put the file at *path* into Glance; returns the image's id."""
        image_id = uuidutils.generate_uuid()
        self.create(id=image_id, name=name, visibility='public',
                    disk_format=disk_format, container_format='bare',
                    min_disk=min_disk, **properties)
        self._paths[image_id] = path
        self._images[image_id].update(
            status='active', size=os.path.getsize(path))
        return image_id

    def add_disk(self, kind='vhdx', size_bytes=16 * images.MIB, seed=1,
                 **properties):
        """A disk image with known content; returns the image's id."""
        return self.add(images.disk_image(kind, size_bytes, seed),
                        kind.partition('-')[0], **properties)

    def add_iso(self, **properties):
        return self.add(images.iso_image(), 'iso', **properties)

    def has(self, image_id):
        """Whether there is such an image."""
        return image_id in self._images

    def image(self, image_id):
        """The image as a dict of its attributes and properties."""
        return self._images[image_id]

    def path(self, image_id):
        """The file that holds the data of an image, uploads included."""
        return self._paths[image_id]

    # What glanceclient offers.

    @property
    def images(self):
        return self

    image_members = images
    schemas = _Schema()

    def get(self, image_id):
        with self._lock:
            try:
                return _Image(self._images[image_id])
            except KeyError:
                raise glanceclient.exc.HTTPNotFound(image_id)

    def list(self, filters=None, **paging):
        with self._lock:
            return [_Image(image) for image in self._images.values()
                    if all(image.get(name) == value
                           for name, value in (filters or {}).items()
                           if name in ('name', 'status', 'visibility'))]

    def data(self, image_id):
        self.get(image_id)
        with self._lock:
            self.downloads[image_id] += 1
        self.before_data(image_id)
        return _Chunks(self._paths.get(image_id))

    def create(self, **attributes):
        now = timeutils.utcnow().isoformat() + 'Z'
        image = {'status': 'queued', 'visibility': 'private', 'size': None,
                 'min_ram': 0, 'min_disk': 0, 'created_at': now,
                 'updated_at': now, 'owner': PROJECT_ID,
                 'id': uuidutils.generate_uuid(), **attributes}
        with self._lock:
            self._images[image['id']] = image
        return _Image(image)

    def upload(self, image_id, image_data):
        self.before_upload(image_id)
        if isinstance(image_data, str):     # an image without data
            image_data = io.BytesIO(image_data.encode())
        path = os.path.join(self._folder, image_id)
        with open(path, 'wb') as target:
            shutil.copyfileobj(image_data, target)
        with self._lock:
            self._paths[image_id] = path
            self._images[image_id].update(
                status='active', size=os.path.getsize(path))

    def update(self, image_id, remove_props=(), **attributes):
        self.get(image_id)
        with self._lock:
            image = self._images[image_id]
            for name in remove_props or ():
                image.pop(name, None)
            image.update(attributes)
            return _Image(image)

    def delete(self, image_id):
        self.get(image_id)
        with self._lock:
            del self._images[image_id]
            self._paths.pop(image_id, None)
