"""`python -m tests.drift [KIND ...]` writes the golden numbers of these kinds anew, or of all."""

import sys

from tests.drift.cases import CASES
from tests.drift.golden import write

if __name__ == "__main__":
    for named in sys.argv[1:] or CASES:
        write(named)
