"""Networks and one round of training. No other package imports torch."""
