# SPDX-License-Identifier: Apache-2.0
"""Real Nova services in one process, over the driver, os-win and a fabric.

Nova's api, conductor, scheduler, placement and one nova-compute per simulated
host run here as they are. What stands in for the rest of a cloud: the message
bus and databases of Nova's own tests, Glance and Neutron (``glance.py``,
``neutron.py``), Nova's Cinder. Below os-win stands the simulated fabric.
"""

import json
import os
import sys
import sysconfig
import time
import uuid
import warnings

import nova.tests.functional  # noqa: F401  (first: it says how Nova runs)

import fixtures
from nova.api.metadata import base as metadata
from nova import context
from nova import objects
from nova import test
from nova.tests import fixtures as nova_fixtures
from nova.tests.functional.api import client
from nova.tests.functional import fixtures as func_fixtures
from nova.tests.functional import integrated_helpers

from compute_hyperv import conf
from compute_hyperv.sim import disks
from compute_hyperv.sim import fabric as sim_fabric
from tests.functional import glance
from tests.functional import hostview
from tests.functional import neutron
from tests.functional import patience
from tests.functional import quick

CONF = conf.CONF

DRIVER = 'compute_hyperv.driver.HyperVDriver'
INSTANCES_DIR = r'C:\OpenStack\Instances'
SWITCH = 'external'
#: Below the instances path, when the last instance is gone.
STAYS = ('_base', r'_base\\[0-9a-f-]{36}(_\d+)?\.(vhdx?|iso)',
         'locks', 'export')
PATIENCE_S = patience.PATIENCE_S
UNKNOWN_ID = '00000000-0000-4000-8000-000000000000'


def mode():
    """'threading' or 'eventlet': how Nova runs in this process."""
    return 'eventlet' if nova.monkey_patch.is_patched() else 'threading'


