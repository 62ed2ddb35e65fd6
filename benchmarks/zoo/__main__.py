"""`python benchmarks/zoo`: see `zoo`."""

import sys
from pathlib import Path

# In place of this folder, whose names are the zoo's.
sys.path[0] = str(Path(__file__).parent.parent)

from zoo import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
