"""Reads a run folder's TensorBoard events with TensorBoard's own reader and compares them with
metrics.jsonl. usage: check_events.py RUN_FOLDER   (needs PyPI tensorboard)"""
import json
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = pathlib.Path(sys.argv[1])
events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
events.Reload()
loss = {e.step: e.value for e in events.Scalars("train/loss")}
lines = [line for line in map(json.loads, open(run / "metrics.jsonl")) if "loss" in line]
worst = max(abs(loss[line["step"]] - line["loss"]) / abs(line["loss"]) for line in lines)
assert len(loss) == len(lines), (len(loss), len(lines))
assert worst < 1e-6, worst
print(f"{len(lines)} steps, largest relative difference {worst:.1e}")
print("tags:", *sorted(events.Tags()["scalars"]))