class _NodeIdentity(fixtures.Fixture):
    """A node uuid per host, where Nova knows one per process.

    The caller is a resource tracker or a driver and knows its host.
    """

    @staticmethod
    def _uuid_of_caller():
        caller = sys._getframe(1).f_locals['self']
        node = getattr(caller, 'driver', caller).get_available_nodes()[0]
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, node))

    def _setUp(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.node.get_local_node_uuid', self._uuid_of_caller))


class _Fabric(sim_fabric.Fabric):
    """One that is clean as soon as all threads have followed."""

    def assert_clean(self):
        deadline = time.monotonic() + PATIENCE_S
        while self.problems() and time.monotonic() < deadline:
            time.sleep(0.05)
        super().assert_clean()


class _Notifications(nova_fixtures.NotificationFixture):
    """Nova's, which waits for one as long as for all else."""

    def wait_for_versioned_notifications(self, event_type, n_events=1,
                                         timeout=PATIENCE_S):
        return super().wait_for_versioned_notifications(event_type, n_events,
                                                        timeout)


class TestCase(test.TestCase,
               integrated_helpers.PlacementInstanceHelperMixin):
    """A small cloud. ``HOSTS`` become simulated hosts with nova-compute."""

    REQUIRES_LOCKING = True
    microversion = 'latest'

    #: What Nova loads on every host.
    compute_driver = DRIVER

    #: Names, or mappings of facts as in a fabric file.
    HOSTS = ('HV1',)

    #: Keyword arguments of the Neutron fixture.
    NEUTRON = {}

    def setUp(self):
        self.useFixture(quick.PromptBus())
        self.useFixture(quick.KeptConnections())
        self.useFixture(patience.PatientApi())
        super().setUp()
        # os-win asks Event.isSet(), and would be told so for each pipe.
        warnings.filterwarnings('ignore', category=DeprecationWarning,
                                module=r'os_win\b')
        self._set_flags()
        self.fabric = self._new_fabric(self.HOSTS)
        self.useFixture(nova_fixtures.AllServicesCurrent())
        self.useFixture(nova_fixtures.RealPolicyFixture())
        self.useFixture(_NodeIdentity())
        self.glance = self.useFixture(glance.Glance(self))
        self.neutron = self.useFixture(
            neutron.Neutron(self, **self.NEUTRON))
        self.cinder = self.useFixture(self._new_cinder())
        self.placement = self.useFixture(func_fixtures.PlacementFixture()).api
        self.notifier = self.useFixture(_Notifications(self))
        self.api_fixture = self.useFixture(
            nova_fixtures.OSAPIFixture(api_version='v2.1'))
        self.admin_api = self.api_fixture.admin_api
        self.admin_api.microversion = self.microversion
        self.api = self.admin_api
        self.start_service('conductor')
        self.start_service('scheduler')
        for name in self.fabric.hosts:
            self.start_compute(name)
        self.fabric.mark()

    def _set_flags(self):
        self.flags(compute_driver=self.compute_driver,
                   instances_path=INSTANCES_DIR, shutdown_timeout=2,
                   mkisofs_cmd='genisoimage',
                   # stop() returns when the driver's cleanup_host has.
                   manager_shutdown_timeout=20)
        self.flags(vswitch_name=SWITCH, qemu_img_cmd='qemu-img',
                   power_state_event_polling_interval=1,
                   group='hyperv')
        # The wheel has it below the environment, not beside the package.
        self.flags(group='wsgi', api_paste_config=os.path.join(
            sysconfig.get_path('data'), 'etc', 'nova', 'api-paste.ini'))

    def _new_fabric(self, hosts, **facts):
        folder = self.useFixture(fixtures.TempDir()).path
        fabric = _Fabric(folder, hosts=hosts, **facts)
        fabric.patience_s = 0.05
        for host in fabric.hosts.values():
            host.storage.ignored += [rf'\\Instances\\({name})\\?$'
                                     for name in STAYS]
        self.addCleanup(fabric.close)
        self.addCleanup(self._check_fabric, fabric)
        return fabric

    def _new_cinder(self):
        return nova_fixtures.CinderFixture(self)

    def _check_fabric(self, fabric):
        self.assertEqual([], list(fabric.not_simulated))
        # Machines that somebody else made may well be empty.
        self.assertEqual([], [name for host in fabric.hosts.values()
                              for name in host.vms.found_no_system
                              if name.startswith('instance-')],
                         'these had nothing to boot from')

    # Hosts and services.

    def start_compute(self, host, service=None):
        """Start nova-compute on the simulated host of that name.

        :param service: ``[DEFAULT] host``, if that is another one.
        """
        with self.fabric.on(host):
            compute = self._start_compute(service or host)
        self.addCleanup(compute.stop)
        return compute

    def restart_compute(self, host):
        """Stop nova-compute on *host* and start a new one, driver and all."""
        self.computes[host].stop()
        return self.start_compute(host)

    def driver(self, host='HV1'):
        return self.computes[host].manager.driver

    @property
    def host(self):
        """The (first) simulated host."""
        return next(iter(self.fabric.hosts.values()))

    # Servers.

    def _wait_for_server_parameter(self, server, expected_params,
                                   max_retries=10, api=None,
                                   wait_for_fault_key=True):
        """Nova's helper with a poll every 0.1 s, and for longer."""
        needs_fault = (wait_for_fault_key
                       and expected_params.get('status') == 'ERROR')
        deadline = time.monotonic() + max(PATIENCE_S, max_retries)
        while True:
            server = (api or self.api).get_server(server['id'])
            if (all(server[name] == value
                    for name, value in expected_params.items())
                    and (not needs_fault or 'fault' in server)):
                return server
            if (time.monotonic() > deadline or server['status'] == 'ERROR'
                    and not needs_fault and 'fault' in server):
                self.fail(f'expected {expected_params}, got '
                          f'{server["status"]}, {server.get("fault")}')
            time.sleep(0.1)

    def _wait_until_deleted(self, server):
        self.until(lambda: self._is_gone(server), 'deleted')

    def _wait_for_instance_action_event(self, server, action_name,
                                        event_name, event_result):
        """Nova's helper, for longer."""
        def event():
            for action in self.admin_api.get_instance_actions(server['id']):
                if action['action'] != action_name:
                    continue
                for found in self.admin_api.get_instance_action_details(
                        server['id'], action['request_id'])['events']:
                    if (found['event'] == event_name and (
                            found['result'] or '').lower() == event_result):
                        return found
        return self.until(event, f'{event_name}: {event_result}')

    def _is_gone(self, server):
        try:
            self.api.get_server(server['id'])
        except client.OpenStackApiNotFoundException:
            return True
        return False

    def until(self, check, what, timeout_s=PATIENCE_S):
        """The first true result of *check*, or a failed test."""
        deadline = time.monotonic() + timeout_s
        while not (result := check()):
            if time.monotonic() > deadline:
                self.fail(f'not within {timeout_s} s: {what}')
            time.sleep(0.05)
        return result

    def assert_in_time(self, wanted, look, what=None):
        """*look* finds what is wanted, as soon as threads have followed."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := look()) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(wanted, found, what)

    def seen(self):
        """What is open or left; consoles follow a VM when they can."""
        return sorted(problem for problem in self.fabric.problems()
                      if 'console.log' not in problem)

    def boot(self, image_id=None, *, flavor_id=None, networks='none',
             state='ACTIVE', **body):
        """Create a server and wait for its state; the API's dict of it."""
        if image_id is None:
            image_id = self.glance.add_disk()
        flavor_id = flavor_id or self.flavor()
        request = self._build_server(
            image_uuid=image_id, flavor_id=flavor_id, networks=networks)
        request.update(body)
        return self.build(request, state)

    def build(self, request, state='ACTIVE'):
        """Have a server built; that of BUILD may be over already."""
        server = self.api.post_server({'server': request})
        if state == 'BUILD':
            return self.api.get_server(server['id'])
        return self._wait_for_state_change(server, state)

    def flavor(self, memory_mib=512, vcpus=1, disk_gib=1, ephemeral_gib=0,
               swap_mib=0, **extra_specs):
        """A new flavor's id; *extra_specs* with '__' for ':'."""
        specs = {name.replace('__', ':'): value
                 for name, value in extra_specs.items()}
        return self._create_flavor(
            memory_mb=memory_mib, vcpu=vcpus, disk=disk_gib,
            ephemeral=ephemeral_gib, swap=swap_mib, extra_spec=specs or None)

    def told_devices(self, server):
        """Devices as the metadata service tells them to the guest."""
        instance = objects.Instance.get_by_uuid(
            context.get_admin_context(), server['id'],
            expected_attrs=['device_metadata', 'flavor', 'metadata',
                            'system_metadata', 'info_cache',
                            'security_groups', 'keypairs'])
        text = metadata.InstanceMetadata(instance).lookup(
            '/openstack/latest/meta_data.json')
        return json.loads(text)['devices']

    def view(self, host='HV1'):
        """What is to be seen on a simulated host."""
        return hostview.HostView(self.fabric.host(host))

    def vm(self, server):
        """The server's VM, on the host where Nova says that it is."""
        return self.view(server['OS-EXT-SRV-ATTR:host']).vm(
            server['OS-EXT-SRV-ATTR:instance_name'])

    def assert_disk_begins_like_image(self, path, image_id, *, disk_gib,
                                      host='HV1'):
        """A guest reads the image's bytes there, then zeros, to the end.

        The disk has the flavor's size less what its own structures take, so
        that the file never outgrows the flavor.

        :param path: Windows path of the disk on *host*.
        """
        with (self.open_disk(path, host) as disk,
              disks.open_disk(self.glance.path(image_id), writable=False,
                              resolve=str) as image):
            self.assertTrue(0 <= (disk_gib << 30) - disk.size_bytes
                            <= 16 << 20, disk.size_bytes)
            for offset in range(0, image.size_bytes, 1 << 20):
                length = min(1 << 20, image.size_bytes - offset)
                self.assertEqual(image.read(offset, length),
                                 disk.read(offset, length), hex(offset))
            self.assertEqual(bytes(1 << 16),
                             disk.read(disk.size_bytes - (1 << 16), 1 << 16))

    def disk_size(self, path, host='HV1'):
        """What a guest sees of the disk at a Windows path, in bytes."""
        with self.open_disk(path, host) as disk:
            return disk.size_bytes

    def open_disk(self, path, host='HV1'):
        """A disk and its parents, as the guest of a VM reads it."""
        storage = self.fabric.host(host).storage
        return disks.open_disk(storage.local(path), writable=False,
                               resolve=storage.local, win_path=path)

    def fault(self, server):
        """Nova's message about why the server is in ERROR."""
        return self.api.get_server(server['id'])['fault']['message']


class OwnPaths:
    """Each host has an instances_path of its own. Before the base."""

    #: Host -> instances_path; shares are made.
    PATHS = {}

    def _new_fabric(self, hosts, **facts):
        fabric = super()._new_fabric(hosts, **facts)
        for path in set(self.PATHS.values()):
            if path.startswith('\\\\'):
                fabric.shares.add(path, 500 << 30)
        return fabric

    def start_compute(self, host):
        self.flags(instances_path=self.PATHS[host])
        return super().start_compute(host)


class SharedInstances:
    """Instances lie on a share that all hosts use. Before the base."""

    SHARE = r'\\nas\instances'

    def _set_flags(self):
        super()._set_flags()
        self.flags(instances_path=self.SHARE)

    def _new_fabric(self, hosts, **facts):
        fabric = super()._new_fabric(hosts, **facts)
        fabric.shares.add(self.SHARE, 500 << 30)
        return fabric

    def left_on_share(self):
        """What is there of instances."""
        storage = next(iter(self.fabric.hosts.values())).storage
        return [name for name in os.listdir(storage.local(self.SHARE))
                if name not in ('_base', 'locks')]
