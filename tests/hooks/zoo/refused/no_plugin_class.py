Plugin = 5
