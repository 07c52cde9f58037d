import sys

sys.exit("secret in the message")
