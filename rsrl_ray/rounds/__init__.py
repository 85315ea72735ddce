"""The method's rounds: the loop, a round as a table of photos, and the files of a round for people."""
