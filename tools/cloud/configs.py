# SPDX-License-Identifier: Apache-2.0
"""The configuration files of the services.

Every function gives the sections of one file; what a key is for is told
where the services' defaults would not do.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
import os
import pathlib

from cloud import backing
from cloud import layout as layouts

Sections = Mapping[str, Mapping[str, object]]

REGION = 'RegionOne'
#: keystone user of a service -> its type in the catalog
SERVICE_TYPES = {'placement': 'placement', 'glance': 'image',
                 'neutron': 'network', 'nova': 'compute',
                 'cinder': 'block-storage'}
INSTANCES_PATH = r'C:\OpenStack\Instances'
SWITCH = 'demo'
#: how long a port that is plugged stays DOWN, so that Nova's wait is real
ACTIVATION_DELAY_S = 0.5


class Configs:
    """Writes the files of one cloud."""

    def __init__(self, layout: layouts.Layout,
                 settings: layouts.Settings) -> None:
        self._layout = layout
        self._settings = settings

    def write_all(self) -> None:
        """(Re)write every file; keys that exist are kept."""
        files: dict[str, Sections] = {
            'keystone/keystone.conf': self.keystone(),
            'placement/placement.conf': self.placement(),
            'glance/glance-api.conf': self.glance(),
            'neutron/neutron.conf': self.neutron(),
            'cinder/cinder.conf': self.cinder(),
            'nova/nova.conf': {**self.nova(), **self.nova_databases()},
            'nova/compute.conf': self.nova(),
        }
        for node in layouts.NODES:
            files[f'nova/{node}.conf'] = self.node(node)
        for name, sections in files.items():
            write(self._layout.etc_dir / name, sections)
        for repository in ('fernet-keys', 'receipt-keys', 'credential-keys'):
            make_keys(self._layout.data_dir / 'keystone' / repository)
        self._write_openrc()

    def keystone(self) -> Sections:
        """Identity: one process, so its cache is a dict."""
        keys = self._layout.data_dir / 'keystone'
        return {
            'DEFAULT': {'use_stderr': 'true'},
            'database': self._database('keystone'),
            'token': {'provider': 'fernet'},
            'fernet_tokens': {'key_repository': keys / 'fernet-keys'},
            'fernet_receipts': {'key_repository': keys / 'receipt-keys'},
            'credential': {'key_repository': keys / 'credential-keys'},
            'cache': {'enabled': 'true', 'backend': 'oslo_cache.dict'},
            # Logins are frequent and the machine may be small.
            'identity': {'password_hash_rounds': 4},
        }

    def placement(self) -> Sections:
        """Placement."""
        return {
            'DEFAULT': {'use_stderr': 'true'},
            'api': {'auth_strategy': 'keystone'},
            'placement_database': self._database('placement'),
            'keystone_authtoken': self._middleware('placement'),
        }

    def glance(self) -> Sections:
        """Images, in a folder."""
        data_dir = self._layout.data_dir / 'glance'
        for folder in ('images', 'staging', 'tasks'):
            (data_dir / folder).mkdir(parents=True, exist_ok=True)
        paste = self._paste('glance/glance-api-paste.ini')
        return {
            'DEFAULT': {
                'use_stderr': 'true', 'enabled_backends': 'file:file',
                'worker_self_reference_url': self._settings.url('glance')},
            'glance_store': {'default_backend': 'file'},
            'file': {'filesystem_store_datadir': data_dir / 'images'},
            'os_glance_staging_store': {
                'filesystem_store_datadir': data_dir / 'staging'},
            'os_glance_tasks_store': {
                'filesystem_store_datadir': data_dir / 'tasks'},
            'database': self._database('glance'),
            'paste_deploy': {'flavor': 'keystone', 'config_file': paste},
            'keystone_authtoken': self._middleware('glance'),
        }

    def neutron(self) -> Sections:
        """Networks: ML2 with the simulator's mechanism driver, no agent."""
        return {
            'DEFAULT': {
                **self._bus('neutron'), 'core_plugin': 'ml2',
                'service_plugins': '', 'rpc_workers': 0,
                'api_paste_config': self._paste('neutron/api-paste.ini'),
                'notify_nova_on_port_status_changes': 'true'},
            **self._common('neutron'),
            'database': self._database('neutron'),
            'nova': self._login('nova'),
            'ml2': {'type_drivers': 'local,flat,vlan',
                    'project_network_types': 'local',
                    'mechanism_drivers': 'hyperv_sim',
                    'extension_drivers': 'port_security'},
            'ml2_type_flat': {'flat_networks': '*'},
            'ml2_type_vlan': {'network_vlan_ranges': 'physnet1:100:199'},
            'ml2_hyperv_sim': {
                'fabric_socket': self._layout.fabric_dir / 'socket',
                'activation_delay_s': ACTIVATION_DELAY_S},
        }

    def cinder(self) -> Sections:
        """Volumes, sparse files in a folder."""
        etc_dir = self._layout.venv_dir / 'etc' / 'cinder'
        return {
            'DEFAULT': {
                **self._bus('cinder'), 'auth_strategy': 'keystone',
                'host': 'ctl', 'my_ip': '127.0.0.1',
                'api_paste_config': self._paste('cinder/api-paste.ini'),
                'resource_query_filters_file':
                    etc_dir / 'resource_filters.json',
                'glance_api_servers': self._settings.url('glance'),
                'enabled_backends': 'sim', 'default_volume_type': 'sim',
                # The first word of cinder-volume is lost if the scheduler does
                # not listen yet; with the defaults the next is up to two
                # minutes later, and volumes are in error till then.
                'periodic_interval': '3', 'periodic_fuzzy_delay': '0',
                'backend_stats_polling_interval': '3'},
            **self._common('cinder'),
            'database': self._database('cinder'),
            'service_user': self._service_user('cinder'),
            'nova': self._login('nova'),
            'coordination': {
                'backend_url': f'file://{self._state_dir("cinder")}'},
            'key_manager': {
                'backend': 'cinder.keymgr.conf_key_mgr.ConfKeyManager',
                'fixed_key': self._settings.fixed_key_hex},
            'sim': {
                'volume_driver':
                    'compute_hyperv.simcloud.cinder.SparseFileDriver',
                'volume_backend_name': 'sim',
                'sparse_file_dir': self._layout.data_dir / 'volumes',
                'fabric_socket': self._layout.fabric_dir / 'socket'},
        }

    def nova(self) -> Sections:
        """What all of Nova's services read."""
        port = self._settings.port
        return {
            'DEFAULT': {
                **self._bus('nova'), 'host': 'ctl', 'my_ip': '127.0.0.1',
                'force_config_drive': 'true',
                # A stopped demo is to its instances a host that reboots.
                'resume_guests_state_on_host_boot': 'true'},
            **self._common('nova'),
            'wsgi': {'api_paste_config': self._paste('nova/api-paste.ini')},
            'service_user': self._service_user('nova'),
            'placement': self._login('placement'),
            'neutron': {
                **self._login('neutron'), 'service_metadata_proxy': 'true',
                'metadata_proxy_shared_secret':
                    self._settings.service_password},
            # Nova's default looks for the type volumev3.
            'cinder': {**self._login('cinder'),
                       'catalog_info': 'block-storage::publicURL'},
            'glance': {'api_servers': self._settings.url('glance')},
            'conductor': {'workers': 1},
            'scheduler': {'workers': 1},
            'key_manager': {
                'backend': 'nova.keymgr.conf_key_mgr.ConfKeyManager',
                'fixed_key': self._settings.fixed_key_hex},
            'vnc': {'enabled': 'false'},
            'serial_console': {
                'enabled': 'true', 'serialproxy_host': '127.0.0.1',
                'serialproxy_port': port('serialproxy'),
                'base_url': f'ws://127.0.0.1:{port("serialproxy")}/',
                'proxyclient_address': '127.0.0.1'},
        }

    def nova_databases(self) -> Sections:
        """Not for nova-compute, which complains about them at its start."""
        return {'database': self._database('nova'),
                'api_database': self._database('nova_api')}

    def node(self, node: str) -> Sections:
        """The part of a nova-compute's configuration that is its own."""
        first, last = self._settings.console_ports(node)
        return {
            'DEFAULT': {
                'host': node, 'state_path': self._state_dir(f'nova-{node}'),
                'instances_path': INSTANCES_PATH,
                'compute_driver': 'compute_hyperv.driver.HyperVDriver'},
            'serial_console': {'port_range': f'{first}:{last}'},
            # The driver's default is the Windows program.
            'hyperv': {'vswitch_name': SWITCH, 'qemu_img_cmd': 'qemu-img'},
        }

    def _write_openrc(self) -> None:
        lines = client_environment(self._settings)
        path = self._layout.openrc_path
        path.touch(0o600)
        path.write_text(
            '# source this file, then use the openstack command\n' +
            ''.join(f'export {key}={value}\n'
                    for key, value in lines.items()) +
            f'export HYPERV_SIM_SOCKET="{self._layout.fabric_dir}/socket"\n'
            f'export PATH="{self._layout.venv_dir}/bin:$PATH"\n')

    def _database(self, name: str) -> Mapping[str, object]:
        return {'connection': backing.database_url(self._settings, name),
                'max_pool_size': 10, 'max_overflow': 20}

    def _bus(self, service: str) -> Mapping[str, object]:
        return {'use_stderr': 'true',
                'transport_url': backing.transport_url(self._settings),
                'state_path': self._state_dir(service)}

    def _common(self, service: str) -> Sections:
        return {
            'oslo_concurrency': {
                'lock_path': self._state_dir(service) / 'locks'},
            'oslo_messaging_notifications': {'driver': 'noop'},
            'keystone_authtoken': self._middleware(service),
        }

    def _login(self, user: str) -> Mapping[str, object]:
        return {'auth_type': 'password',
                'auth_url': self._settings.url('keystone', '/v3'),
                'username': user,
                'password': self._settings.service_password,
                'project_name': 'service', 'user_domain_id': 'default',
                'project_domain_id': 'default', 'region_name': REGION}

    def _middleware(self, service: str) -> Mapping[str, object]:
        return {**self._login(service),
                'www_authenticate_uri': self._settings.url('keystone', '/v3'),
                'service_token_roles': 'service',
                'service_token_roles_required': 'true',
                'service_type': SERVICE_TYPES[service]}

    def _service_user(self, user: str) -> Mapping[str, object]:
        return {**self._login(user), 'send_service_user_token': 'true'}

    def _paste(self, name: str) -> pathlib.Path:
        return self._layout.venv_dir / 'etc' / name

    def _state_dir(self, service: str) -> pathlib.Path:
        folder = self._layout.data_dir / service
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def client_environment(settings: layouts.Settings) -> dict[str, str]:
    """What the openstack client needs to be the user admin."""
    return {
        'OS_AUTH_URL': settings.url('keystone', '/v3'),
        'OS_USERNAME': 'admin', 'OS_PROJECT_NAME': 'admin',
        'OS_PASSWORD': settings.admin_password,
        'OS_USER_DOMAIN_ID': 'default', 'OS_PROJECT_DOMAIN_ID': 'default',
        'OS_IDENTITY_API_VERSION': '3', 'OS_REGION_NAME': REGION,
        # With its defaults the client does not offer half of it, such as
        # the host of a live migration, or a larger volume that is in use.
        'OS_COMPUTE_API_VERSION': '2.96', 'OS_VOLUME_API_VERSION': '3.70'}


def write(path: pathlib.Path, sections: Sections) -> None:
    """Write one INI file for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ''.join(
        f'[{name}]\n' +
        ''.join(f'{key} = {_escape(value)}\n'
                for key, value in options.items()) + '\n'
        for name, options in sections.items())
    path.touch(0o600)
    path.write_text(text)


def make_keys(folder: pathlib.Path) -> None:
    """A key repository with a staged and a primary key.

    The files are those of "keystone-manage fernet_setup", which would take
    three starts of Python.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ('0', '1'):
        path = folder / name
        if not path.exists():
            path.touch(0o600)
            path.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))


def _escape(value: object) -> str:
    # oslo.config takes $name for a reference to another option.
    return str(value).replace('$', '$$')
