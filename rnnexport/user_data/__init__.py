"""The user's own data: found where they are, local or remote, and read piece by piece at constant memory."""
