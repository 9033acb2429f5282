"""The flags that every verb takes."""

from __future__ import annotations

from kitcar.flags.flag import Flag, Kind

PROGRESS_STYLES = ("none", "plain", "fancy")
LEVELS = ("trace", "debug", "info", "warn", "error")

HELP = Flag("help", "help for this command", Kind.SWITCH, short="h")
GLOBAL_FLAGS = (
    Flag("config", "Root directory for storage and credentials (default: KITOPS_HOME)"),
    Flag("log-level", "Least level of the messages shown: trace, debug, info, warn, error", choices=LEVELS),
    Flag(
        "progress",
        "How long work is shown: none, plain (one line a layer) or fancy (bars); default: bars on a terminal",
        choices=PROGRESS_STYLES,
    ),
    Flag("verbose", "Say more; twice to say all", Kind.COUNT, short="v"),
)
