class Plugin:
    Config = "greeting"
