"""Ready-made Keras 3 pipelines, one module a task: `python -m pipelines` lists them.

Nothing here imports keras, so that `--help` answers at once and the backend can still be chosen.
"""

TASKS = {
    "image_classify": "Which class does a picture show?",
    "text_classify": "Which class, or which labels, does a text have?",
}
