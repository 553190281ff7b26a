"""Loops with a declared state in the style of real ones, each with what is found in it.

Each begins with a line ``#-- NAME: KIND``, where KIND is that of the finding, or ``exact`` if there
is none and the loop resumes exactly. ``call()`` returns its run, which ends within twelve steps.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Loop(NamedTuple):
    name: str
    kind: str
    text: str


PRELUDE = """\
import collections, csv, heapq, itertools, json, logging, math, random, time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
import numpy as np
import trax
"""

TEXT = """
#-- euler: exact
@trax.resumable(create=lambda: (1.0, 0.0), replay_log=lambda s, d: (s[0] + d[0], s[1] + d[1]))
def oscillate(state, steps, dt=0.1):
    for _ in trax.steps(steps):
        x, v = state
        a = -x
        state = yield (v * dt, a * dt)
call = lambda: oscillate(steps=8)

#-- euler in a range: restart
@trax.resumable(create=lambda: (1.0, 0.0), replay_log=lambda s, d: (s[0] + d[0], s[1] + d[1]))
def oscillate(state, steps, dt=0.1):
    for _ in range(steps):
        x, v = state
        state = yield (v * dt, -x * dt)
call = lambda: oscillate(steps=8)

#-- euler with its own clock: carried
@trax.resumable(create=lambda: 1.0)
def driven(x, steps, dt=0.1):
    t = 0.0
    for _ in trax.steps(steps):
        x = yield x + dt * math.sin(t)
        t += dt
call = lambda: driven(steps=8)

#-- euler with the time of its step: exact
@trax.resumable(create=lambda: 1.0)
def driven(x, steps, dt=0.1):
    for i in trax.steps(steps):
        t = i * dt
        x = yield x + dt * math.sin(t)
call = lambda: driven(steps=8)

#-- adaptive step size: carried
@trax.resumable(create=lambda: (0.0, 1.0))
def adaptive(state, end):
    h = 0.5
    while state[0] < end:
        t, y = state
        error = abs(h * y) * 0.1
        if error > 0.01:
            h = h / 2
        state = yield (t + h, y - h * y)
call = lambda: adaptive(end=1.0)

#-- adaptive step size in the state: exact
@trax.resumable(create=lambda: (0.0, 1.0, 0.5))
def adaptive(state, end):
    while state[0] < end:
        t, y, h = state
        if abs(h * y) * 0.1 > 0.02:
            h = h / 2
        state = yield (t + h, y - h * y, h)
call = lambda: adaptive(end=1.0)

#-- heat equation: exact
@trax.resumable(create=lambda: np.eye(1, 8)[0])
def heat(u, steps):
    n = len(u)
    new = np.empty(n)
    for _ in trax.steps(steps):
        for i in range(n):
            new[i] = 0.5 * u[i] + 0.25 * (u[i - 1] + u[(i + 1) % n])
        u = yield new.copy()
call = lambda: heat(steps=6)

#-- heat equation with one buffer: shared
@trax.resumable(create=list, replay_log=lambda rows, row: [*rows, row])
def heat(rows, steps):
    u = np.zeros(4)
    for i in trax.steps(steps):
        u[:] = i
        rows = yield u
call = lambda: heat(steps=6)

#-- energy drift: reference
def energy(s):
    return s[0] ** 2 + s[1] ** 2
@trax.resumable(create=lambda: [1.0, 0.0, 0.0])
def drifting(state, steps):
    e0 = energy(state)
    for _ in trax.steps(steps):
        x, v, _ = state
        x, v = x + 0.1 * v, v - 0.1 * x
        state = yield [x, v, energy((x, v)) - e0]
call = lambda: drifting(steps=5)

#-- metropolis: exact
@trax.resumable(create=float, replay_log=lambda x, new: new)
def metropolis(x, steps):
    accepted = 0
    for i in trax.steps(steps):
        new = x + random.uniform(-1, 1)
        if math.log(random.random()) < (x * x - new * new) / 2:
            accepted += 1
            candidate = new
        else:
            candidate = x
        if i % 4 == 0:
            print(f"{accepted} accepted")
        x = yield candidate
def call():
    random.seed(1)
    return metropolis(steps=8)

#-- metropolis with the rate in the increment: carried
@trax.resumable(create=lambda: (0.0, 0.0))
def metropolis(state, steps):
    accepted = 0
    for i in trax.steps(steps):
        x = state[0]
        new = x + random.uniform(-1, 1)
        if new * new < x * x + 0.5:
            accepted += 1
            x = new
        state = yield (x, accepted / (i + 1))
def call():
    random.seed(1)
    return metropolis(steps=8)

#-- sampler with its own generator: rng
@trax.resumable(create=float)
def sample(x, steps, seed=1):
    rng = np.random.default_rng(seed)
    for _ in trax.steps(steps):
        x = yield x + float(rng.normal())
call = lambda: sample(steps=5)

#-- sampler with one generator a step: exact
@trax.resumable(create=float)
def sample(x, steps, seed=1):
    for i in trax.steps(steps):
        rng = np.random.default_rng([seed, i])
        x = yield x + float(rng.normal())
call = lambda: sample(steps=5)

#-- sampler that seeds the module: seed
@trax.resumable(create=float)
def sample(x, steps):
    random.seed(5)
    for _ in trax.steps(steps):
        x = yield x + random.random()
call = lambda: sample(steps=5)

#-- sampler that seeds numpy: seed
@trax.resumable(create=float)
def sample(x, steps, seed=3):
    np.random.seed(seed)
    for _ in trax.steps(steps):
        x = yield x + float(np.random.random())
call = lambda: sample(steps=5)

#-- sampler that seeds at its first step: exact
@trax.resumable(create=float)
def sample(x, steps):
    if trax.step() == 0:
        random.seed(5)
    for _ in trax.steps(steps):
        x = yield x + random.random()
call = lambda: sample(steps=5)

#-- gradient descent: exact
@trax.resumable(create=lambda: 3.0)
def descend(x, tolerance=0.5):
    while abs(2 * x) > tolerance:
        gradient = 2 * x
        x = yield x - 0.2 * gradient
call = lambda: descend()

#-- gradient descent that asks afterwards: exit
@trax.resumable(create=lambda: 3.0)
def descend(x, tolerance=0.5):
    while True:
        x = yield x - 0.2 * 2 * x
        if abs(2 * x) < tolerance:
            break
call = lambda: descend()

#-- gradient descent with the size of its move: carried
@trax.resumable(create=lambda: 3.0)
def descend(x, tolerance=0.1):
    moved = math.inf
    while moved > tolerance:
        new = x - 0.2 * 2 * x
        moved = abs(new - x)
        x = yield new
call = lambda: descend()

#-- momentum: carried
@trax.resumable(create=lambda: np.array([3.0, -2.0]))
def momentum(x, steps):
    velocity = np.zeros_like(x)
    for _ in trax.steps(steps):
        velocity = 0.9 * velocity - 0.1 * 2 * x
        x = yield x + velocity
call = lambda: momentum(steps=6)

#-- momentum in the state: exact
@trax.resumable(create=lambda: (np.array([3.0, -2.0]), np.zeros(2)))
def momentum(state, steps):
    for _ in trax.steps(steps):
        x, velocity = state
        velocity = 0.9 * velocity - 0.1 * 2 * x
        state = yield (x + velocity, velocity)
call = lambda: momentum(steps=6)

#-- adam as an object: carried
class Adam:
    def __init__(self, rate):
        self.rate = rate
        self.count = 0
        self.mean = 0.0
    def update(self, x, gradient):
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        return x - self.rate * self.mean / self.count
@trax.resumable(create=lambda: 2.0)
def optimise(x, steps):
    adam = Adam(0.3)
    for _ in trax.steps(steps):
        x = yield adam.update(x, 2 * x)
call = lambda: optimise(steps=6)

#-- a model that only computes: exact
class Model:
    def __init__(self, slope):
        self.slope = slope
    def predict(self, x):
        return self.slope * x
@trax.resumable(create=lambda: 2.0)
def relax(x, steps):
    model = Model(0.5)
    for _ in trax.steps(steps):
        x = yield model.predict(x)
call = lambda: relax(steps=6)

#-- a schedule made before: carried
class Schedule:
    def __init__(self):
        self.rate = 1.0
    def step(self):
        self.rate *= 0.5
@trax.resumable(create=lambda: 0.0)
def train(w, epochs):
    schedule = Schedule()
    for _ in trax.steps(epochs):
        w = yield w + schedule.rate
        schedule.step()
call = lambda: train(epochs=6)

#-- a schedule by its epoch: exact
@trax.resumable(create=lambda: 0.0)
def train(w, epochs):
    rates = [0.5 ** epoch for epoch in range(epochs)]
    for epoch in trax.steps(epochs):
        rate = rates[epoch]
        w = yield w + rate
call = lambda: train(epochs=6)

#-- early stopping: carried
@trax.resumable(create=list, replay_log=lambda losses, loss: [*losses, loss])
def train(losses, epochs, patience=2):
    best, bad = math.inf, 0
    for epoch in trax.steps(epochs):
        if bad >= patience:
            break
        loss = abs(3 - epoch) + 1
        if loss < best:
            best, bad = loss, 0
        else:
            bad += 1
        losses = yield loss
call = lambda: train(epochs=10)

#-- early stopping by the state: exact
@trax.resumable(create=list, replay_log=lambda losses, loss: [*losses, loss])
def train(losses, epochs, patience=2):
    for epoch in trax.steps(epochs):
        best = min(losses, default=math.inf)
        if len(losses) - (losses.index(best) if losses else 0) > patience:
            break
        losses = yield abs(3 - epoch) + 1
call = lambda: train(epochs=10)

#-- the best so far, returned: carried
@trax.resumable(create=float)
def search(x, steps):
    best = None
    for i in trax.steps(steps):
        value = (i - 2) ** 2
        if best is None or value < best:
            best = value
        x = yield x + value
    return best
call = lambda: search(steps=6)

#-- hill climbing: exact
def height(x):
    return -((x - 3) ** 2)
@trax.resumable(create=float)
def climb(x, steps):
    best = height(x)
    for _ in trax.steps(steps):
        new = x + random.uniform(-1, 1)
        value = height(new)
        if value > best:
            x, best = new, value
        yield x
def call():
    random.seed(2)
    return climb(steps=8)

