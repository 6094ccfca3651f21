"""Tests of the table language and of the tables."""
