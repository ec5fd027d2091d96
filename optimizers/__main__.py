"""`python -m optimizers`: the optimizers by name, with where they come from."""

from optimizers.registry import RECORDS


def main() -> None:
    """Prints one line an optimizer."""
    width = max(map(len, RECORDS))
    for record in RECORDS.values():
        print(f"{record.name:{width}}  {record.description}")
        rate = record.defaults["learning_rate"]
        note = f"{record.family}, {record.slots} slots a weight, learning rate {rate:g}"
        print(f"{'':{width}}  {note}. {record.paper}")


if __name__ == "__main__":
    main()