#-- annealing with a list of temperatures: restart
@trax.resumable(create=lambda: 5.0)
def anneal(x, temperatures):
    for temperature in temperatures:
        new = x + random.uniform(-1, 1) * temperature
        if new * new - x * x < temperature:
            candidate = new
        else:
            candidate = x
        x = yield candidate
def call():
    random.seed(2)
    return anneal(temperatures=[3, 2, 1, 0.5])

#-- annealing that cools: carried
@trax.resumable(create=lambda: 5.0)
def anneal(x, cold=0.3):
    temperature = 3.0
    while temperature > cold:
        x = yield x - temperature / 10
        temperature *= 0.6
call = lambda: anneal()

#-- population in place without a log: exact
@dataclass
class Population:
    genes: list = field(default_factory=lambda: [3, 1, 2])
    generation: int = 0
@trax.resumable(create=Population, replay_log=None, every_steps=1)
def evolve(population, generations):
    while population.generation < generations:
        population.genes.sort()
        population.genes[0] += 2
        population.generation += 1
        yield max(population.genes)
call = lambda: evolve(generations=6)

#-- population changed after the yield: late
@dataclass
class Population:
    genes: list = field(default_factory=lambda: [3, 1, 2])
    generation: int = 0
@trax.resumable(create=Population, replay_log=None, every_steps=1)
def evolve(population, generations):
    while population.generation < generations:
        yield max(population.genes)
        population.genes[0] += 2
        population.generation += 1
call = lambda: evolve(generations=6)

#-- population as another object: rebound
@trax.resumable(create=lambda: [3, 1, 2], replay_log=None, every_steps=1)
def evolve(genes, generations):
    for _ in trax.steps(generations):
        genes = [gene + 1 for gene in genes]
        yield max(genes)
call = lambda: evolve(generations=6)

#-- population mutated with a log: mutated
@trax.resumable(create=list, replay_log=lambda genes, gene: genes)
def evolve(genes, generations):
    for i in trax.steps(generations):
        genes.append(i)
        genes = yield i
call = lambda: evolve(generations=6)

#-- a row of the state: mutated
@trax.resumable(create=lambda: {"row": [0, 0]}, replay_log=lambda state, i: state | {"last": i})
def count(state, n):
    for i in trax.steps(n):
        row = state["row"]
        row[i % 2] += 1
        state = yield sum(row)
call = lambda: count(n=6)

#-- a copy of the state: exact
@trax.resumable(create=list)
def sieve(primes, below):
    for n in range(primes[-1] + 1 if primes else 2, below):
        if all(n % p for p in primes):
            primes = list(primes)
            primes.append(n)
            primes = yield primes
call = lambda: sieve(below=20)

#-- the state changed and yielded: exact
@trax.resumable(create=dict)
def tally(counts, words):
    for word in trax.remaining(words):
        counts[word] = counts.get(word, 0) + 1
        counts = yield counts
call = lambda: tally(words=["a", "b", "a", "c"])

#-- the new state dropped: dropped
@trax.resumable(create=lambda: 1)
def double(n, steps):
    for _ in trax.steps(steps):
        yield n * 2
call = lambda: double(steps=4)

#-- the new state is the same object: exact
def keep(found, n):
    found.append(n)
    return found
@trax.resumable(create=list, replay_log=keep)
def squares(found, n):
    for i in trax.steps(n):
        yield len(found) + i * i
call = lambda: squares(n=5)

#-- a value of one's own beside the state: exact
@trax.resumable(create=lambda: (0, 1))
def fibonacci(state, below):
    a, b = state
    while b < below:
        a, b = b, a + b
        yield (a, b)
call = lambda: fibonacci(below=60)

#-- crawler: exact
PAGES = {"a": ["b", "c"], "b": ["c", "d"], "c": [], "d": ["a"]}
def visit(state, page):
    done, queue = state
    queue = [*queue[1:], *(one for one in PAGES[page] if one not in done and one not in queue)]
    return (*done, page), [one for one in queue if one != page]
@trax.resumable(create=lambda start: ((), [start]), replay_log=visit)
def crawl(state, start):
    while state[1]:
        page = state[1][0]
        logging.getLogger("x").info("fetching %s", page)
        state = yield page
call = lambda: crawl(start="a")

#-- crawler with a queue of its own: carried
PAGES = {"a": ["b", "c"], "b": ["c", "d"], "c": [], "d": ["a"]}
@trax.resumable(create=list, replay_log=lambda found, page: [*found, page])
def crawl(found, start):
    queue = collections.deque([start])
    while queue:
        page = queue.popleft()
        if page in found:
            continue
        queue.extend(PAGES[page])
        found = yield page
call = lambda: crawl(start="a")

#-- items that are done are left out: exact
@trax.resumable(create=dict, replay_log=lambda done, pair: done | dict([pair]))
def convert(done, names):
    for name in names:
        if name in done:
            continue
        done = yield name, name.upper()
call = lambda: convert(names=["a", "b", "c"])

#-- pages of an interface: exact
DATA = {None: ([1, 2], "x"), "x": ([3], "y"), "y": ([4, 5], "")}
@trax.resumable(create=lambda: ([], None), replay_log=lambda s, page: (s[0] + page[0], page[1]))
def download(state):
    while state[1] != "":
        items, cursor = DATA[state[1]]
        state = yield items, cursor
call = lambda: download()

#-- pages with a cursor beside: carried
DATA = {None: ([1, 2], "x"), "x": ([3], "y"), "y": ([4, 5], "")}
@trax.resumable(create=list, replay_log=lambda s, items: s + items)
def download(found):
    cursor = None
    while cursor != "":
        items, cursor = DATA[cursor]
        found = yield items
call = lambda: download()

#-- an agent: exact
@trax.resumable(create=lambda: [("user", "3")], replay_log=lambda log, message: [*log, message])
def agent(messages):
    while messages[-1][1] != "0":
        number = int(messages[-1][1])
        messages = yield ("model", str(number - 1))
call = lambda: agent()

#-- an agent that counts its calls: carried
@trax.resumable(create=lambda: [("user", "5")], replay_log=lambda log, message: [*log, message])
def agent(messages, most=3):
    calls = 0
    while messages[-1][1] != "0" and calls < most:
        calls += 1
        messages = yield ("model", str(int(messages[-1][1]) - 1))
call = lambda: agent()

#-- retries: exact
TRIES = collections.Counter()
def fetch(url):
    TRIES[url] += 1
    if TRIES[url] % 2:
        raise OSError(url)
    return len(url)
@trax.resumable(create=int, replay_log=lambda total, size: total + size)
def download(total, urls):
    failures = 0
    for url in trax.remaining(urls):
        delay = 0.0
        while True:
            try:
                size = fetch(url)
                break
            except OSError:
                failures += 1
                delay += 0.0001
                time.sleep(delay)
        print(failures, "failures")
        total = yield size
call = lambda: download(urls=["a", "bb", "ccc"])

#-- some items skipped: count
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def odd(total, numbers):
    for n in trax.remaining(numbers):
        if n % 2 == 0:
            continue
        total = yield n
call = lambda: odd(numbers=list(range(8)))

#-- a yield for some numbers: count
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def third(total, n):
    for i in trax.steps(n):
        if i % 3 == 0:
            total = yield i
call = lambda: third(n=9)

#-- an increment for all items: exact
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def odd(total, numbers):
    for n in trax.remaining(numbers):
        if n % 2 == 0:
            total = yield 0
            continue
        total = yield n
call = lambda: odd(numbers=list(range(8)))

#-- two yields for one number: count
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def pairs(total, n):
    for i in trax.steps(n):
        total = yield i
        total = yield -i * i
call = lambda: pairs(n=5)

#-- batches in an epoch: count
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def train(total, epochs):
    for epoch in trax.steps(epochs):
        for batch in range(3):
            total = yield epoch * batch
call = lambda: train(epochs=3)

#-- batches by a product: exact
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def train(total, epochs):
    for epoch, batch in trax.remaining(itertools.product(range(epochs), range(3))):
        total = yield epoch * batch
call = lambda: train(epochs=3)

#-- numbered items: enumerate
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def weigh(total, items):
    for i, item in enumerate(trax.remaining(items)):
        total = yield i * item
call = lambda: weigh(items=[3, 4, 5, 6])

#-- numbered for a message: exact
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def weigh(total, items):
    for i, item in enumerate(trax.remaining(items)):
        print(f"{i}: {item}")
        total = yield item
call = lambda: weigh(items=[3, 4, 5, 6])

#-- numbered from the step: exact
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def weigh(total, items):
    for i, item in enumerate(trax.remaining(items), trax.step()):
        total = yield i * item
call = lambda: weigh(items=[3, 4, 5, 6])

#-- numbers beside items: restart
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def dot(total, xs, ys):
    for i, y in zip(trax.steps(len(xs)), ys):
        total = yield xs[i] * y
call = lambda: dot(xs=[1, 2, 3, 4], ys=[5, 6, 7, 8])

#-- pairs of items: exact
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def dot(total, xs, ys):
    for x, y in trax.remaining(list(zip(xs, ys))):
        total = yield x * y
call = lambda: dot(xs=[1, 2, 3, 4], ys=[5, 6, 7, 8])

#-- numbers backwards: count
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def backwards(found, n):
    for i in reversed(trax.steps(n)):
        found = yield i
call = lambda: backwards(n=5)

#-- items by their keys: exact
@trax.resumable(create=dict, replay_log="update")
def sizes(found, pages):
    for page in trax.remaining(sorted({*pages}, key=len), key=lambda page: page.lower()):
        found = yield {page: len(page)}
call = lambda: sizes(pages=["a", "bb", "ccc", "dddd"])

#-- results by the keys of their items: exact
@trax.resumable(create=dict, replay_log="update")
def compute(found, items):
    with ThreadPoolExecutor(1) as pool:
        tasks = {pool.submit(len, item): item for item in items if item not in found}
        order = (task for task in tasks)
        for task in trax.remaining(order, key=tasks.get):
            found = yield {tasks[task]: task.result()}
call = lambda: compute(items=["a", "bb", "ccc"])

#-- results as they complete: order
def slow(n):
    time.sleep(0.01 * (n % 3))
    return n * n
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def compute(found, items):
    with ThreadPoolExecutor(4) as pool:
        for future in as_completed([pool.submit(slow, item) for item in trax.remaining(items)]):
            found = yield future.result()
