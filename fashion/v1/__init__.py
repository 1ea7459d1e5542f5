"""Generated stubs of the package fashion.v1; see protos/ for what they mean."""
