"""What one trial does. At this level is a fine-tune and what it starts from; each package has one part of the rest.

A trial (`trial.py`) has a `job.py` and a recipe, a frozen `base.py` (its files by `hub.py`, told apart by
`fingerprint.py`), and trains by `finetune.py`, with `losses.py` and `engine.py`. `generate.py` draws with it,
`artist.py` and `pyfunc.py` with what was saved of it.

`parts/`: what of the base is trained. `data/`: what a step learns from. `subject/`, `poses/`, `skeleton/`: photos and
poses as they are read; `prepare/` writes them. `panels/` and `judges/`: what is scored, and by whom (`judge_choice.py`
says who). `export/`: adapters for other programs. `checkpoints/` and `storage/`: what is saved, and where. `machine/`:
where it runs. `puppets/`: the embedded world. Only `trial.py` and `machine/pulse.py` know of Ray.
"""
