"""Finished rounds on a disk or in a bucket."""