call = lambda: compute(items=[2, 1, 0, 5])

#-- results in order: exact
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def compute(found, items):
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(abs, trax.remaining(items)):
            found = yield result
call = lambda: compute(items=[-2, 1, 0, -5])

#-- output: exact
@trax.resumable(create=int)
def table(n, below):
    with trax.open("table.csv") as out:
        if trax.step() == 0:
            out.write("n,square\\n")
        while n < below:
            out.write(f"{n},{n * n}\\n")
            n = yield n + 1
call = lambda: table(below=5)

#-- output with a header: header
@trax.resumable(create=int)
def table(n, below):
    with trax.open("table.csv") as out:
        writer = csv.writer(out)
        writer.writerow(["n", "square"])
        while n < below:
            writer.writerow([n, n * n])
            n = yield n + 1
call = lambda: table(below=5)

#-- output with a header by print: header
@trax.resumable(create=int)
def table(n, below):
    out = trax.open("table.txt")
    print("n square", file=out)
    for i in trax.steps(below):
        print(i, i * i, file=out)
        n = yield n + 1
call = lambda: table(below=5)

#-- output after the yield: late
@trax.resumable(create=int)
def table(n, below):
    with trax.open("table.csv") as out:
        while n < below:
            m = n
            n = yield n + 1
            out.write(f"{m},{m * m}\\n")
call = lambda: table(below=5)

#-- a message after the yield: exact
@trax.resumable(create=int)
def table(n, below):
    while n < below:
        n = yield n + 1
        if n % 2 == 0:
            print("at", n)
        logging.getLogger("x").info("at %d", n)
call = lambda: table(below=5)

#-- an ordinary file: file
@trax.resumable(create=int)
def table(n, below):
    with open("table.csv", "w") as out:
        while n < below:
            out.write(f"{n}\\n")
            out.flush()
            n = yield n + 1
call = lambda: table(below=5)

#-- an ordinary file by its path: file
@trax.resumable(create=int)
def table(n, below):
    out = Path("table.csv").open("w")
    for i in trax.steps(below):
        out.write(f"{i}\\n")
        out.flush()
        n = yield n + i
    out.close()
call = lambda: table(below=5)

#-- a file for each step: exact
@trax.resumable(create=int)
def frames(n, below):
    with open("parameters.json", "w") as file:
        json.dump({"below": below}, file)
    while n < below:
        with open(f"frame-{n}.txt", "w") as file:
            file.write(str(n * n))
        n = yield n + 1
call = lambda: frames(below=5)

#-- seconds in the increment: clock
@trax.resumable(create=list, replay_log=lambda found, one: [*found, one])
def measure(found, n):
    begun = time.perf_counter()
    for i in trax.steps(n):
        time.sleep(0.001)
        found = yield {"i": i, "seconds": time.perf_counter() - begun}
call = lambda: measure(n=5)

#-- a budget of time: clock
@trax.resumable(create=int)
def work(n):
    begun = time.time()
    while time.time() - begun < 0.03:
        time.sleep(0.005)
        n = yield n + 1
call = lambda: work()

#-- seconds in a message: exact
@trax.resumable(create=int)
def work(n, below):
    begun = time.time()
    last = begun
    while n < below:
        now = time.time()
        if now - last > 0.001:
            print(f"{n} after {now - begun:.1f} s")
            last = now
        n = yield n + 1
call = lambda: work(below=5)

#-- a cache: exact
def slow(n):
    return n * n
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def add(total, numbers):
    squares = {}
    for n in trax.remaining(numbers):
        if n not in squares:
            squares[n] = slow(n)
        total = yield squares[n]
call = lambda: add(numbers=[1, 2, 1, 3, 2])

#-- numbers given to names: carried
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def encode(found, words):
    numbers = {}
    for word in trax.remaining(words):
        if word not in numbers:
            numbers[word] = len(numbers)
        found = yield numbers[word]
call = lambda: encode(words=["a", "b", "a", "c"])

#-- what was seen: carried
@trax.resumable(create=int, replay_log=lambda total, new: total + new)
def distinct(total, words):
    seen = set()
    for word in trax.remaining(words):
        new = word not in seen
        seen.add(word)
        total = yield int(new)
call = lambda: distinct(words=["a", "b", "a", "a"])

#-- made when first needed: exact
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def lookup(total, words, table=(("a", 1), ("b", 2))):
    index = None
    for word in trax.remaining(words):
        if index is None:
            index = dict(table)
        total = yield index[word]
call = lambda: lookup(words=["a", "b", "a"])

#-- a moving average: carried
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def smooth(found, numbers):
    window = collections.deque(maxlen=3)
    for n in trax.remaining(numbers):
        window.append(n)
        found = yield sum(window) / len(window)
call = lambda: smooth(numbers=[1, 2, 3, 4, 5])

#-- a moving average of the items: exact
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def smooth(found, numbers):
    for i in trax.steps(len(numbers)):
        window = numbers[max(0, i - 2) : i + 1]
        found = yield sum(window) / len(window)
call = lambda: smooth(numbers=[1, 2, 3, 4, 5])

#-- the difference to the item before: carried
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def differences(found, numbers):
    before = 0
    for n in trax.remaining(numbers):
        found = yield n - before
        before = n
call = lambda: differences(numbers=[1, 2, 4, 8])

#-- lines of a file: restart
Path("input.txt").write_text("a\\nb\\nc\\n")
@trax.resumable(create=list, replay_log=lambda found, line: [*found, line])
def read(found, path):
    with open(path) as file:
        for line in file:
            found = yield line.strip()
call = lambda: read(path="input.txt")

#-- lines that remain: exact
Path("input.txt").write_text("a\\nb\\nc\\n")
@trax.resumable(create=list, replay_log=lambda found, line: [*found, line])
def read(found, path):
    with open(path) as file:
        for line in trax.remaining(file):
            found = yield line.strip()
call = lambda: read(path="input.txt")

#-- an iterator that is advanced: carried
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def take(total, n):
    numbers = itertools.count(10)
    for _ in trax.steps(n):
        total = yield next(numbers)
call = lambda: take(n=5)

#-- an iterator that is advanced to its place: exact
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def take(total, n):
    numbers = itertools.count(10)
    for _ in range(trax.step()):
        next(numbers)
    for _ in trax.steps(n):
        total = yield next(numbers)
call = lambda: take(n=5)

#-- an order that is drawn in the loop: drawn
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def shuffled(found, n):
    order = list(range(n))
    random.shuffle(order)
    for i in trax.steps(n):
        found = yield order[i]
def call():
    random.seed(3)
    return shuffled(n=6)

#-- weights that are drawn in the loop: drawn
@trax.resumable(create=float)
def project(x, steps):
    weights = np.random.normal(size=3)
    for i in trax.steps(steps):
        x = yield x + float(weights[i % 3]) * random.random()
def call():
    random.seed(1)
    np.random.seed(1)
    return project(steps=5)

#-- an order that is drawn outside: exact
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def shuffled(found, order):
    for i in trax.remaining(order):
        found = yield i
def call():
    random.seed(3)
    return shuffled(order=random.sample(range(6), 6))

#-- an order of its own RNG: exact
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def shuffled(found, n, seed=2):
    order = np.random.default_rng(seed).permutation(n).tolist()
    for i in trax.steps(n):
        found = yield order[i]
call = lambda: shuffled(n=6)

#-- two items in one turn: count
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def paired(found, items):
    rest = iter(trax.remaining(items))
    for one in rest:
        other = next(rest)
        found = yield one + other
call = lambda: paired(items=[1, 2, 3, 4, 5, 6])

#-- a counter that is a closure: carried
def counter():
    n = 0
    def count():
        nonlocal n
        n += 1
        return n
    return count
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def number(found, items):
    count = counter()
    for item in trax.remaining(items):
        found = yield (count(), item)
call = lambda: number(items=["a", "b", "c"])

#-- an object that is called: carried
class Smooth:
    def __init__(self):
        self.value = 0.0
    def __call__(self, new):
        self.value = 0.5 * self.value + 0.5 * new
        return self.value
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def smooth(found, numbers):
    filtered = Smooth()
    for n in trax.remaining(numbers):
        found = yield filtered(n)
call = lambda: smooth(numbers=[1, 2, 3, 4])

#-- a state begun in the loop: early
@trax.resumable(create=list, replay_log=None, every_steps=1)
def history(events, n):
    events.append("begin")
    for i in trax.steps(n):
        events.append(i)
        yield len(events)
call = lambda: history(n=4)

#-- a state reset in the loop: early
@trax.resumable(create=lambda: {"epoch": 0, "w": 1.0}, replay_log=None, every_steps=1)
def train(state, epochs):
    state["epoch"] = 0
    while state["epoch"] < epochs:
        state["epoch"] += 1
        state["w"] *= 0.5
        yield state["w"]
call = lambda: train(epochs=4)

#-- a state begun once: exact
@trax.resumable(create=dict, replay_log=None, every_steps=1)
def train(state, epochs):
    state.setdefault("w", 1.0)
    if "epoch" not in state:
        state["epoch"] = 0
    while state["epoch"] < epochs:
        state["epoch"] += 1
        state["w"] *= 0.5
        yield state["w"]
call = lambda: train(epochs=4)

#-- a part of the state handed out: shared
def grow(state, row):
    state["rows"].append(row)
    state["last"][0] += 1
    return state
@trax.resumable(create=lambda: {"rows": [], "last": [0]}, replay_log=grow)
def rows(state, n):
    for _ in trax.steps(n):
        state = yield state["last"]
    return [list(row) for row in state["rows"]]
call = lambda: rows(n=4)

#-- a copy of a part of the state: exact
def grow(state, row):
    state["rows"].append(row)
    state["last"][0] += 1
    return state
@trax.resumable(create=lambda: {"rows": [], "last": [0]}, replay_log=grow)
def rows(state, n):
    for _ in trax.steps(n):
        state = yield list(state["last"])
    return [list(row) for row in state["rows"]]
call = lambda: rows(n=4)

#-- a list that begins with the state: carried
@trax.resumable(create=lambda: 1.0)
def remember(x, n):
    history = [x]
    for i in trax.steps(n):
        new = x * 0.5 + sum(history[-3:])
        history.append(new)
        x = yield new
call = lambda: remember(n=5)

