"""The commands of `vlrface`, one function each. Heavy packages are imported inside them, so that --help is quick."""
