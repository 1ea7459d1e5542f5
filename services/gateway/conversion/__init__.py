"""Between the gateway's JSON and the messages of search."""
