"""Figures by Matplotlib, as PDF and PNG."""
