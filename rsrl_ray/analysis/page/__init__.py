"""One self-contained page of a sweep."""
