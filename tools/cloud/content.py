# SPDX-License-Identifier: Apache-2.0
"""What a new cloud holds: an image, flavors, a network, a volume type."""

from __future__ import annotations

import pathlib

from cloud import api as apis
from cloud import errors
from cloud import layout as layouts
from cloud import processes
from cloud import tasks

IMAGE = 'demo-vhdx'
FLAVOR = 'demo'
NETWORK = 'demo'
_CIDR = '192.0.2.0/24'
_IMAGE_MIB = 64


def make_image(layout: layouts.Layout) -> pathlib.Path:
    """Make a small dynamic VHDX with something recognizable in it."""
    path = layout.data_dir / 'demo.vhdx'
    if path.exists():
        return path
    raw = layout.data_dir / 'demo.raw'
    with open(raw, 'wb') as disk:
        disk.truncate(_IMAGE_MIB * 2 ** 20)
        disk.write(b'compute-hyperv demo disk\n')
    half = path.with_suffix('.new')
    processes.run(layout, ['qemu-img', 'convert', '-f', 'raw', '-O', 'vhdx',
                           '-o', 'subformat=dynamic', str(raw), str(half)],
                  'qemu-img', 60)
    raw.unlink()
    half.replace(path)
    return path


def upload_image(layout: layouts.Layout, api: apis.Api) -> str:
    """Give the image to Glance, as one for generation 2.

    :returns: a remark for the person.
    """
    path = make_image(layout)
    known = api.find('glance', f'/images?name={IMAGE}', 'images',
                     status='active')
    if known is not None:
        return tasks.NOTHING
    image = api.post('glance', '/images', {
        'name': IMAGE, 'disk_format': 'vhdx', 'container_format': 'bare',
        'visibility': 'public', 'min_disk': 1,
        'hw_machine_type': 'hyperv-gen2', 'os_type': 'linux'})
    api.call('PUT', 'glance', f'/images/{image["id"]}/file',
             path.read_bytes())
    state = api.get('glance', f'/images/{image["id"]}')['status']
    if state != 'active':
        raise errors.DemoError(f'The image is {state} after its upload.')
    return f'{IMAGE}, {path.stat().st_size / 2 ** 20:.0f} MiB'


def make_network(api: apis.Api) -> str:
    """A network with a subnet, for everybody.

    :returns: a remark for the person.
    """
    network = api.ensure('neutron', '/networks', 'networks', 'network',
                         {'name': NETWORK}, {'shared': True})
    api.ensure('neutron', '/subnets', 'subnets', 'subnet',
               {'name': NETWORK, 'network_id': network['id']},
               {'cidr': _CIDR, 'ip_version': 4})
    return f'{NETWORK}, {_CIDR}'


def make_flavor(api: apis.Api) -> str:
    """A small flavor.

    :returns: a remark for the person.
    """
    api.ensure('nova', '/flavors', 'flavors', 'flavor', {'name': FLAVOR},
               {'vcpus': 1, 'ram': 512, 'disk': 1})
    return f'{FLAVOR}, 1 CPU, 512 MiB, 1 GiB'


def make_volume_type(api: apis.Api) -> str:
    """The type that Cinder's configuration names.

    :returns: a remark for the person.
    """
    project_id = api.login()[1]
    api.ensure('cinder', f'/{project_id}/types', 'volume_types',
               'volume_type', {'name': 'sim'})
    return 'sim'
