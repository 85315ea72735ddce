"""Highlight maps: what revision changed in the first convolution, and what such a map is worth; needs torch."""
