"""The database tables of messaging.

These modules import no other module of messaging, so every other module can import them.
"""
