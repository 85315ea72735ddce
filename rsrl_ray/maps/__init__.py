"""Highlight maps: what a revision changes in the first convolution, and what such a map is worth. They need torch."""
