# SPDX-License-Identifier: Apache-2.0
"""root/Microsoft/Windows/Hgs: is this host guarded? Not unless told."""

from __future__ import annotations

import typing

from . import engine

NAMESPACE = 'root/microsoft/windows/hgs'


@engine.method(NAMESPACE, 'MSFT_HgsClientConfiguration', 'Get')
def get_configuration(call: engine.Call) -> dict[str, typing.Any]:
    """The client configuration (hyperv-semantics.md section 13)."""
    guarded = bool(call.host.spec.extra.get('guarded', False))
    return {'cmdletOutput': call.store.embedded(
        'MSFT_HgsClientConfiguration', Mode=2 if guarded else 1,
        IsHostGuarded=guarded, KeyProtectionServerUrl='',
        AttestationServerUrl='')}
