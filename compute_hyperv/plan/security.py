# SPDX-License-Identifier: Apache-2.0
"""Firmware security: what flavor and image ask for, and who wins.

=====================  ===========  ===========  ===========  ===========
flavor, image          not set      disabled     optional     required
=====================  ===========  ===========  ===========  ===========
not set                off          off          off          on
disabled               off          off          off          refused
optional               off          off          off          on
required               on           refused      on           on
=====================  ===========  ===========  ===========  ===========
"""

from __future__ import annotations

from compute_hyperv import model
from compute_hyperv.plan import request as req

_POLICIES = ('disabled', 'optional', 'required')
_OS_TYPES = ('linux', 'windows')
#: Requests for a virtual TPM or a shielded VM.
_VTPM_SPECS = ('os:vtpm', 'hw:tpm_version', 'hw:tpm_model')
_VTPM_PROPERTIES = ('os_vtpm', 'os_shielded_vm', 'hw_tpm_version',
                    'hw_tpm_model')


def plan_security(request: req.Request, generation: model.Generation,
                  caps: model.HostCaps) -> model.SecuritySpec:
    """Decide secure boot.

    :raises nova.exception.InvalidInput: flavor and image contradict each
        other, or generation 1 was chosen.
    :raises nova.exception.ImageUnacceptable: the image does not name its
        ``os_type``, which chooses the certificates.
    :raises nova.exception.ComputeResourcesUnavailable: this Windows
        cannot do it.
    """
    _refuse_vtpm(request)
    if not _wants_secure_boot(request):
        return model.SecuritySpec()
    if generation is not model.Generation.TWO:
        raise req.conflict(
            'secure boot needs UEFI: set the image property '
            'hw_machine_type=hyperv-gen2, or os_secure_boot=disabled')
    os_type = request.find_property_choice('os_type', _OS_TYPES)
    if os_type is None:
        raise request.bad_property('os_type', '(not set)',
                                   'linux, windows; secure boot needs it')
    spec = model.SecuritySpec(secure_boot=True,
                              os_type=model.OSType(os_type))
    if spec.needs_microsoft_uefi_ca and not caps.linux_secure_boot:
        raise req.host_cannot(
            'secure boot with os_type=linux needs Windows Server 2016 or '
            f'newer, this host is {caps.windows}')
    return spec


def _wants_secure_boot(request: req.Request) -> bool:
    flavor = request.find_spec_choice('os:secure_boot', _POLICIES)
    image = request.find_property_choice('os_secure_boot', _POLICIES)
    if {flavor, image} == {'required', 'disabled'}:
        raise req.conflict(
            f'secure boot: flavor extra spec os:secure_boot={flavor} and '
            f'image property os_secure_boot={image} exclude each other')
    return 'required' in (flavor, image)


def _refuse_vtpm(request: req.Request) -> None:
    """Refuse what would otherwise be left out without a word."""
    asked = [(f'flavor extra spec {name}', request.find_spec(name))
             for name in _VTPM_SPECS]
    asked += [(f'image property {name}', request.find_property(name))
              for name in _VTPM_PROPERTIES]
    for name, value in asked:
        if value and value.lower() not in ('disabled', 'optional'):
            raise req.conflict(
                f'{name}={value}: this driver makes no VM with a virtual '
                'TPM; allowed: disabled, optional, or not set')
