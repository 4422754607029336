"""The templates of the pages, which lie beside this file as package data."""

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # Escaping is on for every template: file names and titles come from outside.
    return Environment(
        loader=PackageLoader("vlrface.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: object) -> str:
    """The text of a page from a template and its values; a value that the template asks for and lacks is an error."""
    return _environment().get_template(template).render(**values)
