"""The shape of HTTP requests and answers, free of gRPC and settings."""
