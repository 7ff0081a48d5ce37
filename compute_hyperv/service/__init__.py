# SPDX-License-Identifier: Apache-2.0
"""Running nova-compute on Windows: shims, supervisor, Windows service.

``cli`` is the command ``compute-hyperv-service``. ``winservice`` speaks to
the service manager, ``supervisor`` watches one child process, ``compute`` is
that child: Nova's own ``nova-compute`` behind the shims of ``shims``.
"""