#-- a list of all of the state: exact
@trax.resumable(create=lambda: [1.0], replay_log=lambda xs, x: [*xs, x])
def remember(xs, n):
    history = [*xs]
    for i in trax.steps(n):
        new = xs[-1] * 0.5 + sum(history[-3:])
        history.append(new)
        xs = yield new
call = lambda: remember(n=5)

#-- stages in a row: again
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def pipeline(found):
    found = yield "load"
    found = yield "clean"
    found = yield "fit"
call = lambda: pipeline()

#-- stages by the state: exact
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def pipeline(found):
    if "load" not in found:
        found = yield "load"
    if "clean" not in found:
        found = yield "clean"
    if "fit" not in found:
        found = yield "fit"
call = lambda: pipeline()

#-- the first state handed out: again
@trax.resumable(create=int)
def count(n, below):
    yield n
    while n < below:
        n = yield n + 1
call = lambda: count(below=5)

#-- all from a list: restart
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def add(total, numbers):
    yield from stepping(numbers)
def stepping(numbers):
    for n in numbers:
        yield n
call = lambda: add(numbers=[1, 2, 3, 4])

#-- all from a helper with the state: exact
def stepping(n, below):
    while n < below:
        n = yield n + 1
@trax.resumable(create=int)
def count(n, below):
    yield from stepping(n, below)
call = lambda: count(below=5)

#-- a count for ever, left in the middle: restart
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def add(total, most):
    for i in itertools.count():
        if total > most:
            break
        total = yield i
call = lambda: add(most=12)

#-- for ever without its number: exact
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def add(total, most):
    for _ in itertools.count():
        if total > most:
            break
        total = yield total + 1
call = lambda: add(most=12)

#-- a list of the module: carried
HISTORY = []
@trax.resumable(create=int)
def count(n, below):
    while n < below:
        HISTORY.append(n)
        n = yield n + 1
    return list(HISTORY)
call = lambda: count(below=5)

#-- a counter of the module: carried
CALLS = 0
@trax.resumable(create=list, replay_log=lambda found, n: [*found, n])
def count(found, n):
    global CALLS
    for _ in trax.steps(n):
        CALLS += 1
        found = yield CALLS
call = lambda: count(n=5)

#-- a method: exact
class Simulation:
    def __init__(self, rate):
        self.rate = rate
    @trax.resumable(create=float, varying=("self",))
    def run(self, x, steps):
        for _ in trax.steps(steps):
            x = yield x + self.rate
call = lambda: Simulation(0.5).run(steps=5)

#-- a method with a counter: carried
class Simulation:
    def __init__(self, rate):
        self.rate = rate
    @trax.resumable(create=float)
    def run(self, x, steps):
        for _ in trax.steps(steps):
            self.rate *= 0.5
            x = yield x + self.rate
call = lambda: Simulation(0.5).run(steps=5)

#-- a heap of events: exact
@trax.resumable(create=lambda: [(0.0, "a"), (0.5, "b")], replay_log=None, every_steps=1)
def events(queue, end):
    while queue and queue[0][0] < end:
        moment, name = heapq.heappop(queue)
        heapq.heappush(queue, (moment + (1.0 if name == "a" else 0.7), name))
        yield name
call = lambda: events(end=3.0)

#-- a heap of events beside the state: carried
@trax.resumable(create=list, replay_log=lambda found, name: [*found, name])
def events(found, end):
    queue = [(0.0, "a"), (0.5, "b")]
    while queue[0][0] < end:
        moment, name = heapq.heappop(queue)
        heapq.heappush(queue, (moment + (1.0 if name == "a" else 0.7), name))
        found = yield name
call = lambda: events(end=3.0)

#-- k-means: exact
@trax.resumable(create=lambda points: sorted(points)[:2])
def kmeans(centres, points, steps):
    for _ in trax.steps(steps):
        groups = [[] for _ in centres]
        for point in points:
            distances = [abs(point - centre) for centre in centres]
            groups[distances.index(min(distances))].append(point)
        centres = yield [sum(group) / len(group) for group in groups]
call = lambda: kmeans(points=[1.0, 2.0, 8.0, 9.0], steps=4)

#-- a table filled row by row: carried
@trax.resumable(create=int)
def paths(n, size):
    table = [[1] * size for _ in range(size)]
    for i in trax.steps(size - 1):
        for j in range(1, size):
            table[i + 1][j] = table[i][j] + table[i + 1][j - 1]
        n = yield table[i + 1][-1]
call = lambda: paths(size=5)

#-- a report by a helper: exact
def report(counter, n):
    print(f"{counter} of {n}")
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def add(total, n):
    counter = 0
    for i in trax.steps(n):
        counter += 1
        report(counter, n)
        total = yield i
call = lambda: add(n=5)

#-- a name of its own in a comprehension: exact
@trax.resumable(create=list, replay_log="append")
def table(cells, n):
    for k in trax.steps(n * n):
        row, column = divmod(k, n)
        cells = yield row * column
    return [[cells[row * n + column] for column in range(n)] for row in range(n)]
call = lambda: table(n=2)

#-- a variable that is left over from the loop: carried
@trax.resumable(create=list, replay_log="append")
def squares(found, n):
    for i in trax.steps(n):
        square = i * i
        found = yield square
    return square
call = lambda: squares(n=4)

#-- a break right after the yield of an inner loop: exact
@trax.resumable(create=lambda: [2], replay_log="append")
def primes(found, below):
    candidate = found[-1] + 1
    while candidate < below:
        for prime in found:
            if prime * prime > candidate:
                found = yield candidate
                break
            if candidate % prime == 0:
                break
        candidate += 1
    return len(found)
call = lambda: primes(below=20)

#-- an RNG wound forward by the state: exact
@trax.resumable(create=list, replay_log="append")
def noise(path, n):
    rng = np.random.default_rng(5)
    for _ in path:
        rng.normal()
    while len(path) < n:
        path = yield float(rng.normal())
call = lambda: noise(n=5)

#-- an RNG wound forward by as many numbers as ever: rng
@trax.resumable(create=list, replay_log="append")
def noise(path, n):
    rng = np.random.default_rng(5)
    for _ in range(3):
        rng.normal()
    while len(path) < n:
        path = yield float(rng.normal())
call = lambda: noise(n=5)

#-- as long as the items of what remains are positive: exact
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def add(total, items):
    for item in itertools.takewhile(lambda one: one > 0, trax.remaining(items)):
        total = yield item
    return total
call = lambda: add(items=[3, 1, 4, -1, 5])

#-- differences of neighbours that remain: exact
@trax.resumable(create=list, replay_log="append")
def differences(found, items):
    for one, other in itertools.pairwise(trax.remaining(items)):
        found = yield other - one
call = lambda: differences(items=[3, 1, 4, 1, 5])

#-- the end of a range asked again after the yield: exact
@trax.resumable(create=list, replay_log="append")
def fill(found, n):
    for i in range(len(found), n):
        found = yield i
        if len(found) >= n:
            break
call = lambda: fill(n=4)

#-- the position before the last, made of the first speed: carried
@trax.resumable(create=lambda: 1.0)
def oscillate(x, steps, v=0.5, dt=0.1):
    before = x - v * dt
    for _ in trax.steps(steps):
        new = 2 * x - before - x * dt * dt
        before = x
        x = yield new
call = lambda: oscillate(steps=5)

#-- both positions in the state: exact
@trax.resumable(create=lambda: (1.0, 0.95))
def oscillate(state, steps, dt=0.1):
    for _ in trax.steps(steps):
        x, before = state
        state = yield (2 * x - before - x * dt * dt, x)
call = lambda: oscillate(steps=5)

#-- the best that was ever seen is returned: carried
@trax.resumable(create=lambda: 3)
def wander(x, steps):
    best = x
    for i in trax.steps(steps):
        x = yield (7 * x + i) % 11
        if x > best:
            best = x
    return best
call = lambda: wander(steps=7)

#-- the largest that was ever seen: carried
@trax.resumable(create=lambda: 3)
def wander(x, steps):
    largest = x
    for i in trax.steps(steps):
        largest = max(largest, x)
        x = yield (7 * x + i) % 11
    return largest
call = lambda: wander(steps=7)

#-- the newest state under another name: exact
@trax.resumable(create=lambda: 3)
def wander(x, steps):
    newest = x
    for i in trax.steps(steps):
        x = yield (7 * newest + i) % 11
        newest = x
    return newest
call = lambda: wander(steps=7)

#-- the largest in the state: exact
@trax.resumable(create=lambda: (3, 3))
def wander(state, steps):
    x, largest = state
    for i in trax.steps(steps):
        x = (7 * x + i) % 11
        largest = max(largest, x)
        state = yield (x, largest)
    return largest
call = lambda: wander(steps=7)

#-- weights that are taken once: stale
@trax.resumable(create=lambda: {"weights": [1.0, -2.0], "step": 0})
def train(model, steps):
    weights = model["weights"]
    while model["step"] < steps:
        gradient = [2 * one + model["step"] for one in weights]
        new = [one - 0.1 * slope for one, slope in zip(model["weights"], gradient)]
        model = yield {"weights": new, "step": model["step"] + 1}
call = lambda: train(steps=5)

#-- a dataclass whose part is taken once: stale
@dataclass(frozen=True)
class Body:
    x: float = 1.0
    v: float = 0.5
@trax.resumable(create=Body)
def fall(body, steps):
    v = body.v
    for _ in trax.steps(steps):
        body = yield replace(body, x=body.x + v * 0.1, v=body.v - 0.98)
call = lambda: fall(steps=5)

#-- the first batch of all epochs: stale
@trax.resumable(create=lambda: (0, 0, 1.0))
def train(state, epochs, batches=3):
    epoch, first, w = state
    while epoch < epochs:
        for batch in range(first, batches):
            w = w * 0.5 + epoch + batch
            at = (epoch, batch + 1) if batch + 1 < batches else (epoch + 1, 0)
            state = yield (*at, w)
        epoch += 1
call = lambda: train(epochs=3)

#-- the first batch of one epoch: exact
@trax.resumable(create=lambda: (0, 0, 1.0))
def train(state, epochs, batches=3):
    epoch, first, w = state
    while epoch < epochs:
        for batch in range(first, batches):
            w = w * 0.5 + epoch + batch
            at = (epoch, batch + 1) if batch + 1 < batches else (epoch + 1, 0)
            state = yield (*at, w)
        epoch, first = epoch + 1, 0
