"""Stages, run folders, settings, pools and the command line."""
