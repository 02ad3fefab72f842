"""Commands of `python -m catalog`: each module adds its options to a parser and answers; the border of the package.

They may use settings and planning, which nothing else in `catalog` may, and nothing else in `catalog` uses them.
"""
