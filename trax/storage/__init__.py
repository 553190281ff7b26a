"""What is on the disk, and how it gets there.

Each module has one noun and imports only from those above it::

    signing      who holds the key can tell that nobody else has written a file
    frames       bytes <-> header blocks and chained records; no I/O
    names        what files and directories are called
    fields       what the JSON texts in files must say, checked once
    files        the only module that opens, syncs and renames
    keys         where the key is
    codec        objects <-> pickles and their buffers
    log          one log file: writer and reader
    checkpoint   one checkpoint file: writer and reader
    refusals     what a person is told of a file that cannot be read
    recovery     reads a run: the newest checkpoint that holds, then the logs
    survey       what each file holds, whatever is wrong with the others
    verification what of a run is good
    prefix       how much of a run is provably right
    repair       gives a damaged run back what is provably right of it
    lock         who holds a run
    generations  one run: append, checkpoint, recover, prune
    store        one directory of runs
"""
