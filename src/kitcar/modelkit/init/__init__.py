"""A Kitfile for a directory that has none: what each file is, and whose licence it carries."""
