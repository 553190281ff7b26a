"""Stores that no trax would write, and what may come of reading them.

recipe.py    a store as a JSON text, and the bytes that it stands for
mutate.py    changes a recipe
targets.py   the readers, and what must hold whatever they are given
run.py       lets atheris look for a recipe with which it does not
corpus/      the recipes that are tried in every test run, one directory for each target
"""
