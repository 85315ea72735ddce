"""Tables, figures and one page of what is tracked of a sweep; never trains, needs no torch."""
