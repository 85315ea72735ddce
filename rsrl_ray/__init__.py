"""Repetitive self-revised learning (RSRL) as a distributed experiment sweep on Ray."""
