"""What tests stand on: places, ports, real servers, and waiting for facts."""
