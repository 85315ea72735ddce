"""What is computed of a sweep's arrays: measures, choices, comparisons, histories, as values and data frames."""
