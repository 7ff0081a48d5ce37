# SPDX-License-Identifier: Apache-2.0
"""What each version of Windows can do."""

from nova import exception

from compute_hyperv import model

#: Windows Server 2012 R2: the first with generation 2 and with a WMI that
#: os-win can use from several threads.
_MINIMUM = (6, 3, 0)
_BUILD_2016 = 14393
_BUILD_2019 = 17763
_BUILD_2022 = 20348
_BUILD_2025 = 26100
_TIB_MIB = 1024 * 1024


def _limits(build: int) -> tuple[model.MachineLimits, ...]:
    one, two = model.Generation.ONE, model.Generation.TWO
    if build >= _BUILD_2025:
        largest = (2048, 240 * _TIB_MIB)
    elif build >= _BUILD_2022:
        largest = (1024, 240 * _TIB_MIB)
    elif build >= _BUILD_2016:
        largest = (240, 12 * _TIB_MIB)
    else:
        largest = (64, _TIB_MIB)
    return (model.MachineLimits(generation=one, vcpus=64,
                                memory_mib=_TIB_MIB),
            model.MachineLimits(generation=two, vcpus=largest[0],
                                memory_mib=largest[1]))


def _vm_versions(build: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Oldest and newest version of VMs.

    Source: Microsoft, "Upgrade virtual machine version in Hyper-V".
    """
    for first, oldest, newest in ((_BUILD_2025, 8, 12), (_BUILD_2022, 8, 10),
                                  (_BUILD_2019, 5, 9), (_BUILD_2016, 5, 8)):
        if build >= first:
            return (oldest, 0), (newest, 0)
    return (5, 0), (5, 0)


def caps_of(version: str, *, clustered: bool = False) -> model.HostCaps:
    """What a Windows version can do.

    :param version: as in ``Win32_OperatingSystem.Version``, '10.0.20348'.
    :raises HypervisorTooOld: before Windows Server 2012 R2.
    """
    windows = model.WindowsVersion.parse(version)
    if (windows.major, windows.minor, windows.build) < _MINIMUM:
        raise exception.HypervisorTooOld(
            version='Windows Server 2012 R2 (6.3); this is ' + str(windows))
    is_2016 = windows.major >= 10
    return model.HostCaps(
        windows=windows, limits=_limits(windows.build if is_2016 else 0),
        nics=64 if windows.build >= _BUILD_2019 else 8,
        hot_nic=is_2016, nested=is_2016, linux_secure_boot=is_2016,
        vtpm=is_2016, dda=is_2016,
        # Removed by the security updates of 2020 to 2021 (KB4570006); 2016
        # lost it later than 2019 and operators could keep it there.
        remotefx=windows.build < _BUILD_2019,
        production_checkpoints=is_2016,
        threads_per_core=windows.build >= _BUILD_2019, clustered=clustered,
        vm_versions=_vm_versions(windows.build if is_2016 else 0))
