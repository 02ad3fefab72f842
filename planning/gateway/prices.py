"""Prices that the gateway charges for tokens, and what is warned of and refused where they would be nothing."""

from collections.abc import Iterator, Sequence

from planning.plan.gateway import Route
from planning.plan.servers import ServerPlan
from settings.problems import Problem
from settings.schema import ModelPriceSettings, ModelSettings, StackSettings, TokenPriceSettings

# Tokens of a second of speech: what Whisper's encoder makes of it (1,500 of 30 s), and what 150 words a minute are.
READ_PER_S, WRITTEN_PER_S = 50, 4
# By the field that says a price.
EXAMPLES = {"priceUsdPerMillionTokens": "{input: 0.1, output: 0.4}", "priceUsdPerAudioHour": "0.1"}


def second_price(server: ServerPlan, model: ModelSettings) -> float | None:
    """USD per second of audio, as `token_price`; None: it is charged by the token."""
    if not server.task.charged_by_second:
        return None
    if (per_hour := model.price_usd_per_audio_hour) is not None:
        return float(f"{per_hour / 3600:.12g}")
    cost = server.cost
    return (
        float(f"{READ_PER_S * cost.usd_per_input_token + WRITTEN_PER_S * cost.usd_per_output_token:.4g}") if cost else 0
    )


def token_price(server: ServerPlan, model: ModelSettings) -> tuple[float, float]:
    """USD per token of (prompt, answer): what is given for the model, else the estimate, else nothing."""
    if server.task.charged_by_second:
        return 0.0, 0.0
    if (prices := model.price_usd_per_million_tokens) is not None:
        input_price, output_price = per_token(prices)
        return input_price, output_price if server.task.writes else 0.0
    return (server.cost.usd_per_input_token, server.cost.usd_per_output_token) if server.cost else (0.0, 0.0)


def per_token(prices: TokenPriceSettings | ModelPriceSettings) -> tuple[float, float]:
    """USD per token of (prompt, answer), as short as it was written: 0.1 / 1e6 is not 1e-07."""
    return float(f"{prices.input / 1e6:.12g}"), float(f"{(prices.output or 0) / 1e6:.12g}")


def free_routes(planned: Sequence[Route]) -> list[Route]:
    """Routes whose tokens are charged at zero, so that no budget ever ends."""
    return [route for route in planned if not _charges(route)]


def _charges(route: Route) -> bool:
    if route.task.charged_by_second:
        return bool(route.input_cost_per_second)
    return bool(route.input_cost_per_token and (route.output_cost_per_token or not route.task.writes))


def _price_field(route: Route) -> str:
    return "priceUsdPerAudioHour" if route.task.charged_by_second else "priceUsdPerMillionTokens"


def free_warnings(planned: Sequence[Route]) -> Iterator[str]:
    """A warning for each route without a price."""
    for route in free_routes(planned):
        what = "audio is" if route.task.charged_by_second else "tokens are"
        yield (
            f"{route.server}: its {what} charged at zero, so no budget ends; "
            f"give models.{route.priced_as}.{_price_field(route)}"
        )


def free_problems(settings: StackSettings, planned: Sequence[Route]) -> list[Problem]:
    """With a database keys may have budgets, which only prices can use up."""
    if settings.gateway.database is None:
        return []
    return [
        Problem(
            f"models.{name}.{field}",
            "is needed: keys of gateway.database may have budgets, and nothing is known to estimate what tokens "
            f"cost, which at zero would never use one up; write e.g. {EXAMPLES[field]}",
        )
        for name, field in dict.fromkeys((route.priced_as, _price_field(route)) for route in free_routes(planned))
    ]


def price_reasons(settings: StackSettings, planned: Sequence[Route]) -> dict[str, str]:
    """The reason for the prices of tokens: where they are from."""
    free = [route.server for route in free_routes(planned)]
    priced = [
        name
        for name, model in settings.models.items()
        if model.price_usd_per_million_tokens or model.price_usd_per_audio_hour
    ]
    sources = []
    if len(priced) < len(settings.models):
        sources.append("estimated from the pools' prices")
    if priced:
        sources.append(f"given for {', '.join(priced)}")
    if free:
        sources.append(f"zero for {', '.join(free)}, of which nothing is known")
    return {"priceUsdPerMillionTokens": "; ".join(sources)}
