"""Artifacts run in processes of their own, within limits of memory and time.

    this process ──control──▶ fork server ──fork──▶ worker: one artifact on one provider
          └───────────── arrays, one socket a worker ──────────────┘

The fork server has imported the runtime and nothing of an artifact, so that a worker starts in milliseconds.
"""
