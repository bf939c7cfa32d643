"""How the documentation is built; `tox -e docs` does, and treats each warning as an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from compat_auth import __version__

project = "compat_auth"
copyright = "the compat_auth contributors"  # noqa: A001  # the name that Sphinx reads
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "compat_auth_docs"]
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"compat_auth {release}"
html_static_path = ["_static"]
html_css_files = ["sequence.css"]
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
napoleon_use_ivar = True
napoleon_use_rtype = False

nitpicky = True
nitpick_ignore = [
    # Others' names: their inventories are on the network, and a build must not need one.
    ("py:class", "Flask"),
    ("py:class", "flask.app.Flask"),
    ("py:class", "collections.abc.Awaitable"),
    ("py:class", "collections.abc.Callable"),
    ("py:class", "collections.abc.Container"),
    ("py:class", "flask.wrappers.Response"),
    ("py:class", "collections.abc.Iterable"),
    ("py:class", "collections.abc.Mapping"),
    ("py:class", "collections.abc.MutableMapping"),
    ("py:class", "collections.abc.Sequence"),
    ("py:class", "contextlib.AbstractContextManager"),
    ("py:class", "_pytest.monkeypatch.MonkeyPatch"),
    ("py:class", "requests.sessions.Session"),
    ("py:class", "httpx.Client"),
    ("py:class", "collections.abc.Generator"),
    ("py:class", "collections.abc.AsyncGenerator"),
    ("py:class", "os.stat_result"),
    ("py:class", "pathlib.Path"),
    ("py:class", "re.Pattern"),
    ("py:class", "ssl.SSLContext"),
    ("py:class", "types.ModuleType"),
    # A union of two documented protocols; Sphinx looks for a class.
    ("py:class", "Directory"),
]
nitpick_ignore_regex = [
    # Seen in signatures, but not promised to stay: what the private rooms define.
    ("py:class", r"compat_auth\.(app\.Gateway|(authn|concurrency|config|http|net|personal_tokens|tokens)\..+)"),
    ("py:class", r"sqlalchemy\..+"),
    # Halves of a generic type: Sphinx splits "Callable[[], float]" at its comma.
    ("py:class", r"(collections\.abc\.(Callable|Mapping)|tuple)\[.*"),
]


def setup(app: Sphinx) -> None:
    """Name the languages that Pygments does not know, which are shown as they are."""
    app.add_lexer("haproxy", TextLexer)
