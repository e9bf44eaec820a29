#!/usr/bin/env python3
"""A coded script of 100 KiB beside nginx with `gzip on`: rows for the side-by-side benchmark, which stays as it is.

    python3 benches/codings/beside.py --bench ../shared/bench/bench.py [options of that benchmark]

Needs what that benchmark needs for its h1 and tls1 rows, and a script of more than 100 KiB (libjs-bootstrap5).
"""
import gzip, hashlib, importlib.util, os, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = "/usr/share/javascript/bootstrap5/js/bootstrap.js"
BYTES = 100 << 10
PEERS = os.path.join(HERE, "..", "peers")


def load(path):
    spec = importlib.util.spec_from_file_location("bench", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    path = os.path.join(HERE, "..", "..", "..", "shared", "bench", "bench.py")
    if "--bench" in sys.argv:
        at = sys.argv.index("--bench")
        path = sys.argv[at + 1]
        del sys.argv[at:at + 2]
    bench = load(path)

    class Beside(bench.Bench):
        def __init__(self, arguments):
            super().__init__(arguments)
            content = open(SCRIPT, "rb").read(BYTES)
            assert len(content) == BYTES
            open(os.path.join(self.docs, "script.txt"), "wb").write(content)
            bench.SIZES["script.txt"] = BYTES
            self.sha["script.txt"] = hashlib.sha256(content).digest()

        def warm(self, peer, row):
            # Often enough that what is coded better behind the answers is in place.
            for _ in range(8):
                status, body = self.get(peer, "/" + row["obj"], row["cap"] == "tls1", {"Accept-Encoding": "gzip"})
                if status != 200 or hashlib.sha256(gzip.decompress(body)).digest() != self.sha[row["obj"]]:
                    raise RuntimeError(f"{peer.name}: wrong answer: {status}, {len(body)} bytes")
                time.sleep(0.2)
            print(f"{peer.name}: {len(body)} bytes coded", flush=True)

        def coded(self, peer, row, seconds):
            return self.wrk(peer, row, seconds, path="/" + row["obj"], headers=["Accept-Encoding: gzip"])

    def scenarios():
        row = dict(profile="normal", kind="coded", obj="script.txt", conns=64)
        return [dict(row, name=f"{cap}-gzip-100k", cap=cap) for cap in ("h1", "tls1")]

    bench.Bench, bench.scenarios = Beside, scenarios
    ours = [os.path.join(PEERS, name + ".json") for name in ("nginx-gzip", "brim-coded")]
    sys.argv[1:1] = ["--peers", ",".join(ours), "--base", "nginx-gzip"]
    bench.main()


main()
