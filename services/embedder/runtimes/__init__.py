"""What can run a bundle's network; each fulfils `services.embedder.encoder.Encoder`."""
