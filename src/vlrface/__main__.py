"""`python -m vlrface` is the command `vlrface`."""

from vlrface.cli import main

main()
