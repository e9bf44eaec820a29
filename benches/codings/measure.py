#!/usr/bin/env python3
"""Figures of codings, of the program itself: BRIM=target/release/brim python3 benches/codings/measure.py WHAT

    first-byte   time to the first byte of a cold text of 8 MiB over an origin that sends 1 MiB a second
    upgrades     p99 of hits while codings are made better behind them, and without; needs h2load
    busy         what making codings better gets of two busy cores, and what the hits lose by it; needs wrk
    hits         instructions of a hit on a coded form, and of one on as many bytes as they are; needs valgrind
"""
import http.client, json, os, re, signal, socket, statistics, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
BRIM = os.path.abspath(os.environ.get("BRIM", os.path.join(HERE, "..", "..", "target", "release", "brim")))
SCRIPT = "/usr/share/javascript/bootstrap5/js/bootstrap.js"
CODINGS = ("identity", "gzip", "br", "zstd")
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Origin:
    """Answers every GET with what `content(path)` gives: a media type, the bytes, and how many of them a second (or None)."""

    def __init__(self, content):
        self.content, self.listener = content, socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve_until_gone, args=(connection,), daemon=True).start()

    def serve_until_gone(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass

    def serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = b""
        while True:
            while b"\r\n\r\n" not in head:
                more = connection.recv(65536)
                if not more:
                    return
                head += more
            one, head = head.split(b"\r\n\r\n", 1)
            path = one.split(b" ")[1].decode()
            kind, body, pace = self.content(path)
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                               f"Cache-Control: max-age=3600\r\nETag: \"1\"\r\n\r\n".encode())
            if pace is None:
                connection.sendall(body)
                continue
            begun, piece = time.perf_counter(), 16 << 10
            for at in range(0, len(body), piece):
                wait = begun + at / pace - time.perf_counter()
                if wait > 0:
                    time.sleep(wait)
                connection.sendall(body[at:at + piece])


class Node:
    def __init__(self, origin, settings="", workers=1):
        self.folder = tempfile.TemporaryDirectory()
        at = self.folder.name
        os.makedirs(f"{at}/config/sites")
        self.port, self.admin = free_port(), free_port()
        open(f"{at}/config/edge.toml", "w").write(
            f'[node]\nid = "figures"\nsites = "sites"\nstate = "../var"\nworkers = {workers}\n'
            f'[[listener]]\nname = "http"\nbind = ["127.0.0.1:{self.port}"]\nprotocols = ["h1"]\ntls = false\n'
            f'[cache.memory]\nsize = "512MiB"\n[[cache.disk]]\npath = "../var/cache"\nsize = "1GiB"\n[log.access]\nenabled = false\n[admin]\nbind = "127.0.0.1:{self.admin}"\n')
        open(f"{at}/config/sites/site.toml", "w").write(
            f'name = "site"\nhosts = ["localhost", "127.0.0.1"]\n[origin]\nurl = "http://127.0.0.1:{origin.port}"\n{settings}')
        self.start()

    def start(self, before=()):
        at = self.folder.name
        self.log = open(f"{at}/log", "w+")
        self.process = subprocess.Popen(list(before) + [BRIM, "serve", "--config", f"{at}/config"],
                                        stdout=self.log, stderr=self.log)
        end = time.time() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.time() < end and self.process.poll() is None, open(f"{at}/log").read()
                time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.seek(0)
        return self.log.read()

    def get(self, path, coding, connection=None):
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        own.request("GET", path, headers={"Host": "localhost", "Accept-Encoding": coding})
        answer = own.getresponse()
        body = answer.read()
        if not connection:
            own.close()
        assert answer.status == 200, (answer.status, body[:200])
        return answer, body

    def metric(self, series):
        own = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=30)
        own.request("GET", "/metrics")
        text = own.getresponse().read().decode()
        own.close()
        found = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series)]
        return sum(found)

    def threads_cpu(self, name):
        """Seconds of the processor that the threads of that name have taken, and all others."""
        own, others = 0, 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                text = open(f"/proc/{self.process.pid}/task/{task}/stat").read()
            except OSError:
                continue
            fields = text.rsplit(")", 1)[1].split()
            seconds = (int(fields[11]) + int(fields[12])) / TICK
            if text.split("(", 1)[1].startswith(name):
                own += seconds
            else:
                others += seconds
        return own, others


