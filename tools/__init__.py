"""holdstate.tools"""
