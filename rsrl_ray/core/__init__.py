"""The method's arithmetic: arrays in, new arrays out; no files, no clock, no global random state."""
