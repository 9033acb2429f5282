"""What the tests stand on: real peers, servers of this machine, the corpus. Nothing of kitcar's own is faked here."""
