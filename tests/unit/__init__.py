# SPDX-License-Identifier: Apache-2.0
"""Logic without Nova's services; runs under Windows' Python, too."""

import hypothesis

# A machine that does other things, too, is slow to draw and to run.
hypothesis.settings.register_profile(
    'patient', deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile('patient')
