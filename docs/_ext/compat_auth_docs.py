"""What Sphinx needs beyond its own: parts made from the code, and sequence diagrams."""

from docutils import nodes
from reference_text import fill_in
from sequence_diagram import to_svg
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class SequenceDirective(SphinxDirective):
    """A sequence diagram; its title is the argument, its lines are the content."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        try:
            svg = to_svg("\n".join(self.content), self.arguments[0])
        except ValueError as exc:
            raise self.error(str(exc)) from exc
        figure = nodes.figure("", nodes.raw("", f'<div class="sequence-frame">{svg}</div>', format="html"))
        figure += nodes.caption("", self.arguments[0])
        return [figure]


def fill_in_page(_app: Sphinx, _docname: str, source: list[str]) -> None:
    """Replace the markers before the page is parsed."""
    source[0] = fill_in(source[0])


def setup(app: Sphinx) -> dict[str, object]:
    """Say what this extension adds."""
    app.add_directive("sequence", SequenceDirective)
    app.connect("source-read", fill_in_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
