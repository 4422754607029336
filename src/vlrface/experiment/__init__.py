"""Typed, frozen configuration; from a recipe to built objects, and what the commands do with them."""
