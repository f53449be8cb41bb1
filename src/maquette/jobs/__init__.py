"""What outlives the window: the ledger of jobs, the runner that takes them in order, the pipeline over the whole way."""
