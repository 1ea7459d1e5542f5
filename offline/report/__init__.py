"""What reports are made of: tables and plots."""