call = lambda: train(epochs=3)

#-- a configuration that stays: exact
@trax.resumable(create=lambda: {"config": {"rate": 0.1}, "x": 1.0})
def descend(state, steps):
    config = state["config"]
    for _ in trax.steps(steps):
        state = yield {"config": config, "x": state["x"] * (1 - config["rate"])}
call = lambda: descend(steps=5)

#-- a configuration that the steps copy: exact
@trax.resumable(create=lambda: {"config": {"rate": 0.1}, "x": 1.0})
def descend(state, steps):
    config = state["config"]
    for _ in trax.steps(steps):
        x = state["x"] * (1 - config["rate"])
        state = yield {"config": dict(config), "x": x}
call = lambda: descend(steps=5)

#-- a tuple whose first part stays: exact
@trax.resumable(create=lambda: (0.1, 1.0))
def descend(state, steps):
    rate, _ = state
    for _ in trax.steps(steps):
        state = yield (rate, state[1] * (1 - rate))
call = lambda: descend(steps=5)

#-- only the size of a part: exact
@trax.resumable(create=lambda: {"u": [0.0, 1.0, 0.0], "t": 0})
def smooth(state, steps):
    u = state["u"]
    while state["t"] < steps:
        new = [sum(state["u"]) / len(u) for _ in range(len(u))]
        state = yield {"u": new, "t": state["t"] + 1}
call = lambda: smooth(steps=4)

#-- the last item that is done comes first: twice
@trax.resumable(create=lambda: (0, 0))
def add(state, items):
    last, _ = state
    for i in range(last, len(items)):
        state = yield (i, state[1] + items[i])
call = lambda: add(items=[5, 2, 7, 1])

#-- the next item comes first: exact
@trax.resumable(create=lambda: (0, 0))
def add(state, items):
    first, _ = state
    for i in range(first, len(items)):
        state = yield (i + 1, state[1] + items[i])
call = lambda: add(items=[5, 2, 7, 1])

#-- after the last item that is done: exact
@trax.resumable(create=lambda: {"last": -1, "total": 0})
def add(state, items):
    for i in range(state["last"] + 1, len(items)):
        state = yield {"last": i, "total": state["total"] + items[i]}
call = lambda: add(items=[5, 2, 7, 1])

#-- the index in what is left: enumerate
@trax.resumable(create=list, replay_log="append")
def discount(found, items):
    left = items[len(found):]
    for i, item in enumerate(left):
        found = yield item * 0.5**i
call = lambda: discount(items=[3, 1, 4, 1])

#-- the index in what is left, added to what is done: exact
@trax.resumable(create=list, replay_log="append")
def discount(found, items):
    done = len(found)
    for i, item in enumerate(items[done:]):
        found = yield item * 0.5 ** (done + i)
call = lambda: discount(items=[3, 1, 4, 1])

#-- the hash of a number: exact
@trax.resumable(create=list, replay_log="append")
def shard(found, n):
    for i in trax.steps(n):
        found = yield hash((i, 2)) % 1009
call = lambda: shard(n=4)

#-- the smallest of a set of texts: exact
def visit(todo, word):
    return (todo - {word}) | ({word + "a"} if len(word) < 3 else set())
@trax.resumable(create=lambda: {"x", "y"}, replay_log=visit)
def spread(todo):
    while todo:
        todo = yield min(todo)
call = lambda: spread()

#-- a set of texts in which is only looked: exact
@trax.resumable(create=list, replay_log="append")
def filtered(found, words):
    stop = {"the", "a"}
    for word in trax.remaining(words):
        found = yield word in stop
call = lambda: filtered(words=["the", "cat", "a", "dog"])

#-- a database in memory: carried
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def unique(total, items):
    import sqlite3
    db = sqlite3.connect(":memory:")
    cursor = db.cursor()
    cursor.execute("CREATE TABLE seen (item)")
    for item in trax.remaining(items):
        is_new = not cursor.execute("SELECT * FROM seen WHERE item = ?", (item,)).fetchall()
        cursor.execute("INSERT INTO seen VALUES (?)", (item,))
        total = yield is_new
call = lambda: unique(items=[1, 2, 1, 3, 2, 1])

#-- a database in memory that is filled before: exact
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def known(total, items):
    import sqlite3
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE seen (item)")
    db.execute("INSERT INTO seen VALUES (1), (2)")
    for item in trax.remaining(items):
        total = yield len(db.execute("SELECT * FROM seen WHERE item = ?", (item,)).fetchall())
call = lambda: known(items=[1, 2, 1, 3, 2, 1])

#-- a text in memory: carried
@trax.resumable(create=int)
def report(n, steps):
    import io
    text = io.StringIO()
    for i in trax.steps(steps):
        print(i, file=text)
        n = yield n + i
    return text.getvalue()
call = lambda: report(steps=4)

#-- a text in memory of each step: exact
@trax.resumable(create=int)
def report(n, steps):
    import io
    for i in trax.steps(steps):
        text = io.StringIO()
        print(i, file=text)
        n = yield n + len(text.getvalue())
call = lambda: report(steps=4)

#-- a module that create sets up: setup
UNIT = {"scale": 1}
def start(scale):
    UNIT["scale"] = scale
    return 0
@trax.resumable(create=start)
def grow(x, scale, steps):
    for _ in trax.steps(steps):
        x = yield x + UNIT["scale"]
call = lambda: grow(scale=3, steps=4)

#-- the precision that create sets: setup
import decimal
def start():
    decimal.getcontext().prec = 40
    return decimal.Decimal(1)
@trax.resumable(create=start)
def root(x, steps):
    for _ in trax.steps(steps):
        x = yield (x + 3 / x) / 2
call = lambda: root(steps=5)

#-- the precision that each process sets: exact
import decimal
@trax.resumable(create=lambda: decimal.Decimal(1))
def root(x, steps):
    decimal.getcontext().prec = 40
    for _ in trax.steps(steps):
        x = yield (x + 3 / x) / 2
call = lambda: root(steps=5)

#-- a count of calls by create that nobody reads: exact
CALLS = []
def start():
    CALLS.append(1)
    return 0
@trax.resumable(create=start)
def grow(x, steps):
    for _ in trax.steps(steps):
        x = yield x + 1
call = lambda: grow(steps=4)

#-- a memo of random values in a helper: memo
random.seed(50)
MEASURED = {}
def measured(x):
    if x not in MEASURED:
        MEASURED[x] = x + random.gauss(0, 2)
    return MEASURED[x]
@trax.resumable(create=int)
def climb(x, steps):
    for _ in trax.steps(steps):
        x = yield max((x - 1, x, x + 1), key=measured)
call = lambda: climb(steps=8)

#-- a memo of random values in the loop: carried
random.seed(50)
@trax.resumable(create=float, replay_log=lambda total, n: total + n)
def climb(total, steps):
    seen = {}
    for i in trax.steps(steps):
        if i % 2 not in seen:
            seen[i % 2] = random.random()
        total = yield seen[i % 2]
call = lambda: climb(steps=6)

#-- a memo of what does not change in a helper: exact
SQUARES = {}
def square(x):
    if x not in SQUARES:
        SQUARES[x] = x * x
    return SQUARES[x]
@trax.resumable(create=int, replay_log=lambda total, n: total + n)
def add(total, steps):
    for i in trax.steps(steps):
        total = yield square(i % 2)
call = lambda: add(steps=6)

#-- scratch files that are read at the end: scratch
import tempfile
@trax.resumable(create=int)
def parts(n, steps):
    scratch = Path(tempfile.mkdtemp())
    for i in trax.steps(steps):
        (scratch / f"{i}").write_text(str(i))
        n = yield n + 1
    return sorted(one.name for one in scratch.iterdir())
call = lambda: parts(steps=4)

#-- scratch files of each step: exact
import tempfile
@trax.resumable(create=int)
def parts(n, steps):
    with tempfile.TemporaryDirectory() as scratch:
        for i in trax.steps(steps):
            Path(scratch, "part").write_text(str(i))
            n = yield n + int(Path(scratch, "part").read_text())
    return n
call = lambda: parts(steps=4)

#-- a method in place, and the loop does the same: mutated
@trax.resumable(create=list, replay_log="append")
def squares(found, n):
    for i in trax.steps(n):
        found.append(i)
        yield i * i
    return len(found)
call = lambda: squares(n=4)

#-- a method in place whose new state is not taken: exact
@trax.resumable(create=list, replay_log="append")
def squares(found, n):
    for i in trax.steps(n):
        yield len(found) * i
    return found
call = lambda: squares(n=4)

#-- a method of an own class, by its name: shared
class Path2:
    def __init__(self):
        self.points = [1]
        self.seen = []
    def note(self, points):
        self.points.append(len(points))
        self.seen.append(points)
@trax.resumable(create=Path2, replay_log="note", every_steps=2)
def walk(path, n):
    for _ in trax.steps(n):
        path = yield path.points
    return path.seen
call = lambda: walk(n=4)

#-- momentum beside a state without a log: carried
@dataclass
class Walker:
    x: float = 4.0
@trax.resumable(create=Walker, replay_log=None, every_steps=1)
def descend(walker, steps):
    speed = 0.0
    for _ in trax.steps(steps):
        speed = 0.5 * speed - walker.x
        walker.x += 0.1 * speed
        yield
call = lambda: descend(steps=6)

#-- momentum in a state without a log: exact
@dataclass
class Walker:
    x: float = 4.0
    speed: float = 0.0
@trax.resumable(create=Walker, replay_log=None, every_steps=1)
def descend(walker, steps):
    for _ in trax.steps(steps):
        walker.speed = 0.5 * walker.speed - walker.x
        walker.x += 0.1 * walker.speed
        yield
call = lambda: descend(steps=6)

#-- a rate that decays beside a state without a log: carried
@trax.resumable(create=lambda: np.ones(2), replay_log=None, every_steps=1)
def fit(weights, epochs):
    rate = 0.5
    for _ in trax.steps(epochs):
        weights -= rate * weights
        rate *= 0.7
        yield
call = lambda: fit(epochs=5)

#-- a rate by its epoch and a state without a log: exact
@trax.resumable(create=lambda: np.ones(2), replay_log=None, every_steps=1)
def fit(weights, epochs):
    for epoch in trax.steps(epochs):
        rate = 0.5 * 0.7 ** epoch
        weights -= rate * weights
        yield
