"""The chosen network into MLflow's model registry, and out of it to score photos."""
