"""What more data would bring, whether to collect it, and what to run next."""
