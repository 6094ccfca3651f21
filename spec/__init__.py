"""holdstate.spec"""
