"""Tests of the service: many runtimes over one store."""