call = lambda: fit(epochs=5)

#-- a number of its own put into a list without a log: carried
@trax.resumable(create=list, replay_log=None, every_steps=1)
def visit(places, pages):
    rank = 0
    for page in trax.remaining(pages):
        rank += 1
        places.append((rank, page))
        yield page
call = lambda: visit(pages=["a", "b", "c", "d"])

#-- a number of its own given to a method of the state: carried
@dataclass
class Ledger:
    rows: list = field(default_factory=list)
    def enter(self, number, amount):
        self.rows.append((number, amount))
@trax.resumable(create=Ledger, replay_log=None, every_steps=1)
def book(ledger, amounts):
    number = 100
    for amount in trax.remaining(amounts):
        ledger.enter(number, amount)
        number += 1
        yield
call = lambda: book(amounts=[3, 1, 2, 5])

#-- the state's own length given to its method: exact
@dataclass
class Ledger:
    rows: list = field(default_factory=list)
    def enter(self, number, amount):
        self.rows.append((number, amount))
@trax.resumable(create=Ledger, replay_log=None, every_steps=1)
def book(ledger, amounts):
    for amount in trax.remaining(amounts):
        ledger.enter(100 + len(ledger.rows), amount)
        yield
call = lambda: book(amounts=[3, 1, 2, 5])

#-- the best beside a state without a log that is for ever: carried
@trax.resumable(create=dict, replay_log=None, every_steps=1)
def search(found, tries):
    best = 9
    while True:
        number = len(found)
        if number == tries:
            return
        best = min(best, (number * 4 + 3) % 7)
        found[number] = best
        yield
call = lambda: search(tries=6)

#-- the best of a state without a log: exact
@trax.resumable(create=dict, replay_log=None, every_steps=1)
def search(found, tries):
    best = min(found.values(), default=9)
    while len(found) < tries:
        best = min(best, (len(found) * 4 + 3) % 7)
        found[len(found)] = best
        yield
call = lambda: search(tries=6)

#-- the time of its own beside a world without a log: carried
@trax.resumable(create=lambda: {"x": [0.0]}, replay_log=None, every_steps=1)
def simulate(world, steps, dt=0.3):
    t = 0.0
    track = world["x"]
    for i in trax.steps(steps):
        track.append(track[-1] + dt * math.sin(t))
        t += dt
        yield i
call = lambda: simulate(steps=6)

#-- the time of its step and a world without a log: exact
@trax.resumable(create=lambda: {"x": [0.0]}, replay_log=None, every_steps=1)
def simulate(world, steps, dt=0.3):
    track = world["x"]
    for i in trax.steps(steps):
        track.append(track[-1] + dt * math.sin(i * dt))
        yield i
call = lambda: simulate(steps=6)

#-- what is only printed beside a state without a log: exact
@trax.resumable(create=list, replay_log=None, every_steps=1)
def visit(places, pages):
    rank = 0
    for page in trax.remaining(pages):
        rank += 1
        print(f"{rank} of {len(pages)}")
        places.append(page)
        yield
call = lambda: visit(pages=["a", "b", "c", "d"])

#-- places that are numbered beside a state without a log: enumerate
@trax.resumable(create=list, replay_log=None, every_steps=1)
def visit(places, pages):
    for rank, page in enumerate(trax.remaining(pages)):
        places.append((rank, page))
        yield
call = lambda: visit(pages=["a", "b", "c", "d"])

#-- a longer list in the place of the state, unread: rebound
@trax.resumable(create=list, replay_log=None, every_steps=1)
def collect(found, n):
    for i in trax.steps(n):
        found = found + [i]
        yield i
    return len(found)
call = lambda: collect(n=5)

#-- noise drawn beside a state without a log: drawn
@trax.resumable(create=list, replay_log=None, every_steps=1)
def perturb(track, steps):
    noise = [random.random() for _ in range(steps)]
    for i in trax.steps(steps):
        track.append(noise[i])
        yield
def call():
    random.seed(60)
    return perturb(steps=5)

#-- the height of departure under any name: reference
@trax.resumable(create=lambda: 8.0)
def climb(height, steps):
    ground = height
    for _ in trax.steps(steps):
        height = yield height + 1 + 0.1 * (height - ground)
call = lambda: climb(steps=5)

#-- the energy at departure under any name: reference
def energy(s):
    return s * s
@trax.resumable(create=lambda: 3.0)
def drift(s, steps):
    before = energy(s)
    for _ in trax.steps(steps):
        now = energy(s)
        s = yield s + 1 + 0.1 * (now - before)
call = lambda: drift(steps=5)

#-- the energy of the step before: exact
def energy(s):
    return s * s
@trax.resumable(create=lambda: 3.0)
def drift(s, steps):
    for _ in trax.steps(steps):
        before = energy(s)
        moved = s + 0.5
        s = yield moved + 0.1 * (energy(moved) - before)
call = lambda: drift(steps=5)

#-- five more than at the start: reference
@trax.resumable(create=list, replay_log="append")
def gather(rows, items):
    enough = len(rows) + 5
    for item in trax.remaining(items):
        if len(rows) >= enough:
            return
        rows = yield item
call = lambda: gather(items=[*range(9)])

#-- five in all: exact
@trax.resumable(create=list, replay_log="append")
def gather(rows, items):
    enough = 5
    for item in trax.remaining(items):
        if len(rows) >= enough:
            return
        rows = yield item
call = lambda: gather(items=[*range(9)])

#-- a goal that is counted from the first state: reference
@trax.resumable(create=lambda: 4)
def double(size, by):
    goal = size * 2
    while size < goal:
        size = yield size + by
call = lambda: double(by=1)

#-- a goal in the state: exact
@trax.resumable(create=lambda: (4, 8))
def double(state, by):
    while state[0] < state[1]:
        size, goal = state
        state = yield (size + by, goal)
call = lambda: double(by=1)

#-- the first state in a dictionary: reference
@trax.resumable(create=lambda: 8.0)
def climb(height, steps):
    camp = {"base": height, "rate": 0.1}
    for _ in trax.steps(steps):
        height = yield height + 1 + camp["rate"] * (height - camp["base"])
call = lambda: climb(steps=5)

#-- a dictionary without the state: exact
@trax.resumable(create=lambda: 8.0)
def climb(height, steps, base):
    camp = {"base": base, "rate": 0.1}
    for _ in trax.steps(steps):
        height = yield height + 1 + camp["rate"] * (height - camp["base"])
call = lambda: climb(steps=5, base=2.0)

#-- the first state in an object that measures: reference
class Gauge:
    def __init__(self, zero):
        self.zero = zero
    def above(self, height):
        return height - self.zero
@trax.resumable(create=lambda: 8.0)
def climb(height, steps):
    gauge = Gauge(height)
    for _ in trax.steps(steps):
        height = yield height + 1 + 0.1 * gauge.above(height)
call = lambda: climb(steps=5)

#-- a trainer whose object is made of the state: exact
class Line:
    def __init__(self, slope):
        self.slope = slope
    def loss(self, x):
        return (self.slope - x) ** 2
    def improve(self, x):
        self.slope -= 0.2 * (self.slope - x)
@trax.resumable(create=lambda: 4.0)
def fit(slope, xs):
    line = Line(slope)
    for x in trax.remaining(xs):
        loss = line.loss(x)
        line.improve(x + loss)
        slope = yield line.slope
call = lambda: fit(xs=[1, 2, 3, 4])

#-- the first state in a partial: reference
import functools
@trax.resumable(create=lambda: 8.0)
def climb(height, steps):
    above = functools.partial(lambda zero, now: now - zero, height)
    for _ in trax.steps(steps):
        height = yield height + 1 + 0.1 * above(height)
call = lambda: climb(steps=5)

#-- the first state as a default: reference
@trax.resumable(create=lambda: 8.0)
def climb(height, steps):
    def above(now, zero=height):
        return now - zero
    for _ in trax.steps(steps):
        height = yield height + 1 + 0.1 * above(height)
call = lambda: climb(steps=5)

#-- the first state in a function inside: reference
@trax.resumable(create=lambda: 8.0)
def climb(height, steps):
    ground = height
    def above(now):
        return now - ground
    for _ in trax.steps(steps):
        height = yield height + 1 + 0.1 * above(height)
call = lambda: climb(steps=5)

#-- the state of now in a function inside: exact
@trax.resumable(create=lambda: 8.0)
def climb(height, steps):
    def above(ground):
        return height - ground
    for i in trax.steps(steps):
        height = yield height + 1 + 0.1 * above(i)
call = lambda: climb(steps=5)

#-- arguments that have the first state: reference
def risen(now, zero, rate):
    return now + 1 + rate * (now - zero)
@trax.resumable(create=lambda: 8.0)
def climb(height, steps):
    given = (height, 0.1)
    for _ in trax.steps(steps):
        height = yield risen(height, *given)
call = lambda: climb(steps=5)

#-- a copy of the first positions: reference
import copy
@trax.resumable(create=lambda: [1.0, 2.0])
def spread(xs, steps):
    start = copy.deepcopy(xs)
    for _ in trax.steps(steps):
        moved = [x * 1.5 for x in xs]
        xs = yield [x + abs(x - a) / 8 for x, a in zip(moved, start)]
call = lambda: spread(steps=5)

#-- the first state as a match sees it: reference
@trax.resumable(create=lambda: {"x": 1.0})
def shift(s, steps):
    match s:
        case {"x": origin}:
            pass
    for _ in trax.steps(steps):
        s = yield {"x": s["x"] + 1 + 0.1 * (s["x"] - origin)}
call = lambda: shift(steps=5)

#-- the first state in a condition: reference
@trax.resumable(create=lambda: 3.0)
def drift(s, steps):
    if (square := s * s) > 100:
        return
    for _ in trax.steps(steps):
        s = yield s + 1 + 0.1 * (s * s - square)
call = lambda: drift(steps=5)

#-- an index of what is there, and then kept: exact
@trax.resumable(create=list, replay_log="append")
def name(rows, words):
    index = {word: place for place, word in enumerate(rows)}
    for word in trax.remaining(words):
        text = f"{word}{index.get(word, 0)}"
        index[text] = len(index)
        rows = yield text
call = lambda: name(words=["a", "b", "a", "c"])

