"""Test configuration: quiet OpenMP, and every shape and type in the library's signatures checked as it runs."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the problems are tiny, and several processes share the cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

sys.path.insert(0, str(Path(__file__).parent))
install_import_hook("unsnarl", "typechecker.check")
