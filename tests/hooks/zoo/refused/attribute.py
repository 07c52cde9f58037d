class Plugin:
    hubd_published = 5