#-- a list of what is to be done, of the state: exact
@trax.resumable(create=set, replay_log="add")
def work(done, jobs):
    left = [job for job in jobs if job not in done]
    for job in left:
        done = yield job
    return len(done)
call = lambda: work(jobs=[3, 1, 4, 5])

#-- an offset into what is left: exact
@trax.resumable(create=list, replay_log="append")
def double(rows, xs):
    begun = len(rows)
    left = xs[begun:]
    while len(rows) < len(xs):
        rows = yield 2 * left[len(rows) - begun]
call = lambda: double(xs=[3, 1, 4, 5])

#-- the size of the state: exact
@trax.resumable(create=lambda: [1.0, 2.0, 3.0])
def mix(xs, steps):
    n = len(xs)
    for i in trax.steps(steps):
        mean = sum(xs) / n
        xs = yield [(x + mean) / 2 + i for x in xs]
call = lambda: mix(steps=4)

#-- a list of the state that stays the same object: exact
@trax.resumable(create=lambda: {"seen": [1]}, replay_log=None, every_steps=1)
def note(diary, steps):
    seen = diary["seen"]
    for i in trax.steps(steps):
        diary["seen"].append(i + seen[-1])
        yield len(seen)
call = lambda: note(steps=4)

#-- the first part of a state without a log: reference
@trax.resumable(create=lambda: {"x": 3.0, "far": []}, replay_log=None, every_steps=1)
def drift(world, steps):
    home = world["x"]
    for _ in trax.steps(steps):
        world["x"] += 1
        world["far"].append(world["x"] - home)
        yield
call = lambda: drift(steps=5)

#-- a factor of the first call alone: reference
@trax.resumable(create=list, replay_log="append")
def scale(rows, steps):
    factor = 1
    if trax.step() == 0:
        factor = 10
    for i in trax.steps(steps):
        rows = yield i * factor
call = lambda: scale(steps=5)

#-- a base where nothing is there yet: reference
@trax.resumable(create=list, replay_log="append")
def scale(rows, steps):
    if rows:
        base = 0
    else:
        base = 100
    for i in trax.steps(steps):
        rows = yield i + base
call = lambda: scale(steps=5)

#-- a base that the rows tell: exact
@trax.resumable(create=list, replay_log="append")
def scale(rows, steps):
    if rows:
        base = rows[0] - 1
    else:
        base = 100
    for i in trax.steps(steps):
        rows = yield base + 1 + i
call = lambda: scale(steps=5)

#-- a header in the first step alone: exact
@trax.resumable(create=list, replay_log="append")
def table(rows, steps):
    with trax.open("rows.csv") as out:
        if trax.step() == 0:
            title = "n"
            out.write(f"{title}\\n")
        for i in trax.steps(steps):
            out.write(f"{i}\\n")
            rows = yield i
call = lambda: table(steps=5)

#-- a sum in a comprehension: carried
@trax.resumable(create=list, replay_log="append")
def add_up(rows, pairs):
    level = 0
    for pair in trax.remaining(pairs):
        rows = yield [level := level + one for one in pair]
call = lambda: add_up(pairs=[(1, 2), (3, 4), (5, 6)])

#-- a maximum in a generator expression: carried
@trax.resumable(create=list, replay_log="append")
def records(rows, groups):
    top = 0
    for group in trax.remaining(groups):
        rows = yield sum(1 for one in group if one > top and (top := one))
call = lambda: records(groups=[(1, 5), (3, 2), (7,), (6, 8)])

#-- a sum in a comprehension of each step: exact
@trax.resumable(create=list, replay_log="append")
def add_up(rows, pairs):
    for pair in trax.remaining(pairs):
        level = 0
        rows = yield [level := level + one for one in pair]
call = lambda: add_up(pairs=[(1, 2), (3, 4), (5, 6)])

#-- sums of all numbers of steps: count
@trax.resumable(create=list, replay_log="append")
def add_up(rows, n):
    for total in itertools.accumulate(trax.steps(n)):
        rows = yield total
call = lambda: add_up(n=6)

#-- sums that remain: exact
@trax.resumable(create=list, replay_log="append")
def add_up(rows, n):
    for total in trax.remaining(itertools.accumulate(range(n))):
        rows = yield total
call = lambda: add_up(n=6)

#-- numbers that a helper gives to items: count
def numbered(items):
    number = 0
    for item in items:
        number += 1
        yield number, item
@trax.resumable(create=list, replay_log="append")
def label(rows, items):
    for number, item in numbered(trax.remaining(items)):
        rows = yield f"{number} {item}"
call = lambda: label(items=["a", "b", "c", "d"])

#-- what a helper makes of each item: exact
def loud(items):
    for item in items:
        text = item.upper()
        yield text
@trax.resumable(create=list, replay_log="append")
def label(rows, items):
    for item in loud(trax.remaining(items)):
        rows = yield item
call = lambda: label(items=["a", "b", "c", "d"])

#-- numbers of what is left: restart
@trax.resumable(create=list, replay_log="append")
def squares(rows, n):
    for i in range(n - len(rows)):
        rows = yield i * i
call = lambda: squares(n=5)

#-- as often as is left: exact
@trax.resumable(create=list, replay_log="append")
def squares(rows, n):
    for _ in range(n - len(rows)):
        rows = yield len(rows) ** 2
call = lambda: squares(n=5)

#-- pairs of what is left and of all: restart
@trax.resumable(create=list, replay_log="append")
def match(rows, xs, ys):
    for x, y in zip(xs[len(rows):], ys):
        rows = yield x + y
call = lambda: match(xs=["a", "b", "c"], ys=["x", "y", "z"])

#-- pairs of what is left: exact
@trax.resumable(create=list, replay_log="append")
def match(rows, xs, ys):
    done = len(rows)
    for x, y in zip(xs[done:], ys[done:]):
        rows = yield x + y
call = lambda: match(xs=["a", "b", "c"], ys=["x", "y", "z"])

#-- the rest backwards: restart
@trax.resumable(create=list, replay_log="append")
def backwards(rows, xs):
    for x in reversed(xs[len(rows):]):
        rows = yield x
call = lambda: backwards(xs=["a", "b", "c", "d"])

#-- backwards, and the rest: exact
@trax.resumable(create=list, replay_log="append")
def backwards(rows, xs):
    for x in reversed(xs[:len(xs) - len(rows)]):
        rows = yield x
call = lambda: backwards(xs=["a", "b", "c", "d"])

#-- the wrong end of what is left: restart
@trax.resumable(create=list, replay_log="append")
def forwards(rows, xs):
    for x in xs[:len(xs) - len(rows)]:
        rows = yield x
call = lambda: forwards(xs=["a", "b", "c", "d"])

#-- every second number from where it is: restart
@trax.resumable(create=list, replay_log="append")
def evens(rows, n):
    for i in range(len(rows), n, 2):
        rows = yield i
call = lambda: evens(n=10)

#-- every second number from twice where it is: exact
@trax.resumable(create=list, replay_log="append")
def evens(rows, n):
    for i in range(2 * len(rows), n, 2):
        rows = yield i
call = lambda: evens(n=10)

#-- two at a time, from where it is: exact
@trax.resumable(create=list, replay_log="extend")
def evens(rows, n):
    for i in range(len(rows), n, 2):
        rows = yield (i, i + 1)
call = lambda: evens(n=10)

#-- data that a helper draws before the loop: drawn
def make_data(n):
    return [random.gauss(0, 1) for _ in range(n)]
@trax.resumable(create=list, replay_log="append")
def smooth(rows, n):
    data = make_data(n)
    for i in trax.steps(n):
        rows = yield data[i]
def call():
    random.seed(61)
    return smooth(n=5)

#-- data that a helper makes by its seed: exact
def make_data(n, seed):
    return np.random.default_rng(seed).normal(size=n)
@trax.resumable(create=list, replay_log="append")
def smooth(rows, n, seed=3):
    data = make_data(n, seed)
    for i in trax.steps(n):
        rows = yield float(data[i])
call = lambda: smooth(n=5)

#-- data that a helper draws from the RNG of its caller: drawn
def make_data(source, n):
    return [source.random() for _ in range(n)]
@trax.resumable(create=list, replay_log="append")
def smooth(rows, n, rng):
    data = make_data(rng, n)
    for i in trax.steps(n):
        rows = yield data[i]
call = lambda: smooth(n=5, rng=random.Random(4))

#-- data that a helper draws from an RNG with a seed: exact
def make_data(source, n):
    return [source.random() for _ in range(n)]
@trax.resumable(create=list, replay_log="append")
def smooth(rows, n):
    data = make_data(random.Random(4), n)
    for i in trax.steps(n):
        rows = yield data[i]
call = lambda: smooth(n=5)

#-- weights that a class draws when it is made: drawn
class Net:
    def __init__(self):
        self.reset()
    def reset(self):
        self.weight = random.random()
    def __call__(self, x):
        return self.weight * x
@trax.resumable(create=list, replay_log="append")
def predict(rows, xs):
    net = Net()
    for x in trax.remaining(xs):
        rows = yield net(x)
def call():
    random.seed(62)
    return predict(xs=[1, 2, 3, 4])

#-- weights that a class draws, and the state replaces: exact
class Net:
    def __init__(self):
        self.weight = random.random()
    def train(self, x):
        self.weight += 0.1 * (x - self.weight)
@trax.resumable(create=lambda: 0.5)
def fit(weight, xs):
    net = Net()
    net.weight = weight
    for x in trax.remaining(xs):
        net.train(x)
        weight = yield net.weight
def call():
    random.seed(63)
    return fit(xs=[1, 2, 3, 4])

#-- two lists that a helper shuffles: drawn
def split(xs):
    order = [*xs]
    random.shuffle(order)
    return order[:4], order[4:]
@trax.resumable(create=list, replay_log="append")
def train(rows, xs):
    training, testing = split(xs)
    for i in trax.steps(len(training)):
        rows = yield training[i]
def call():
    random.seed(64)
    return train(xs=[*range(8)])

#-- a name for the function that draws: drawn
from random import gauss as normal
@trax.resumable(create=list, replay_log="append")
def smooth(rows, n):
    data = [normal(0, 1) for _ in range(n)]
    for i in trax.steps(n):
        rows = yield data[i]
def call():
    random.seed(65)
    return smooth(n=5)

#-- an RNG in a function that a helper makes: rng
def sampler(seed):
    rng = random.Random(seed)
    return lambda: rng.randint(0, 999)
