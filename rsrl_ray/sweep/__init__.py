"""The sweep on Ray Tune: the only room that imports ray."""
