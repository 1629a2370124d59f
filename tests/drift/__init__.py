"""Golden numbers of the stages that cost hours: does a cached result still tell what code computes?

Those stages depend on parameters, not on code, so a change of code must not go unseen: `cases.py`
runs each of them on a small fixed world, and `test_drift.py` compares what comes out with
tests/golden/drift/*.json. `python -m tests.drift [KIND ...]` writes those files anew.
"""
