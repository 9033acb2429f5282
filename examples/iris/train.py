"""Trains a classifier on the iris data and writes what becomes a ModelKit: the model, the data, this code, a note.

With `--request` and `--expect` it also asks the model in memory what a server will be asked later, so that the answer of
the served model can be compared with it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

NOTE = """# Iris

A random forest that tells three kinds of iris apart by the length and width of sepals and petals (cm).
Accuracy on data it was not trained on: {accuracy:.1%}.
"""


def main() -> None:
    """Trains, measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("directory", type=Path, help="where the model and what belongs to it are written")
    parser.add_argument("--request", type=Path, help="a v2 inference request")
    parser.add_argument("--expect", type=Path, help="where the prediction of the model in memory is written, as JSON")
    options = parser.parse_args()

    iris = load_iris(as_frame=True)
    seen, unseen, answers, right = train_test_split(iris.data.values, iris.target.values, random_state=7)
    model = RandomForestClassifier(n_estimators=200, random_state=7).fit(seen, answers)
    accuracy = model.score(unseen, right)

    options.directory.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, options.directory / "model.joblib")
    iris.frame.to_csv(options.directory / "iris.csv", index=False)
    shutil.copy(__file__, options.directory / "train.py")
    (options.directory / "README.md").write_text(NOTE.format(accuracy=accuracy))
    print(f"accuracy on unseen data: {accuracy:.1%}")

    if options.request and options.expect:
        (flowers,) = json.loads(options.request.read_text())["inputs"]
        rows, columns = flowers["shape"]
        table = [flowers["data"][row * columns : (row + 1) * columns] for row in range(rows)]
        options.expect.write_text(json.dumps(model.predict(table).tolist()))


if __name__ == "__main__":
    main()
