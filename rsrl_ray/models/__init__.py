"""Puts the chosen network into MLflow's model registry, and takes it out to score photos."""
