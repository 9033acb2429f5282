"""The embedded registry: the distribution specification over a layout, for one machine."""
