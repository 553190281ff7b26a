"""The core of trax: a value, a log of its increments, and both back in the next process.

Run it, and run it again: the second run finds in ``.trax`` what the first one stored. Kill it
wherever you like: every line below either has happened or has not.
"""

import trax

store = trax.Trax()  # the directory .trax, or the one that $TRAX_DIR names

# Created and stored the first time, loaded after that.
hello = store.recover("hello", create=lambda: "world")
assert hello == "world"

# A checkpoint saves a whole state, and clears the log of that name.
store.checkpoint(existence="u")

# The log takes the increments, one by one. Each of them is safe as soon as the call returns.
for c in "niverse":
    store.log(existence=c)

# The state again: the checkpoint with the log replayed on top. How an increment changes the
# state is for you to say; left to itself, trax takes the increment for the new state.
existence = store.recover(
    "existence", create=lambda: "u", replay_log=lambda state, log: state + log
)
assert existence == "universe"  # in this process, and in any later one

print(hello, existence)
store.close()
