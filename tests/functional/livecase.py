# SPDX-License-Identifier: Apache-2.0
"""Base of tests of live migration from HV1 to HV2."""

from compute_hyperv.sim import guestdisks
from tests.functional import base

#: What a guest writes while it runs, and where.
MARK = b'written by the running guest' * 100
MARK_AT = 15 << 20

LIVE = {'live_migration': True}


class LiveMixin:
    """What a user does and sees; ``HOSTS`` are HV1 and HV2."""

    HOSTS = ({'name': 'HV1', 'extra': LIVE}, {'name': 'HV2', 'extra': LIVE})

    def host_of(self, server):
        return self._show_server(server)['OS-EXT-SRV-ATTR:host']

    def boot_and_write(self, *args, **kwargs):
        server = self.boot(*args, networks='auto', host='HV1', **kwargs)
        self.guest_disk(server).write(MARK_AT, MARK)
        return server

    def guest_disk(self, server):
        return guestdisks.of(self.vm(server).vm)[0]

    def assert_written(self, server):
        server = self._show_server(server)
        self.assertEqual(MARK, self.guest_disk(server).read(MARK_AT,
                                                            len(MARK)))

    def begin(self, server, host='HV2', **body):
        self.api.post_server_action(server['id'], {'os-migrateLive': {
            'host': host, 'block_migration': 'auto'} | body})

    def settle(self, server, status='ACTIVE'):
        return self._wait_for_server_parameter(
            server, {'status': status, 'OS-EXT-STS:task_state': None})

    def live_migrate(self, server, status='completed', host='HV2',
                     **body):
        """The server after a migration that ends with that status."""
        before = {item['id'] for item in self.api.get_migrations()}
        self.begin(server, host, **body)
        self.until(lambda: [
            item for item in self.api.get_migrations()
            if item['id'] not in before and item['status'] == status],
            f'migration {status}')
        return self.settle(server)

    def broken_at(self, server, *percents):
        """Begin a migration that breaks, for each of the percentages.

        The server runs on where it was, the target is clean.
        """
        boot = self.vm(server).boot
        for percent in percents:
            with self.fabric.faults.failing(
                    host='HV1', match='Moving Virtual Machine*',
                    at_percent=percent):
                server = self.live_migrate(server, 'failed')
            self.assertEqual('HV1', self.host_of(server))
            self.assertEqual(('running', boot), (self.vm(server).state,
                                                 self.vm(server).boot))
            self.until(lambda: not self.left('HV2', server), 'clean target')
            yield percent

    def left(self, host, server):
        """Files, VMs and connections of the server on a host."""
        view = self.view(host)
        name = server['OS-EXT-SRV-ATTR:instance_name']
        if view.host.luns.disks():      # of Fibre Channel, perhaps
            self.driver(host)._win.disk.rescan_disks()
        return ([vm for vm in view.vm_names if vm == name]
                + [f'planned {vm.name}' for vm in view.host.vms.planned()]
                + [path for path in [rf'{base.INSTANCES_DIR}\{name}']
                   if view.exists(path)]
                + [f'disk {disk.number}' for disk in view.host.luns.disks()])

    def refused(self, server, host='HV2', **body):
        """Try to migrate; nothing is left there, what was logged is given."""
        before = {item['id'] for item in self.api.get_migrations()}
        logged = len(self.stdlog.logger.output)
        self.begin(server, host, **body)
        self.until(lambda: [
            item for item in self.api.get_migrations()
            if item['id'] not in before and item['status'] == 'error'],
            'refused')
        server = self.settle(server, server['status'])
        self.assertEqual('HV1', self.host_of(server))
        self.assertEqual([], self.left('HV2', server))
        return self.stdlog.logger.output[logged:]


class LiveTest(LiveMixin, base.TestCase):
    """Servers with local disks."""
