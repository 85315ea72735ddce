"""From a sweep's tracked rounds to choices of round, tables, figures and highlight maps; it never trains."""
