# SPDX-License-Identifier: Apache-2.0
"""Feature letter A, row 10: what Hyper-V's metrics tell of a server."""

from nova.tests.functional.api import client

from tests.functional import base


class MetricsCase(base.TestCase):

    ENABLED = True

    def _set_flags(self):
        super()._set_flags()
        self.flags(enable_instance_metrics_collection=self.ENABLED,
                   group='hyperv')
        # The API's schema forgot 'hyperv' among the names of drivers.
        self.flags(response_validation='warn', group='api')

    def diagnostics(self, server):
        return self.api.api_get(
            f'/servers/{server["id"]}/diagnostics').body


class DiagnosticsTest(MetricsCase):

    def test_figures_of_a_server(self):
        """A stopped one has none."""
        server = self.boot(networks='auto', flavor_id=self.flavor(
            memory_mib=512, vcpus=2))

        found = self.diagnostics(server)

        self.assertEqual(
            ('running', 'hyperv', 'hyperv', 'windows', False, 2, 1, 1),
            tuple(found[name] for name in (
                'state', 'driver', 'hypervisor', 'hypervisor_os',
                'config_drive', 'num_cpus', 'num_nics', 'num_disks')))
        port, = self.neutron.ports(server['id'])
        self.assertEqual(port['mac_address'],
                         found['nic_details'][0]['mac_address'])
        self.assertEqual(512, found['memory_details']['maximum'])
        self.assertIsInstance(found['cpu_details'][0]['time'], int)
        self.assertIsInstance(found['disk_details'][0]['read_bytes'], int)
        self._stop_server(server)
        error = self.assertRaises(client.OpenStackApiException,
                                  self.diagnostics, server)
        self.assertEqual(409, error.response.status_code)

    def test_collection_begins_again_at_each_start(self):
        """L057: metrics are enabled again at each start."""
        server = self.boot()
        with self.fabric.recorder.recording() as calls:
            self._stop_server(server)
            self._start_server(server)
        enabled = [call for call in calls
                   if call.label == 'Msvm_MetricService.ControlMetrics']
        self.assertEqual(3, len(enabled), enabled)


class DisabledTest(MetricsCase):

    ENABLED = False

    def test_figures_that_are_not_collected_are_missing_not_zero(self):
        server = self.boot(networks='auto')
        with self.fabric.recorder.recording() as calls:
            found = self.diagnostics(server)
        self.assertIsNone(found['cpu_details'][0]['time'])
        self.assertEqual((0, 0), (found['num_nics'], found['num_disks']))
        self.assertEqual([], [call for call in calls
                              if 'Metric' in call.label])
