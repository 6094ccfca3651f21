"""holdstate.stores"""
