async def test_x(hub):
    client, welcome = await hub.welcomed()
    print(welcome)
    print(await hub.publish(n=1), await client.messages())
    a = await hub.try_publish("bad name", n=1)
    print(a, a.paths)
    plain = await hub.connect(subprotocol=None)
    print(await plain.messages())
