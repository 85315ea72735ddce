"""Reads photos: their tables, what is wrong with them, their pixels. Without torch."""
