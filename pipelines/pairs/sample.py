"""The embedded default: what CLDR knows how to say in two languages, put together from its templates.

These are real words, as programs show them to people, but no sentences of people: dates, times, spans of time, numbers,
measures, amounts of money, languages with their countries, and lists of countries. The package babel brings them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from pipelines.core.errors import UserError

SIZE = 9000  # pairs that are drawn; equal ones count once
FORMATS = ("full", "long", "medium", "short")
SKELETONS = ("MMMd", "yMMM", "MMMEd", "yMMMEd", "MMMMd", "yQQQQ", "yQQQ")
UNITS = (
    "length-kilometer", "length-meter", "length-centimeter", "length-mile", "length-foot", "length-inch",
    "length-light-year", "mass-kilogram", "mass-gram", "mass-ton", "mass-ounce", "volume-liter", "volume-cubic-meter",
    "volume-cup", "area-square-kilometer", "area-square-meter", "area-hectare", "area-acre", "speed-kilometer-per-hour",
    "speed-meter-per-second", "speed-mile-per-hour", "speed-knot", "temperature-celsius", "temperature-fahrenheit",
    "duration-second", "duration-minute", "duration-hour", "duration-day", "duration-week", "duration-month",
    "duration-year", "energy-kilojoule", "energy-calorie", "energy-kilowatt-hour", "power-watt", "power-horsepower",
    "digital-byte", "digital-megabyte", "digital-gigabyte", "frequency-hertz", "pressure-hectopascal", "angle-degree",
    "electric-volt", "electric-ampere", "concentr-percent", "consumption-liter-per-100-kilometer",
)  # fmt: skip
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "TRY", "RUB", "CNY", "INR",
              "BRL", "MXN", "ZAR", "AUD", "CAD", "NZD", "KRW", "ILS", "EGP")  # fmt: skip
COUNTRIES = (
    "DE FR IT ES PT NL BE LU CH AT PL CZ SK HU SI HR RS BA ME MK AL GR BG RO MD UA BY RU LT LV EE FI SE NO DK IS IE "
    "GB TR CY MT US CA MX GT CU JM HT DO CR PA CO VE EC PE BR BO PY UY AR CL MA DZ TN LY EG SD ET KE UG TZ RW CD NG "
    "GH CI SN ML CM AO ZM ZW MZ ZA NA BW MG IL LB SY JO IQ IR SA YE OM AE QA KW AF PK IN NP BD LK MM TH LA KH VN MY "
    "SG ID PH CN MN KP KR JP TW AU NZ PG FJ KZ UZ TM KG TJ AZ AM GE"
)
LANGUAGES = (
    "de en fr it es pt nl da sv nb fi et lv lt pl cs sk hu sl hr sr bg ro mk sq el tr ru uk be ar he fa hi ur bn ta "
    "te mr gu pa ne th vi ms id ja ko zh sw am ha yo zu af ga cy eu ca gl is mt ka hy kk uz mn km lo my si eo la"
)


def cldr_pairs(source: str, target: str, *, size: int = SIZE, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Pairs of texts in two languages, each source once, in the order in which they are drawn.

    Args:
        source: Code of the one language, such as `en`.
        target: Code of the other.
        size: Pairs that are drawn.
        seed: Seed of the drawing.

    Raises:
        UserError: The package babel is not installed, or does not know a language.
    """
    try:
        from babel import Locale, UnknownLocaleError
    except ImportError:
        raise UserError(
            "data.source sample needs the package babel, which holds the texts: "
            "pip install 'keras-task-pipelines[samples]'; or give your own pairs with --data"
        ) from None
    locales = []
    for option, code in (("source_language", source), ("target_language", target)):
        try:
            locales.append(Locale.parse(code.replace("-", "_")))
        except (UnknownLocaleError, ValueError):
            raise UserError(f"data.{option} {code!r} is no language that babel knows") from None
    generator = np.random.default_rng(seed)
    seen: set[str] = set()
    for _ in range(size):
        say = _TEMPLATES[int(generator.integers(len(_TEMPLATES)))](generator)
        pair = say(locales[0]), say(locales[1])
        if pair[0] not in seen:
            seen.add(pair[0])
            yield pair


