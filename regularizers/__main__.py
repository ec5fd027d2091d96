"""`python -m regularizers`: the regularizers by name, with where they come from."""

from regularizers.registry import APPLIED, KINDS, RECORDS


def main() -> None:
    """Prints two lines a regularizer."""
    width = max(map(len, RECORDS))
    for record in RECORDS.values():
        print(f"{record.name:{width}}  {record.description}")
        strength = "strength" if record.kind in APPLIED else record.fills[0]
        print(f"{'':{width}}  {KINDS[record.kind]}, {strength} {record.strength:g}. {record.paper}")


if __name__ == "__main__":
    main()
