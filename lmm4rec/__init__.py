"""lmm4rec: which multi-modal encoder, used how, helps which recommender."""

import os

# numba's own pool sleeps between kernels; its OpenMP pool spins and takes the cores from BLAS and
# torch (a validation pass took 1.5 s instead of 0.7 s). Must be set before numba is imported.
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")

# torch's threads spin a while, then sleep: spinning on takes the cores from numba's kernels (an
# epoch of three-layer LightGCN: 10.9 s), sleeping at once makes small steps slow (BPR: 1.5 s); this
# takes 6.7 s and 0.7 s. Read when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Large tensors on large pages, where the kernel grants them on request: the gradient of a trained
# feature matrix is 300 MB of fresh memory a step. Read by torch at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
