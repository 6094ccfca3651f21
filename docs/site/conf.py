"""The documentation site: `make docs` builds it into build/site. Everything that could be wrong is a warning, and a
warning ends the build.

The pages are the Markdown files of docs/, as they are read in the repository; ``project_pages`` makes their links to
other files lead somewhere, ``public_names`` looks after the reference.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "holdstate"
author = "holdstate developers"
project_copyright = "holdstate developers"
version = release = version_of("holdstate")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "project_pages",
    "public_names",
]
exclude_patterns = ["site", "generated/tla"]
root_doc = "index"

# What is wrong ends the build: `make docs` turns warnings into errors, and these settings leave none of them out.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!holdstate\b).*"),  # of other libraries: their documentation is not read, the build is offline
    (r"py:class", r"holdstate\.stores\.lmdb_reader\.ReadTransaction"),  # a context manager that gives a Reader
    (r"py:class", r"holdstate\.spec\.\w+\.[SE]"),  # the type variables of a machine: its states and events
]

# -- Markdown --------------------------------------------------------------------------------------------------------

myst_heading_anchors = 4
smartquotes = False  # `--check` in a docstring has two hyphens

# -- reference -------------------------------------------------------------------------------------------------------

add_module_names = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries = False

# -- what it looks like ----------------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "holdstate"
html_static_path = [str(HERE / "static")]
html_css_files = ["holdstate.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options: dict[str, Any] = {
    "footer_icons": [],
    "light_css_variables": {"color-brand-primary": "#1f5fbf", "color-brand-content": "#1f5fbf"},
    "dark_css_variables": {"color-brand-primary": "#7fb2ff", "color-brand-content": "#7fb2ff"},
}
pygments_style = "default"
pygments_dark_style = "github-dark"
