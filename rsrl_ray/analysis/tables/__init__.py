"""Tables in LaTeX, in Markdown and at the terminal, and the CSV files."""
