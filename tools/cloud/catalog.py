# SPDX-License-Identifier: Apache-2.0
"""Keystone's contents: users of the services, and who listens where."""

from __future__ import annotations

from cloud import api as apis
from cloud import configs
from cloud import layout as layouts

_PATHS = {'placement': '', 'glance': '', 'neutron': '', 'nova': '/v2.1',
          'cinder': '/v3'}
_ROLES = ('admin', 'service')


def fill(api: apis.Api, settings: layouts.Settings) -> str:
    """Make what is missing.

    :returns: a remark for the person.
    """
    project = api.ensure('keystone', '/projects', 'projects', 'project',
                         {'name': 'service', 'domain_id': 'default'})
    roles = [api.ensure('keystone', '/roles', 'roles', 'role',
                        {'name': name})['id'] for name in _ROLES]
    for name, service_type in configs.SERVICE_TYPES.items():
        user = api.ensure(
            'keystone', '/users', 'users', 'user',
            {'name': name, 'domain_id': 'default'},
            {'password': settings.service_password})
        for role_id in roles:
            api.call('PUT', 'keystone', f'/projects/{project["id"]}/users/'
                     f'{user["id"]}/roles/{role_id}')
        service = api.ensure('keystone', '/services', 'services', 'service',
                             {'name': name, 'type': service_type})
        for interface in ('public', 'internal', 'admin'):
            api.ensure(
                'keystone', '/endpoints', 'endpoints', 'endpoint',
                {'service_id': service['id'], 'interface': interface,
                 'region_id': configs.REGION},
                {'url': settings.url(name, _PATHS[name])})
    return f'{len(configs.SERVICE_TYPES)} services'
