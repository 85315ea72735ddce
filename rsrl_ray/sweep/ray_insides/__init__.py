"""All that leans on the insides of Ray 2.60, which any release may change.

At an upgrade: count `ray[tune]` in pyproject.toml up, read the question at each part, then run tests/sweep and
tests/cluster. Two more files lean on what Ray does not promise, and their tests say what is expected:
`rsrl_ray.sweep.driver.crashes` reads the words in which Ray tells why a process has ended, and
`rsrl_ray.sweep.driver.scheduler` needs the order in which Tune calls it.
"""
