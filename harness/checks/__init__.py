"""Checks as data, and the options that choose among them."""
