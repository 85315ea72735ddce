"""What comes of the analysis: a folder with a page of it all, and results in Python."""