def lines(bytes_, seed=1):
    """Text that gets some eight times smaller, another one for each seed."""
    text, number = [], seed
    length = 0
    while length < bytes_:
        number = (number * 1_664_525 + 1_013_904_223) % (1 << 32)
        text.append(f"export const item{number >> 20} = (a, b) => a * {number >> 27} + b.field{number >> 23};\n")
        length += len(text[-1])
    return "".join(text).encode()[:bytes_]


def first_byte():
    body = lines(8 << 20)
    node = Node(Origin(lambda path: ("text/javascript", body, 1 << 20)))
    times = {coding: [] for coding in CODINGS}
    for turn in range(9):
        for coding in CODINGS[turn % 4:] + CODINGS[:turn % 4]:
            own = socket.create_connection(("127.0.0.1", node.port))
            begun = time.perf_counter()
            own.sendall(f"GET /{turn}{coding}.js HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {coding}\r\n\r\n".encode())
            came = b""
            # Past the head, and past the size of the first chunk: a byte of the body.
            while not (b"\r\n\r\n" in came and re.search(rb"\r\n\r\n([0-9a-f]+\r\n)?.", came, re.S)):
                came += own.recv(4096)
            times[coding].append((time.perf_counter() - begun) * 1000)
            named = re.search(rb"content-encoding: (\w+)", came)
            assert (named.group(1).decode() if named else "identity") == coding, came
            own.close()
    node.stop()
    base = statistics.median(times["identity"])
    for coding in CODINGS:
        mine = sorted(times[coding])
        print(f"{coding}: median {statistics.median(mine):.2f} ms ({statistics.median(mine) - base:+.2f}), most {mine[-1]:.2f} ms")


class Upgrading:
    """Asks for scripts that nobody has had before until their codings wait to be made better."""

    def __init__(self, node):
        self.node, self.on, self.ends, self.number = node, False, False, 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ends:
            if not self.on or self.node.metric("brim_codings_queue") >= 8:
                time.sleep(0.05)
                continue
            self.number += 1
            for _ in range(4):
                self.node.get(f"/new/{self.number}.js", "br")


def scripts(path):
    seed = re.match(r"/new/(\d+)", path)
    if seed:
        return "text/javascript", open(SCRIPT, "rb").read() + f"// {seed.group(1)}\n".encode(), None
    return "text/javascript", open(SCRIPT, "rb").read(32 << 10), None


def p99(node, coding, rate, seconds):
    with tempfile.NamedTemporaryFile() as log:
        clients = 8
        subprocess.run(["h2load", "--h1", "-t1", f"-c{clients}", "-m1", f"--rps={rate / clients}", f"-n{int(rate * seconds)}",
                        f"--log-file={log.name}", "-H", f"accept-encoding: {coding}", f"http://127.0.0.1:{node.port}/a.js"],
                       check=True, capture_output=True)
        rows = [line.split() for line in open(log.name)]
    first = int(rows[0][0])
    assert all(row[1] == "200" for row in rows)
    found = sorted(int(row[2]) for row in rows if int(row[0]) - first > 300_000)
    return found[int(len(found) * 0.99)] / 1000


def upgrades():
    node = Node(Origin(scripts), workers=2)
    for coding in CODINGS * 6:
        node.get("/a.js", coding)
    time.sleep(2)
    behind = Upgrading(node)
    rate, rounds, seconds = int(os.environ.get("RATE", 2000)), 5, 4
    for coding in ("identity", "br"):
        found = {False: [], True: []}
        made = 0
        for turn in range(rounds):
            for on in (False, True) if turn % 2 == 0 else (True, False):
                behind.on = on
                end = time.time() + 60
                while (node.metric("brim_codings_queue") >= 2) != on and time.time() < end:
                    time.sleep(0.1)
                time.sleep(1.5)
                cpu, before = node.threads_cpu("coding-"), node.metric("brim_codings_upgrades_total")
                found[on].append(p99(node, coding, rate, seconds))
                share = (node.threads_cpu("coding-")[0] - cpu[0]) / seconds
                if on:
                    made += node.metric("brim_codings_upgrades_total") - before
                    assert share > 0.2, f"nothing is coded: {share}"
        behind.on = False
        idle, loaded = statistics.median(found[False]), statistics.median(found[True])
        print(f"{coding}, {rate} a second: p99 {idle:.2f} ms without, {loaded:.2f} ms with upgrades "
              f"(bound {max(1.5 * idle, idle + 10):.2f}; {made:.0f} made meanwhile; "
              f"without {[round(x, 2) for x in found[False]]}, with {[round(x, 2) for x in found[True]]})")
    behind.ends = True
    node.stop()


