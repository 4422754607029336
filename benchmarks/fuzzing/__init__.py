"""What `benchmarks/fuzz.py` is made of: mutations, one target per reader, a guarded worker."""
