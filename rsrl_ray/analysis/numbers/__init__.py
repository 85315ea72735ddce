"""What is computed from a sweep's arrays: measures, choices, comparisons, histories, as values and data frames."""
