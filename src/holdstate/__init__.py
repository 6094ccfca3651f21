"""holdstate: durable runtimes for agents and jobs, driven by transition tables."""
