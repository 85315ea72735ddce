"""`python -m rsrl_ray.cli`."""

import sys

from rsrl_ray.cli.main import main

sys.exit(main())
