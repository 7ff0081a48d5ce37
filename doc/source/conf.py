# SPDX-License-Identifier: Apache-2.0
"""Sphinx settings of the documentation."""

import os
import runpy
import sys

from docutils import nodes
from docutils.parsers import rst
from docutils import statemachine

sys.path.insert(0, os.path.abspath('../..'))

# Nova decides about eventlet before anything of it is imported, and os-win is
# found only through our loader: show-options below imports the options.
os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', '1')

_TOOLS = os.path.join(os.path.dirname(__file__), '../../tools')

extensions = ['oslo_config.sphinxext']

project = 'compute-hyperv'
copyright = 'the authors of compute-hyperv'
html_theme = 'alabaster'
version = release = ''
master_doc = 'index'
html_theme_options = {'page_width': '70em'}
add_module_names = False


class _Generated(rst.Directive):
    """What one of the programs in tools/ makes of the tests."""

    tool = function = ''

    def run(self):
        # What it reads are the tests: no list of files could be complete.
        self.state.document.settings.env.note_reread()
        made = runpy.run_path(os.path.join(_TOOLS, self.tool))
        lines = statemachine.StringList(
            made[self.function]().splitlines(), f'tools/{self.tool}')
        holder = nodes.section()
        holder.document = self.state.document
        self.state.nested_parse(lines, self.content_offset, holder,
                                match_titles=True)
        return holder.children


class Lessons(_Generated):
    """The table of field lessons and their tests."""

    tool, function = 'lessons', 'table'


class FeatureMatrix(_Generated):
    """The tables of what works and what proves it."""

    tool, function = 'feature-matrix', 'page'


def setup(app):
    app.add_directive('lessons', Lessons)
    app.add_directive('feature-matrix', FeatureMatrix)
