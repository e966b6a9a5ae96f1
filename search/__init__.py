"""How trials are chosen and run. At this level is a sweep itself; each package has one part of what it needs.

A sweep: `cli.py` and `commands/` read what is asked into `config.py`; `sweep.py` drives it on Ray through `bridge.py`,
`simulate.py` in virtual time, `submit.py` as a job of a cluster. What to run next is said by `state.py`, from the
`journal.py` alone: by `rungs.py` (with `decisions/`) who goes on, by `sampler.py` (with `proposals/`) what is new.

`trials/`: what a trial is given of a card, and what its end means. `storage/`: where a sweep is kept. `recording/`:
what is written of it, and `tracking/`: in MLflow. `views/`: what people see. `finetunes/`: what is taken out of it.
`confirm/`: a second look at what it found. `cluster/`: what a cluster needs beside Ray.
"""
