"""What the pages say, as plain values made from stored checks, alerts and counts: pure, without server or store."""
