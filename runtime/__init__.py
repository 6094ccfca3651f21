"""holdstate.runtime"""
