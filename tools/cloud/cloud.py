# SPDX-License-Identifier: Apache-2.0
"""One cloud: bring it up, take it down, say how it is."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import fcntl
import shutil

from cloud import api as apis
from cloud import backing
from cloud import catalog
from cloud import configs
from cloud import content
from cloud import errors
from cloud import layout as layouts
from cloud import packages
from cloud import preflight
from cloud import processes
from cloud import progress
from cloud import schemas
from cloud import services
from cloud import simulator
from cloud import tasks

#: processes in the order in which they stop, each group together
STOP_ORDER = (
    tuple(f'nova-compute-{node}' for node in layouts.NODES) +
    ('cinder-volume', 'nova-serialproxy'),
    ('nova-conductor', 'nova-scheduler', 'cinder-scheduler', 'nova-api',
     'neutron-api', 'cinder-api', 'glance-api', 'placement-api',
     'keystone-api', 'hyperv-sim'),
    ('rabbitmq', 'mariadb'))
_GRACE_S = (5, 5, 20)
_MAPPING_TIMEOUT_S = 180


class Cloud:
    """The cloud of one folder.

    :param time_scale: what the simulated guests' boot times and the like
        are multiplied with.
    :param strict: see :class:`simulator.Simulator`.
    """

    def __init__(self, layout: layouts.Layout, show: progress.Progress,
                 time_scale: float = 1.0, strict: bool = False) -> None:
        self.layout = layout
        self.procs = processes.Processes(layout)
        self.simulator = simulator.Simulator(layout, self.procs,
                                             time_scale, strict)
        self._show = show

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second "up" or "down" of the same folder out.

        :raises DemoError: another one is at work.
        """
        self.layout.base_dir.mkdir(parents=True, exist_ok=True)
        path = self.layout.base_dir / f'{self.layout.name}.lock'
        with open(path, 'w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise errors.DemoError(
                    f'Another tools/demo works on {self.layout.root_dir}.'
                ) from exc
            yield

    def settings(self) -> layouts.Settings:
        """The settings of a cloud that was started before.

        :raises DemoError: there is none.
        """
        known = layouts.load_settings(self.layout)
        if known is None:
            raise errors.DemoError(
                f'No cloud in {self.layout.base_dir}: '
                f'"{self.layout.command("up")}" makes one.')
        return known

    def up(self, first_port: int | None = None) -> None:
        """Bring up what does not run; everything that exists is kept."""
        preflight.check_shared_memory()
        packages.ask_for_root()
        self.layout.make_dirs()
        preflight.check_disk(self.layout)
        if (warning := preflight.memory_warning()):
            self._show.say(warning)
        (self.layout.data_dir / 'home').mkdir(exist_ok=True)
        settings = layouts.settle(self.layout, first_port)
        self._show.title('Packages')
        tasks.run([
            tasks.Task('debian', 'Debian packages',
                       lambda: packages.install_debian(self.layout)),
            tasks.Task('python', 'Python packages',
                       lambda: packages.install_python(self.layout)),
        ], self._show)
        self._show.title('Services')
        self.configs(settings).write_all()
        tasks.run(self._tasks(settings), self._show)

    def configs(self, settings: layouts.Settings) -> configs.Configs:
        """The configuration of the services."""
        return configs.Configs(self.layout, settings)

    def down(self) -> None:
        """Stop everything; what is stored stays."""
        for names, grace_s in zip(STOP_ORDER, _GRACE_S):
            self.procs.stop(names, grace_s)
        self.procs.sweep()

    def clean(self) -> None:
        """Stop everything and remove what is stored."""
        if self.layout.root_dir.is_dir():
            self.layout.run_dir.mkdir(exist_ok=True)
            self.down()
            shutil.rmtree(self.layout.root_dir)

    def stopped(self) -> list[str]:
        """The processes that do not run, in the order of their start."""
        return [name for names in reversed(STOP_ORDER) for name in names
                if self.procs.find(name) is None]

    def _tasks(self, settings: layouts.Settings) -> list[tasks.Task]:
        api = apis.Api(settings)
        parts = services.Services(self.layout, settings, self.procs, api)
        tables = schemas.Schemas(self.layout, settings)
        layout, procs = self.layout, self.procs
        task = tasks.Task
        return [
            task('rabbitmq', 'RabbitMQ', lambda: backing.start_rabbitmq(
                layout, settings, procs)),
            task('mariadb', 'MariaDB', lambda: backing.start_mariadb(
                layout, settings, procs)),
            task('simulator', 'Simulated Hyper-V hosts',
                 self.simulator.start),
            *_schema_tasks(tables),
            task('bootstrap', 'Keystone admin', tables.bootstrap_identity,
                 ('keystone-tables',)),
            *_api_tasks(parts),
            task('catalog', 'Keystone users and endpoints',
                 lambda: catalog.fill(api, settings), ('keystone',)),
            *_agent_tasks(parts),
            *self._node_tasks(parts, tables, api),
            *_content_tasks(layout, api)]

    def _node_tasks(self, parts: services.Services, tables: schemas.Schemas,
                    api: apis.Api) -> list[tasks.Task]:
        names = tuple(f'nova-compute-{node}' for node in layouts.NODES)
        needs = ('simulator', 'nova-conductor', 'placement')

        def starter(node: str) -> tasks.Task:
            return tasks.Task(
                f'nova-compute-{node}', f'nova-compute on {node}',
                lambda: parts.start_compute(node,
                                            self.simulator.prefix(node)),
                needs)

        return [starter(node) for node in layouts.NODES] + [
            tasks.Task('mapping', 'Nodes in the cell',
                       lambda: map_nodes(tables, api), names)]


