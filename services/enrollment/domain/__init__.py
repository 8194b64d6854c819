"""The domain of the write side: pure deciders. No I/O, no clock, no randomness."""
