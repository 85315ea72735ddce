"""The method's rounds: the loop, each as a table of photos, and the files that it leaves for people."""
