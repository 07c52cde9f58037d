"""What a notification hub is: pure and synchronous, without I/O, clock, randomness or asyncio."""
