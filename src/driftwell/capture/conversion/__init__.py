"""From records as they were offered to batches as a store keeps them."""