def busy():
    node = Node(Origin(scripts), workers=2)
    for coding in CODINGS * 6:
        node.get("/a.js", coding)
    time.sleep(2)
    behind = Upgrading(node)
    for on in (False, True, False, True):
        behind.on = on
        end = time.time() + 30
        while (node.metric("brim_codings_queue") >= 8) != on and time.time() < end:
            time.sleep(0.1)
        before, made = node.threads_cpu("coding-"), node.metric("brim_codings_upgrades_total")
        begun = time.time()
        said = subprocess.run(["wrk", "-t2", "-c64", "-d10s", "--latency", "-H", "Accept-Encoding: br",
                               f"http://127.0.0.1:{node.port}/a.js"], check=True, capture_output=True, text=True).stdout
        took = time.time() - begun
        coding, others = (b - a for a, b in zip(before, node.threads_cpu("coding-")))
        rate, tail = re.search(r"Requests/sec:\s+(\S+)", said).group(1), re.search(r"99%\s+(\S+)", said).group(1)
        print(f"{'with' if on else 'without'} upgrades: {rate} hits a second, p99 {tail}; of 2 cores the coder takes {coding / took:.3f}, "
              f"the rest of the node {others / took:.2f}; {node.metric('brim_codings_upgrades_total') - made:.0f} made")
    behind.on, behind.ends = False, True
    begun = time.time()
    waiting = node.metric("brim_codings_queue")
    while node.metric("brim_codings_queue") > 0:
        time.sleep(0.1)
    print(f"then, with idle cores, {waiting:.0f} that waited are taken up in {time.time() - begun:.1f} s")
    node.stop()


def instructions(path, coding, content, count):
    node = Node(Origin(content), "[compression]\nupgrade_after_hits = 0\n")
    _, first = node.get(path, coding)
    time.sleep(0.5)
    assert node.get(path, coding)[1] == first
    node.stop()
    # What is stored is found again. Nothing could be coded in here: the clock of a thread's CPU time has no place in valgrind.
    folder = tempfile.mkdtemp()
    node.start(["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={folder}/out"])
    own = http.client.HTTPConnection("127.0.0.1", node.port, timeout=300)
    for _ in range(20):
        node.get(path, coding, own)
    for _ in range(count):
        answer, body = node.get(path, coding, own)
        assert body == first
    told = answer.getheader("cache-status")
    assert "; hit" in told and "mem" in told, told
    own.close()
    node.stop()
    # By thread: what the clock of other threads asks for has nothing to do with the number of hits.
    threads = {}
    for name in os.listdir(folder):
        if thread := re.fullmatch(r"out-(\d+)", name):
            with open(f"{folder}/{name}") as told:
                threads[thread[1]] = int(re.search(r"^(?:totals|summary): (\d+)", told.read(), re.M)[1])
    return threads, len(first), answer.getheader("content-encoding")


def hits():
    text = lines(256 << 10)
    node = Node(Origin(lambda path: ("text/javascript", text, None)), "[compression]\nupgrade_after_hits = 0\n")
    lengths = {coding: len(node.get("/a.js", coding)[1]) for coding in ("br", "gzip")}
    node.stop()
    few, many = 1000, 21_000

    def each(name, path, coding, content):
        costs = [instructions(path, coding, content, count) for count in (few, many)]
        worker = max(costs[1][0][thread] - costs[0][0].get(thread, 0) for thread in costs[1][0])
        print(f"{name}: {worker / (many - few):.0f} instructions a hit, {costs[0][1]} bytes, {costs[0][2]}", flush=True)

    for coding, length in lengths.items():
        each(f"{coding} of a script", "/a.js", coding, lambda path: ("text/javascript", text, None))
        each("as long a script, identity", "/a.js", "identity", lambda path: ("text/javascript", text[:length], None))
        each("as long a file of no coded kind", "/a.bin", coding, lambda path: ("application/zip", text[:length], None))


{"first-byte": first_byte, "upgrades": upgrades, "busy": busy, "hits": hits}[sys.argv[1]]()
