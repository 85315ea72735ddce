"""The tracked sweep as arrays, read from MLflow and held in little memory."""
