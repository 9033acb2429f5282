"""The ModelKit format: Kitfile, ignore rules, layers as tar or raw files, pack, select, the dialects."""
