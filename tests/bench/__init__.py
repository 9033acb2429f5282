"""Whole-process measurements of kitcar beside kit, oras, crane, cp and SHA-256. Run with `make bench`."""
