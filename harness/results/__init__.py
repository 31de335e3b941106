"""Stored scores as tables: grouping, labels, rendering, submissions."""
