"""TEMPORARY until hubd/push/devices.py is there."""
import hashlib, json
from hubd.core.stored import DropDevice, Lane, PutDevice, StoredDevice
from hubd.core.users import UserSet
from hubd.hooks.push import Device
from hubd.storing import StoreError, unavailable

class Devices:
    def __init__(self, clock, numbers, store, loaded):
        self.clock, self.numbers, self.store = clock, numbers, store
        self.users = UserSet()
        self.by_id = {}; self.dev = {}; self.owner = {}; self.of = {}; self.at = {}
        self.n = 0
        self.on_came = self.on_changed = lambda n: None
        self.on_gone = lambda *a: None
        for s in loaded:
            self._add(Device(s.id, s.user, s.platform, json.loads(s.address), s.app), s.registered_at)
    def apply(self, c): pass
    def maintain(self): pass
    def __len__(self): return len(self.dev)
    def _add(self, d, at):
        num = self.numbers.number_of(d.user)
        self.n += 1
        self.by_id[d.id] = self.n; self.dev[self.n] = d; self.owner[self.n] = num; self.at[self.n] = at
        self.of.setdefault(num, []).append(self.n); self.users.add(num)
        return num
    def _remove(self, n):
        d = self.dev.pop(n); num = self.owner.pop(n); self.by_id.pop(d.id); self.at.pop(n)
        self.of[num].remove(n)
        if not self.of[num]: self.users.discard(num)
        return num
    async def put(self, user, platform, address):
        id = "dev_" + hashlib.sha256(f"{platform} {address.key}".encode()).hexdigest()[:20]
        d = Device(id, user, platform, address.fields, address.app)
        now = int(self.clock.now() * 1000)
        try:
            await self.store.write(PutDevice(StoredDevice(id, user, self.numbers.number_of(user), platform, address.app, json.dumps(dict(address.fields)).encode(), now)), Lane.ACK)
        except StoreError as e:
            raise unavailable(str(e))
        old = self.by_id.get(id)
        new = old is None
        if old is not None:
            if self.dev[old].user == user:
                self.at[old] = now
                return d, False
            self.on_changed(self._remove(old))
        num = self._add(d, now)
        self.on_came(num); self.on_changed(num)
        return d, new
    async def drop(self, id, user):
        n = self.by_id.get(id)
        if n is None or (user and self.dev[n].user != user): return False
        try:
            await self.store.write(DropDevice(id), Lane.ACK)
        except StoreError as e:
            raise unavailable(str(e))
        if id in self.by_id: self.on_changed(self._remove(self.by_id[id]))
        return True
    def listed(self, user):
        return [(d, self.at[n] / 1000) for n, d in self.dev.items() if d.user == user]
    def numbers_of(self, u): return tuple(self.of.get(u, ()))
    def get(self, n): return self.dev.get(n)
    def owner_of(self, n): return self.owner.get(n)
    def answered(self, n): pass
    def gone(self, n, reason, since):
        if n not in self.dev: return True
        if since is not None and since * 1000 < self.at[n]: return False
        d = self.dev[n]
        self.store.note(DropDevice(d.id))
        self.on_changed(self._remove(n))
        return True
