# SPDX-License-Identifier: Apache-2.0
"""The operations of kernel32 that reach named pipes and the machine."""

from typing import Any
from typing import Dict
from typing import FrozenSet

from .ports import op

_WAIT_FOREVER = 0xFFFFFFFF
_USE_DEFAULT_WAIT = 0
#: The default of a pipe's server, unless it says otherwise (seconds).
_DEFAULT_WAIT_S = 0.05


@op('dll.kernel32.WaitNamedPipeW', blocking=True)
def wait_named_pipe(host: Any, *, path: str, timeout_ms: int) -> None:
    """Wait until a client could open the pipe."""
    timeout_s = None if timeout_ms == _WAIT_FOREVER else (
        _DEFAULT_WAIT_S if timeout_ms == _USE_DEFAULT_WAIT
        else timeout_ms / 1000.0)
    if timeout_s is not None and host.clock.mode == 'instant':
        timeout_s = min(timeout_s, _DEFAULT_WAIT_S)
    host.pipes.wait(path, timeout_s)


@op('dll.kernel32.CreateFileW.pipe')
def open_pipe(host: Any, *, path: str, client: str) -> Dict[str, Any]:
    """Open the client's end: where to connect, and with what ticket."""
    result: Dict[str, Any] = host.pipes.connect(path, client)
    return result


@op('dll.kernel32.GetTickCount64')
def tick_count(host: Any) -> int:
    """Milliseconds since the host started."""
    return int(host.clock.monotonic() * 1000)


#: PF_* numbers: MMX, SSE, RDTSC, PAE, SSE2, NX, SSE3, XSAVE, SLAT, and
#: virtualization switched on in the firmware.
_FEATURES = (3, 6, 8, 9, 10, 12, 13, 17, 20, 21)


@op('dll.kernel32.IsProcessorFeaturePresent')
def processor_feature(host: Any, *, feature: int) -> bool:
    """Whether the host's processors have a feature (PF_* number)."""
    return feature in processor_features(host)


def processor_features(host: Any) -> FrozenSet[int]:
    """What the host's processors can do (PF_* numbers)."""
    return frozenset(host.spec.extra.get('processor_features', _FEATURES))
