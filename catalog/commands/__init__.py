"""Commands of `python -m catalog`: each module adds its options to a parser and answers; the border of the package.

They may use settings, planning and preview, which nothing else in `catalog` may, and nothing else there uses them.
"""
