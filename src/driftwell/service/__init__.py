"""`driftwell serve`: the HTTP contract, login and pages over all models of one store."""
