"""lmm4rec: which multi-modal encoder, used how, helps which recommender."""

import os

# numba's own pool sleeps between kernels; its OpenMP pool spins and takes the cores from BLAS and
# torch (a validation pass took 1.5 s instead of 0.7 s). Must be set before numba is imported.
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")
