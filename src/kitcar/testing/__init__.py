"""What tests of kitcar and of programs on top of it use: contract suites and faults on cue."""
