"""The driver's process: it checks, starts Ray, hands out trials, and tells MLflow and the archive what they report."""
