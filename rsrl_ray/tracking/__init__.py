"""MLflow: what is written of a sweep, and how it is found and read back."""
