"""Pairs of a query and a passage as scores."""
