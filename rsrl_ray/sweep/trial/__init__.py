"""A trial's process: it makes rounds and reports them."""