Say = Callable[[Any], str]


def _choice(generator: np.random.Generator, values: Any) -> Any:
    return values[int(generator.integers(len(values)))]


def _moment(generator: np.random.Generator) -> datetime:
    return datetime(1950, 1, 1) + timedelta(minutes=int(generator.integers(100 * 365 * 24 * 60)))


def _number(generator: np.random.Generator) -> float:
    digits = int(generator.integers(1, 6))
    value = float(generator.integers(10 ** (digits - 1), 10**digits))
    return value if generator.random() < 0.7 else value + float(generator.integers(1, 100)) / 100


def _date(generator: np.random.Generator) -> Say:
    from babel import dates

    moment, form = _moment(generator), _choice(generator, FORMATS[:3])
    return lambda locale: dates.format_date(moment, form, locale=locale)


def _date_and_time(generator: np.random.Generator) -> Say:
    from babel import dates

    moment, form = _moment(generator), _choice(generator, FORMATS[2:])
    return lambda locale: dates.format_datetime(moment, form, locale=locale)


def _part_of_date(generator: np.random.Generator) -> Say:
    from babel import dates

    moment, skeleton = _moment(generator), _choice(generator, SKELETONS)
    return lambda locale: dates.format_skeleton(skeleton, moment, locale=locale)


def _interval(generator: np.random.Generator) -> Say:
    from babel import dates

    start, skeleton = _moment(generator), _choice(generator, ("yMMMd", "MMMd", "yMMMEd"))
    end = start + timedelta(days=int(generator.integers(1, 400)))
    return lambda locale: dates.format_interval(start, end, skeleton, locale=locale)


def _span(generator: np.random.Generator) -> Say:
    from babel import dates

    unit = _choice(generator, ("second", "minute", "hour", "day", "week", "month", "year"))
    seconds = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2629800,
               "year": 31557600}[unit]  # fmt: skip
    delta = timedelta(seconds=seconds * int(generator.integers(1, 60)) * (1 if generator.random() < 0.5 else -1))
    form = _choice(generator, ("long", "short"))
    return lambda locale: dates.format_timedelta(
        delta, granularity=unit, threshold=1e9, add_direction=True, format=form, locale=locale
    )


def _plain_number(generator: np.random.Generator) -> Say:
    from babel import numbers

    value, kind = _number(generator), int(generator.integers(3))
    if kind == 0:
        return lambda locale: numbers.format_decimal(value, locale=locale)
    if kind == 1:
        return lambda locale: numbers.format_percent(value / 10000, format=None, locale=locale)
    return lambda locale: numbers.format_compact_decimal(value * 1000, format_type="long", locale=locale)


def _measure(generator: np.random.Generator) -> Say:
    from babel import units

    value, unit, form = _number(generator), _choice(generator, UNITS), _choice(generator, ("long", "long", "short"))
    return lambda locale: units.format_unit(value, unit, form, locale=locale)


def _money(generator: np.random.Generator) -> Say:
    from babel import numbers

    value, currency = _number(generator), _choice(generator, CURRENCIES)
    form = _choice(generator, ("name", "name", "standard"))
    return lambda locale: numbers.format_currency(value, currency, locale=locale, format_type=form)


def _language(generator: np.random.Generator) -> Say:
    language, country = _choice(generator, LANGUAGES.split()), _choice(generator, COUNTRIES.split())
    return lambda locale: f"{locale.languages[language]} ({locale.territories[country]})"


def _countries(generator: np.random.Generator) -> Say:
    from babel import lists

    chosen = [_choice(generator, COUNTRIES.split()) for _ in range(int(generator.integers(2, 4)))]
    style = _choice(generator, ("standard", "or"))
    return lambda locale: lists.format_list([locale.territories[c] for c in chosen], style, locale=locale)


def _languages(generator: np.random.Generator) -> Say:
    from babel import lists

    chosen = [_choice(generator, LANGUAGES.split()) for _ in range(2)]
    return lambda locale: lists.format_list([locale.languages[c] for c in chosen], locale=locale)


_TEMPLATES = (
    _date, _date_and_time, _part_of_date, _interval, _span, _plain_number, _measure, _measure, _money, _money,
    _language, _countries, _languages,
)  # fmt: skip
