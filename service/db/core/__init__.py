"""Engine, read pool, statements and transactions: how SQL is run."""
