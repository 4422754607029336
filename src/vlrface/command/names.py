"""How options are written that several commands have."""

import tyro

Output = tyro.conf.arg(aliases=["-o"])
"""A file or folder that is also named by -o."""

Flat = tyro.conf.arg(name="")
"""Options of a dataclass, without its name before them."""
