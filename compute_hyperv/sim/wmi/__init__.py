# SPDX-License-Identifier: Apache-2.0
"""WMI of a simulated host: repository, providers, and PyMI's stand-in."""

import importlib
import pkgutil
import types
import typing

#: Modules that say what classes do, in the order in which they set up a
#: new host (``populate(host)``).
PROVIDERS = (
    'virtualization', 'virtualization_jobs', 'virtualization_power',
    'virtualization_system', 'virtualization_upgrade',
    'virtualization_resources', 'virtualization_storage',
    'virtualization_guest', 'virtualization_snapshot',
    'virtualization_summary', 'virtualization_devices',
    'virtualization_planned', 'virtualization_export',
    'virtualization_migration', 'virtualization_images', 'network',
    'network_ports', 'network_features', 'metrics', 'cimv2',
    'performance', 'storage',
    'standardcimv2', 'smb', 'hgs')


def providers() -> typing.List[types.ModuleType]:
    """The provider modules, imported."""
    there = {one.name for one in pkgutil.iter_modules(__path__)}
    return [importlib.import_module('.' + name, __name__)
            for name in PROVIDERS if name in there]
