"""Ready-made Keras 3 pipelines, one module a task: `python -m pipelines` lists them.

Nothing here imports keras, so that `--help` answers at once and the backend can still be chosen.
"""

TASKS = {
    "image_classify": "Which class does a picture show?",
    "text_classify": "Which class, or which labels, does a text have?",
    "ner": "Which names stand in a text, where, and of what type?",
    "finance": "Who will pay back? Classes, numbers or times from a table, as credit risk needs them.",
    "medical": "Who is ill, and for how long well? The same, as clinical studies need them.",
}
