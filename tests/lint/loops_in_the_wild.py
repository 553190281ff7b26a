"""Loops with a declared state as people write them: about half resume exactly, half do not.

Each is a script of its own that defines ``call``, which returns a run. The verdicts were measured
by ``wild.py``: "right" loops end as if nothing had happened wherever they are killed, "wrong" ones
do not, and "refused" ones are an error from the start. Nothing here was written with the checks of
trax in mind, and the table is not to be changed to suit them.
"""

from __future__ import annotations

from typing import NamedTuple


class Loop(NamedTuple):
    """A script, the verdict on its loop, and the reason if that is not "right"."""

    name: str
    verdict: str
    why: str
    source: str


def right(name: str, source: str) -> Loop:
    return Loop(name, "right", "", source.lstrip())


def wrong(name: str, why: str, source: str) -> Loop:
    return Loop(name, "wrong", why, source.lstrip())


def refused(name: str, why: str, source: str) -> Loop:
    return Loop(name, "refused", why, source.lstrip())


LOOPS = [
    right(
        "verlet_spring",
        """
import trax


@trax.resumable(create=lambda: (1.0, 0.0))
def spring(state, steps, k=4.0, dt=0.05):
    half = 0.5 * dt
    for _ in trax.steps(steps):
        x, v = state
        v_mid = v - k * x * half
        x_new = x + v_mid * dt
        state = yield x_new, v_mid - k * x_new * half


call = lambda: spring(steps=12)
""",
    ),
    right(
        "rk4_pendulum_unpacked_once",
        """
import math
import trax


def slope(theta, omega):
    return omega, -9.81 * math.sin(theta)


@trax.resumable(create=lambda: (0.4, 0.0, 0.0))
def pendulum(state, end, dt=0.1):
    theta, omega, t = state
    while t < end:
        a1, b1 = slope(theta, omega)
        a2, b2 = slope(theta + a1 * dt / 2, omega + b1 * dt / 2)
        a3, b3 = slope(theta + a2 * dt / 2, omega + b2 * dt / 2)
        a4, b4 = slope(theta + a3 * dt, omega + b3 * dt)
        theta += dt / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
        omega += dt / 6 * (b1 + 2 * b2 + 2 * b3 + b4)
        t += dt
        state = yield theta, omega, t


call = lambda: pendulum(end=1.0)
""",
    ),
    right(
        "adaptive_euler_with_dt_in_state",
        """
from dataclasses import dataclass, replace
import trax


@dataclass(frozen=True)
class Integration:
    t: float = 0.0
    y: float = 1.0
    dt: float = 0.2


def euler(y, dt):
    return y - dt * 3 * y


@trax.resumable(create=Integration)
def integrate(state, end, tolerance=5e-3):
    while state.t < end:
        dt = state.dt
        while True:
            coarse = euler(state.y, dt)
            fine = euler(euler(state.y, dt / 2), dt / 2)
            error = abs(fine - coarse)
            if error < tolerance:
                break
            dt /= 2
        grown = dt * 1.5 if error < tolerance / 4 else dt
        state = yield replace(state, t=state.t + dt, y=fine, dt=grown)


call = lambda: integrate(end=0.3)
""",
    ),
    right(
        "heat_equation_scratch_buffers",
        """
import numpy as np
import trax


def first(n):
    u = np.zeros(n)
    u[n // 2] = 1.0
    return u


@trax.resumable(create=first)
def heat(u, n, steps, alpha=0.2):
    laplacian = np.empty(n)
    scratch = np.empty(n)
    for _ in trax.steps(steps):
        np.add(np.roll(u, 1), np.roll(u, -1), out=scratch)
        np.subtract(scratch, 2 * u, out=laplacian)
        u = yield u + alpha * laplacian


call = lambda: heat(n=16, steps=10)
""",
    ),
    right(
        "wave_spectral_precomputed",
        """
import numpy as np
import trax


def bump(n):
    x = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return {"u": np.exp(-4 * (x - np.pi) ** 2), "step": 0}


def advance(state, hat):
    return {"u": np.fft.irfft(hat, n=len(state["u"])), "step": state["step"] + 1}


@trax.resumable(create=bump, replay_log=advance)
def advect(state, n, steps, dt=0.1):
    k = np.arange(n // 2 + 1)
    shift = np.exp(-1j * k * dt)
    while state["step"] < steps:
        hat = np.fft.rfft(state["u"])
        hat *= shift
        state = yield hat


call = lambda: advect(n=32, steps=8)
""",
    ),
    right(
        "metropolis_recomputes_density",
        """
import math
import random
import trax

random.seed(11)


def log_density(x):
    return -0.5 * x * x


def move(chain, x):
    return chain + [x]


@trax.resumable(create=lambda: [0.0], replay_log=move)
def metropolis(chain, samples, width=1.5):
    x = chain[-1]
    here = log_density(x)
    for _ in trax.steps(samples):
        proposal = x + random.uniform(-width, width)
        there = log_density(proposal)
        if math.log(random.random()) < there - here:
            x, here = proposal, there
        chain = yield x


call = lambda: metropolis(samples=12)
""",
    ),
    right(
        "hmc_generator_in_state",
        """
import numpy as np
import trax


class Chain:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.q = np.zeros(2)
        self.accepted = 0


@trax.resumable(create=Chain, replay_log=None, every_steps=2)
def hmc(chain, samples, seed, leaps=5, eps=0.2):
    for _ in trax.steps(samples):
        p = chain.rng.normal(size=2)
        q = chain.q.copy()
        energy = 0.5 * (q @ q + p @ p)
        for _ in range(leaps):
            p = p - eps / 2 * q
            q = q + eps * p
            p = p - eps / 2 * q
        if chain.rng.random() < np.exp(energy - 0.5 * (q @ q + p @ p)):
            chain.q = q
            chain.accepted += 1
        yield chain.q.copy()


call = lambda: hmc(samples=9, seed=4)
""",
    ),
    right(
        "gibbs_seeded_per_step",
        """
import random
import trax


@trax.resumable(create=lambda: [(0.0, 0.0)], replay_log=lambda path, pair: [*path, pair])
def gibbs(path, n, rho=0.8, seed=5):
    sd = (1 - rho**2) ** 0.5
    for i in trax.steps(n):
        rng = random.Random(f"{seed}-{i}")
        _, y = path[-1]
        x = rng.gauss(rho * y, sd)
        path = yield x, rng.gauss(rho * x, sd)


call = lambda: gibbs(n=10)
""",
    ),
    right(
        "adam_all_in_state",
        """
import numpy as np
import trax


def start(dim):
    return {"w": np.zeros(dim), "m": np.zeros(dim), "v": np.zeros(dim), "t": 0}


def adam(state, grad, lr=0.1, b1=0.9, b2=0.999):
    t = state["t"] + 1
    m = b1 * state["m"] + (1 - b1) * grad
    v = b2 * state["v"] + (1 - b2) * grad**2
    step = lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
    return {"w": state["w"] - step, "m": m, "v": v, "t": t}


@trax.resumable(create=start, replay_log=adam)
def fit(state, dim, epochs):
    target = np.arange(dim)
    printed = 0
    while state["t"] < epochs:
        grad = 2 * (state["w"] - target)
        state = yield grad
        if state["t"] % 4 == 0:
            printed += 1
            print(f"{printed}: loss {np.sum(grad**2):.3f}")


call = lambda: fit(dim=3, epochs=11)
""",
    ),
    right(
        "gradient_descent_until_converged",
        """
import trax


@trax.resumable(create=lambda: (5.0, None))
def descend(state, lr=0.4, tolerance=0.05):
    x, previous = state
    while previous is None or abs(x - previous) > tolerance:
        gradient = 2 * (x - 3)
        x, previous = yield x - lr * gradient, x


call = lambda: descend()
""",
    ),
    right(
        "newton_sqrt_break",
        """
import trax


@trax.resumable(create=lambda: 1.0)
def newton(x, of, tolerance=1e-9):
    while True:
        residual = x * x - of
        if abs(residual) < tolerance:
            break
        x = yield x - residual / (2 * x)
    return round(x, 8)


call = lambda: newton(of=7.0)
""",
    ),
    right(
        "annealing_temperature_from_step",
        """
import math
import random
import trax

random.seed(3)
CITIES = [(random.random(), random.random()) for _ in range(8)]


def length(tour):
    return sum(math.dist(CITIES[a], CITIES[b]) for a, b in zip(tour, tour[1:] + tour[:1]))


@trax.resumable(create=lambda: {"tour": list(range(8)), "best": None, "shortest": math.inf})
def anneal(state, steps, hot=1.0, cooling=0.8):
    for i in trax.steps(steps):
        temperature = hot * cooling**i
        tour = state["tour"].copy()
        a, b = sorted(random.sample(range(len(tour)), 2))
        tour[a:b] = reversed(tour[a:b])
        new, old = length(tour), length(state["tour"])
        if new > old and random.random() > math.exp((old - new) / temperature):
            tour, new = state["tour"], old
        if new < state["shortest"]:
            state = yield {"tour": tour, "best": tour, "shortest": new}
        else:
            state = yield {**state, "tour": tour}
    return state["shortest"]


call = lambda: anneal(steps=12)
""",
    ),
    right(
        "genetic_onemax",
        """
import random
import trax

random.seed(21)


def population(size, genes):
    return [[random.randint(0, 1) for _ in range(genes)] for _ in range(size)]


def crossed(mother, father):
    cut = random.randrange(1, len(mother))
    child = mother[:cut] + father[cut:]
    spot = random.randrange(len(child))
    child[spot] ^= random.random() < 0.3
    return child


@trax.resumable(create=population)
def evolve(people, size, genes, generations):
    for generation in trax.steps(generations):
        ranked = sorted(people, key=sum, reverse=True)
        elite = ranked[: size // 2]
        children = []
        while len(children) < size - len(elite):
            children.append(crossed(*random.sample(elite, 2)))
        print("generation", generation, "best", sum(ranked[0]))
        people = yield elite + children
    return max(people, key=sum)


call = lambda: evolve(size=6, genes=10, generations=8)
""",
    ),
    right(
        "trainer_with_early_stopping_in_state",
        """
from dataclasses import dataclass, replace
import trax


@dataclass
class Progress:
    epoch: int = 0
    weight: float = 0.0
    best: float = float("inf")
    best_epoch: int = -1


def loss_of(weight):
    return (weight - 0.6) ** 2


@trax.resumable(create=Progress)
def train(p, max_epochs, patience=2):
    while p.epoch < max_epochs and p.epoch - p.best_epoch <= patience + 1:
        lr = 0.9 if p.epoch < 3 else 0.3
        weight = p.weight + lr * (0.5 if p.weight < 0.6 else -0.3)
        loss = loss_of(weight)
        improved = loss < p.best
        p = yield replace(
            p,
            epoch=p.epoch + 1,
            weight=weight,
            best=min(loss, p.best),
            best_epoch=p.epoch if improved else p.best_epoch,
        )
    return p.best_epoch, p.best


call = lambda: train(max_epochs=12)
""",
    ),
    right(
        "cross_validation_remaining",
        """
import statistics
import trax

DATA = [(x, 3 * x + (x * 7 % 5)) for x in range(20)]


@trax.resumable(create=list, replay_log=lambda scores, score: scores + [score])
def cross_validate(scores, folds):
    for fold in trax.remaining(range(folds)):
        held_out = DATA[fold::folds]
        training = [pair for i, pair in enumerate(DATA) if i % folds != fold]
        slope = sum(x * y for x, y in training) / sum(x * x for x, _ in training)
        errors = [abs(y - slope * x) for x, y in held_out]
        scores = yield statistics.mean(errors)
    return statistics.mean(scores)


call = lambda: cross_validate(folds=5)
""",
    ),
    right(
        "grid_sweep_skips_what_is_done",
        """
import itertools
import trax


def evaluate(depth, rate):
    return round(depth / (1 + rate), 4)


@trax.resumable(create=dict, replay_log=lambda table, row: table | {row[0]: row[1]})
def sweep(table, depths, rates):
    for case in itertools.product(depths, rates):
        if case in table:
            continue
        score = evaluate(*case)
        table = yield case, score
    return max(table, key=table.get)


call = lambda: sweep(depths=(1, 2, 3), rates=(0.1, 0.2, 0.5))
""",
    ),
    right(
        "kmeans_old_centres_in_state",
        """
import numpy as np
import trax

rng = np.random.default_rng(8)
POINTS = np.concatenate([rng.normal(m, 1.0, size=(30, 2)) for m in (0, 2, 4)])


@trax.resumable(
    create=lambda k: [POINTS[:k].copy()], replay_log=lambda past, new: past[-1:] + [new]
)
def kmeans(past, k, limit=12):
    while len(past) < 2 or not np.allclose(past[0], past[1], atol=0.05):
        centres = past[-1]
        distances = np.linalg.norm(POINTS[:, None] - centres[None], axis=2)
        labels = distances.argmin(axis=1)
        new = np.array([POINTS[labels == j].mean(axis=0) for j in range(k)])
        past = yield new
    return past[-1].round(3).tolist()


call = lambda: kmeans(k=3)
""",
    ),
    right(
        "em_two_coins",
        """
import trax

HEADS = [5, 9, 8, 4, 7]
FLIPS = 10


def e_step(a, b):
    gains = [0.0] * 4
    for heads in HEADS:
        tails = FLIPS - heads
        like_a = a**heads * (1 - a) ** tails
        like_b = b**heads * (1 - b) ** tails
        share = like_a / (like_a + like_b)
        for i, gain in enumerate(
            (share * heads, share * tails, (1 - share) * heads, (1 - share) * tails)
        ):
            gains[i] += gain
    return gains


def m_step(coins, gains):
    ha, ta, hb, tb = gains
    return ha / (ha + ta), hb / (hb + tb)


@trax.resumable(create=lambda: (0.6, 0.5), replay_log=m_step)
def em(coins, rounds):
    for _ in trax.steps(rounds):
        coins = yield e_step(*coins)


call = lambda: em(rounds=8)
""",
    ),
    right(
        "game_of_life_new_board",
        """
import numpy as np
import trax


def glider(size):
    board = np.zeros((size, size), dtype=np.int8)
    board[1, 2] = board[2, 3] = board[3, 1:4] = 1
    return board


def neighbours(board):
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy or dx:
                yield np.roll(board, (dy, dx), axis=(0, 1))


@trax.resumable(create=glider)
def life(board, size, generations):
    for _ in trax.steps(generations):
        alive = sum(neighbours(board))
        board = yield ((alive == 3) | ((alive == 2) & (board == 1))).astype(np.int8)
    return int(board.sum())


call = lambda: life(size=8, generations=10)
""",
    ),
    right(
        "sandpile_in_place_alias",
        """
import numpy as np
import trax


class Pile:
    def __init__(self, size):
        self.grid = np.full((size, size), 2)
        self.grains = 0

    def drop(self, where):
        self.grid[where] += 1
        self.grains += 1
        while len(unstable := np.argwhere(self.grid > 3)):
            for y, x in unstable:
                self.grid[y, x] -= 4
                for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    if 0 <= v < len(self.grid) and 0 <= u < len(self.grid):
                        self.grid[v, u] += 1
        return self


@trax.resumable(create=Pile, replay_log=Pile.drop)
def topple(pile, size, grains):
    grid = pile.grid
    for i in trax.steps(grains):
        spot = np.unravel_index(
            np.argmax(grid + (np.arange(grid.size) * (i + 3) % 7).reshape(grid.shape)), grid.shape
        )
        pile = yield tuple(int(c) for c in spot)


call = lambda: topple(size=4, grains=10)
""",
    ),
    right(
        "schelling_agents_mutated_in_place",
        """
import random
import trax


class Town:
    def __init__(self, n, seed):
        self.random = random.Random(seed)
        self.cells = [self.random.choice("XO.") for _ in range(n)]
        self.round = 0

    def is_unhappy(self, i):
        around = [self.cells[j % len(self.cells)] for j in (i - 1, i + 1)]
        return self.cells[i] != "." and around.count(self.cells[i]) == 0


@trax.resumable(create=Town, replay_log=None, every_steps=3)
def segregate(town, n, seed, rounds):
    while town.round < rounds:
        movers = [i for i in range(n) if town.is_unhappy(i)]
        empty = [i for i in range(n) if town.cells[i] == "."]
        if movers and empty:
            here, there = town.random.choice(movers), town.random.choice(empty)
            town.cells[there], town.cells[here] = town.cells[here], "."
        town.round += 1
        yield "".join(town.cells)


call = lambda: segregate(n=20, seed=2, rounds=11)
""",
    ),
    right(
        "queue_simulation_heap_in_state",
        """
import heapq
import random
import trax


class Bank:
    def __init__(self):
        self.now, self.waiting, self.served = 0.0, 0, 0
        self.events = [(0.5, "arrive")]
        self.rng = random.Random(17)

    def handle(self):
        self.now, kind = heapq.heappop(self.events)
        if kind == "arrive":
            self.waiting += 1
            heapq.heappush(self.events, (self.now + self.rng.expovariate(1.0), "arrive"))
            if self.waiting == 1:
                heapq.heappush(self.events, (self.now + self.rng.expovariate(1.3), "leave"))
        else:
            self.waiting -= 1
            self.served += 1
            if self.waiting:
                heapq.heappush(self.events, (self.now + self.rng.expovariate(1.3), "leave"))
        return kind


@trax.resumable(create=Bank, replay_log=None, every_steps=1)
def simulate(bank, events):
    for number in trax.steps(events):
        kind = bank.handle()
        print(f"{number:3} {bank.now:.2f} {kind}")
        yield kind, bank.waiting


call = lambda: simulate(events=12)
""",
    ),
    right(
        "crawler_with_frontier_in_state",
        """
import trax

WEB = {
    "/": ["/a", "/b"],
    "/a": ["/c", "/b"],
    "/b": ["/d"],
    "/c": ["/"],
    "/d": ["/e", "/a"],
    "/e": [],
}


def fetch(url):
    return WEB[url]


def visit(site, page):
    url, links = page
    seen = site["seen"] | {url: len(links)}
    fresh = [link for link in links if link not in seen and link not in site["todo"]]
    return {"seen": seen, "todo": site["todo"][1:] + fresh}


@trax.resumable(create=lambda start: {"seen": {}, "todo": [start]}, replay_log=visit)
def crawl(site, start):
    while site["todo"]:
        url = site["todo"][0]
        site = yield url, fetch(url)
    return sorted(site["seen"])


call = lambda: crawl(start="/")
""",
    ),
    right(
        "paginated_api_cursor_in_state",
        """
import trax

RECORDS = [{"id": i, "name": f"user{i}"} for i in range(23)]


def get_page(cursor, limit):
    rows = RECORDS[cursor : cursor + limit]
    following = cursor + limit
    return {"rows": rows, "next": following if following < len(RECORDS) else None}


def collect(state, page):
    return {"names": state["names"] + [row["name"] for row in page["rows"]], "next": page["next"]}


@trax.resumable(create=lambda: {"names": [], "next": 0}, replay_log=collect)
def download(state, limit=5):
    requests = 0
    while state["next"] is not None:
        page = get_page(state["next"], limit)
        requests += 1
        print("request", requests, "gave", len(page["rows"]))
        state = yield page
    return len(state["names"])


call = lambda: download()
""",
    ),
    right(
        "flaky_api_with_retries",
        """
import collections
import trax

ATTEMPTS = collections.Counter()


def fetch(station):
    ATTEMPTS[station] += 1
    if ATTEMPTS[station] <= len(station) % 3:
        raise TimeoutError(station)
    return len(station) * 1.5


@trax.resumable(create=dict, replay_log=lambda found, new: {**found, **new})
def gather(found, stations):
    for station in trax.remaining(stations):
        for attempt in range(5):
            try:
                reading = fetch(station)
            except TimeoutError:
                continue
            break
        else:
            reading = None
        found = yield {station: reading}


call = lambda: gather(stations=["Oslo", "Bergen", "Tromso", "Alta", "Vardo"])
""",
    ),
    right(
        "agent_messages_are_the_state",
        """
import trax


def model(messages):
    asked = messages[-1]["content"]
    if len(messages) > 9:
        return {"role": "assistant", "content": "FINAL " + str(len(messages))}
    return {"role": "assistant", "content": f"call add({len(asked)}, {len(messages)})"}


def run_tool(text):
    inside = text.partition("(")[2].rstrip(")")
    return {"role": "tool", "content": str(sum(map(int, inside.split(","))))}


@trax.resumable(
    create=lambda question: [{"role": "user", "content": question}],
    replay_log=lambda messages, message: [*messages, message],
)
def agent(messages, question):
    while not messages[-1]["content"].startswith("FINAL"):
        if messages[-1]["role"] == "assistant":
            messages = yield run_tool(messages[-1]["content"])
        else:
            messages = yield model(messages)
    return messages[-1]["content"]


call = lambda: agent(question="How much is it?")
""",
    ),
    right(
        "batch_files_one_output_each",
        """
from pathlib import Path
import trax

Path("in").mkdir(exist_ok=True)
Path("out").mkdir(exist_ok=True)
for i in range(6):
    Path(f"in/{i}.txt").write_text("word " * (i + 1))


@trax.resumable(create=dict, replay_log=lambda counts, new: counts | dict([new]))
def convert(counts, names):
    for name in trax.remaining(names):
        text = Path("in", name).read_text()
        with open(Path("out", name), "w") as file:
            file.write(text.upper())
        counts = yield name, len(text.split())
    return sum(counts.values())


call = lambda: convert(names=sorted(path.name for path in Path("in").glob("*.txt")))
""",
    ),
    right(
        "table_with_header_only_at_the_start",
        """
import csv
import trax


@trax.resumable(create=list, replay_log=lambda rows, row: rows + [row])
def tabulate(rows, n):
    with trax.open("orbit.csv") as file:
        writer = csv.writer(file)
        if not rows:
            writer.writerow(["i", "x"])
        x = rows[-1][1] if rows else 0.3
        for i in trax.steps(n):
            x = 3.7 * x * (1 - x)
            writer.writerow([i, f"{x:.6f}"])
            rows = yield i, x
        writer.writerow(["end", len(rows)])


call = lambda: tabulate(n=7)
""",
    ),
    right(
        "csv_parsing_from_line_number",
        """
import csv
from pathlib import Path
import trax

LINES = ["day,rain"] + [f"{day},{day * day % 7}" for day in range(9)] + ["oops,?"]
Path("rain.csv").write_text("\\n".join(LINES))


def add(state, value):
    return {
        "line": state["line"] + 1,
        "rain": state["rain"] + value,
        "bad": state["bad"] + (value < 0),
    }


@trax.resumable(create=lambda: {"line": 0, "rain": 0.0, "bad": 0}, replay_log=add)
def total_rain(state, path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[state["line"] :]:
        try:
            value = float(row["rain"])
        except ValueError:
            value = -1.0
        state = yield value
    return state["rain"], state["bad"]


call = lambda: total_rain("rain.csv")
""",
    ),
    right(
        "etl_index_rebuilt_from_state",
        """
import trax

ORDERS = [("ann", 3), ("bob", 5), ("ann", 2), ("eve", 9), ("bob", 1), ("ann", 4), ("dan", 7)]


@trax.resumable(create=list, replay_log=lambda table, row: table + [row])
def load(table, orders):
    ids = {row["customer"]: row["id"] for row in table}
    for customer, amount in orders[len(table) :]:
        if customer not in ids:
            ids[customer] = len(ids) + 1
        row = {"id": ids[customer], "customer": customer, "amount": amount}
        table = yield row
    return ids


call = lambda: load(ORDERS)
""",
    ),
    right(
        "sieve_of_odd_numbers",
        """
import trax


@trax.resumable(create=lambda: [2], replay_log=lambda primes, prime: primes + [prime])
def primes_up_to(primes, below):
    candidate = primes[-1] + 1
    tested = 0
    while candidate < below:
        tested += 1
        for p in primes:
            if p * p > candidate:
                primes = yield candidate
                break
            if candidate % p == 0:
                break
        candidate += 1
        if tested % 10 == 0:
            print("tested", tested)
    return len(primes)


call = lambda: primes_up_to(below=40)
""",
    ),
    right(
        "bfs_with_parents",
        """
from collections import deque
import trax

MAZE = ["S..#", ".#..", "...#", "#..E"]


def around(y, x):
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        v, u = y + dy, x + dx
        if 0 <= v < 4 and 0 <= u < 4 and MAZE[v][u] != "#":
            yield v, u


def expand(state, found):
    node, children = found
    state["queue"].popleft()
    state["queue"].extend(children)
    state["parent"].update(dict.fromkeys(children, node))
    return state


@trax.resumable(
    create=lambda: {"queue": deque([(0, 0)]), "parent": {(0, 0): None}}, replay_log=expand
)
def search(state):
    queue, parent = state["queue"], state["parent"]
    while queue:
        node = queue[0]
        if node == (3, 3):
            break
        state = yield node, [cell for cell in around(*node) if cell not in parent]
    path = [(3, 3)]
    while parent[path[-1]]:
        path.append(parent[path[-1]])
    return path[::-1]


call = lambda: search()
""",
    ),
    right(
        "astar_heap_built_again_from_the_open_set",
        """
import heapq
import trax

COST = [[1, 3, 1, 1], [1, 9, 9, 1], [1, 1, 1, 1], [9, 9, 1, 1]]


def settle(state, step):
    node, better = step
    opened = {k: v for k, v in state["open"].items() if k != node} | better
    return {"open": opened, "closed": {**state["closed"], node: state["open"][node]}}


@trax.resumable(create=lambda: {"open": {(0, 0): 0}, "closed": {}}, replay_log=settle)
def shortest(state, goal):
    heap = [(g + abs(goal[0] - y) + abs(goal[1] - x), y, x) for (y, x), g in state["open"].items()]
    heapq.heapify(heap)
    while goal not in state["closed"]:
        _, y, x = heapq.heappop(heap)
        if (y, x) not in state["open"]:
            continue
        better = {}
        for v, u in ((y + 1, x), (y, x + 1), (y - 1, x), (y, x - 1)):
            if 0 <= v < 4 and 0 <= u < 4 and (v, u) not in state["closed"]:
                g = state["open"][y, x] + COST[v][u]
                if g < state["open"].get((v, u), 99):
                    better[v, u] = g
                    heapq.heappush(heap, (g + abs(goal[0] - v) + abs(goal[1] - u), v, u))
        state = yield (y, x), better
    return state["closed"][goal]


call = lambda: shortest(goal=(2, 3))
""",
    ),
    right(
        "pi_with_global_generator",
        """
import numpy as np
import trax

RNG = np.random.default_rng(1234)


@trax.resumable(create=lambda: (0, 0), replay_log=lambda sums, new: (sums[0] + new, sums[1] + 100))
def estimate_pi(sums, batches):
    for _ in trax.steps(batches):
        points = RNG.random((100, 2))
        inside = int(np.count_nonzero((points**2).sum(axis=1) < 1))
        sums = yield inside
        hits, total = sums
        print("pi is about", 4 * hits / total)
    return 4 * sums[0] / sums[1]


call = lambda: estimate_pi(batches=10)
""",
    ),
    right(
        "ucb_bandit_object_state",
        """
import math
import random
import trax

random.seed(99)
ARMS = [0.2, 0.5, 0.7]


class Bandit:
    def __init__(self):
        self.pulls = [1] * len(ARMS)
        self.wins = [0.5] * len(ARMS)

    def learn(self, outcome):
        arm, reward = outcome
        self.pulls[arm] += 1
        self.wins[arm] += reward
        return self


@trax.resumable(create=Bandit, replay_log=Bandit.learn)
def play(bandit, rounds):
    for _ in trax.steps(rounds):
        total = sum(bandit.pulls)

        def bound(arm):
            n = bandit.pulls[arm]
            return bandit.wins[arm] / n + math.sqrt(2 * math.log(total) / n)

        arm = max(range(len(ARMS)), key=bound)
        bandit = yield arm, int(random.random() < ARMS[arm])


call = lambda: play(rounds=12)
""",
    ),
    right(
        "kalman_mean_and_variance_in_state",
        """
from typing import NamedTuple
import trax


class Belief(NamedTuple):
    mean: float
    variance: float
    step: int


MEASURED = [1.1, 0.9, 1.4, 1.2, 0.8, 1.0, 1.3, 1.05]


@trax.resumable(create=lambda: Belief(0.0, 10.0, 0))
def track(belief, measurements, drift=0.01, noise=0.2):
    for z in measurements[belief.step :]:
        predicted = belief.variance + drift
        gain = predicted / (predicted + noise)
        mean = belief.mean + gain * (z - belief.mean)
        belief = yield Belief(mean, (1 - gain) * predicted, belief.step + 1)


call = lambda: track(MEASURED)
""",
    ),
    right(
        "particle_filter_numpy_legacy",
        """
import numpy as np
import trax

np.random.seed(7)


def cloud(n):
    return {"x": np.random.normal(size=n), "estimates": []}


@trax.resumable(create=cloud)
def follow(state, n, observations):
    for t, seen in enumerate(observations[len(state["estimates"]) :], len(state["estimates"])):
        x = state["x"] + 0.1 * t + np.random.normal(scale=0.3, size=n)
        weights = np.exp(-0.5 * (x - seen) ** 2)
        weights /= weights.sum()
        x = x[np.random.choice(n, size=n, p=weights)]
        state = yield {"x": x, "estimates": [*state["estimates"], float(x.mean())]}
    return state["estimates"][-1]


call = lambda: follow(n=20, observations=[0.1, 0.2, 0.5, 0.7, 1.1, 1.4])
""",
    ),
    right(
        "nim_self_play_player_from_moves",
        """
import functools
import trax


@functools.lru_cache(maxsize=None)
def wins(stones):
    return any(not wins(stones - take) for take in (1, 2, 3) if take <= stones)


@trax.resumable(create=list, replay_log=lambda moves, move: [*moves, move])
def play(moves, stones):
    left = stones - sum(moves)
    while left:
        player = len(moves) % 2
        options = [take for take in (1, 2, 3) if take <= left]
        best = next((take for take in options if not wins(left - take)), options[-1 - player])
        left -= best
        moves = yield best
    return "AB"[(len(moves) - 1) % 2]


call = lambda: play(stones=21)
""",
    ),
    right(
        "edit_distance_by_rows",
        """
import trax


@trax.resumable(
    create=lambda a, b: [list(range(len(b) + 1))], replay_log=lambda rows, row: [*rows, row]
)
def edit_distance(rows, a, b):
    for i in range(len(rows), len(a) + 1):
        above = rows[-1]
        row = [i]
        for j, letter in enumerate(b, start=1):
            cost = letter != a[i - 1]
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + cost))
        rows = yield row
    return rows[-1][-1]


call = lambda: edit_distance(a="kitten", b="sitting")
""",
    ),
    right(
        "gc_content_windows",
        """
import random
import trax

random.seed(5)
GENOME = "".join(random.choices("ACGT", k=120))


def gc(window):
    return (window.count("G") + window.count("C")) / len(window)


@trax.resumable(create=dict, replay_log=lambda track, point: track | {point[0]: point[1]})
def scan(track, genome, size=20, stride=10):
    begin = max(track, default=-stride) + stride
    for position in range(begin, len(genome) - size + 1, stride):
        window = genome[position : position + size]
        track = yield position, gc(window)
    peak = max(track, key=track.get)
    return peak, track[peak]


call = lambda: scan(GENOME)
""",
    ),
    right(
        "async_scraper_gathers",
        """
import asyncio
import re
import trax

PAGES = {f"p{i}": f"<h1>Title {i}</h1> <a href='p{(i * 3) % 7}'>" for i in range(7)}


async def fetch(page):
    await asyncio.sleep(0)
    return PAGES[page]


@trax.resumable(create=dict, replay_log=lambda titles, new: titles | new)
async def scrape(titles, pages, width=2):
    started = 0
    for begin in range(len(titles), len(pages), width):
        batch = pages[begin : begin + width]
        texts = await asyncio.gather(*map(fetch, batch))
        started += len(batch)
        print("fetched", started)
        titles = yield {p: re.search("<h1>(.*)</h1>", t)[1] for p, t in zip(batch, texts)}


call = lambda: scrape(pages=sorted(PAGES))
""",
    ),
    right(
        "async_for_over_a_feed_from_its_offset",
        """
import asyncio
import trax


async def feed(offset):
    for number in range(offset, 11):
        await asyncio.sleep(0)
        yield {"offset": number, "price": 100 + number * number % 9}


@trax.resumable(create=list, replay_log=lambda ticks, tick: ticks + [tick])
async def record(ticks):
    start = ticks[-1]["offset"] + 1 if ticks else 0
    async for tick in feed(start):
        ticks = yield tick


call = lambda: record()
""",
    ),
    right(
        "method_with_read_only_settings",
        """
import numpy as np
import trax


class Reactor:
    def __init__(self, rates, volume):
        self.rates = np.array(rates)
        self.volume = volume

    def flow(self, c):
        return -self.rates * c / self.volume + np.roll(self.rates * c, 1) / self.volume

    def empty(self):
        return np.array([1.0, 0.0, 0.0])

    @trax.resumable(create=empty, name="reactor-{self.volume}")
    def run(self, c, steps, dt=0.1):
        for i in trax.steps(steps):
            k1 = self.flow(c)
            k2 = self.flow(c + dt * k1)
            c = yield c + dt / 2 * (k1 + k2)


call = lambda: Reactor([1.0, 0.5, 0.25], volume=2.0).run(steps=9)
""",
    ),
    right(
        "factory_of_loops",
        """
import trax


def make_logistic(rate):
    scale = rate / 4

    def step(x):
        return 4 * scale * x * (1 - x)

    @trax.resumable(create=lambda: 0.25, name=f"logistic-{rate}")
    def iterate(x, n):
        for _ in trax.steps(n):
            x = yield step(x)

    return iterate


call = lambda: make_logistic(3.9)(n=12)
""",
    ),
    right(
        "nested_loops_flattened",
        """
import trax


def overlap(a, b):
    return len(set(a) & set(b))


@trax.resumable(create=list, replay_log=lambda cells, cell: cells + [cell])
def similarity(cells, words):
    n = len(words)
    for k in trax.steps(n * n):
        i, j = divmod(k, n)
        cells = yield overlap(words[i], words[j])
    return [cells[i * n : (i + 1) * n] for i in range(n)]


call = lambda: similarity(words=["stone", "notes", "maple"])
""",
    ),
    right(
        "nested_loops_with_a_resumed_inner_start",
        """
import trax


def sgd(state, gradient):
    epoch, batch, w = state
    w -= 0.05 * gradient
    return (epoch, batch + 1, w) if batch + 1 < 4 else (epoch + 1, 0, w)


@trax.resumable(create=lambda: (0, 0, 0.0), replay_log=sgd)
def train(state, epochs, batches=4):
    first_epoch, first_batch, _ = state
    for epoch in range(first_epoch, epochs):
        begin = first_batch if epoch == first_epoch else 0
        for batch in range(begin, batches):
            w = state[2]
            gradient = 2 * (w - batch) / (epoch + 1)
            state = yield gradient
        print(f"epoch {epoch}: w = {state[2]:.4f}")


call = lambda: train(epochs=3)
""",
    ),
    right(
        "tokenizer_merges_with_a_progress_line",
        """
from collections import Counter
import time
import trax

TEXT = "low lower lowest new newer newest wide wider widest"


def merge(words, pair):
    joined = "".join(pair)
    return [tuple(" ".join(word).replace(" ".join(pair), joined).split()) for word in words]


@trax.resumable(create=lambda: [tuple(word) for word in TEXT.split()], replay_log=merge)
def learn_merges(words, merges):
    began = time.perf_counter()
    done = 0
    for number in trax.steps(merges):
        pairs = Counter(pair for word in words for pair in zip(word, word[1:]))
        if not pairs:
            return words
        words = yield max(sorted(pairs), key=pairs.get)
        done += 1
        elapsed = time.perf_counter() - began
        print(f"merge {number + 1}/{merges}, {done / max(elapsed, 1e-9):.0f} a second")


call = lambda: learn_merges(merges=8)
""",
    ),
    right(
        "logged_losses_smoothed_for_the_eye",
        """
import logging
import trax

logger = logging.getLogger("fit")


@trax.resumable(create=lambda: (0.0, 0))
def fit(state, epochs):
    smooth = None
    while state[1] < epochs:
        w, epoch = state
        loss = (w - 2) ** 2
        smooth = loss if smooth is None else 0.9 * smooth + 0.1 * loss
        state = yield w - 0.2 * (w - 2), epoch + 1
        logger.debug("epoch %d: loss %.3f, smoothed %.3f", epoch, loss, smooth)
        assert state[1] == epoch + 1


call = lambda: fit(epochs=10)
""",
    ),
    right(
        "hill_climbing_with_a_memo",
        """
import random
import trax

random.seed(40)
MEMO = {}


def fitness(bits):
    if bits not in MEMO:
        MEMO[bits] = sum((i % 3 - 1) * b for i, b in enumerate(bits)) + bits[0] * bits[-1]
    return MEMO[bits]


@trax.resumable(create=lambda n: (0,) * n)
def climb(bits, n, steps):
    hits = 0
    for _ in trax.steps(steps):
        i = random.randrange(n)
        flipped = (*bits[:i], 1 - bits[i], *bits[i + 1 :])
        hits += flipped in MEMO
        bits = yield flipped if fitness(flipped) >= fitness(bits) else bits
    print("cache hits:", hits)
    return fitness(bits)


call = lambda: climb(n=9, steps=12)
""",
    ),
    right(
        "shuffled_minibatches_seeded_by_epoch",
        """
import random
import trax

SAMPLES = [(x / 10, 2 * x / 10 + 1) for x in range(12)]


def batches(epoch, size):
    order = list(range(len(SAMPLES)))
    random.Random(epoch).shuffle(order)
    for begin in range(0, len(order), size):
        yield [SAMPLES[i] for i in order[begin : begin + size]]


@trax.resumable(create=lambda: {"a": 0.0, "b": 0.0, "epoch": 0})
def regress(model, epochs, lr=0.1):
    for epoch in range(model["epoch"], epochs):
        a, b = model["a"], model["b"]
        for batch in batches(epoch, size=4):
            for x, y in batch:
                error = a * x + b - y
                a -= lr * error * x
                b -= lr * error
        model = yield {"a": a, "b": b, "epoch": epoch + 1}


call = lambda: regress(epochs=6)
""",
    ),
    right(
        "items_numbered_from_the_state",
        """
import trax

PHOTOS = ["lake.raw", "tree.raw", "cat.raw", "sea.raw", "fog.raw"]


@trax.resumable(create=list, replay_log=lambda done, name: done + [name])
def develop(done, photos):
    with trax.open("index.txt") as index:
        for number, photo in enumerate(trax.remaining(photos), start=len(done) + 1):
            name = f"{number:03}-{photo.removesuffix('.raw')}.png"
            print(number, photo, "->", name, file=index)
            done = yield name


call = lambda: develop(PHOTOS)
""",
    ),
    right(
        "thread_pool_inside_a_step",
        """
from concurrent.futures import ThreadPoolExecutor
import trax


def simulate(case):
    x = case / 10
    for _ in range(20):
        x = 3.6 * x * (1 - x)
    return x


@trax.resumable(create=dict, replay_log=lambda table, new: table | new)
def survey(table, blocks):
    with ThreadPoolExecutor(2) as pool:
        for block in trax.remaining(blocks):
            values = list(pool.map(simulate, block))
            table = yield dict(zip(block, values))
    return len(table)


call = lambda: survey(blocks=[(1, 2), (3, 4), (5, 6), (7, 8)])
""",
    ),
    right(
        "running_mean_welford",
        """
import random
import trax

random.seed(13)


def welford(stats, x):
    n, mean, m2 = stats
    n += 1
    delta = x - mean
    mean += delta / n
    return n, mean, m2 + delta * (x - mean)


@trax.resumable(create=lambda: (0, 0.0, 0.0), replay_log=welford)
def sample_until_precise(stats, target=0.25, least=4, most=12):
    while stats[0] < least or (stats[2] / (stats[0] - 1) / stats[0]) ** 0.5 > target:
        if stats[0] == most:
            break
        stats = yield random.gauss(5, 1)
    return stats[1]


call = lambda: sample_until_precise()
""",
    ),
    right(
        "total_derived_at_the_top_and_kept_up",
        """
import trax


@trax.resumable(create=list, replay_log=lambda taken, item: taken + [item])
def pack(taken, items, limit):
    weight = sum(items[name] for name in taken)
    free = [name for name in sorted(items, key=items.get, reverse=True) if name not in taken]
    for name in free:
        if weight + items[name] > limit:
            continue
        weight += items[name]
        taken = yield name
    return weight


call = lambda: pack(
    items={"tent": 9, "stove": 4, "rope": 6, "map": 1, "boat": 30, "tea": 2}, limit=18
)
""",
    ),
    right(
        "state_changed_and_yielded_itself",
        """
import trax


@trax.resumable(create=dict)
def count_words(counts, lines):
    for i in trax.steps(len(lines)):
        for word in lines[i].lower().split():
            counts[word] = counts.get(word, 0) + 1
        counts = yield dict(counts)
    return max(counts, key=counts.get)


call = lambda: count_words(
    lines=["To be or not to be", "that is the question", "To sleep", "to dream"]
)
""",
    ),
    right(
        "lattice_sweep_with_inner_loops",
        """
import math
import random
import trax

random.seed(77)
N = 5


def flips(spins, beta):
    changed = []
    new = [row[:] for row in spins]
    for y in range(N):
        for x in range(N):
            field = new[y - 1][x] + new[(y + 1) % N][x] + new[y][x - 1] + new[y][(x + 1) % N]
            cost = 2 * new[y][x] * field
            if cost <= 0 or random.random() < math.exp(-beta * cost):
                new[y][x] *= -1
                changed.append((y, x))
    return changed


def apply(spins, changed):
    for y, x in changed:
        spins[y][x] *= -1
    return spins


@trax.resumable(create=lambda: [[1] * N for _ in range(N)], replay_log=apply, every_steps=4)
def ising(spins, sweeps, beta=0.4):
    for _ in trax.steps(sweeps):
        spins = yield flips(spins, beta)
    return sum(map(sum, spins))


call = lambda: ising(sweeps=10)
""",
    ),
    right(
        "lbfgs_history_in_state",
        """
import numpy as np
import trax

A = np.diag([1.0, 4.0, 9.0])


def direction(g, pairs):
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append((s @ q) / (y @ s))
        q -= alphas[-1] * y
    for (s, y), alpha in zip(pairs, reversed(alphas)):
        q += s * (alpha - (y @ q) / (y @ s))
    return -q


@trax.resumable(create=lambda: {"x": np.ones(3), "pairs": []})
def minimise(state, tolerance=1e-3):
    x = state["x"]
    g = A @ x
    while np.linalg.norm(g) > tolerance:
        d = direction(g, state["pairs"])
        t = 1.0
        while 0.5 * (x + t * d) @ A @ (x + t * d) > 0.5 * x @ A @ x + 1e-4 * t * (g @ d):
            t /= 2
        new = x + t * d
        g_new = A @ new
        pairs = [*state["pairs"], (new - x, g_new - g)][-3:]
        state = yield {"x": new, "pairs": pairs}
        x, g = new, g_new


call = lambda: minimise()
""",
    ),
    right(
        "priority_jobs_with_exit_stack",
        """
import contextlib
import trax


@contextlib.contextmanager
def section(name, opened):
    opened.append(name)
    try:
        yield name.upper()
    finally:
        opened.remove(name)


@trax.resumable(create=list, replay_log=lambda done, job: [*done, job])
def work(done, jobs):
    opened = []
    with contextlib.ExitStack() as stack:
        label = stack.enter_context(section("outer", opened))
        for priority, job in sorted(jobs.items())[len(done) :]:
            with section(job, opened) as title:
                if job.startswith("skip"):
                    done = yield None
                    continue
                done = yield f"{label}/{title}/{len(opened)}"
    return [job for job in done if job]


call = lambda: work(jobs={3: "sort", 1: "read", 2: "skip me", 5: "write", 4: "plot"})
""",
    ),
    right(
        "batches_cycled_from_the_step",
        """
import itertools
import trax

BATCHES = [[1.0, 2.0], [0.5, 3.0], [2.5]]


@trax.resumable(create=lambda: (0, 0.0))
def train(state, steps):
    loader = itertools.islice(itertools.cycle(BATCHES), state[0], None)
    while state[0] < steps:
        batch = next(loader)
        step, w = state
        gradient = sum(w - x for x in batch) / len(batch)
        state = yield step + 1, w - 0.3 * gradient


call = lambda: train(steps=10)
""",
    ),
    right(
        "generator_wound_forward",
        """
import random
import trax


@trax.resumable(create=list, replay_log=lambda path, x: path + [x])
def ornstein(path, n, seed=4):
    rng = random.Random(seed)
    for _ in path:
        rng.uniform(-1, 1)
    x = path[-1] if path else 0.0
    while len(path) < n:
        x = 0.8 * x + rng.uniform(-1, 1)
        path = yield x


call = lambda: ornstein(n=9)
""",
    ),
    right(
        "generator_as_an_argument",
        """
import numpy as np
import trax


@trax.resumable(create=lambda: np.zeros(3), replay_log=lambda x, kick: 0.9 * x + kick)
def brownian(x, steps, rng):
    warmest = -np.inf
    for _ in trax.steps(steps):
        kick = rng.normal(size=3)
        warmest = max(warmest, float(kick.max()))
        x = yield kick
    print("largest kick since the start:", warmest)


call = lambda: brownian(steps=8, rng=np.random.default_rng(15))
""",
    ),
    right(
        "best_looked_up_in_the_trials",
        """
import random
import trax

random.seed(27)


def objective(point):
    return (point[0] - 1) ** 2 + (point[1] + 2) ** 2


@trax.resumable(create=list, replay_log=lambda trials, trial: [*trials, trial])
def random_search(trials, budget):
    best, lowest = min(trials, key=lambda trial: trial[1], default=((0.0, 0.0), float("inf")))
    while len(trials) < budget:
        radius = 3.0 if lowest > 4 else 0.5
        point = tuple(b + random.uniform(-radius, radius) for b in best)
        value = objective(point)
        trials = yield point, value
        if value < lowest:
            best, lowest = point, value
    return best, lowest


call = lambda: random_search(budget=12)
""",
    ),
    right(
        "optimiser_object_loaded_from_the_state",
        """
import trax


class Momentum:
    def __init__(self, lr, velocity=0.0):
        self.lr, self.velocity = lr, velocity

    def step(self, w, gradient):
        self.velocity = 0.8 * self.velocity - self.lr * gradient
        return w + self.velocity


@trax.resumable(create=lambda: {"w": 4.0, "velocity": 0.0})
def train(checkpoint, steps):
    optimiser = Momentum(0.1, checkpoint["velocity"])
    w = checkpoint["w"]
    for _ in trax.steps(steps):
        w = optimiser.step(w, 2 * (w - 1))
        checkpoint = yield {"w": w, "velocity": optimiser.velocity}


call = lambda: train(steps=9)
""",
    ),
    right(
        "decimals_set_up_in_the_body",
        """
import decimal
import trax


@trax.resumable(create=lambda: decimal.Decimal(1))
def root_of_two(x, rounds):
    with decimal.localcontext() as context:
        context.prec = 40
        for _ in trax.steps(rounds):
            x = yield (x + 2 / x) / 2
    return str(x)


call = lambda: root_of_two(rounds=7)
""",
    ),
    right(
        "empty_squares_are_a_sentinel_of_the_module",
        """
import trax

EMPTY = object()


class Board:
    def __init__(self, n):
        self.squares = [EMPTY] * n
        self.tries = 0

    def put(self, move):
        place, stone = move
        self.tries += 1
        self.squares[place] = stone
        return self


@trax.resumable(create=Board, replay_log=Board.put, every_steps=2)
def fill(board, n):
    while board.tries < n:
        free = [i for i, square in enumerate(board.squares) if square is EMPTY]
        place = free[(board.tries * 3) % len(free)] if free else 0
        board = yield place, board.tries
    return [place for place, square in enumerate(board.squares) if square is not EMPTY]


call = lambda: fill(n=7)
""",
    ),
    right(
        "pairs_of_what_remains_overlap",
        """
import itertools
import trax

TIDE = [1.0, 1.4, 2.2, 2.9, 2.5, 1.7, 0.8]


@trax.resumable(create=list, replay_log=lambda steps, step: steps + [step])
def differences(steps, levels):
    for before, after in itertools.pairwise(trax.remaining(levels)):
        steps = yield round(after - before, 3)
    return sum(steps)


call = lambda: differences(TIDE)
""",
    ),
    right(
        "array_changed_in_place_and_yielded",
        """
import numpy as np
import trax


@trax.resumable(create=lambda n: {"u": np.linspace(0, 1, n) ** 2, "t": 0})
def smooth(state, n, sweeps):
    while state["t"] < sweeps:
        u = state["u"]
        for i in range(1, n - 1):
            u[i] = 0.5 * (u[i - 1] + u[i + 1])
        state["t"] += 1
        state = yield state
    return float(state["u"].sum())


call = lambda: smooth(n=7, sweeps=8)
""",
    ),
    right(
        "locals_yielded_and_never_taken_back",
        """
import trax


@trax.resumable(create=lambda: (0, 1, 0))
def fibonacci(state, below):
    a, b, count = state
    while b < below:
        a, b = b, a + b
        count += 1
        yield a, b, count
    print("counted", count)


call = lambda: fibonacci(below=200)
""",
    ),
    right(
        "implicit_euler_inner_newton",
        """
import math
import trax


@trax.resumable(create=lambda: [2.0], replay_log=lambda ys, y: ys + [y])
def backward_euler(ys, n, h=0.2):
    total_iterations = 0
    while len(ys) <= n:
        old = ys[-1]
        y, iterations = old, 0
        while abs(residual := y - old + h * math.tanh(y) * y) > 1e-12:
            slope = 1 + h * (math.tanh(y) + y / math.cosh(y) ** 2)
            y -= residual / slope
            iterations += 1
        total_iterations += iterations
        ys = yield y
    print("Newton iterations:", total_iterations)


call = lambda: backward_euler(n=9)
""",
    ),
    right(
        "table_computed_when_first_needed",
        """
import trax

TABLE = None


def binomials():
    global TABLE
    if TABLE is None:
        TABLE = [[1]]
        for n in range(1, 12):
            above = TABLE[-1]
            TABLE.append([1, *(a + b for a, b in zip(above, above[1:])), 1])
    return TABLE


@trax.resumable(create=lambda: [1], replay_log=lambda catalan, c: catalan + [c])
def catalan_numbers(catalan, n):
    while len(catalan) < n:
        k = len(catalan)
        catalan = yield binomials()[k + 2][2] * sum(a * b for a, b in zip(catalan, catalan[::-1]))


call = lambda: catalan_numbers(n=9)
""",
    ),
    right(
        "database_filled_again_from_the_state",
        """
import sqlite3
import trax

MAILS = ["a@x", "b@x", "a@x", "c@y", "b@x", "d@y", "a@x"]


@trax.resumable(create=list, replay_log=lambda seen, entry: [*seen, entry])
def send(seen, mails):
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE seen (mail TEXT PRIMARY KEY)")
    db.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(mail,) for mail, _ in seen])
    try:
        for mail in mails[len(seen) :]:
            cursor = db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (mail,))
            seen = yield mail, cursor.rowcount == 1
    finally:
        db.close()
    return sum(is_new for _, is_new in seen)


call = lambda: send(MAILS)
""",
    ),
    right(
        "async_retry_with_backoff",
        """
import asyncio
import trax

TRIES = {}


async def query(city):
    await asyncio.sleep(0)
    TRIES[city] = TRIES.get(city, 0) + 1
    if TRIES[city] % 3:
        raise OSError("busy")
    return {"city": city, "degrees": len(city) * 3 % 20}


@trax.resumable(create=list, replay_log=lambda weather, report: weather + [report])
async def ask(weather, cities):
    gate = asyncio.Semaphore(2)
    for city in trax.remaining(cities):
        delay = 0.0
        while True:
            try:
                async with gate:
                    report = await query(city)
                break
            except OSError:
                delay = min(0.001, 2 * delay + 0.0001)
                await asyncio.sleep(delay)
        weather = yield report


call = lambda: ask(cities=["Rome", "Lima", "Accra", "Quito"])
""",
    ),
    right(
        "averager_primed_from_the_state",
        """
import trax

SAMPLES = [4.0, 7.0, 1.0, 8.0, 6.0, 3.0]


def averager(values):
    total, n, mean = 0.0, 0, None
    pending = list(values)
    while True:
        value = pending.pop(0) if pending else (yield mean)
        total += value
        n += 1
        mean = total / n


@trax.resumable(create=list, replay_log=lambda seen, value: seen + [value])
def collect(seen, samples):
    average = averager(seen)
    next(average)
    for sample in samples[len(seen) :]:
        clipped = min(sample, 7.5)
        print("mean:", average.send(clipped))
        seen = yield clipped
    return sum(seen) / len(seen)


call = lambda: collect(SAMPLES)
""",
    ),
    right(
        "warm_up_and_sampling_in_one_loop",
        """
import random
import trax

random.seed(23)


class Chain:
    def __init__(self):
        self.x, self.scale, self.draws = 0.0, 1.0, []

    def record(self, outcome):
        self.x, accepted, is_draw = outcome
        if is_draw:
            self.draws.append(self.x)
        else:
            self.scale *= 1.2 if accepted else 0.8
        return self


@trax.resumable(create=Chain, replay_log=Chain.record)
def sample(chain, warm_up, draws):
    for i in trax.steps(warm_up + draws):
        x = chain.x + random.gauss(0, chain.scale)
        accepted = random.random() < min(1, 2 ** (chain.x**2 - x**2))
        chain = yield (x if accepted else chain.x), accepted, i >= warm_up
    return sum(chain.draws) / draws


call = lambda: sample(warm_up=4, draws=7)
""",
    ),
    right(
        "output_rotated_by_the_step",
        """
import trax


@trax.resumable(create=int, replay_log=lambda total, value: total + value)
def export(total, n):
    for i in trax.steps(n):
        with trax.open(f"part-{i // 3}.txt", "a") as file:
            print(i, i * i, file=file)
        total = yield i * i
    return total


call = lambda: export(n=8)
""",
    ),
    right(
        "temporary_file_within_a_step",
        """
import csv
import tempfile
from pathlib import Path
import trax

TABLES = [[(1, 2), (3, 4)], [(5, 6)], [(7, 8), (9, 1), (2, 3)]]


def external_tool(path):
    with open(path, newline="") as file:
        return sum(int(a) * int(b) for a, b in csv.reader(file))


@trax.resumable(create=list, replay_log=lambda sums, value: sums + [value])
def crunch(sums, tables):
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "table.csv")
        for table in trax.remaining(tables):
            with open(path, "w", newline="") as file:
                csv.writer(file).writerows(table)
            sums = yield external_tool(path)


call = lambda: crunch(TABLES)
""",
    ),
    right(
        "views_of_a_mutable_world",
        """
import numpy as np
import trax


class Fluid:
    def __init__(self, n):
        self.u = np.sin(np.linspace(0, 3, n))
        self.p = np.zeros(n)
        self.tick = 0


@trax.resumable(create=Fluid, replay_log=None, every_steps=3)
def flow(fluid, n, ticks):
    u, p = fluid.u, fluid.p
    inner = slice(1, -1)
    while fluid.tick < ticks:
        p[inner] = 0.25 * (u[2:] - u[:-2])
        u[inner] += 0.1 * (p[2:] - p[:-2]) + 0.05 * (u[2:] - 2 * u[inner] + u[:-2])
        fluid.tick += 1
        yield float(u.sum())


call = lambda: flow(n=8, ticks=10)
""",
    ),
    right(
        "protocol_of_events_matched",
        """
from collections import deque
import trax

EVENTS = [
    ("open", 1),
    ("data", 1, 40),
    ("open", 2),
    ("data", 2, 7),
    ("close", 1),
    ("data", 2, 3),
    ("x",),
]


def react(server, effect):
    match effect:
        case ("add", number):
            return {**server, "live": server["live"] | {number: 0}, "at": server["at"] + 1}
        case ("bytes", number, size):
            live = {**server["live"], number: server["live"][number] + size}
            return {**server, "live": live, "at": server["at"] + 1}
        case ("drop", number):
            live = {k: v for k, v in server["live"].items() if k != number}
            return {"live": live, "closed": [*server["closed"], number], "at": server["at"] + 1}
    return {**server, "at": server["at"] + 1}


@trax.resumable(create=lambda: {"live": {}, "closed": [], "at": 0}, replay_log=react)
def serve(server, events):
    inbox = deque(events[server["at"] :])
    unknown = 0
    while inbox:
        match inbox.popleft():
            case ("open", number):
                server = yield "add", number
            case ("data", number, size):
                server = yield "bytes", number, size
            case ("close", number):
                server = yield "drop", number
            case other:
                unknown += 1
                server = yield "ignored", other
    print("unknown events:", unknown)


call = lambda: serve(EVENTS)
""",
    ),
    right(
        "frontier_sorted_before_it_is_used",
        """
import trax

ROADS = {
    "ulm": {"bonn", "kiel"},
    "bonn": {"jena", "ulm"},
    "kiel": {"jena", "hof"},
    "jena": {"hof"},
    "hof": set(),
}


@trax.resumable(create=lambda: [{"ulm"}], replay_log=lambda rings, ring: rings + [ring])
def rings(found, start):
    reached = set().union(*found)
    while found[-1]:
        ring = set()
        for town in sorted(found[-1]):
            ring |= {other for other in ROADS[town] if other not in reached}
        reached |= ring
        found = yield ring
    return {town: i for i, ring in enumerate(found) for town in sorted(ring)}


call = lambda: rings("ulm")
""",
    ),
    right(
        "shards_by_checksum",
        """
import zlib
import trax

USERS = ["ann", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"]


@trax.resumable(create=dict, replay_log=lambda shards, new: shards | new)
def distribute(shards, users, n=3):
    assigned = dict(shards)
    for user in trax.remaining(users):
        assigned[user] = zlib.crc32(user.encode()) % n
        shards = yield {user: assigned[user]}
    return [sum(shard == i for shard in shards.values()) for i in range(n)]


call = lambda: distribute(USERS)
""",
    ),
    right(
        "bounded_cache_in_the_body",
        """
from collections import OrderedDict
import trax


def factors(n):
    return [d for d in range(2, n + 1) if n % d == 0 and all(d % e for e in range(2, d))]


@trax.resumable(create=list, replay_log=lambda seen, row: seen + [row])
def radicals(seen, numbers, capacity=3):
    cache = OrderedDict()
    hits = misses = 0
    for n in trax.remaining(numbers):
        if n in cache:
            hits += 1
            cache.move_to_end(n)
        else:
            misses += 1
            cache[n] = factors(n)
            if len(cache) > capacity:
                cache.popitem(last=False)
        product = 1
        for p in cache[n]:
            product *= p
        seen = yield n, product
    print(f"{hits} hits, {misses} misses")


call = lambda: radicals(numbers=[12, 18, 12, 50, 7, 18, 12, 50])
""",
    ),
    right(
        "position_advanced_with_each_increment",
        """
import trax

READINGS = [3, -1, 4, None, 1, 5, None, -9, 2, 6]


def take(state, found):
    position, value = found
    return {"next": position + 1, "sum": state["sum"] + value}


@trax.resumable(create=lambda: {"next": 0, "sum": 0}, replay_log=take)
def sum_of_valid(state, readings):
    invalid = []
    for position in range(state["next"], len(readings)):
        value = readings[position]
        if value is None or value < 0:
            invalid.append(position)
            continue
        state = yield position, value
    print("ignored:", invalid)
    return state["sum"]


call = lambda: sum_of_valid(READINGS)
""",
    ),
    right(
        "counter_that_starts_at_the_length",
        """
import itertools
import trax


def sensor(begin):
    for i in itertools.count(begin):
        yield 20 + (i * 37 % 11) / 4


@trax.resumable(create=list, replay_log=lambda log, entry: log + [entry])
def record(log, until):
    numbers = itertools.count(len(log) + 1)
    for celsius in sensor(len(log)):
        if len(log) == until:
            break
        log = yield {"number": next(numbers), "kelvin": round(celsius + 273.15, 2)}


call = lambda: record(until=8)
""",
    ),
    right(
        "trend_against_the_day_before",
        """
import trax

PRICES = [10, 11, 12, 11, 9, 10, 12, 13, 11, 12]


def trade(account, order):
    cash, shares, day = account
    amount, price = order
    return cash - amount * price, shares + amount, day + 1


@trax.resumable(create=lambda: (100, 0, 0), replay_log=trade)
def backtest(account, prices):
    last = prices[account[2] - 1] if account[2] else None
    for price in prices[account[2] :]:
        amount = 0
        if last is not None and price > last:
            amount = 1
        elif last is not None and price < last and account[1]:
            amount = -account[1]
        last = price
        account = yield amount, price
    return account[0] + account[1] * prices[-1]


call = lambda: backtest(PRICES)
""",
    ),
    right(
        "burn_in_done_in_create",
        """
import random
import trax

random.seed(6)


def hop(x):
    y = x + random.choice((-1, 1))
    return y if 0 <= y < 10 else x


def burnt_in():
    x = 5
    for _ in range(20):
        x = hop(x)
    return x


@trax.resumable(create=burnt_in)
def chain(x, samples):
    moves = 0
    for _ in trax.steps(samples):
        y = hop(x)
        moves += y != x
        x = yield y
    print("moved", moves, "times")


call = lambda: chain(samples=10)
""",
    ),
    right(
        "agent_loop_with_tools_and_a_summary",
        """
import json
import trax

TOOLS = {"square": lambda x: x * x, "half": lambda x: x / 2}


def model(history):
    last = history[-1]
    if last["role"] == "user":
        return {"role": "assistant", "tool": "square", "arguments": {"x": len(last["text"])}}
    if last["role"] == "tool" and float(last["text"]) > 20:
        return {"role": "assistant", "tool": "half", "arguments": {"x": float(last["text"])}}
    return {"role": "assistant", "text": f"The answer is {last['text']}."}


@trax.resumable(create=list)
def agent(history, prompt, limit=12):
    if not history:
        history = yield [{"role": "user", "text": prompt}]
    for turn in range(len(history), limit):
        reply = model(history)
        new = [*history, reply]
        if name := reply.get("tool"):
            value = TOOLS[name](**reply["arguments"])
            new.append({"role": "tool", "text": json.dumps(value)})
        history = yield new
        if "text" in reply:
            print("answered in turn", turn)
            break
        if len(history) > limit:
            break
    return history[-1]["text"]


call = lambda: agent("What is the size?")
""",
    ),
    right(
        "static_method_on_a_ring",
        """
import trax


class Automaton:
    RULE = 110

    @staticmethod
    def seed(width):
        return "0" * (width - 1) + "1"

    @trax.resumable(create=lambda width: Automaton.seed(width), name="rule-{width}")
    @staticmethod
    def run(row, width, generations):
        rule = {f"{i:03b}": str(Automaton.RULE >> i & 1) for i in range(8)}
        for _ in trax.steps(generations):
            ring = row[-1] + row + row[0]
            row = yield "".join(rule[ring[i : i + 3]] for i in range(width))


call = lambda: Automaton.run(width=12, generations=8)
""",
    ),
    right(
        "poisson_with_a_seed_for_each_cell",
        """
import numpy as np
import trax


@trax.resumable(create=lambda: np.zeros((3, 4)), replay_log=lambda image, spot: image + spot)
def expose(image, frames, seed=9):
    rows, columns = np.indices(image.shape)
    brightness = 1 + np.exp(-((rows - 1) ** 2) - (columns - 2) ** 2)
    for frame in trax.steps(frames):
        rng = np.random.default_rng([seed, frame])
        photons = rng.poisson(brightness)
        dark = rng.normal(0.0, 0.1, size=image.shape)
        image = yield photons + dark
        if not np.isfinite(image).all():
            raise ValueError(f"frame {frame} is broken")
    return image.round(4).tolist()


call = lambda: expose(frames=6)
""",
    ),
    right(
        "progress_by_the_clock",
        """
import sys
import time
import trax


class Spinner:
    def __init__(self):
        self.turn, self.last = 0, time.monotonic()

    def tick(self, text):
        self.turn += 1
        if time.monotonic() - self.last > 0.001:
            self.last = time.monotonic()
            sys.stdout.write(f"{'-/|'[self.turn % 3]} {text}\\n")


@trax.resumable(create=lambda: 27)
def collatz(n):
    spinner = Spinner()
    visited = []
    while n > 100 or n % 4:
        if n % 2:
            n = yield 3 * n + 1
        else:
            n = yield n // 2
        visited.append(n)
        spinner.tick(f"{len(visited)} numbers, the largest is {max(visited)}")


call = lambda: collatz()
""",
    ),
    right(
        "recursive_search_between_yields",
        """
import trax

SQUARES = 5


def solve(queens):
    row = len(queens)
    if row == SQUARES:
        yield tuple(queens)
    for column in range(SQUARES):
        if all(column != c and abs(column - c) != row - r for r, c in enumerate(queens)):
            queens.append(column)
            yield from solve(queens)
            queens.pop()


@trax.resumable(create=list, replay_log=lambda found, solution: found + [solution])
def all_queens(found, first_columns):
    for solution in trax.remaining(solve([])):
        mirrored = tuple(SQUARES - 1 - column for column in solution)
        found = yield min(solution, mirrored)
    return sorted(set(found))


call = lambda: all_queens(first_columns=SQUARES)
""",
    ),
    wrong(
        "warm_up_counted_in_a_local",
        "the count of iterations, and with it the learning rate, begins at zero again",
        """
import numpy as np
import trax


@trax.resumable(create=lambda dim: np.zeros(dim))
def train(w, dim, steps, warm_up=5):
    target = np.linspace(-1, 1, dim)
    iteration = 0
    for _ in trax.steps(steps):
        iteration += 1
        lr = 0.3 * min(1.0, iteration / warm_up)
        w = yield w - lr * (w - target)


call = lambda: train(dim=4, steps=10)
""",
    ),
    wrong(
        "adam_moments_beside_the_state",
        "both moments and the time step of Adam are local, so the optimiser restarts cold",
        """
import numpy as np
import trax


@trax.resumable(create=lambda: np.array([3.0, -2.0]), replay_log=lambda w, step: w - step)
def fit(w, epochs, lr=0.1, b1=0.9, b2=0.99):
    m = np.zeros_like(w)
    v = np.zeros_like(w)
    for epoch in trax.steps(epochs):
        g = 2 * w * np.array([1.0, 10.0])
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        m_hat = m / (1 - b1 ** (epoch + 1))
        v_hat = v / (1 - b2 ** (epoch + 1))
        w = yield lr * m_hat / (np.sqrt(v_hat) + 1e-8)


call = lambda: fit(epochs=10)
""",
    ),
    wrong(
        "epochs_from_zero_again",
        "range starts at the first epoch again: epochs are done twice",
        """
import trax


def run_epoch(weights, epoch):
    return [round(w + 0.1 * (epoch + 1) * (i - w), 6) for i, w in enumerate(weights)]


@trax.resumable(create=lambda: [0.0, 0.0, 0.0])
def train(weights, epochs):
    for epoch in range(epochs):
        weights = yield run_epoch(weights, epoch)
    return sum(weights)


call = lambda: train(epochs=8)
""",
    ),
    wrong(
        "cross_validation_folds_again",
        "the folds start at the first again, and their scores are appended a second time",
        """
import trax

DATA = [x * x % 17 for x in range(30)]


@trax.resumable(create=list, replay_log=lambda scores, score: scores + [score])
def cross_validate(scores, k):
    size = len(DATA) // k
    for fold in range(k):
        test = DATA[fold * size : (fold + 1) * size]
        train = DATA[: fold * size] + DATA[(fold + 1) * size :]
        guess = sum(train) / len(train)
        scores = yield sum((y - guess) ** 2 for y in test) / size
    return sum(scores) / len(scores)


call = lambda: cross_validate(k=6)
""",
    ),
    wrong(
        "early_stopping_forgets_the_best",
        "best and patience are local, so a resumed training stops at another epoch",
        """
import math
import trax

LOSSES = [0.9, 0.5, 0.4, 0.45, 0.43, 0.42, 0.41, 0.39, 0.5, 0.3]


@trax.resumable(create=list, replay_log=lambda seen, loss: seen + [loss])
def train(seen, patience=4):
    best, waited = math.inf, 0
    while len(seen) < len(LOSSES):
        loss = LOSSES[len(seen)]
        seen = yield loss
        if loss < best:
            best, waited = loss, 0
        else:
            waited += 1
            if waited >= patience:
                print("stopped early")
                break
    return best


call = lambda: train()
""",
    ),
    wrong(
        "plateau_scheduler_object",
        "the scheduler is an object of the body, and its rate is full again after a crash",
        """
import trax


class ReduceOnPlateau:
    def __init__(self, lr, factor=0.5):
        self.lr, self.factor, self.last = lr, factor, None

    def step(self, loss):
        if self.last is not None and loss > 0.6 * self.last:
            self.lr *= self.factor
        self.last = loss


@trax.resumable(create=lambda: 8.0)
def train(w, steps):
    scheduler = ReduceOnPlateau(lr=0.9)
    for _ in trax.steps(steps):
        loss = w * w
        w = yield w - scheduler.lr * 2 * w
        scheduler.step(loss)


call = lambda: train(steps=8)
""",
    ),
    wrong(
        "step_size_of_an_adaptive_integrator",
        "the step size that the error control has found is lost",
        """
import trax


def f(t, y):
    return -5 * y + t


@trax.resumable(create=lambda: (0.0, 1.0))
def integrate(state, end, tol=1e-4):
    h = 0.2
    t, y = state
    while t < end:
        h = min(h, end - t)
        k1 = f(t, y)
        k2 = f(t + h, y + h * k1)
        error = abs(h * (k2 - k1) / 2)
        if error > tol:
            h *= 0.7
            continue
        t, y = yield t + h, y + h * (k1 + k2) / 2
        if error < tol / 4:
            h *= 1.3


call = lambda: integrate(end=0.12)
""",
    ),
    wrong(
        "velocities_not_in_the_state",
        "only the positions are declared; the velocities are those of the start again",
        """
import numpy as np
import trax


def ring(n):
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@trax.resumable(create=ring)
def simulate(x, n, steps, dt=0.02):
    v = np.zeros_like(x)
    v[:, 0] = 0.1
    for _ in trax.steps(steps):
        a = -x
        v += dt * a
        x = yield x + dt * v
    return float(np.abs(v).max())


call = lambda: simulate(n=5, steps=9)
""",
    ),
    wrong(
        "adams_bashforth_previous_slope",
        "the slope of the step before is lost, so the first resumed step is an Euler step",
        """
import math
import trax


def slope(t, y):
    return math.cos(t) - y


@trax.resumable(create=lambda: (0.0, 0.0))
def solve(state, n, h=0.1):
    previous = None
    for _ in trax.steps(n):
        t, y = state
        now = slope(t, y)
        if previous is None:
            y += h * now
        else:
            y += h * (1.5 * now - 0.5 * previous)
        previous = now
        state = yield t + h, y


call = lambda: solve(n=9)
""",
    ),
    wrong(
        "stoermer_previous_position",
        "the position before the last is made from the first velocity again",
        """
import trax


@trax.resumable(create=lambda: 1.0)
def oscillate(x, steps, k=2.0, v0=0.3, dt=0.1):
    x_old = x - v0 * dt
    for _ in trax.steps(steps):
        x_new = 2 * x - x_old - k * x * dt * dt
        x_old = x
        x = yield x_new


call = lambda: oscillate(steps=10)
""",
    ),
    wrong(
        "metropolis_density_of_nothing",
        "the density of the present point is unknown, so the first proposal is accepted",
        """
import math
import random
import trax

random.seed(8)


def log_density(x):
    return -8 * (x - 1) ** 2


@trax.resumable(create=lambda: [1.0], replay_log=lambda chain, x: chain + [x])
def sample(chain, n):
    current = -math.inf
    for _ in trax.steps(n):
        x = chain[-1] + random.gauss(0, 2)
        density = log_density(x)
        if random.random() < math.exp(min(0, density - current)):
            current = density
            chain = yield x
        else:
            chain = yield chain[-1]


call = lambda: sample(n=12)
""",
    ),
    wrong(
        "sampler_with_its_own_generator",
        "the generator is seeded in the body, so a resumed chain draws the first numbers again",
        """
import random
import trax


@trax.resumable(create=lambda: 0.0, replay_log=lambda x, jump: x + jump)
def walk(x, steps, seed=1):
    rng = random.Random(seed)
    for _ in trax.steps(steps):
        jump = rng.gauss(0, 1)
        while abs(x + jump) > 3:
            jump = rng.gauss(0, 1)
        x = yield jump


call = lambda: walk(steps=12)
""",
    ),
    wrong(
        "seed_at_the_top_of_the_body",
        "the global generator is seeded each time the body begins",
        """
import random
import trax


@trax.resumable(create=list, replay_log=lambda hands, hand: hands + [hand])
def deal(hands, rounds):
    random.seed(42)
    deck = [f"{rank}{suit}" for suit in "CDHS" for rank in range(1, 14)]
    for _ in trax.steps(rounds):
        hands = yield sorted(random.sample(deck, 3))
    return hands[-1]


call = lambda: deal(rounds=8)
""",
    ),
    wrong(
        "generator_inside_a_helper_object",
        "the proposal object holds a NumPy generator and is made anew",
        """
import numpy as np
import trax


class Proposal:
    def __init__(self, scale, seed):
        self.scale = scale
        self.generator = np.random.default_rng(seed)

    def __call__(self, x):
        return x + self.scale * self.generator.standard_normal(x.shape)


@trax.resumable(create=lambda: np.zeros(2))
def explore(x, steps):
    propose = Proposal(0.5, seed=3)
    for _ in trax.steps(steps):
        y = propose(x)
        x = yield y if y @ y < 4 else x


call = lambda: explore(steps=10)
""",
    ),
    wrong(
        "stream_of_noise_from_a_helper",
        "the helper generator and its RNG start from the beginning while the steps go on",
        """
import random
import trax


def noise(seed):
    rng = random.Random(seed)
    value = 0.0
    while True:
        value = 0.9 * value + rng.gauss(0, 0.1)
        yield value


@trax.resumable(create=lambda: 20.0)
def thermostat(temperature, n):
    for _, disturbance in zip(trax.steps(n), noise(6)):
        heating = 0.5 if temperature < 20 else 0.0
        temperature = yield temperature + heating - 0.2 + disturbance


call = lambda: thermostat(n=10)
""",
    ),
    wrong(
        "annealing_cools_from_hot_again",
        "the temperature is multiplied in a local variable and is hot again after a crash",
        """
import math
import random
import trax

random.seed(14)


def energy(x):
    return math.sin(3 * x) + 0.1 * x * x


@trax.resumable(create=lambda: 4.0)
def anneal(x, steps):
    temperature = 5.0
    for _ in trax.steps(steps):
        trial = x + random.uniform(-1, 1)
        change = energy(trial) - energy(x)
        if change > 0 and random.random() > math.exp(-change / temperature):
            trial = x
        temperature *= 0.5
        x = yield trial
    return energy(x)


call = lambda: anneal(steps=12)
""",
    ),
    wrong(
        "annealing_returns_a_local_best",
        "the best tour that was ever seen is local; a resumed run returns the best since the crash",
        """
import random
import trax

random.seed(2)
LIMITS = (-10, 10)


def cost(x):
    return (x * x - 10) ** 2 % 23


@trax.resumable(create=lambda: 0)
def wander(x, steps):
    best = x
    for _ in trax.steps(steps):
        x = yield max(LIMITS[0], min(LIMITS[1], x + random.choice((-2, -1, 1, 2))))
        if cost(x) < cost(best):
            best = x
    return best, cost(best)


call = lambda: wander(steps=12)
""",
    ),
    wrong(
        "tabu_list_in_a_deque",
        "the list of forbidden moves is empty after a crash",
        """
from collections import deque
import trax

VALUES = [4, -2, 7, 1, -5, 3]


def score(bits):
    return sum(v for v, b in zip(VALUES, bits) if b) - 3 * abs(sum(bits) - 3)


@trax.resumable(create=lambda: (0,) * 6)
def tabu_search(bits, steps):
    tabu = deque(maxlen=3)
    for _ in trax.steps(steps):
        moves = [i for i in range(6) if i not in tabu]
        flipped = {i: (*bits[:i], 1 - bits[i], *bits[i + 1 :]) for i in moves}
        best = max(moves, key=lambda i: score(flipped[i]))
        tabu.append(best)
        bits = yield flipped[best]


call = lambda: tabu_search(steps=9)
""",
    ),
    wrong(
        "hall_of_fame_feeds_the_population",
        "the champions that are put back into the population are forgotten",
        """
import random
import trax

random.seed(31)


def fitness(genome):
    return -sum((g - 3) ** 2 for g in genome)


@trax.resumable(create=lambda: [[random.randint(0, 6) for _ in range(4)] for _ in range(6)])
def evolve(population, generations):
    fame = []
    for generation in trax.steps(generations):
        fame.append(max(population, key=fitness))
        fame.sort(key=fitness, reverse=True)
        parents = fame[:2] + random.sample(population, 2)
        population = yield [
            [
                random.choice(pair) + random.choice((-1, 0, 0, 1))
                for pair in zip(*random.sample(parents, 2))
            ]
            for _ in population
        ]
    return fame[0]


call = lambda: evolve(generations=8)
""",
    ),
    wrong(
        "kmeans_stops_one_round_late",
        "the labels of the round before are lost, so a converged run does another round",
        """
import numpy as np
import trax

X = np.random.default_rng(0).normal(size=(40, 2)) + np.repeat([[0, 0], [3, 0]], 20, axis=0)


@trax.resumable(create=lambda: [X[:2].copy()], replay_log=lambda past, c: past + [c])
def kmeans(past):
    old = None
    while True:
        labels = np.linalg.norm(X[:, None] - past[-1], axis=2).argmin(axis=1)
        if old is not None and (labels == old).all():
            break
        old = labels
        past = yield np.array([X[labels == j].mean(axis=0) for j in (0, 1)])
    return len(past)


call = lambda: kmeans()
""",
    ),
    wrong(
        "power_iteration_previous_value",
        "the eigenvalue of the step before is unknown, so convergence is seen a step late",
        """
import numpy as np
import trax

M = np.array([[4.0, 1.0], [1.0, 3.0]])


@trax.resumable(create=lambda: np.array([1.0, 0.0]))
def dominant(v, tolerance=1e-4):
    last = float("inf")
    while True:
        w = M @ v
        value = float(v @ w)
        if abs(value - last) < tolerance:
            return value
        last = value
        v = yield w / np.linalg.norm(w)


call = lambda: dominant()
""",
    ),
    wrong(
        "hits_counted_beside_the_state",
        "the count that becomes the result is local and begins at zero again",
        """
import random
import trax

random.seed(10)


@trax.resumable(create=int, replay_log=lambda tried, n: tried + n)
def estimate_pi(tried, batches, size=50):
    inside = 0
    for _ in trax.steps(batches):
        for _ in range(size):
            x, y = random.random(), random.random()
            inside += x * x + y * y <= 1
        tried = yield size
    return 4 * inside / tried


call = lambda: estimate_pi(batches=8)
""",
    ),
    wrong(
        "bandit_pulls_not_stored",
        "the numbers of pulls are ones again, and the averages move too fast",
        """
import random
import trax

random.seed(55)
ARMS = (0.3, 0.6, 0.4)


def reward(arm):
    return float(random.random() < ARMS[arm])


@trax.resumable(create=lambda: [0.5, 0.5, 0.5])
def epsilon_greedy(values, rounds, epsilon=0.3):
    pulls = [1] * len(values)
    for _ in trax.steps(rounds):
        if random.random() < epsilon:
            arm = random.randrange(len(values))
        else:
            arm = values.index(max(values))
        pulls[arm] += 1
        new = values.copy()
        new[arm] += (reward(arm) - new[arm]) / pulls[arm]
        values = yield new


call = lambda: epsilon_greedy(rounds=12)
""",
    ),
    wrong(
        "kalman_variance_local",
        "the variance of the estimate is large again, and so is the gain",
        """
import trax

READINGS = [1.2, 0.9, 1.1, 1.4, 0.8, 1.05, 1.15]


@trax.resumable(create=lambda: [0.0], replay_log=lambda path, x: path + [x])
def smooth(path, readings, q=0.01, r=0.5):
    variance = 100.0
    for z in trax.remaining(readings):
        variance += q
        gain = variance / (variance + r)
        variance *= 1 - gain
        path = yield path[-1] + gain * (z - path[-1])
    return path[-1]


call = lambda: smooth(READINGS)
""",
    ),
    wrong(
        "event_heap_in_the_body",
        "the heap of coming events is that of the start again",
        """
import heapq
import random
import trax

random.seed(19)


@trax.resumable(create=lambda: {"clock": 0.0, "served": 0})
def shop(stats, customers):
    events = [(random.expovariate(1), n) for n in range(3)]
    heapq.heapify(events)
    while stats["served"] < customers:
        time, who = heapq.heappop(events)
        heapq.heappush(events, (time + random.expovariate(1), who + 3))
        stats = yield {"clock": time, "served": stats["served"] + 1}


call = lambda: shop(customers=9)
""",
    ),
    wrong(
        "crawler_with_a_local_seen_set",
        "the frontier and the set of seen pages are local; pages are fetched again",
        """
import trax

LINKS = {
    "home": ["blog", "shop"],
    "blog": ["post", "home"],
    "shop": ["cart"],
    "post": ["cart"],
    "cart": [],
}


def fetch(page):
    return LINKS[page]


@trax.resumable(create=list, replay_log=lambda pages, page: pages + [page])
def crawl(pages, start):
    frontier, seen = [start], {start}
    while frontier:
        page = frontier.pop(0)
        for link in fetch(page):
            if link not in seen:
                seen.add(link)
                frontier.append(link)
        pages = yield page, len(seen)


call = lambda: crawl("home")
""",
    ),
    wrong(
        "page_token_starts_empty",
        "the token of the next page is local; the first pages are downloaded and stored twice",
        """
import trax

ROWS = list(range(100, 122))


def list_objects(token=None, size=4):
    begin = int(token or 0)
    end = begin + size
    return {"rows": ROWS[begin:end], "token": str(end) if end < len(ROWS) else None}


@trax.resumable(create=list, replay_log=lambda rows, page: rows + page)
def download(rows):
    token = None
    while True:
        answer = list_objects(token)
        rows = yield answer["rows"]
        token = answer["token"]
        if token is None:
            break
    return len(rows)


call = lambda: download()
""",
    ),
    wrong(
        "agent_remembers_only_answers",
        "the conversation is local, the state holds the answers alone",
        """
import trax


def chat(messages):
    words = sum(len(m["content"].split()) for m in messages)
    return {"role": "assistant", "content": f"answer with {words} words before it"}


@trax.resumable(create=list, replay_log=lambda answers, text: answers + [text])
def interview(answers, questions):
    messages = [{"role": "system", "content": "You are terse."}]
    for question in trax.remaining(questions):
        messages.append({"role": "user", "content": question})
        reply = chat(messages)
        messages.append(reply)
        answers = yield reply["content"]


call = lambda: interview(
    questions=["Who are you?", "Why is the sky blue?", "Is it?", "Thanks a lot."]
)
""",
    ),
    wrong(
        "agent_appends_to_the_state_itself",
        "the user's messages are appended by the body, and a replay knows only the replies",
        """
import trax


def model(messages):
    return {"role": "assistant", "content": str(len(messages) * 10)}


def add(messages, message):
    messages.append(message)
    return messages


@trax.resumable(create=list, replay_log=add)
def agent(messages, tasks):
    for task in trax.remaining(tasks):
        messages.append({"role": "user", "content": task})
        messages = yield model(messages)
    return [m["content"] for m in messages]


call = lambda: agent(tasks=["plan", "search", "write", "check"])
""",
    ),
    wrong(
        "visited_set_updated_outside_of_replay",
        "the body adds to the state's set, which no increment tells",
        """
import trax

GRAPH = {1: [2, 3], 2: [4], 3: [4, 5], 4: [6, 1], 5: [6, 7], 6: [], 7: [8], 8: [1]}


class Search:
    def __init__(self):
        self.stack, self.visited, self.order = [1], set(), []

    def push(self, found):
        node, following = found
        self.order.append(node)
        self.stack.extend(following)
        return self


@trax.resumable(create=Search, replay_log=Search.push)
def depth_first(search):
    while search.stack:
        node = search.stack.pop()
        if node in search.visited:
            continue
        search.visited.add(node)
        search = yield node, [n for n in GRAPH[node] if n not in search.visited]
    return search.order


call = lambda: depth_first()
""",
    ),
    wrong(
        "csv_written_with_plain_open",
        "the file is emptied when the body begins again",
        """
import csv
import trax


@trax.resumable(create=lambda: 1.0)
def decay(x, n):
    with open("decay.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "x"])
        for i in trax.steps(n):
            x = yield x * 0.9
            writer.writerow([i, round(x, 6)])


call = lambda: decay(n=6)
""",
    ),
    wrong(
        "json_lines_appended_with_plain_open",
        "a line that was appended before a crash in its step is appended again",
        """
import json
import trax


def measure(i):
    return {"sensor": i, "volts": round(1.5 + i * i % 5 / 10, 2)}


@trax.resumable(create=int, replay_log=lambda n, row: n + 1)
def record(n, sensors):
    while n < sensors:
        row = measure(n)
        with open("rows.jsonl", "a") as file:
            file.write(json.dumps(row) + "\\n")
        n = yield row


call = lambda: record(sensors=6)
""",
    ),
    wrong(
        "output_written_after_the_yield",
        "a line is written after the yield, and that code is not run again for the last step",
        """
import trax


@trax.resumable(create=lambda: (1, 1), replay_log=lambda pair, new: (pair[1], new))
def fibonacci(pair, n):
    with trax.open("fibonacci.txt") as file:
        for i in trax.steps(n):
            pair = yield pair[0] + pair[1]
            print(i, pair[1], file=file)


call = lambda: fibonacci(n=8)
""",
    ),
    wrong(
        "header_written_each_time",
        "the header stands at the top of the body, so a resumed run writes it into the middle",
        """
import trax


@trax.resumable(create=float, replay_log=lambda total, x: total + x)
def integrate(total, n):
    with trax.open("integral.dat") as file:
        file.write("# i  total\\n")
        dx = 1 / n
        for i in trax.steps(n):
            part = ((i + 0.5) * dx) ** 2 * dx
            file.write(f"{i}  {total + part:.6f}\\n")
            total = yield part


call = lambda: integrate(n=8)
""",
    ),
    wrong(
        "rows_buffered_before_they_are_written",
        "rows that wait in a local list for the next flush are lost",
        """
import trax


@trax.resumable(create=list, replay_log=lambda done, word: done + [word])
def translate(done, words):
    buffer = []
    with trax.open("translated.txt") as file:
        for word in trax.remaining(words):
            buffer.append(word[::-1])
            if len(buffer) == 3:
                file.write("\\n".join(buffer) + "\\n")
                buffer.clear()
            done = yield word
        file.write("\\n".join(buffer))


call = lambda: translate(words=["stressed", "live", "tram", "deer", "peels", "loop", "spam"])
""",
    ),
    wrong(
        "inbox_file_moved_before_the_yield",
        "the input is moved before the step is stored; after a crash in between it is missed",
        """
import os
import trax

if not os.path.isdir("inbox"):
    os.makedirs("inbox")
    os.makedirs("done")
    for i in range(5):
        with open(f"inbox/{i}.txt", "w") as file:
            file.write("x" * (i + 1))


@trax.resumable(create=dict, replay_log=lambda sizes, new: sizes | new)
def process(sizes):
    while names := sorted(os.listdir("inbox")):
        name = names[0]
        with open(f"inbox/{name}") as file:
            size = len(file.read())
        os.rename(f"inbox/{name}", f"done/{name}")
        sizes = yield {name: size}
    return sum(sizes.values())


call = lambda: process()
""",
    ),
    wrong(
        "lines_of_a_log_from_the_first_again",
        "the file is read from its first line again and counted twice",
        """
from collections import Counter
from pathlib import Path
import trax

Path("server.log").write_text("\\n".join(f"{200 + 4 * (i % 3)} /page{i % 4}" for i in range(10)))


def count(codes, code):
    codes[code] += 1
    return codes


@trax.resumable(create=Counter, replay_log=count)
def statistics(codes, path):
    with open(path) as file:
        for line in file:
            code, _, page = line.partition(" ")
            if not page.strip():
                continue
            codes = yield int(code)


call = lambda: statistics("server.log")
""",
    ),
    wrong(
        "enumerate_over_what_remains",
        "the numbers of the remaining items begin at zero again, so names are given twice",
        """
import trax


@trax.resumable(create=dict, replay_log=lambda table, row: table | row)
def label(table, images):
    for number, image in enumerate(trax.remaining(images)):
        kind = "wide" if len(image) > 4 else "tall"
        table = yield {f"{kind}-{number:02}": image}
    return sorted(table)


call = lambda: label(images=["dune", "forest", "sea", "harbour", "mill"])
""",
    ),
    wrong(
        "skipped_items_are_no_steps",
        "items that are passed over without a yield are not counted, so others come twice",
        """
import trax


@trax.resumable(create=list, replay_log=lambda roots, root: roots + [root])
def roots(found, numbers):
    for number in trax.remaining(numbers):
        if number < 0:
            print("skipping", number)
            continue
        found = yield round(number**0.5, 4)
    return len(found)


call = lambda: roots(numbers=[4, -1, 9, -7, 16, 2, -3, 25])
""",
    ),
    wrong(
        "two_yields_for_one_number",
        "each number yields twice, and trax.steps counts increments",
        """
import trax


@trax.resumable(create=lambda: {"x": 1.0, "y": 0.0}, replay_log=lambda s, change: {**s, **change})
def alternate(state, sweeps):
    for i in trax.steps(sweeps):
        state = yield {"x": 0.5 * (state["y"] + i)}
        state = yield {"y": 0.5 * (state["x"] - i)}
    return state["x"] + state["y"]


call = lambda: alternate(sweeps=5)
""",
    ),
    refused(
        "warm_up_and_sampling_each_with_steps",
        "trax.steps is called for two phases, and the count of the first is used in the second",
        """
import random
import trax

random.seed(23)


@trax.resumable(create=lambda: [0.0], replay_log=lambda chain, x: chain + [x])
def sample(chain, warm_up, draws):
    for _ in trax.steps(warm_up):
        chain = yield chain[-1] * 0.5 + random.gauss(0, 1)
    for _ in trax.steps(draws):
        chain = yield chain[-1] * 0.9 + random.gauss(0, 0.1)
    return sum(chain[warm_up:]) / draws


call = lambda: sample(warm_up=3, draws=6)
""",
    ),
    wrong(
        "burn_in_on_every_start",
        "the flag that the burn-in is done is local, so each process burns in again",
        """
import random
import trax

random.seed(6)


def hop(x):
    y = x + random.choice((-1, 1))
    return y if 0 <= y < 10 else x


@trax.resumable(create=lambda: 5)
def chain(x, samples):
    burnt_in = False
    for _ in trax.steps(samples):
        if not burnt_in:
            for _ in range(20):
                x = hop(x)
            burnt_in = True
        x = yield hop(x)


call = lambda: chain(samples=10)
""",
    ),
    wrong(
        "previous_base_across_windows",
        "the last base of the window before is unknown after a crash",
        """
import trax

READ = "ACGCGTTACGCGGCATCGCGATCGCGTA"


@trax.resumable(create=list, replay_log=lambda counts, n: counts + [n])
def count_cpg(counts, read, size=4):
    previous = ""
    for window in trax.remaining([read[i : i + size] for i in range(0, len(read), size)]):
        n = 0
        for base in window:
            n += previous == "C" and base == "G"
            previous = base
        counts = yield n
    return sum(counts)


call = lambda: count_cpg(READ)
""",
    ),
    wrong(
        "dp_table_local_row_number_stored",
        "the state is the number of the row, but the table itself is local",
        """
import trax

WEIGHTS, VALUES = (3, 4, 2, 5, 1), (30, 50, 15, 70, 9)


@trax.resumable(create=lambda capacity: (0, 0))
def knapsack(progress, capacity):
    best = [0] * (capacity + 1)
    while progress[0] < len(WEIGHTS):
        item = progress[0]
        for room in range(capacity, WEIGHTS[item] - 1, -1):
            best[room] = max(best[room], best[room - WEIGHTS[item]] + VALUES[item])
        progress = yield item + 1, best[capacity]
    return best[capacity]


call = lambda: knapsack(capacity=9)
""",
    ),
    wrong(
        "customer_ids_from_a_local_counter",
        "the next id begins at one again and is given twice",
        """
import trax

NAMES = ["ann", "bob", "eve", "dan", "joe"]


@trax.resumable(create=dict, replay_log=lambda table, row: table | row)
def assign(table, names):
    next_id = 1
    for name in names:
        if name in table:
            continue
        row = {"id": next_id, "mail": f"{name}@example.org"}
        next_id += 1
        table = yield {name: row}


call = lambda: assign(NAMES)
""",
    ),
    wrong(
        "ids_from_a_class_counter",
        "the counter of the class is zero in a new process",
        """
import itertools
import trax


class Agent:
    numbers = itertools.count(1)

    def __init__(self, energy):
        self.name = f"agent{next(Agent.numbers)}"
        self.energy = energy


def live(agents, change):
    born, dead = change
    return [a for a in agents if a.name not in dead] + born


@trax.resumable(create=lambda: [Agent(5), Agent(8)])
def ecosystem(agents, rounds):
    for i in trax.steps(rounds):
        for agent in agents:
            agent.energy -= 2
        born = [Agent(4 + i)] if i % 2 else []
        agents = yield live(agents, (born, {a.name for a in agents if a.energy <= 0}))
    return [agent.name for agent in agents]


call = lambda: ecosystem(rounds=8)
""",
    ),
    wrong(
        "module_counter_sets_the_penalty",
        "a variable of the module counts the evaluations, and the objective depends on it",
        """
import trax

EVALUATIONS = 0


def objective(x):
    global EVALUATIONS
    EVALUATIONS += 1
    penalty = 0.1 * EVALUATIONS
    return (x - 2) ** 2 + penalty * max(0, x - 1.5)


@trax.resumable(create=lambda: (0.0, 1.0))
def pattern_search(state, rounds):
    for _ in trax.steps(rounds):
        x, step = state
        best = min((x - step, x, x + step), key=objective)
        state = yield (best, step) if best != x else (x, step / 2)


call = lambda: pattern_search(rounds=11)
""",
    ),
    wrong(
        "list_as_a_default_argument",
        "the default list of the helper remembers the past within a process only",
        """
import trax


def smoothed(value, window=[]):
    window.append(value)
    del window[:-3]
    return sum(window) / len(window)


@trax.resumable(create=list, replay_log=lambda track, point: track + [point])
def follow(track, heights):
    for height in trax.remaining(heights):
        track = yield round(smoothed(height), 3)


call = lambda: follow(heights=[3, 8, 4, 9, 2, 7, 6])
""",
    ),
    wrong(
        "nonlocal_velocity_in_a_factory",
        "the velocity of the swarm lives in the closure and is zero again",
        """
import trax


def make_update(inertia):
    velocity = 0.0

    def update(x, best):
        nonlocal velocity
        velocity = inertia * velocity + 0.5 * (best - x)
        return x + velocity

    return update


update = make_update(0.8)


@trax.resumable(create=lambda: -4.0)
def swarm(x, steps, best=1.0):
    for _ in trax.steps(steps):
        x = yield update(x, best)


call = lambda: swarm(steps=10)
""",
    ),
    wrong(
        "attribute_of_self_updated_by_the_method",
        "the method adapts an attribute of its object, which every script makes anew",
        """
import trax


class Tuner:
    def __init__(self, width):
        self.width = width

    def start(self):
        return 9.0

    @trax.resumable(create=start)
    def search(self, x, steps):
        for _ in trax.steps(steps):
            left, right = x - self.width, x + self.width
            better = min((left, x, right), key=lambda z: (z - 1) ** 2)
            if better == x:
                self.width /= 3
            x = yield better


call = lambda: Tuner(width=3.0).search(steps=9)
""",
    ),
    wrong(
        "work_list_argument_is_consumed",
        "the list that the caller passes is popped, and is full again in the next process",
        """
import trax


@trax.resumable(create=dict, replay_log=lambda built, new: built | new, varying="packages")
def build(built, packages):
    while packages:
        package = packages.pop()
        version = len(built) + 1
        if package.startswith("lib") and len(packages) > 2:
            packages.insert(0, package.removeprefix("lib"))
        built = yield {package: version}
    return sorted(built.items())


call = lambda: build(packages=["app", "libcore", "docs", "libnet", "tests"])
""",
    ),
    wrong(
        "frontier_grows_while_it_remains",
        "trax.remaining passes over what was done, and what this had appended is lost",
        """
import trax

TREE = {"root": ["a", "b"], "a": ["c", "d"], "b": ["e"], "c": [], "d": ["f"], "e": [], "f": []}


@trax.resumable(create=list, replay_log=lambda order, node: order + [node])
def breadth_first(order, start):
    queue = [start]

    def nodes():
        while queue:
            yield queue.pop(0)

    for node in trax.remaining(nodes()):
        queue.extend(TREE[node])
        order = yield node
    return order


call = lambda: breadth_first("root")
""",
    ),
    wrong(
        "stale_part_of_the_state",
        "the weights are taken from the state once, and a resumed body takes newer ones",
        """
import trax


def update(model, gradient):
    weights = [w - 0.1 * g for w, g in zip(model["weights"], gradient)]
    return {"weights": weights, "step": model["step"] + 1}


@trax.resumable(create=lambda: {"weights": [1.0, -2.0, 0.5], "step": 0}, replay_log=update)
def train(model, steps):
    weights = model["weights"]
    while model["step"] < steps:
        gradient = [2 * w - 0.2 * model["step"] for w in weights]
        model = yield gradient
    return model["weights"]


call = lambda: train(steps=8)
""",
    ),
    wrong(
        "buffer_yielded_again_and_again",
        "one array is yielded at each step, so the live history holds the last one many times",
        """
import numpy as np
import trax


@trax.resumable(create=lambda n: [np.eye(1, n)[0]], replay_log=lambda past, u: past + [u])
def diffuse(past, n, steps):
    u = past[-1].copy()
    for _ in trax.steps(steps):
        u[1:-1] += 0.2 * (u[:-2] - 2 * u[1:-1] + u[2:])
        past = yield u
    return [round(float(v.sum()), 6) for v in past]


call = lambda: diffuse(n=6, steps=7)
""",
    ),
    refused(
        "noise_added_in_replay",
        "replay_log draws random numbers, which a replay draws from another place",
        """
import random
import trax

random.seed(12)


def drift(x, force):
    return x + 0.1 * force + random.gauss(0, 0.05)


@trax.resumable(create=lambda: 1.0, replay_log=drift)
def langevin(x, steps):
    for _ in trax.steps(steps):
        x = yield -x


call = lambda: langevin(steps=9)
""",
    ),
    wrong(
        "rate_read_by_replay_from_a_global",
        "replay_log reads a variable of the module that the loop changes",
        """
import trax

SETTINGS = {"lr": 0.4}


def descend(w, gradient):
    return w - SETTINGS["lr"] * gradient


@trax.resumable(create=lambda: 6.0, replay_log=descend)
def train(w, steps):
    for step in trax.steps(steps):
        if step and step % 3 == 0:
            SETTINGS["lr"] /= 2
        w = yield 2 * (w - 1)


call = lambda: train(steps=10)
""",
    ),
    wrong(
        "frontier_popped_from_a_set",
        "a set of strings has another order in every process",
        """
import trax

SYNONYMS = {
    "big": {"large", "great"},
    "large": {"vast", "big"},
    "great": {"grand", "superb"},
    "vast": {"huge"},
    "grand": {"noble"},
    "superb": {"fine"},
    "huge": {"giant"},
    "noble": set(),
    "fine": set(),
    "giant": set(),
}


def visit(state, word):
    todo, distance = state
    new = {w for w in SYNONYMS[word] if w not in distance}
    return (todo - {word}) | new, distance | {w: distance[word] + 1 for w in new}


@trax.resumable(create=lambda: ({"big"}, {"big": 0}), replay_log=visit)
def spread(state):
    while state[0]:
        word = next(iter(state[0]))
        state = yield word
    return state[1]


call = lambda: spread()
""",
    ),
    wrong(
        "shards_by_hash",
        "the hash of a string is another one in every process, so items change their shards",
        """
import trax

USERS = ["ann", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"]


def put(shards, placed):
    shard, user = placed
    return {**shards, shard: shards.get(shard, ()) + (user,)}


@trax.resumable(create=dict, replay_log=put)
def distribute(shards, users, n=3):
    for user in trax.remaining(users):
        shards = yield hash(user) % n, user
    return [len(shards.get(i, ())) for i in range(n)]


call = lambda: distribute(USERS)
""",
    ),
    wrong(
        "order_shuffled_further_in_each_epoch",
        "each epoch shuffles the order of the epoch before, which is local",
        """
import random
import trax

random.seed(18)


@trax.resumable(create=lambda: (0, 0.0))
def train(state, epochs):
    order = list(range(6))
    while state[0] < epochs:
        random.shuffle(order)
        epoch, w = state
        for place, sample in enumerate(order):
            w += 0.1 / (place + 1) * (sample - w)
        state = yield epoch + 1, w


call = lambda: train(epochs=8)
""",
    ),
    wrong(
        "failures_counted_towards_a_limit",
        "the count of failures, which ends the loop, begins again",
        """
import trax

REPLIES = [200, 500, 200, 503, 200, 200, 500, 200, 200]


def request(i):
    if REPLIES[i] >= 500:
        raise ConnectionError(REPLIES[i])
    return i * 11


@trax.resumable(create=list, replay_log=lambda log, entry: log + [entry])
def poll(log, limit=3):
    failures = 0
    while failures < limit and len(log) < len(REPLIES):
        try:
            value = request(len(log))
        except ConnectionError as error:
            failures += 1
            value = f"failed: {error}"
        log = yield value


call = lambda: poll()
""",
    ),
    wrong(
        "database_in_memory",
        "the database in which duplicates are found is in memory and empty again",
        """
import sqlite3
import trax

MAILS = ["a@x", "b@x", "a@x", "c@y", "b@x", "d@y", "a@x"]


@trax.resumable(create=int, replay_log=lambda sent, is_new: sent + is_new)
def send(sent, mails):
    db = sqlite3.connect(":memory:")
    with db:
        db.execute("CREATE TABLE seen (mail TEXT PRIMARY KEY)")
    try:
        for mail in trax.remaining(mails):
            cursor = db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (mail,))
            sent = yield cursor.rowcount == 1
    finally:
        db.close()
    return sent


call = lambda: send(MAILS)
""",
    ),
    wrong(
        "player_toggled_in_a_local",
        "the side to move is the first player after every crash",
        """
import trax


def best_move(board, player):
    for line in (
        (0, 1, 2),
        (3, 4, 5),
        (6, 7, 8),
        (0, 3, 6),
        (1, 4, 7),
        (2, 5, 8),
        (0, 4, 8),
        (2, 4, 6),
    ):
        marks = [board[i] for i in line]
        if marks.count(".") == 1 and len(set(marks)) == 2:
            return line[marks.index(".")]
    return board.index(".")


@trax.resumable(create=lambda: "." * 9)
def self_play(board):
    player = "X"
    while "." in board:
        move = best_move(board, player)
        board = yield board[:move] + player + board[move + 1 :]
        player = "O" if player == "X" else "X"
    return board


call = lambda: self_play()
""",
    ),
    wrong(
        "mutable_state_changed_after_the_yield",
        "the change after the yield is not in the checkpoint of that step",
        """
import trax


class Population:
    def __init__(self):
        self.rabbits, self.foxes, self.season = 40.0, 9.0, 0


@trax.resumable(create=Population, replay_log=None, every_steps=1)
def predators(world, seasons):
    while world.season < seasons:
        eaten = 0.02 * world.rabbits * world.foxes
        world.season += 1
        yield world.season, round(world.rabbits, 3)
        world.rabbits += 0.4 * world.rabbits - eaten
        world.foxes += 0.3 * eaten - 0.3 * world.foxes


call = lambda: predators(seasons=8)
""",
    ),
    wrong(
        "mutable_state_bound_anew",
        "the name is bound to a new object, and trax keeps the one that create has made",
        """
import numpy as np
import trax


@trax.resumable(create=lambda: np.ones(4), replay_log=None, every_steps=2)
def relax(field, sweeps):
    for i in trax.steps(sweeps):
        field = 0.5 * (np.roll(field, 1) + field) + 0.1 * i * np.arange(4)
        yield float(field.sum())
    return field.round(6).tolist()


call = lambda: relax(sweeps=8)
""",
    ),
    wrong(
        "mutable_state_and_a_range",
        "the object comes back, the range starts again, and too many rounds are done",
        """
import trax


class Account:
    def __init__(self):
        self.balance, self.history = 100.0, []


@trax.resumable(create=Account, replay_log=None, every_steps=2)
def save(account, months):
    for month in range(months):
        deposit = 10 if month % 3 else 25
        account.balance = round(account.balance * 1.01 + deposit, 2)
        account.history.append(account.balance)
        yield account.balance
    return len(account.history)


call = lambda: save(months=9)
""",
    ),
    wrong(
        "buffer_beside_a_mutable_state",
        "the ring buffer that feeds the object is local and empty after a crash",
        """
from collections import deque
import trax


class Filter:
    def __init__(self):
        self.step, self.output = 0, []


@trax.resumable(create=Filter, replay_log=None, every_steps=1)
def filtered(state, signal):
    taps = deque([0.0] * 3, maxlen=3)
    while state.step < len(signal):
        taps.append(signal[state.step])
        state.output.append(round(0.5 * taps[2] + 0.3 * taps[1] + 0.2 * taps[0], 4))
        state.step += 1
        yield state.output[-1]


call = lambda: filtered(signal=[0, 1, 0, 0, 2, 1, 3, 0])
""",
    ),
    wrong(
        "pickling_leaves_the_momentum_out",
        "__getstate__ drops an attribute as if it were a cache, and the results depend on it",
        """
import trax


class Optimiser:
    def __init__(self):
        self.x, self.momentum, self.step = 5.0, 0.0, 0

    def __getstate__(self):
        return {"x": self.x, "step": self.step}

    def __setstate__(self, state):
        self.__dict__.update(state, momentum=0.0)

    def apply(self, gradient):
        self.momentum = 0.8 * self.momentum + gradient
        self.x -= 0.05 * self.momentum
        self.step += 1
        return self


@trax.resumable(create=Optimiser, replay_log=Optimiser.apply, every_steps=3)
def descend(optimiser, steps):
    while optimiser.step < steps:
        optimiser = yield 2 * optimiser.x


call = lambda: descend(steps=10)
""",
    ),
    wrong(
        "history_in_a_class_variable",
        "the past is kept in the class, which no checkpoint holds",
        """
import trax


class Series:
    past = []

    def __init__(self):
        self.value = 2.0

    def push(self, value):
        Series.past.append(value)
        self.value = value
        return self


@trax.resumable(create=Series, replay_log=Series.push, every_steps=3)
def autoregress(series, n):
    for _ in trax.steps(n):
        lags = Series.past[-3:] or [series.value]
        series = yield round(0.3 * series.value + 0.6 * sum(lags) / len(lags) + 0.1, 6)


call = lambda: autoregress(n=10)
""",
    ),
    wrong(
        "set_up_done_in_create",
        "create also sets a variable of the module, and is not called again",
        """
import trax

UNITS = {"scale": 1.0}


def load_model(kind):
    UNITS["scale"] = {"metric": 2.0, "imperial": 3.5}[kind]
    return {"heights": [1.0]}


@trax.resumable(create=load_model, every_steps=4)
def grow(model, kind, seasons):
    while len(model["heights"]) <= seasons:
        height = model["heights"][-1] + 0.1 * UNITS["scale"]
        model = yield {"heights": model["heights"] + [round(height, 6)]}


call = lambda: grow(kind="imperial", seasons=8)
""",
    ),
    wrong(
        "initial_guess_shared_with_the_module",
        "create hands out a list of the module, with which the loop also compares the state",
        """
import trax

GUESS = [4.0, -3.0, 2.0]


def shrink(x, index):
    x[index] /= 2
    return x


@trax.resumable(create=lambda: GUESS, replay_log=shrink, every_steps=2)
def solve(x, rounds):
    for i in trax.steps(rounds):
        ratio = sum(map(abs, x)) / sum(map(abs, GUESS))
        index = i % 3 if ratio > 0.99 else (2 * i + 1) % 3
        x = yield index
    return x


call = lambda: solve(rounds=9)
""",
    ),
    wrong(
        "last_increment_done_again",
        "the state stores the number of the item that is done, and the range starts with that one",
        """
import trax


@trax.resumable(create=lambda: {"last": 0, "total": 0})
def total_up(state, amounts):
    for i in range(state["last"], len(amounts)):
        fee = 1 if amounts[i] < 10 else 2
        state = yield {"last": i, "total": state["total"] + amounts[i] + fee}
    return state["total"]


call = lambda: total_up(amounts=[5, 20, 7, 30, 12, 9])
""",
    ),
    wrong(
        "inner_start_kept_for_all_epochs",
        "the batch to start with is right for the first epoch and skips batches of all later ones",
        """
import trax


@trax.resumable(create=lambda: (0, 0, 1.0))
def train(state, epochs, batches=3):
    first_epoch, first_batch, w = state
    for epoch in range(first_epoch, epochs):
        for batch in range(first_batch, batches):
            w = round(w * 0.9 + 0.1 * (epoch + batch), 6)
            following = (epoch, batch + 1) if batch + 1 < batches else (epoch + 1, 0)
            state = yield *following, w
    return w


call = lambda: train(epochs=4)
""",
    ),
    wrong(
        "chunks_of_what_remains",
        "three items make one increment, but trax.remaining counts one for each",
        """
import itertools
import trax


def insert(rows):
    return sum(row["amount"] for row in rows)


@trax.resumable(create=list, replay_log=lambda totals, total: totals + [total])
def load(totals, rows, size=3):
    rows = iter(trax.remaining(rows))
    while chunk := list(itertools.islice(rows, size)):
        totals = yield insert(chunk)
    return sum(totals)


call = lambda: load(rows=[{"id": i, "amount": i * i % 11} for i in range(11)])
""",
    ),
    wrong(
        "mean_summed_in_another_order",
        "the sum is rebuilt by NumPy, which adds in another order than the loop did",
        """
import numpy as np
import trax

VALUES = [1 / (i + 3) for i in range(12)]


@trax.resumable(create=list, replay_log=lambda seen, value: seen + [value])
def mean(seen, values):
    total = float(np.sum(seen))
    for value in values[len(seen) :]:
        total += value
        seen = yield value
        print("mean so far:", total / len(seen))
    return total / len(seen)


call = lambda: mean(VALUES)
""",
    ),
    wrong(
        "scratch_array_partly_overwritten",
        "the work array keeps values of earlier steps in the cells that a step leaves alone",
        """
import numpy as np
import trax


@trax.resumable(create=lambda n: np.arange(n, dtype=float))
def red_black(u, n, sweeps):
    work = np.zeros(n)
    for sweep in trax.steps(sweeps):
        colour = slice(sweep % 2, None, 2)
        work[colour] = 0.5 * (np.roll(u, 1) + np.roll(u, -1))[colour]
        u = yield 0.7 * u + 0.3 * work


call = lambda: red_black(n=7, sweeps=8)
""",
    ),
    wrong(
        "async_crawler_with_a_queue",
        "the asyncio queue of the pages to come is made anew",
        """
import asyncio
import trax

SITE = {"/": ["/a", "/b"], "/a": ["/c"], "/b": ["/c", "/d"], "/c": ["/e"], "/d": [], "/e": []}


async def fetch(url):
    await asyncio.sleep(0)
    return SITE[url]


@trax.resumable(create=dict, replay_log=lambda pages, new: pages | new)
async def crawl(pages, start):
    queue = asyncio.Queue()
    queue.put_nowait(start)
    while not queue.empty():
        url = queue.get_nowait()
        links = await fetch(url)
        pages = yield {url: len(links)}
        for link in links:
            if link not in pages:
                queue.put_nowait(link)


call = lambda: crawl("/")
""",
    ),
    wrong(
        "async_feed_read_from_its_start",
        "the feed is opened at its beginning again, so ticks are recorded twice",
        """
import asyncio
import trax


async def ticks(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield 100 + i * i % 13


@trax.resumable(create=list, replay_log=lambda bars, bar: bars + [bar])
async def record(bars, n):
    high = low = None
    async for price in ticks(n):
        high = price if high is None else max(high, price)
        low = price if low is None else min(low, price)
        bars = yield low, high, price


call = lambda: record(n=8)
""",
    ),
    wrong(
        "async_prefetch_outruns_the_state",
        "the next page is fetched ahead and its number kept in the body",
        """
import asyncio
import trax


async def get(number):
    await asyncio.sleep(0)
    return [number * 10 + i for i in range(3)]


@trax.resumable(create=list, replay_log=lambda rows, page: rows + page)
async def download(rows, pages):
    number = 0
    ahead = asyncio.ensure_future(get(number))
    while number < pages:
        page = await ahead
        number += 1
        ahead = asyncio.ensure_future(get(number))
        rows = yield page
    ahead.cancel()


call = lambda: download(pages=5)
""",
    ),
    wrong(
        "barzilai_borwein_step_before",
        "the step before is local, so the first resumed step has the rate of the start",
        """
import numpy as np
import trax

H = np.array([[3.0, 0.5], [0.5, 8.0]])


@trax.resumable(create=lambda: np.array([4.0, -3.0]))
def barzilai_borwein(x, tolerance=1e-6):
    x_old = g_old = None
    g = H @ x
    while np.linalg.norm(g) > tolerance:
        if g_old is None:
            rate = 0.05
        else:
            s, y = x - x_old, g - g_old
            rate = (s @ s) / (s @ y)
        x_old, g_old = x, g
        x = yield x - rate * g
        g = H @ x


call = lambda: barzilai_borwein()
""",
    ),
    wrong(
        "dedupe_across_batches",
        "the keys that were seen in earlier batches are forgotten",
        """
import trax

BATCHES = [["k1", "k2"], ["k2", "k3"], ["k1", "k4"], ["k5", "k3"], ["k6"]]


@trax.resumable(create=int, replay_log=lambda stored, keys: stored + len(keys))
def load(stored, batches):
    seen = set()
    for i in trax.steps(len(batches)):
        fresh = [key for key in batches[i] if key not in seen]
        seen.update(fresh)
        stored = yield fresh
    return stored


call = lambda: load(BATCHES)
""",
    ),
    wrong(
        "budget_for_each_process",
        "the budget of evaluations is spent from its start again by every process",
        """
import trax


def expensive(x):
    return (x - 0.7) ** 2


@trax.resumable(create=lambda: (0.0, 2.0))
def golden_section(bracket, budget):
    spent = 0
    while spent + 2 <= budget:
        a, b = bracket
        c, d = b - 0.618 * (b - a), a + 0.618 * (b - a)
        left = expensive(c) < expensive(d)
        spent += 2
        bracket = yield (a, d) if left else (c, b)


call = lambda: golden_section(budget=16)
""",
    ),
    wrong(
        "new_state_not_taken_from_the_yield",
        "the body goes on with the state of the start; a resumed one begins with a later state",
        """
import trax


def add(tree, node):
    return tree + [node]


@trax.resumable(create=lambda: [(0.0, 0.0)], replay_log=add)
def rapidly_exploring(tree, n):
    for i in trax.steps(n):
        target = ((i * 7 % 10) / 10, (i * 3 % 10) / 10)
        near = min(tree, key=lambda p: abs(p[0] - target[0]) + abs(p[1] - target[1]))
        yield near[0] + 0.3 * (target[0] - near[0]), near[1] + 0.3 * (target[1] - near[1])


call = lambda: rapidly_exploring(n=8)
""",
    ),
    wrong(
        "config_adapted_in_place",
        "the loop changes the caller's configuration; the next process has the original",
        """
import trax


@trax.resumable(create=lambda config: config["start"], varying=("config",))
def optimise(x, config, steps):
    for step in trax.steps(steps):
        if step in config["milestones"]:
            config["lr"] *= 0.1
        x = yield x - config["lr"] * 2 * (x - 5)


call = lambda: optimise(config={"start": 0.0, "lr": 0.3, "milestones": [3, 6]}, steps=9)
""",
    ),
    wrong(
        "increment_is_a_part_of_the_state",
        "replay_log changes the particle that was yielded; from a log, that is a copy",
        """
import trax


class Particle:
    def __init__(self, x):
        self.x, self.hits = x, 0


def hit(particles, particle):
    particle.hits += 1
    particle.x = -particle.x / 2
    return particles


@trax.resumable(create=lambda: [Particle(x) for x in (4.0, -6.0, 2.5)], replay_log=hit)
def collide(particles, rounds):
    for _ in trax.steps(rounds):
        particles = yield max(particles, key=lambda p: abs(p.x))
    return [p.x for p in particles]


call = lambda: collide(rounds=7)
""",
    ),
    wrong(
        "weights_by_the_index_in_the_rest",
        "the rest of the data is numbered from zero, and weights depend on the number",
        """
import trax

RETURNS = [0.02, -0.01, 0.03, 0.01, -0.02, 0.04]


@trax.resumable(create=list, replay_log=lambda values, value: values + [value])
def discounted(values, returns, rate=0.9):
    for i, r in enumerate(returns[len(values) :]):
        values = yield round(r * rate**i, 8)
    return round(sum(values), 8)


call = lambda: discounted(RETURNS)
""",
    ),
    wrong(
        "tries_seed_the_generator",
        "each try has a seed of its own, but the count of tries starts at zero again",
        """
import random
import trax


def proposal(number):
    rng = random.Random(number)
    return rng.uniform(0, 1), rng.uniform(0, 2)


@trax.resumable(create=list, replay_log=lambda kept, x: kept + [x])
def rejection_sample(kept, n):
    tries = 0
    while len(kept) < n:
        x, height = proposal(tries)
        tries += 1
        if height > 2 * x:
            continue
        kept = yield x


call = lambda: rejection_sample(n=7)
""",
    ),
    wrong(
        "noisy_values_remembered_in_a_memo",
        "a value that is not in the memo any more is measured again, with other noise",
        """
import random
import trax

random.seed(50)
MEMO = {}


def measured(x):
    if x not in MEMO:
        MEMO[x] = (x - 3) ** 2 + random.gauss(0, 2)
    return MEMO[x]


@trax.resumable(create=int)
def climb(x, steps):
    for _ in trax.steps(steps):
        x = yield min((x - 1, x, x + 1), key=measured)
    return x


call = lambda: climb(steps=8)
""",
    ),
    wrong(
        "schedule_read_through_an_iterator",
        "the iterator over the schedule starts with its first stage",
        """
import trax


@trax.resumable(create=lambda: 10.0)
def bake(heat, minutes):
    stages = iter([(2, 5.0), (3, 1.0), (9, -2.0)])
    left, power = next(stages)
    for _ in trax.steps(minutes):
        if left == 0:
            left, power = next(stages)
        left -= 1
        heat = yield heat + power - 0.05 * heat


call = lambda: bake(minutes=10)
""",
    ),
    wrong(
        "batches_cycled_from_the_first",
        "the cycle over the batches begins with the first batch again",
        """
import itertools
import trax

BATCHES = [[1.0, 2.0], [0.5, 3.0], [2.5]]


@trax.resumable(create=lambda: 0.0)
def train(w, steps):
    loader = itertools.cycle(BATCHES)
    for _ in trax.steps(steps):
        batch = next(loader)
        w = yield w - 0.3 * sum(w - x for x in batch) / len(batch)


call = lambda: train(steps=8)
""",
    ),
    wrong(
        "output_rotated_by_a_local_number",
        "the number of the part and of its lines are local, so the lines go to other files",
        """
import trax


@trax.resumable(create=int, replay_log=lambda total, value: total + value)
def export(total, n):
    part, lines = 0, 0
    file = trax.open("part-0.txt")
    for i in trax.steps(n):
        if lines == 3:
            file.close()
            part, lines = part + 1, 0
            file = trax.open(f"part-{part}.txt")
        print(i, i * i, file=file)
        lines += 1
        total = yield i * i
    file.close()


call = lambda: export(n=8)
""",
    ),
    wrong(
        "scratch_directory_of_the_process",
        "intermediate results lie in a temporary directory, and a resumed process has another one",
        """
import json
import tempfile
from pathlib import Path
import trax


@trax.resumable(create=list, replay_log=lambda names, name: names + [name])
def map_reduce(names, texts):
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        for i in trax.steps(len(texts)):
            counts = {letter: texts[i].count(letter) for letter in sorted(set(texts[i]))}
            Path(scratch, f"{i}.json").write_text(json.dumps(counts))
            names = yield f"{i}.json"
        parts = [json.loads(Path(scratch, name).read_text()) for name in names]
    return {k: sum(part.get(k, 0) for part in parts) for k in "abc"}


call = lambda: map_reduce(texts=["abba", "cab", "back", "crab", "bbc"])
""",
    ),
    wrong(
        "decimal_precision_set_in_create",
        "create sets the precision of decimals, and a resumed process has the usual one",
        """
import decimal
import trax


def start():
    decimal.getcontext().prec = 45
    return decimal.Decimal(1)


@trax.resumable(create=start)
def root_of_three(x, rounds):
    for _ in trax.steps(rounds):
        x = yield (x + 3 / x) / 2
    return str(x)


call = lambda: root_of_three(rounds=7)
""",
    ),
    wrong(
        "trend_against_the_last_value_seen",
        "the value before the crash is unknown, so a signal is missed",
        """
import trax

PRICES = [10, 11, 12, 11, 9, 10, 12, 13, 11, 12]


def trade(account, order):
    cash, shares, day = account
    amount, price = order
    return cash - amount * price, shares + amount, day + 1


@trax.resumable(create=lambda: (100, 0, 0), replay_log=trade)
def backtest(account, prices):
    last = None
    for price in prices[account[2] :]:
        amount = 0
        if last is not None and price > last:
            amount = 1
        elif last is not None and price < last and account[1]:
            amount = -account[1]
        last = price
        account = yield amount, price
    return account[0] + account[1] * prices[-1]


call = lambda: backtest(PRICES)
""",
    ),
    wrong(
        "while_else_with_a_local_round",
        "the round is local; a resumed run does as many rounds again as it would from the start",
        """
import trax


@trax.resumable(create=lambda: [8, 3, 9, 1, 7, 2], replay_log=lambda xs, swapped: swapped)
def bubble_sort(numbers, limit=5):
    rounds = 0
    while rounds < limit:
        xs = list(numbers)
        for i in range(len(xs) - 1):
            if xs[i] > xs[i + 1]:
                xs[i], xs[i + 1] = xs[i + 1], xs[i]
        rounds += 1
        numbers = yield xs
    else:
        print("the limit is reached")


call = lambda: bubble_sort()
""",
    ),
    wrong(
        "samples_thinned_by_a_local_count",
        "which samples are written depends on a count that begins anew",
        """
import random
import trax

random.seed(16)


@trax.resumable(create=lambda: 0.0)
def chain(x, n, thin=3):
    since = 0
    with trax.open("samples.txt") as file:
        for _ in trax.steps(n):
            x = 0.7 * x + random.gauss(0, 1)
            since += 1
            if since == thin:
                print(f"{x:.6f}", file=file)
                since = 0
            x = yield x


call = lambda: chain(n=11)
""",
    ),
    wrong(
        "queue_in_a_module_for_the_helpers",
        "tasks that were spawned by helpers wait in a list of the module and are lost",
        """
import trax

TASKS = [("scan", 3)]


def spawn(kind, size):
    TASKS.append((kind, size))


def perform(kind, size):
    if kind == "scan":
        for part in range(size):
            spawn("read", part)
    elif kind == "read" and size:
        spawn("sum", size * 10)
    return f"{kind}:{size}"


@trax.resumable(create=list, replay_log=lambda log, entry: log + [entry])
def work(log):
    while TASKS:
        kind, size = TASKS.pop(0)
        log = yield perform(kind, size)
    return len(log)


call = lambda: work()
""",
    ),
    wrong(
        "session_login_counts_requests",
        "the session object numbers its requests, and a new one begins at one",
        """
import trax


class Session:
    def __init__(self, user):
        self.user, self.requests = user, 0

    def get(self, path):
        self.requests += 1
        return {"path": path, "etag": f"{self.user}-{self.requests}"}


@trax.resumable(create=dict, replay_log=lambda tags, reply: tags | {reply["path"]: reply["etag"]})
def mirror(tags, paths):
    session = Session("me")
    for path in paths:
        if path in tags:
            continue
        tags = yield session.get(path)


call = lambda: mirror(paths=["/x", "/y", "/z", "/w"])
""",
    ),
    refused(
        "open_file_in_the_state",
        "an open file cannot be stored",
        """
import trax


def start():
    return {"file": open("log.txt", "w"), "n": 0}


def note(state, line):
    state["file"].write(line)
    state["n"] += 1
    return state


@trax.resumable(create=start, replay_log=note)
def keep(state, n):
    while state["n"] < n:
        state = yield f"line {state['n']}\\n"


call = lambda: keep(n=5)
""",
    ),
    refused(
        "replay_log_returns_nothing",
        "list.append returns None, so the state would be lost",
        """
import trax


@trax.resumable(create=list, replay_log=list.append)
def squares(found, n):
    for i in trax.steps(n):
        found = yield i * i


call = lambda: squares(n=5)
""",
    ),
    wrong(
        "result_from_a_name_that_the_loop_binds",
        "killed after its last step, the loop has nothing to do, and the name is never bound",
        """
import numpy as np
import trax


@trax.resumable(create=lambda n: {"u": np.linspace(0, 1, n) ** 2, "t": 0})
def smooth(state, n, sweeps):
    while state["t"] < sweeps:
        u = state["u"].copy()
        for i in range(1, n - 1):
            u[i] = 0.5 * (u[i - 1] + u[i + 1])
        state = yield {"u": u, "t": state["t"] + 1}
    return float(u.sum())


call = lambda: smooth(n=7, sweeps=8)
""",
    ),
]
