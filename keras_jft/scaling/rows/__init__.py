"""Rows: what runs leave behind, of our own or of others."""
