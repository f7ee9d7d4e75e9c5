"""The numbers and the times of other monitors beside ours: ``make peers``. Each runs in an environment of its own."""
