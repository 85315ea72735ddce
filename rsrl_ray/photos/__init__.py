"""Photos in: tables of them, what is wrong with them, their pixels. No torch."""
