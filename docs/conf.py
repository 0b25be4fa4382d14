"""How the site is built: `python3 -m sphinx -W -b html docs docs/build`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
sys.path.insert(0, str(HERE.parent))

project = "jaxconv"
copyright = "the jaxconv authors"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "site_figures",
    "site_tables",
    "site_docstrings",
    "site_bench",
    "site_code",
    "site_math",
    "site_speed",
]
exclude_patterns = ["build", "_build", "_figures/README*"]
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]
nitpicky = False

html_theme = "furo"
html_title = "jaxconv"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["explorer.css", "site.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f6fd1", "color-brand-content": "#1f6fd1"},
    "dark_css_variables": {"color-brand-primary": "#62a8ff", "color-brand-content": "#62a8ff"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Accuracy", "Source", "Note"]
