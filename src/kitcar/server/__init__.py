"""The embedded registry: the distribution specification over a layout, for one machine."""

from __future__ import annotations

from kitcar.server.registry import RunningRegistry, ServerSettings, serve

__all__ = ["RunningRegistry", "ServerSettings", "serve"]
