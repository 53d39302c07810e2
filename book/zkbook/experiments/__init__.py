"""What single chapters need besides the library: problems of the sources, planted truth, tallies of outcomes."""
