"""How the documentation is built: `make docs`, or `sphinx-build -W -n docs docs/_build/html`.

Nothing is asked of the network, so that the same files give the same pages everywhere, and a build fails for what is
wrong with them only. Links into the documentation of Python, NumPy, SciPy, PyTorch and ART need the lists of their
names, which are on the network: they are made if ART_DENOISE_DOCS_ONLINE is set, and otherwise those names are text.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
# The package beside this folder, and the extensions in it.
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

import art_denoise  # noqa: E402

project = "art_denoise"
author = "The art_denoise developers"
version = release = art_denoise.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "cyclopts.ext.sphinx",
    "extensions.links",
    "extensions.mathml",
    "extensions.names",
    "extensions.shape",
]
exclude_patterns = ["_build", "extensions"]

# Docstrings have code in single backticks, and words of arguments in quotes, which are to be copied as they are.
default_role = "code"
smartquotes = False

autodoc_typehints = "description"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
# One argument a line where they would not all fit beside each other on a narrow screen.
python_maximum_signature_line_length = 60

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# A name that nothing is found for is a mistake, unless it is one of another package, or one that no page is about.
nitpick_ignore_regex = [
    (r"py:.*", r"'?(art|collections|np|numpy|os|pathlib|torch|typing)\..*"),
    (
        r"py:.*",
        r"(CLASSIFIER_TYPE|ESTIMATOR_TYPE|PyTorchClassifier|ArtPreprocessor|Preprocessor|Chain|Path|ndarray|Tensor)",
    ),
]
if os.environ.get("ART_DENOISE_DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "art": ("https://adversarial-robustness-toolbox.readthedocs.io/en/latest/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "python": ("https://docs.python.org/3/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }

html_theme = "furo"
# The theme's own underlines the names of modules, as if they were links.
pygments_dark_style = "monokai"
html_title = f"{project} {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sphinx = html_show_copyright = html_copy_source = False
