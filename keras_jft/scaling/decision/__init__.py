"""Forecasts: the gain from more data, the verdict, and what to run next."""
