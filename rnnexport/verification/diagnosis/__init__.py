"""Where a fault begins: layers, timesteps and units found again inside an artifact."""
