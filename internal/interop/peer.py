#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Python client of a zkrsync session, on kazoo's own recipes, for tests.

What it does on ZooKeeper follows the wire contract of the session and nothing
else. It can be led step by step, or play one whole role:

    peer.py --servers H:P [options] step          requests on stdin, one JSON object a line
    peer.py --servers H:P [options] do STEP k=v   one request; k:=v takes v as JSON
    peer.py --servers H:P --path DIR [options] role source|master|slave|destination
    peer.py --servers H:P [options] state

Everything it has to say is one JSON object a line on stdout, with an "event":
"ready" once it is connected (and in its parties), "exit" at the end, "error"
before that if it failed.
Byte strings (paths, queue values, node data) travel as Latin-1 text: one
character a byte, so that any byte survives JSON.
"""

import argparse
import json
import logging
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

try:
    from kazoo.client import KazooClient
    from kazoo.exceptions import KazooException, NoNodeError
    from kazoo.recipe.queue import LockingQueue
    from kazoo.security import make_digest_acl
except ImportError as missing:
    print(json.dumps({"event": "no kazoo", "text": str(missing)}), flush=True)
    sys.exit(1)

COUNTERS = (
    "Number_of_files", "Number_of_regular_files_transferred", "Total_file_size",
    "Total_transferred_file_size", "Literal_data", "Matched_data", "File_list_size",
    "Total_bytes_sent", "Total_bytes_received",
)
ATTEMPTS = 3          # of a path, of finding a destination, of starting a daemon
RETURNED = 50         # priority of a path that goes back unrun
BASE_PATH_TICKS = 10  # a destination looks at its base path at every tenth tick
NO_SESSION = 14       # exit status of "state" without work in the queue

_stdout = threading.Lock()


def text(raw):
    """Bytes as JSON can carry them; None stays None."""
    return None if raw is None else raw.decode("latin-1")


def raw(value):
    """The reverse of text()."""
    return value.encode("latin-1")


def say(event, **fields):
    line = json.dumps(dict(event=event, **fields))
    with _stdout:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


class Failure(Exception):
    """Ends the peer with status 1 and an error event."""


def connect(args):
    zk = KazooClient(
        hosts=args.servers,
        timeout=args.session_timeout,
        default_acl=[make_digest_acl(args.user, args.passwd, all=True)],
        auth_data=[("digest", "%s:%s" % (args.user, args.passwd))],
    )
    zk.start(timeout=180)
    return zk


# ---------------------------------------------------------------- steps

class Steps:
    """Requests to single recipes.

    A request is {"id": N, "do": "lock acquire", "path": ..., ...}; its answer is
    {"event": "reply", "id": N, "value": ...} or the same with "error". Every
    request runs in its own thread, so one that waits does not hold up the next.
    A lock, queue, party or counter is made by the first request that needs it
    and lives on; "name" tells two of them at one path apart.
    """

    def __init__(self, zk):
        self.zk = zk
        self._made = {}
        self._guard = threading.Lock()

    def serve(self, lines):
        for line in lines:
            if line.strip():
                threading.Thread(target=self.answer, args=(json.loads(line),), daemon=True).start()

    def answer(self, request):
        """Runs one request; says and returns whether it went well."""
        request = dict(request)
        number, step = request.pop("id", 0), request.pop("do")
        try:
            method = getattr(self, "do_" + step.replace(" ", "_"), None)
            if method is None:
                raise Failure("no step is called %r" % step)
            value = method(**request)
        except Exception as err:  # whatever kazoo throws is the answer
            say("reply", id=number, error="%s: %s" % (type(err).__name__, err))
            return False
        say("reply", id=number, value=value)
        return True

    def _the(self, kind, path, name, make):
        key = (kind, path, name)
        with self._guard:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]

    # Lock

    def _lock(self, path, name, data=""):
        return self._the("lock", path, name, lambda: self.zk.Lock(path, data))

    def do_lock_acquire(self, path, name="", data="", timeout=None):
        return self._lock(path, name, data).acquire(timeout=timeout)

    def do_lock_try(self, path, name="", data=""):
        return self._lock(path, name, data).acquire(blocking=False)

    def do_lock_release(self, path, name=""):
        return self._lock(path, name).release()

    def do_lock_contenders(self, path):
        return self.zk.Lock(path).contenders()

    def do_lock_cycle(self, path, witness, name="", data="", times=1, hold=0.0):
        """Takes and gives back a lock, times over, holding it up to that many seconds. The file witness
        exists while it is held, made so that it cannot exist already: nobody else may be in there."""
        lock = self._lock(path, name, data)
        for turn in range(times):
            with lock:
                os.close(os.open(witness, os.O_CREAT | os.O_EXCL))
                time.sleep(random.uniform(0, hold))
                os.unlink(witness)
            say("held", path=path, turn=turn)
        return times

    # LockingQueue

    def _queue(self, path, name):
        return self._the("queue", path, name, lambda: LockingQueue(self.zk, path))

    def do_queue_put(self, path, values, priority=100, name=""):
        queue = self._queue(path, name)
        for value in values:
            queue.put(raw(value), priority)
        return len(values)

    def do_queue_get(self, path, timeout=None, name=""):
        return text(self._queue(path, name).get(timeout))

    def do_queue_consume(self, path, name=""):
        return self._queue(path, name).consume()

    def do_queue_release(self, path, name=""):
        return self._queue(path, name).release()

    def do_queue_holds(self, path, name=""):
        return self._queue(path, name).holds_lock()

    def do_queue_len(self, path, name=""):
        return len(self._queue(path, name))

    def do_queue_drain(self, path, count=None, wait=0.5, pause=0.0, name=""):
        """Consumes entries until the queue is empty or count are done; pause is the longest rest
        between two steps, the real one is random. One event an entry, after it is consumed."""
        queue, done = self._queue(path, name), 0
        while count is None or done < count:
            value = queue.get(wait)
            if value is None:
                if len(queue) == 0:
                    break
                continue
            time.sleep(random.uniform(0, pause))
            if not queue.consume():
                raise Failure("%r was taken away while it was held" % value)
            say("entry", path=path, data=text(value))
            done += 1
        return done

    # Party

    def _party(self, path, name, data=""):
        return self._the("party", path, name, lambda: self.zk.Party(path, data))

    def do_party_join(self, path, data="", name=""):
        self._party(path, name, data).join()

    def do_party_leave(self, path, name=""):
        return self._party(path, name).leave()

    def do_party_members(self, path):
        return sorted(self.zk.Party(path))

    # Counter

    def _counter(self, path):
        return self._the("counter", path, "", lambda: self.zk.Counter(path))

    def do_counter_add(self, path, delta=1, times=1):
        """Adds delta, times over; an event after each."""
        counter = self._counter(path)
        for turn in range(times):
            counter += delta
            say("added", path=path, turn=turn, total=counter.post_value)
        return times

    def do_counter_get(self, path):
        return self._counter(path).value

    # DataWatch

    def do_watch(self, path):
        """From now on an event at every change of the node, the first one at once."""
        @self.zk.DataWatch(path)
        def changed(data, stat):
            say("watch", path=path, data=text(data), version=stat.version if stat else None)

    # plain nodes

    def do_node_create(self, path, data="", ephemeral=False, sequence=False, makepath=False):
        return self.zk.create(path, raw(data), ephemeral=ephemeral, sequence=sequence, makepath=makepath)

    def do_node_set(self, path, data=""):
        return self.zk.set(path, raw(data)).version

    def do_node_get(self, path):
        data, stat = self.zk.get(path)
        return {"data": text(data), "version": stat.version, "owner": stat.ephemeralOwner}

    def do_node_children(self, path):
        return sorted(self.zk.get_children(path))

    def do_node_dump(self, path):
        """Every node from path on downwards, parents first, as kazoo sees it."""
        data, stat = self.zk.get(path)
        acls, _ = self.zk.get_acls(path)
        nodes = [{"path": path, "data": text(data), "ephemeral": stat.ephemeralOwner != 0,
                  "acl": ["%s:%s:%d" % (acl.id.scheme, acl.id.id, acl.perms) for acl in acls]}]
        for name in sorted(self.zk.get_children(path)):
            nodes += self.do_node_dump(path.rstrip("/") + "/" + name)
        return nodes

    def do_node_delete(self, path, recursive=False):
        self.zk.delete(path, recursive=recursive)

    # the session

    def do_session(self):
        return self.zk.client_id[0]

    def do_die(self):
        """Gone at once: nothing is released, the server finds out by the session timeout."""
        os._exit(9)


# ---------------------------------------------------------------- roles

class Member:
    """One client of a session: its names, its parties, and the word that ends the work."""

    kind = None  # the party of its own kind, beside "allsd"

    def __init__(self, args):
        self.args = args
        self.whoami = "%s:%d" % (args.host, os.getpid())
        self.base = os.fsencode(args.path).rstrip(b"/") if args.path else b""
        self.module = "zkrs-" + args.session
        self.stopped = threading.Event()
        self.child = None
        if args.leash:
            threading.Thread(target=self._follow_stdin, daemon=True).start()
        self.zk = connect(args)
        self.dest_queue = LockingQueue(self.zk, self.at("destQueue"))
        self.parties = {}
        for party in ("allsd", self.kind):
            self.parties[party] = self.zk.Party(self.at("parties", party), self.whoami)
            self.parties[party].join()
        say("ready", session=self.zk.client_id[0], whoami=self.whoami)

    def at(self, *names):
        return "/".join((self.args.base, self.args.session) + names)

    def base_is_there(self):
        return os.path.isdir(self.base or b"/")

    def follow_watch(self):
        """The watch node has to be there when a Python client starts to follow it."""
        seen = []

        @self.zk.DataWatch(self.at("watch", "ready"))
        def changed(data, _stat):
            seen.append(data)
            if data == b"stop":
                say("stop")
                self.stopped.set()

        if seen[0] is None:
            raise Failure("there is no watch node: the master has not started yet")

    def state_of(self, whoami, decide):
        """Reads (or first makes) a destination's state node under the lock of the states and lets
        decide(path, state) change it."""
        self.zk.ensure_path(self.at("dests"))
        node = self.at("dests", whoami)
        with self.zk.Lock(self.at("destslock"), whoami):
            if not self.zk.exists(node):
                self.zk.create(node, b"", ephemeral=True)
            return decide(node, self.zk.get(node)[0])

    def leave(self):
        self.zk.stop()
        self.zk.close()

    def _follow_stdin(self):
        """A peer must not outlive the test that holds the other end of its stdin."""
        while os.read(0, 4096):
            pass
        child = self.child
        if child is not None and child.poll() is None:
            child.kill()
        os._exit(9)


class Source(Member):
    kind = "sources"

    def __init__(self, args):
        super().__init__(args)
        self.paths, self.completed, self.failed, self.output = (
            LockingQueue(self.zk, self.at(name))
            for name in ("pathQueue", "completedQueue", "failedQueue", "outputQueue"))
        self.zk.ensure_path(self.at("stats"))
        self.counters = {name: self.zk.Counter(self.at("stats", name)) for name in COUNTERS}
        self.lock = self.zk.Lock(self.at("lock"), "")

    def run(self, must_be=None):
        is_master = self.lock.acquire(blocking=False)
        role = "master" if is_master else "slave"
        if must_be not in (None, role):
            self.leave()
            raise Failure("meant to be the %s, but became the %s" % (must_be, role))
        say("role", role=role)
        return self.lead() if is_master else self.work()

    # the master

    def lead(self):
        watch = self.at("watch", "ready")
        if self.zk.exists(watch):
            say("stale", path=watch)
            if self.clients() == 1:
                self.clean_up()
            self.lock.release()
            return 1
        self.zk.create(watch, b"start", makepath=True)
        total = self.fill()
        say("queued", count=total)
        self.wait_for_the_paths(total)
        self.zk.set(watch, b"stop")
        while self.clients() > 1:
            time.sleep(self.args.pause)
        self.clean_up()
        return 0

    def clients(self):
        return len(list(self.parties["allsd"]))

    def fill(self):
        self.zk.delete(self.paths.path, recursive=True)
        total = 0
        for entry in entries(self.base, self.args.depth):
            self.paths.put(entry)
            total += 1
        return total

    def wait_for_the_paths(self, total):
        told = None
        while True:
            remaining = len(self.paths)
            now = (remaining, self.clients(), len(list(self.parties["sources"])))
            if now != told:
                say("progress", remaining=remaining, total=total, failed=len(self.failed),
                    sources=now[2] - 1, destinations=now[1] - now[2])
                told = now
            if remaining == 0:
                return
            time.sleep(self.args.pause)

    def clean_up(self):
        counts = {"unfinished": len(self.paths), "failed": len(self.failed), "completed": len(self.completed)}
        self.tell_all(self.paths, "unfinished")
        for queue in (self.dest_queue, self.paths):
            self.zk.delete(queue.path, recursive=True)
        say("stats", stats={name: counter.value for name, counter in self.counters.items()})
        self.zk.delete(self.at("stats"), recursive=True)
        for queue, event in ((self.failed, "failed"), (self.completed, "completed"), (self.output, "output")):
            self.tell_all(queue, event)
        for queue in (self.completed, self.failed, self.output):
            self.zk.delete(queue.path, recursive=True)
        self.zk.delete(self.at("watch", "ready"))
        self.lock.release()
        say("cleaned up", **counts)

    @staticmethod
    def tell_all(queue, event):
        while len(queue) > 0:
            say(event, path=text(queue.get()))
            queue.consume()

    # a slave

    def work(self):
        self.follow_watch()
        while not self.stopped.is_set():
            if not self.base_is_there():
                say("no base path")
                time.sleep(self.args.base_pause)
                continue
            entry = self.paths.get(self.args.take)
            if entry is not None:
                self.carry(entry)
        return 0

    def carry(self, entry):
        """Sees one path to its end: completed, failed, or given back."""
        for attempt in range(1, ATTEMPTS + 1):
            dest = self.find_destination()
            if dest is None or not self.base_is_there():
                self.paths.put(entry, priority=RETURNED)
                self.perhaps_die("returned")
                self.paths.consume()
                say("path returned", path=text(entry))
                time.sleep(self.args.take)
                return
            if self.send(entry, dest, attempt):
                self.completed.put(entry)
                self.perhaps_die("completed")
                self.paths.consume()
                say("path done", path=text(entry), attempt=attempt)
                return
            time.sleep(self.args.pause)
        self.failed.put(entry)
        self.paths.consume()
        say("path failed", path=text(entry))

    def perhaps_die(self, where):
        """Here a path is in two queues, as a Python client that crashes at this point leaves it."""
        if self.args.die == where:
            os._exit(9)

    def find_destination(self):
        for _ in range(ATTEMPTS):
            dest = self.try_destination()
            if dest is not None:
                return dest
            time.sleep(self.args.pause)
        return None

    def try_destination(self):
        """The destination whose queue entry this slave holds or can get now, if it is fit for use."""
        entry = self.dest_queue.get(self.args.take)
        if entry is None:
            return None
        dest = entry.decode()
        port, whoami = dest.split(":", 1)
        if whoami not in list(self.parties["allsd"]):
            self.dest_queue.consume()
            say("destination dropped", destination=dest, why="left")
            return None
        if not self.state_of(whoami, self.judge):
            return None
        try:
            mapped = self.zk.get(self.at("portmap", whoami))[0].decode()
        except NoNodeError:
            mapped = None
        if mapped != port:
            self.dest_queue.consume()
            say("destination dropped", destination=dest, why="port")
            return None
        return dest

    def judge(self, node, state):
        """Whether a destination in this state is fit; a paused one is disabled and loses its entry."""
        if state == b"paused":
            self.zk.set(node, b"disabled")
            self.dest_queue.consume()
            say("destination disabled", node=node)
        return state == b"active"

    def send(self, entry, dest, attempt):
        port, host, _pid = dest.split(":", 2)
        flag, path = entry.split(b"_", 1)
        if path != self.base and not path.startswith(self.base + b"/"):
            raise Failure("%r is not below %r" % (path, self.base))
        say("path started", path=text(entry), destination=dest, attempt=attempt)
        with tempfile.NamedTemporaryFile(prefix="peer-files-") as listing:
            # A line as the Python client writes it: nothing in front, and a newline ends it.
            listing.write(path[len(self.base):].strip(b"/") + b"/")
            listing.flush()
            command = [self.args.rsync, "--stats", "--numeric-ids", "-lptgoD", "--files-from=" + listing.name]
            command += ["-r"] if flag == b"1" else []
            command += self.args.rsync_option
            command += [self.base + b"/", "rsync://%s:%s/%s" % (host, port, self.module)]
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output, _ = self.child.communicate()
        self.count(output)
        if self.child.returncode != 0:
            say("attempt failed", path=text(entry), attempt=attempt, code=self.child.returncode,
                output=text(output[-2000:]))
        return self.child.returncode == 0

    def count(self, output):
        for line in output.decode("latin-1").splitlines():
            key, colon, rest = line.partition(":")
            counter = self.counters.get(key.replace(" ", "_"))
            if colon and counter is not None and rest.split():
                counter += int(rest.split()[0].replace(",", ""))

    # the state of the session

    def state(self):
        remaining = len(self.paths)
        if remaining == 0:
            say("state", active=False)
            return NO_SESSION
        say("state", active=True, remaining=remaining, failed=len(self.failed))
        return 0


class Destination(Member):
    kind = "dests"

    def __init__(self, args):
        super().__init__(args)
        self.port = None
        self.queued = self.paused = False

    def run(self):
        self.follow_watch()
        say("role", role="destination")
        for _ in range(ATTEMPTS):
            if self.stopped.is_set():
                break
            self.port = self.reserve()
            self.queued = self.paused = False
            self.serve()
        return 0

    def reserve(self):
        """A port of this host that no destination of this session has; it stays ours until the end."""
        used = self.at("usedports", self.args.host)
        self.zk.ensure_path(used)
        with self.zk.Lock(self.at("portlock"), self.whoami):
            port = self.args.port or self.args.startport
            while self.zk.exists("%s/%d" % (used, port)):
                if self.args.port:
                    raise Failure("port %d is reserved already" % port)
                port += 1
            self.zk.create("%s/%d" % (used, port), b"", ephemeral=True)
            mapped = self.at("portmap", self.whoami)
            if not self.zk.exists(mapped):
                self.zk.create(mapped, b"", ephemeral=True, makepath=True)
            self.zk.set(mapped, str(port).encode())
        say("port", port=port)
        return port

    def serve(self):
        with tempfile.NamedTemporaryFile(prefix="peer-rsyncd-") as config:
            config.write(b"[%s]\npath = %s\nread only = no\n" % (self.module.encode(), self.base or b"/"))
            if os.getuid() == 0:
                config.write(b"uid = root\ngid = root\n")
            config.flush()
            command = ["rsync", "--daemon", "--no-detach", "--config", config.name, "--port", str(self.port)]
            if self.args.address:
                command += ["--address", self.args.address]
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
            try:
                self.attend()
            finally:
                self.child.kill()
                self.child.wait()

    def attend(self):
        """Looks after the running daemon until it ends or the session does."""
        tick = 0
        while self.child.poll() is None and not self.stopped.wait(self.args.tick if tick else 0):
            if tick % BASE_PATH_TICKS == 0 and not self.args.noverify:
                self.look_at_base_path()
            if not self.queued and not self.paused and self.answers():
                self.enqueue()
                self.queued = True
            tick += 1
        if not self.stopped.is_set():
            say("daemon ended", code=self.child.returncode, port=self.port)

    def look_at_base_path(self):
        if not self.base_is_there():
            if not self.paused:
                self.state_of(self.whoami, self.pause)
                self.paused = True
        elif self.paused or not self.queued:
            self.state_of(self.whoami, self.activate)
            self.paused = False

    def pause(self, node, state):
        if state == b"active":
            self.zk.set(node, b"paused")
        say("destination paused", was=text(state))

    def activate(self, node, state):
        if state in (b"", b"paused", b"disabled"):
            self.zk.set(node, b"active")
        if state == b"disabled":
            self.enqueue()
        say("destination active", was=text(state))

    def enqueue(self):
        self.dest_queue.put(("%d:%s" % (self.port, self.whoami)).encode())
        say("destination queued", port=self.port)

    def answers(self):
        try:
            socket.create_connection((self.args.address or "localhost", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def entries(path, depth):
    """The tree cut at depth: directories at the cut recursive, those above alone; links never."""
    if depth == 0:
        yield b"1_" + path
        return
    yield b"0_" + path
    with os.scandir(path or b"/") as found:
        names = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
    for name in names:
        yield from entries(path + b"/" + name, depth - 1)


# ---------------------------------------------------------------- command line

def parse():
    parser = argparse.ArgumentParser(description="Python client of a zkrsync session, for tests")
    parser.add_argument("--servers", required=True, help="host:port,…")
    parser.add_argument("--user", default="root")
    parser.add_argument("--passwd", default="admin")
    parser.add_argument("--session-timeout", type=float, default=30.0, help="seconds")
    parser.add_argument("--base", default="/admin/rsync", help="znode above all sessions")
    parser.add_argument("--session", default="default")
    parser.add_argument("--host", default=socket.getfqdn(), help="first part of whoami")
    parser.add_argument("--path", help="the tree to send, or the one to fill")
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--rsync", default="rsync", help="the program that sends")
    parser.add_argument("--rsync-option", action="append", default=[], help="as in --rsync-option=--delete")
    parser.add_argument("--port", type=int, help="of the rsync daemon")
    parser.add_argument("--startport", type=int, default=4444)
    parser.add_argument("--address", help="the rsync daemon listens there only")
    parser.add_argument("--take", type=float, default=5.0, help="longest wait for a queue entry, seconds")
    parser.add_argument("--pause", type=float, default=5.0, help="between looks and between attempts, seconds")
    parser.add_argument("--base-pause", type=float, default=20.0, help="of a slave without base path, seconds")
    parser.add_argument("--tick", type=float, default=1.1, help="of a destination, seconds")
    parser.add_argument("--noverify", action="store_true", help="a destination that never looks at its base path")
    parser.add_argument("--die", choices=["completed", "returned"],
                        help="a slave that crashes when it has put a path there, and not yet taken it from where it was")
    parser.add_argument("--leash", action="store_true", help="end at once when stdin ends")
    modes = parser.add_subparsers(dest="mode", required=True)
    modes.add_parser("step")
    do = modes.add_parser("do")
    do.add_argument("step")
    do.add_argument("fields", nargs="*", metavar="key=value|key:=json")
    role = modes.add_parser("role")
    role.add_argument("role", choices=["source", "master", "slave", "destination"])
    modes.add_parser("state")
    args = parser.parse_args()
    if args.mode == "role" and not args.path:
        parser.error("a role needs --path")
    return args


def fields_of(words):
    fields = {}
    for word in words:
        key, _, value = word.partition("=")
        fields[key.rstrip(":")] = json.loads(value) if key.endswith(":") else value
    return fields


def run(args):
    if args.mode in ("step", "do"):
        zk = connect(args)
        say("ready", session=zk.client_id[0])
        steps, well = Steps(zk), True
        if args.mode == "step":
            steps.serve(sys.stdin)
        else:
            well = steps.answer(dict(fields_of(args.fields), do=args.step))
        zk.stop()
        zk.close()
        return 0 if well else 1
    if args.mode == "role" and args.role != "destination":
        member = Source(args)
        code = member.run(None if args.role == "source" else args.role)
    elif args.mode == "role":
        member = Destination(args)
        code = member.run()
    else:
        member = Source(args)
        code = member.state()
    member.leave()
    return code


def main():
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    args = parse()
    try:
        code = run(args)
    except (Failure, KazooException, OSError) as err:
        say("error", text="%s: %s" % (type(err).__name__, err))
        code = 1
    say("exit", code=code)
    sys.stdout.flush()
    os._exit(code)  # threads of an unfinished step must not hold up the end


if __name__ == "__main__":
    main()
