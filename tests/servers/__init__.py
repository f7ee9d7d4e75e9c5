"""Real servers for tests and benchmarks, each started on a free loopback port and stopped by its own process id."""
