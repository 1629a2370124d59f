"""placeholder of the branch `revisions`"""

GUARDED: dict[str, str] = {}
