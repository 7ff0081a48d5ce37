# SPDX-License-Identifier: Apache-2.0
"""Secure boot: who wins, and what is refused."""

import unittest

import ddt
from nova import exception

from compute_hyperv import model
from compute_hyperv.plan import security
from tests.unit.plan import factories


def plan(specs=None, generation=model.Generation.TWO, host=None,
         **properties):
    return security.plan_security(
        factories.ask(specs=specs, **properties), generation,
        host or factories.caps())


@ddt.ddt
class SecureBootTest(unittest.TestCase):

    @ddt.data(
        (None, None, False), (None, 'disabled', False),
        (None, 'optional', False), (None, 'required', True),
        ('disabled', None, False), ('disabled', 'disabled', False),
        ('disabled', 'optional', False),
        ('optional', None, False), ('optional', 'disabled', False),
        ('optional', 'optional', False), ('optional', 'required', True),
        ('required', None, True), ('required', 'optional', True),
        ('required', 'required', True))
    @ddt.unpack
    def test_flavor_and_image_agree(self, flavor, image, expected):
        """L042: an optional image needs the flavor's 'required'."""
        specs = {} if flavor is None else {'os:secure_boot': flavor}
        properties = {} if image is None else {'os_secure_boot': image}
        spec = plan(specs, os_type='windows', **properties)
        self.assertIs(expected, spec.secure_boot)

    @ddt.data(('required', 'disabled'), ('disabled', 'required'))
    @ddt.unpack
    def test_contradiction_is_refused(self, flavor, image):
        """L042: flavor required and image disabled, or the reverse."""
        with self.assertRaisesRegex(
                exception.InvalidInput,
                f'os:secure_boot={flavor}.*os_secure_boot={image}'):
            plan({'os:secure_boot': flavor}, os_secure_boot=image,
                 os_type='windows')

    def test_generation_1_is_refused(self):
        """L042: secure boot of generation 1 is refused."""
        with self.assertRaisesRegex(exception.InvalidInput,
                                    'hw_machine_type=hyperv-gen2'):
            plan(generation=model.Generation.ONE,
                 os_secure_boot='required', os_type='windows')

    def test_missing_os_type_is_refused(self):
        """L042: secure boot without os_type is refused."""
        with self.assertRaisesRegex(exception.ImageUnacceptable,
                                    'os_type=.*linux, windows'):
            plan({'os:secure_boot': 'required'})

    def test_image_without_os_type_builds_without_secure_boot(self):
        """L042: images without os_type build when it is not asked for."""
        self.assertEqual(model.SecuritySpec(), plan())

    @ddt.data(('windows', False), ('linux', True))
    @ddt.unpack
    def test_os_type_chooses_the_template(self, os_type, uefi_ca):
        """L043: Linux gets the UEFI CA template, Windows its own."""
        spec = plan(os_secure_boot='required', os_type=os_type)
        self.assertIs(uefi_ca, spec.needs_microsoft_uefi_ca)

    def test_linux_needs_windows_2016(self):
        """L043: a host that cannot do Linux secure boot refuses."""
        host = factories.caps_2012()
        with self.assertRaisesRegex(exception.ComputeResourcesUnavailable,
                                    'Windows Server 2016'):
            plan(host=host, os_secure_boot='required', os_type='linux')
        self.assertTrue(plan(host=host, os_secure_boot='required',
                             os_type='windows').secure_boot)

    def test_unknown_policy_is_refused(self):
        with self.assertRaisesRegex(
                exception.InvalidInput,
                'os:secure_boot=on; allowed: disabled, optional, required'):
            plan({'os:secure_boot': 'on'})


@ddt.ddt
class VtpmTest(unittest.TestCase):

    @ddt.data(({'hw:tpm_version': '2.0'}, {}),
              ({'os:vtpm': 'required'}, {}),
              ({}, {'os_vtpm': 'required'}),
              ({}, {'os_shielded_vm': 'required'}),
              ({}, {'hw_tpm_version': '2.0'}))
    @ddt.unpack
    def test_vtpm_is_refused_rather_than_left_out(self, specs, properties):
        """L044: what cannot be protected is refused before start."""
        name, = (*specs, *properties)
        with self.assertRaisesRegex(exception.InvalidInput, name):
            plan(specs, **properties)

    @ddt.data('disabled', 'optional')
    def test_vtpm_that_is_not_required_builds(self, value):
        self.assertFalse(plan(os_vtpm=value).secure_boot)
