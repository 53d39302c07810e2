"""One-off checks that later chapters have something to find in the embedded model: figures for probes.json."""

from zkbook.organism.probes.record import PROBES_FILE, write_probes

__all__ = ["PROBES_FILE", "write_probes"]
