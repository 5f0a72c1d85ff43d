"""Redis masters, their replicas and three brokers on this machine, and what they have used."""

import getpass
import os
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEPLOY = os.path.join(HERE, "..", "..", "deploy")
PORT = int(os.environ.get("PORT", 18000))
MQTT = int(os.environ.get("MQTT", 18900))
# Replicas of each of the three masters; redis_wait and cluster_lease_seconds of the brokers.
REPLICAS = int(os.environ.get("REPLICAS", 1))
WAIT = int(os.environ.get("WAIT", 1))
LEASE = int(os.environ.get("LEASE", 10))
COUNT = 3 * (1 + REPLICAS)


def cpu(pid):
    """CPU time of all threads of a process so far, in microseconds."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1000


def rss(pid):
    """What a process has in memory, in MB."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def pid_of(path):
    with open(path) as file:
        return int(file.read())


class Site:
    """A Redis Cluster and three brokers."""

    def __init__(self, mogi):
        self.mogi = mogi
        # What acknowledgements wait for.
        self.setting = f"redis_wait {WAIT} 1000"
        self.dir = tempfile.mkdtemp(prefix="mogi-redis-")
        self.redis("start", "--port", str(PORT), "--replicas", str(REPLICAS))
        self.processes = {}
        self.start()

    def redis(self, verb, *more):
        script = os.path.join(DEPLOY, "local-cluster")
        subprocess.run([script, verb, f"{self.dir}/redis", *more], check=True,
                       stdout=subprocess.DEVNULL)
        redis = [f"{self.dir}/redis/{port}/redis.pid" for port in range(PORT, PORT + COUNT)]
        if verb == "start":
            pids = [pid_of(path) for path in redis]
            self.masters, self.replicas = pids[:3], pids[3:]

    def start(self):
        """Starts all brokers, and waits until they serve."""
        for n in (1, 2, 3):
            self.launch(n)
        for n in (1, 2, 3):
            self.wait_for(n, "running\n")
        self.brokers = [self.processes[n].pid for n in (1, 2, 3)]

    def launch(self, n):
        """Starts a broker."""
        seeds = ",".join(f"127.0.0.1:{PORT + n}" for n in range(3))
        at = f"{self.dir}/n{n}"
        os.makedirs(at, exist_ok=True)
        with open(f"{at}/mosquitto.conf", "w") as file:
            file.write(f"user {getpass.getuser()}\nlistener {MQTT + n} 127.0.0.1\n"
                       "allow_anonymous true\nmax_queued_messages 0\n")
        with open(f"{at}/mogi.conf", "w") as file:
            file.write(f"persistence_store redis://{seeds}\n{self.setting}\n"
                       f"cluster_listener {MQTT + 10 + n} 127.0.0.1\ncluster_node_id n{n}\n"
                       f"cluster_lease_seconds {LEASE}\n")
        with open(f"{at}/log", "w") as log:
            command = [self.mogi, "-c", f"{at}/mosquitto.conf"]
            self.processes[n] = subprocess.Popen(command, stderr=log, stdout=log)

    def wait_for(self, n, words):
        """Waits until a broker's log says so; the line."""
        until = time.monotonic() + 300
        while time.monotonic() < until:
            with open(f"{self.dir}/n{n}/log") as log:
                said = [line.strip() for line in log if words in line]
            if said:
                return said[0]
            time.sleep(0.02)
        raise SystemExit(f"broker n{n} does not say '{words}'; see {self.dir}/n{n}/log")

    def end(self):
        """Ends all brokers."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait()
        self.processes = {}

    def stop(self):
        self.end()
        self.redis("stop")
        subprocess.run(["rm", "-r", self.dir], check=True)

    def costs(self):
        return [[cpu(pid) for pid in pids] for pids in (self.brokers, self.masters, self.replicas)]
