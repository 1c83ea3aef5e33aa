"""What holds for every test: hypothesis draws the same examples on every run and machine, and keeps no clock."""

from hypothesis import settings

# A loaded two-core machine misses any deadline now and then, and a red build has to mean the same thing to everybody.
settings.register_profile("reproducible", derandomize=True, deadline=None, print_blob=False)
settings.load_profile("reproducible")
