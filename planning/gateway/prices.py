"""Prices that the gateway charges for tokens, and what is warned of and refused where they would be nothing."""

from collections.abc import Iterator, Sequence

from planning.plan.gateway import Route
from planning.plan.servers import ServerPlan
from settings.problems import Problem
from settings.schema import ModelPriceSettings, ModelSettings, StackSettings, TokenPriceSettings


def token_price(server: ServerPlan, model: ModelSettings) -> tuple[float, float]:
    """USD per token of (prompt, answer): what is given for the model, else the estimate, else nothing."""
    if (prices := model.price_usd_per_million_tokens) is not None:
        input_price, output_price = per_token(prices)
        return input_price, output_price if server.task.writes else 0.0
    return (server.cost.usd_per_input_token, server.cost.usd_per_output_token) if server.cost else (0.0, 0.0)


def per_token(prices: TokenPriceSettings | ModelPriceSettings) -> tuple[float, float]:
    """USD per token of (prompt, answer), as short as it was written: 0.1 / 1e6 is not 1e-07."""
    return float(f"{prices.input / 1e6:.12g}"), float(f"{(prices.output or 0) / 1e6:.12g}")


def free_routes(planned: Sequence[Route]) -> list[Route]:
    """Routes whose tokens are charged at zero, so that no budget ever ends."""
    return [
        route
        for route in planned
        if not route.input_cost_per_token or (route.task.writes and not route.output_cost_per_token)
    ]


def free_warnings(planned: Sequence[Route]) -> Iterator[str]:
    """A warning for each route without a price."""
    for route in free_routes(planned):
        yield (
            f"{route.server}: its tokens are charged at zero, so no budget ends; "
            f"give models.{route.priced_as}.priceUsdPerMillionTokens"
        )


def free_problems(settings: StackSettings, planned: Sequence[Route]) -> list[Problem]:
    """With a database keys may have budgets, which only prices can use up."""
    if settings.gateway.database is None:
        return []
    return [
        Problem(
            f"models.{name}.priceUsdPerMillionTokens",
            "is needed: keys of gateway.database may have budgets, and nothing is known to estimate what tokens "
            "cost, which at zero would never use one up; write e.g. {input: 0.1, output: 0.4}",
        )
        for name in dict.fromkeys(route.priced_as for route in free_routes(planned))
    ]


def price_reasons(settings: StackSettings, planned: Sequence[Route]) -> dict[str, str]:
    """The reason for the prices of tokens: where they are from."""
    free = [route.server for route in free_routes(planned)]
    priced = [name for name, model in settings.models.items() if model.price_usd_per_million_tokens]
    sources = []
    if len(priced) < len(settings.models):
        sources.append("estimated from the pools' prices")
    if priced:
        sources.append(f"given for {', '.join(priced)}")
    if free:
        sources.append(f"zero for {', '.join(free)}, of which nothing is known")
    return {"priceUsdPerMillionTokens": "; ".join(sources)}
