"""The directives `jaxconv-figure` and `jaxconv-gallery`: figures drawn as the site is built.

    ```{jaxconv-figure} sliding
    A caption; that of the gallery if there is none.
    ```

It is drawn twice, for the light and the dark theme.
"""

from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

FOLDER = "_figures"


def draw(source: Path) -> None:
    """Writes every figure as SVG, those that have not changed excepted."""
    from jaxconv import plots

    folder = source / FOLDER
    folder.mkdir(exist_ok=True)
    for name, (_, figure) in plots.gallery().items():
        for theme in ("light", "dark"):
            target = folder / f"{name}-{theme}.svg"
            new = folder / "new.svg"
            figure(theme).savefig(new, metadata={"Date": None})
            if not target.exists() or target.read_bytes() != new.read_bytes():
                target.write_bytes(new.read_bytes())
            new.unlink()


def themes(directive: SphinxDirective, name: str, caption: str) -> list[nodes.Node]:
    """The figure of that name in both themes, over its caption."""
    figure = nodes.figure(classes=["align-default", "site-figure"])
    for theme in ("light", "dark"):
        image = nodes.image(
            uri=f"/{FOLDER}/{name}-{theme}.svg", alt=caption, classes=[f"only-{theme}"]
        )
        image["candidates"] = {"?": ""}
        figure += image
    text, messages = directive.parse_inline(caption)
    figure += nodes.caption(caption, "", *text)
    return [figure, *messages]


class JaxconvFigure(SphinxDirective):
    """One figure, in both themes, with its caption."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Two images, of which the page shows one."""
        from jaxconv import plots

        name = self.arguments[0]
        known = plots.gallery()
        if name not in known:
            raise self.error(f"jaxconv-figure must be one of {', '.join(known)}; got {name}.")
        return themes(self, name, " ".join(self.content) or known[name][0] + ".")


class JaxconvGallery(SphinxDirective):
    """Every figure of the gallery, small, under its caption."""

    def run(self) -> list[nodes.Node]:
        """A container, which the style sheet makes a grid."""
        from jaxconv import plots

        box = nodes.container(classes=["site-gallery"])
        for name, (caption, _) in plots.gallery().items():
            box += themes(self, name, f"`{name}`: {caption}")
        return [box]


def setup(app: object) -> dict[str, bool]:
    """Draws the figures before the pages are read."""
    app.add_directive("jaxconv-figure", JaxconvFigure)
    app.add_directive("jaxconv-gallery", JaxconvGallery)
    app.connect("builder-inited", lambda app: draw(Path(app.srcdir)))
    return {"parallel_read_safe": True}