def _schema_tasks(tables: schemas.Schemas) -> list[tasks.Task]:
    # Three lanes: more of them do not get faster on two processors.
    lanes = (('nova',), ('neutron', 'cinder'),
             ('keystone', 'placement', 'glance'))

    def syncer(service: str, need: str) -> tasks.Task:
        return tasks.Task(f'{service}-tables', f'{service} tables',
                          lambda: tables.sync(service), (need,))

    return [syncer(service, f'{lane[index - 1]}-tables' if index
                   else 'mariadb')
            for lane in lanes for index, service in enumerate(lane)]


def _api_tasks(parts: services.Services) -> list[tasks.Task]:
    # Nova's and Cinder's services keep "placement is not in the catalog"
    # for their whole life if they start before the catalog is complete.
    needs = {'keystone': ('bootstrap',),
             'placement': ('placement-tables', 'keystone'),
             'glance': ('glance-tables', 'keystone'),
             'neutron': ('neutron-tables', 'rabbitmq', 'keystone'),
             'nova': ('nova-tables', 'rabbitmq', 'catalog'),
             'cinder': ('cinder-tables', 'rabbitmq', 'catalog')}

    def starter(service: str) -> tasks.Task:
        return tasks.Task(service, f'{service} API',
                          lambda: parts.start_api(service), needs[service])

    return [starter(service) for service in needs]


def _agent_tasks(parts: services.Services) -> list[tasks.Task]:
    def nova(name: str) -> tasks.Task:
        return tasks.Task(name, name,
                          lambda: parts.start_nova_service(name), ('nova',))

    def cinder(name: str) -> tasks.Task:
        return tasks.Task(name, name,
                          lambda: parts.start_cinder_service(name),
                          ('cinder',))

    return [nova('nova-conductor'), nova('nova-scheduler'),
            tasks.Task('nova-serialproxy', 'nova-serialproxy',
                       parts.start_serial_proxy, ('nova',)),
            cinder('cinder-scheduler'), cinder('cinder-volume')]


def _content_tasks(layout: layouts.Layout,
                   api: apis.Api) -> list[tasks.Task]:
    return [
        tasks.Task('image', 'VHDX image',
                   lambda: content.upload_image(layout, api),
                   ('glance', 'catalog')),
        tasks.Task('network', 'Network', lambda: content.make_network(api),
                   ('neutron', 'catalog')),
        tasks.Task('flavor', 'Flavor', lambda: content.make_flavor(api),
                   ('nova',)),
        tasks.Task('volume-type', 'Volume type',
                   lambda: content.make_volume_type(api), ('cinder',))]


def map_nodes(tables: schemas.Schemas, api: apis.Api) -> str:
    """Repeat until the cell knows all nodes; they report a bit late."""
    def known() -> bool:
        listed = api.get('nova', '/os-hypervisors')['hypervisors']
        if {entry['hypervisor_hostname'].upper() for entry in listed} >= \
                set(layouts.NODES):
            return True
        tables.discover_hosts()
        return False

    processes.until(known, _MAPPING_TIMEOUT_S, 'Nova knows the nodes')
    return ', '.join(layouts.NODES)
