"""The results of the analysis: a folder with a page of everything, and values in Python."""
