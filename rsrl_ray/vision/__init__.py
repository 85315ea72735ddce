"""Photos, networks and one round of training: the only part of the package that loads torch."""
