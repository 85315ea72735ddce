"""Tables in LaTeX, Markdown and at the terminal, and the CSV files."""