@trax.resumable(create=list, replay_log="append")
def draw_all(rows, n):
    draw = sampler(3)
    for _ in trax.steps(n):
        rows = yield draw()
call = lambda: draw_all(n=5)

#-- an RNG in an object: rng
class Dice:
    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)
    def roll(self):
        return int(self._rng.integers(1, 7))
@trax.resumable(create=list, replay_log="append")
def play(rows, n):
    dice = Dice(5)
    for _ in trax.steps(n):
        rows = yield dice.roll()
call = lambda: play(n=8)

#-- an RNG that an object uses when it is made: exact
class Field:
    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)
        self.slope = float(self._rng.normal())
    def at(self, x):
        return self.slope * x
@trax.resumable(create=list, replay_log="append")
def scan(rows, n):
    field = Field(5)
    for i in trax.steps(n):
        rows = yield field.at(i)
call = lambda: scan(n=5)

#-- the time by a helper: clock
def now():
    return time.perf_counter_ns()
@trax.resumable(create=list, replay_log="append")
def measure(rows, n):
    for _ in trax.steps(n):
        rows = yield now()
call = lambda: measure(n=4)

#-- the time since an object was made: clock
class Watch:
    def __init__(self):
        self.begun = time.monotonic()
    def elapsed(self):
        return time.monotonic() - self.begun
@trax.resumable(create=list, replay_log="append")
def measure(rows, n):
    watch = Watch()
    for i in trax.steps(n):
        rows = yield {"i": i, "elapsed": watch.elapsed()}
call = lambda: measure(n=4)

#-- a helper that tells how long it took: exact
def square(x):
    begun = time.perf_counter()
    found = x * x
    print(f"{time.perf_counter() - begun} s")
    return found
@trax.resumable(create=list, replay_log="append")
def squares(rows, n):
    for i in trax.steps(n):
        rows = yield square(i)
call = lambda: squares(n=4)

#-- a new name by a helper: clock
import uuid
def new_name():
    return uuid.uuid4().hex
@trax.resumable(create=list, replay_log="append")
def name_all(rows, n):
    for _ in trax.steps(n):
        name = new_name()
        rows = yield name
call = lambda: name_all(n=4)

#-- rows by csv in an ordinary file: file
@trax.resumable(create=list, replay_log="append")
def table(rows, n):
    with open("rows.csv", "w", newline="") as file:
        out = csv.writer(file)
        for i in trax.steps(n):
            out.writerow([i])
            rows = yield i
call = lambda: table(n=5)

#-- rows by csv in a file that is opened there: file
@trax.resumable(create=list, replay_log="append")
def table(rows, n):
    out = csv.DictWriter(open("rows.csv", "w"), ["i"])
    for i in trax.steps(n):
        out.writerow({"i": i})
        rows = yield i
call = lambda: table(n=5)

#-- a write of its own in an ordinary file: file
@trax.resumable(create=list, replay_log="append")
def table(rows, n):
    with open("rows.txt", "w") as file:
        put = file.write
        for i in trax.steps(n):
            put(f"{i}\\n")
            rows = yield i
call = lambda: table(n=5)

#-- rows by csv in a file of trax: exact
@trax.resumable(create=list, replay_log="append")
def table(rows, n):
    with trax.open("rows.csv") as file:
        out = csv.writer(file)
        for i in trax.steps(n):
            out.writerow([i])
            rows = yield i
call = lambda: table(n=5)

#-- the size of a file that was written before: exact
@trax.resumable(create=list, replay_log="append")
def table(rows, n):
    file = open("head.txt", "w")
    width = file.write("a,b\\n")
    file.close()
    for i in trax.steps(n):
        rows = yield i * width
call = lambda: table(n=5)

#-- a message that needs what the first step has: carried
@trax.resumable(create=list, replay_log="append")
def tell(rows, n):
    for i in trax.steps(n):
        if i == 0:
            begun = time.time()
        rows = yield i
        print(f"{(time.time() - begun) / (i + 1)} s each")
call = lambda: tell(n=5)

#-- a message in the steps that have it: exact
@trax.resumable(create=list, replay_log="append")
def tell(rows, n):
    for i in trax.steps(n):
        if i % 2 == 0:
            begun = time.time()
        rows = yield i
        if i % 2 == 0:
            print(f"{time.time() - begun} s")
call = lambda: tell(n=5)

#-- a count for a message to the error stream: exact
import sys
@trax.resumable(create=list, replay_log="append")
def tell(rows, n):
    odd = 0
    for i in trax.steps(n):
        odd += i % 2
        print(f"{odd} odd ones", file=sys.stderr)
        rows = yield i
        sys.stderr.write(f"{odd}\\n")
call = lambda: tell(n=5)

#-- an end that each turn asks first: exact
@trax.resumable(create=int)
def count(n, below):
    done = False
    while not done:
        done = n >= below
        if not done:
            n = yield n + 1
call = lambda: count(below=4)

#-- an end that a branch without a yield finds: exact
@trax.resumable(create=int)
def count(n, below):
    is_running = True
    while is_running:
        if n >= below:
            is_running = False
        else:
            n = yield n + 1
call = lambda: count(below=4)

#-- an end that the step before its yield finds: carried
@trax.resumable(create=int)
def count(n, below):
    done = False
    while not done:
        done = n + 1 >= below
        n = yield n + 1
call = lambda: count(below=4)

#-- a sum that is made again of what is passed over: exact
@trax.resumable(create=list, replay_log="append")
def add_up(rows, n):
    total = 0
    for i in range(n):
        total += i
        if i < len(rows):
            continue
        rows = yield total
call = lambda: add_up(n=6)

#-- a sum of what is not passed over: carried
@trax.resumable(create=list, replay_log="append")
def add_up(rows, n):
    total = 0
    for i in range(n):
        if i < len(rows):
            continue
        total += i
        rows = yield total
call = lambda: add_up(n=6)

#-- an RNG that draws for what is passed over, too: exact
@trax.resumable(create=list, replay_log="append")
def draw_all(rows, n, seed=2):
    rng = random.Random(seed)
    for i in range(n):
        x = rng.random()
        if i < len(rows):
            continue
        rows = yield x
call = lambda: draw_all(n=6)

#-- an RNG that draws for the others alone: rng
@trax.resumable(create=list, replay_log="append")
def draw_all(rows, n, seed=2):
    rng = random.Random(seed)
    for i in range(n):
        if i < len(rows):
            continue
        rows = yield rng.random()
call = lambda: draw_all(n=6)

#-- numbers that an object with a lock gives: carried
import threading
class Numbers:
    def __init__(self):
        self._lock = threading.Lock()
        self._last = 0
    def take(self):
        with self._lock:
            self._last += 1
            return self._last
NUMBERS = Numbers()
@trax.resumable(create=list, replay_log="append")
def name_all(rows, words):
    for word in trax.remaining(words):
        rows = yield f"{word}{NUMBERS.take()}"
call = lambda: name_all(words=["a", "b", "c", "d"])

#-- an object with a lock that counts for itself alone: exact
import threading
class Client:
    def __init__(self):
        self._lock = threading.Lock()
        self.calls = 0
    def ask(self, word):
        with self._lock:
            self.calls += 1
        return word.upper()
CLIENT = Client()
@trax.resumable(create=list, replay_log="append")
def ask_all(rows, words):
    for word in trax.remaining(words):
        rows = yield CLIENT.ask(word)
call = lambda: ask_all(words=["a", "b", "c", "d"])

#-- a tolerance of the first state: reference
@trax.resumable(create=lambda: np.array([3.0, 4.0]))
def cg(x, n):
    norm_start = np.linalg.norm(x)
    for i in trax.steps(n):
        if np.linalg.norm(x) < 0.3 * norm_start:
            return
        x = yield x * 0.7
call = lambda: cg(n=8)

#-- a queue beside a state without a log: carried
@trax.resumable(create=set, replay_log=None, every_steps=1)
def crawl(seen, start):
    queue = collections.deque([start])
    while queue:
        n = queue.popleft()
        if n in seen or n > 20: continue
        seen.add(n)
        queue.extend([2 * n, 2 * n + 1])
        yield n
call = lambda: crawl(start=1)

#-- numbers of items inside a helper: count
def numbered(xs):
    for k, x in enumerate(trax.remaining(xs)):
        yield k, x
@trax.resumable(create=list, replay_log="append")
def f(rows, xs):
    for k, x in numbered(xs):
        rows = yield (k, x)
call = lambda: f(xs=["a", "b", "c"])

#-- means that a helper has of items: count
def means(xs):
    total, n = 0, 0
    for x in xs:
        total, n = total + x, n + 1
        yield total / n
@trax.resumable(create=list, replay_log="append")
def f(rows, xs):
    for m in means(trax.remaining(xs)):
        rows = yield m
call = lambda: f(xs=[1, 5, 3, 7])

#-- an RNG that is passed on twice: drawn
def inner(rng): return rng.random()
def outer(gen, n): return [inner(gen) for _ in range(n)]
@trax.resumable(create=list, replay_log="append")
def f(rows, n, rng):
    xs = outer(rng, n)
    for i in trax.steps(n):
        rows = yield xs[i]
call = lambda: f(n=5, rng=random.Random(3))

#-- an end that is found beside its yield: carried
@trax.resumable(create=int)
def f(n, top):
    stop = False
    while not stop:
        if n + 1 >= top:
            stop = True
        n = yield n + 1
call = lambda: f(top=4)

#-- differences made again of what is passed over: exact
@trax.resumable(create=list, replay_log="append")
def f(rows, xs):
    last = 0
    for i, x in enumerate(xs):
        d = x - last
        last = x
        if i < len(rows):
            continue
        rows = yield d
call = lambda: f(xs=[1, 4, 9, 16])

#-- half of a setting in the state: exact
@dataclass
class S:
    x: float = 1.0
    k: float = 0.5
@trax.resumable(create=S, replay_log=lambda s, x: replace(s, x=x))
def f(s, n):
    k = s.k
    half = k / 2
    for i in trax.steps(n):
        s = yield s.x * k + half
call = lambda: f(n=4)
"""


def loops() -> list[Loop]:
    """Return all of them."""
    parts = re.split(r"^#-- (.+): (\w+)\n", TEXT, flags=re.MULTILINE)[1:]
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return [Loop(name, kind, PRELUDE + text) for name, kind, text in triples]
