# SPDX-License-Identifier: Apache-2.0
import ddt
from nova import exception

from compute_hyperv import errors
from compute_hyperv import hostcaps
from compute_hyperv import model
from compute_hyperv import oswin
from tests import base
from tests.unit import hostcase

ONE, TWO = model.Generation.ONE, model.Generation.TWO


@ddt.ddt
class CapsTest(base.TestCase):

    @ddt.data('6.1.7601', '6.2.9200', '5.2.3790')
    def test_older_hosts_are_refused(self, version):
        """A4: 2012 R2 is the minimum; a clear error."""
        self.assert_refuses(exception.HypervisorTooOld, version, '2012 R2',
                            call=lambda: hostcaps.caps_of(version))

    @ddt.data(('6.3.9600', False, 64), ('10.0.14393', True, 240),
              ('10.0.17763', True, 240), ('10.0.20348', True, 1024),
              ('10.0.26100', True, 2048))
    @ddt.unpack
    def test_features_by_version(self, version, is_2016, vcpus):
        """A4: features are gated by version."""
        caps = hostcaps.caps_of(version)
        self.assertEqual([is_2016] * 7, [
            caps.hot_nic, caps.nested, caps.linux_secure_boot, caps.vtpm,
            caps.dda, caps.production_checkpoints, caps.windows.major == 10])
        self.assertEqual((64, vcpus), (caps.limits_of(ONE).vcpus,
                                       caps.limits_of(TWO).vcpus))

    @ddt.data(('6.3.9600', True, False), ('10.0.14393', True, False),
              ('10.0.17763', False, True), ('10.0.26100', False, True))
    @ddt.unpack
    def test_features_that_went_or_came_in_2019(self, version, remotefx,
                                                threads):
        """L054: RemoteFX was removed; threads per core came."""
        caps = hostcaps.caps_of(version)
        self.assertEqual((remotefx, threads),
                         (caps.remotefx, caps.threads_per_core))


class NoHost:
    """Of ``oswin_loader``: a host whose Hyper-V does not answer."""

    name, files = 'HV1', None

    class utilsfactory:
        @staticmethod
        def get_hostutils():
            raise errors.os_win_exc.x_wmi('invalid namespace')


class ConnectTest(base.TestCase):

    def test_host_without_hyper_v(self):
        original = oswin.oswin_loader.bind
        self.addCleanup(setattr, oswin.oswin_loader, 'bind', original)
        oswin.oswin_loader.bind = NoHost
        self.assert_refuses(exception.HypervisorUnavailable,
                            call=oswin.connect)


@ddt.ddt
class WinTest(hostcase.HostTestCase):

    def test_account_without_rights_is_told_so(self):
        """L003: an authorization error, at once."""
        self.host.v2.delete(self.host.v2.find_one(
            'Msvm_VirtualSystemManagementService'))
        self.assert_refuses(errors.HypervisorPermissionDenied,
                            'Hyper-V Administrators',
                            call=self.win.check_access)

    def test_no_cluster_is_told_so(self):
        """F1: refuses to start where there is no cluster."""
        self.assert_refuses(errors.ClusterOperationFailed, 'HV1',
                            'no node of a failover cluster',
                            call=self.win.check_clustered)

    def test_names_need_not_be_ascii(self):
        """L162: non-ASCII text in WMI data."""
        self.win.vm.create_vm('Größe-设备', False, 1, None,
                              notes=['Ünal', '测试'])
        self.assertEqual('', self.win.find_owner('Größe-设备'))
        self.assertIs(oswin.VMState.OFF, self.win.state('Größe-设备'))

    @ddt.data((32781, 'RUNNING'), (32782, 'OFF'), (32784, 'SAVED'),
              (32785, 'PAUSED'), (32776, 'RUNNING'))
    @ddt.unpack
    def test_state_of_a_vm_that_lost_its_storage(self, code, state):
        """Critical variants (Msvm_ComputerSystem.EnabledState)."""
        self.win.vm.create_vm('vm', False, 2, None)
        self.host.vms.named('vm').set_state(code)
        self.assertIs(oswin.VMState[state], self.win.state('vm'))
        self.assertEqual(oswin.VMState[state], self.win.states()['vm'])

    def test_owner_of_nothing(self):
        self.assertIsNone(self.win.find_owner('nothing'))
        self.assertIsNone(self.win.uuid_of('nothing'))
