"""`kitcar registry`: the embedded registry."""

from __future__ import annotations

from kitcar.cli.app import Family

command = Family(
    "registry",
    {"serve": "Serve a directory as a registry"},
    prefix="registry_",
    short="Serve a registry from a directory",
    long="A registry for one machine: demos, tests, laptops and hosts without a network.",
)
