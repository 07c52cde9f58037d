"""hubd: publish a notification once; everybody who should see it does, by the right way."""

__version__ = "0.1.0"
