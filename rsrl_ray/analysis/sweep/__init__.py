"""The tracked sweep as arrays: read from MLflow, held in little memory."""
