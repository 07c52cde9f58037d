raise RuntimeError("secret in the message")
