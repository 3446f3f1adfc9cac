"""Data files: `frames` is the bytes, `table` the meaning, `journal` the file,
`database` the tokens.

The format is described for other languages by `tokenomics docs format`.
"""
