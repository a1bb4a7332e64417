"""Faults that a converter really makes, put into verified artifacts: does verification catch every one of them?"""
