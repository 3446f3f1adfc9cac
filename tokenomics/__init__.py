"""tokenomics: the gateway between a team and its LLM providers.

Read `gateway/road.py` for the way of a request, `store/journal.py` for the token database,
`tests/test_floors.py` for the map of the house: which module may import which.
"""

__version__ = "0.1.0"
